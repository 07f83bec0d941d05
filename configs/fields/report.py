"""The fields of config.report."""

from typing import Any

from vdr.runtime.bounds import count, positive, section, text


@section
def report() -> dict[str, Any]:
  """The report on a study (vdr/report)."""
  return dict(
    study=text(""),  # its work directory; "": --workdir itself
    png_dpi=count(160, most=1200),  # dots per inch of the figures' PNG files
    max_mb=positive(15.0),  # MB of the page; pictures beyond are linked
  )
