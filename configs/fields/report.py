"""The fields of config.report."""

from ml_collections import ConfigDict


def report() -> ConfigDict:
  """The report on a study (vdr/report)."""
  return ConfigDict(
    dict(
      study="",  # its work directory; "": --workdir itself
      png_dpi=160,  # dots per inch of the figures' PNG files
      max_mb=15.0,  # size of the page in megabytes; pictures beyond are linked
    )
  )
