"""Every kind of figure is drawn, and its drawing has its words."""

import io
import xml.etree.ElementTree

import pytest
from PIL import Image

from vdr import fonts
from vdr.report import plots

SERIES = {
  "name": "video model",
  "colour": "video",
  "value": [0.5, None, -0.2],
  "low": [0.4, None, -0.3],
  "high": [0.6, None, -0.1],
}
NAMES = ["a task", "another", "a third"]
SPECS = {
  "bars": {
    "categories": NAMES,
    "series": [
      SERIES | {"dots": [[0.45, 0.55], [], []]},
      {"name": "paper", "colour": "paper", "value": [None, 0.1, 0.2]},
    ],
    "axis": "gain",
    "percent": True,
    "limits": (-0.4, 0.7),
  },
  "dots": {
    "categories": NAMES,
    "series": [SERIES, SERIES | {"name": "image model", "colour": "image"}],
    "axis": "difference",
    "digits": 2,
  },
  "lines": {
    "series": [
      SERIES | {"x": [1, 10, 100]},
      {"name": "floor", "colour": "muted", "x": [1, 100], "value": [0, 0]}
      | {"dash": True},
    ],
    "axes": ["step", "score"],
    "digits": 2,
    "better": "higher",
    "log": True,
  },
  "maps": {
    "panels": [
      {"title": t, "x": [1, 2], "y": [0.1, None], "best": [1, 0]}
      | {"z": [[0.1, 0.2], [None, 0.3]]}
      for t in ("video model", "image model")
    ],
    "axes": ["layer", "noise level"],
    "scale": "IoU",
    "digits": 3,
    "lower_is_better": False,
  },
  "radar": {
    "categories": NAMES,
    "series": [
      {"name": "video model", "colour": "video", "value": [1, 0.5, 0]}
    ],
  },
}


@pytest.mark.parametrize("kind", SPECS)
def test_a_figure_is_drawn_the_same_every_time(kind):
  spec = {"kind": kind} | SPECS[kind]
  svg, png = plots.render(spec, 50)
  assert xml.etree.ElementTree.fromstring(svg).tag.endswith("svg")
  assert "video model" in svg  # text stays text
  for word in spec.get("categories", []) + spec.get("axes", []):
    assert word in svg
  with Image.open(io.BytesIO(png)) as image:
    assert image.format == "PNG"
    assert image.width == round(50 * plots.WIDTH_IN)
  assert plots.render(spec, 50) == (svg, png)


def test_every_kind_is_tested():
  assert SPECS.keys() == plots.KINDS.keys()


@pytest.mark.parametrize("kind", SPECS)
def test_any_script_is_drawn(kind, monkeypatch):
  """Also where no font has it: then without a warning for each character."""
  monkeypatch.setattr(fonts, "installed", tuple)
  monkeypatch.setattr(fonts, "_told", [])
  fonts._of.cache_clear()
  names = ["鵝", "🐢 turtle", "שלום", "नमस्ते", "e\u0301", "a < b & c"]
  spec = {"kind": kind} | SPECS[kind]
  for field in ("categories", "axes"):
    if field in spec:
      spec[field] = [names[k] for k in range(len(spec[field]))]
  svg, _ = plots.render(spec, 50)
  assert xml.etree.ElementTree.fromstring(svg).tag.endswith("svg")
  fonts._of.cache_clear()
