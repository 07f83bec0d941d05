"""Reports on a study: tables, figures, and one page that holds them all.

python -m vdr.main --config=configs/report.py --workdir=runs/local/report \
  --config.report.study=runs/local

The study may be half done: the page says what is missing. A study writes its
report by itself; this makes it anew. Variant `debug` draws figures coarsely.

Hardware: any CPU, half a minute.
"""

from configs import base

VARIANTS = {"debug": {"report.png_dpi": 40}}


def get_config(variant=None):
  """The report; see the module's docstring."""
  return base.build(variant, VARIANTS, job="report")
