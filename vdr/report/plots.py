"""Figures as files: the same specs that the page's script draws.

| kind | has |
|---|---|
| `bars` | `categories`, `series`, `axis`, `percent` |
| `dots` | `categories`, `series`, `axis`, `digits` |
| `lines` | `series` with `x`, `axes`, `digits`, `better`, `whole`, `log` |
| `maps` | `panels` (`title`, `x`, `y`, `z`, `best`), `axes`, `scale` |
| `radar` | `categories`, `series` of shares |

`whole` and `log`, of the x-axis, may be left out. A series has `name`, `colour`
(of `COLOURS`), `value`, and maybe `low`, `high`, `note`, `dots`, `dash`.
"""

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import figure as figures
from matplotlib import ticker

from vdr import fonts
from vdr.report import parts, words

COLOURS = {
  "video": "#d2541b",
  "image": "#3057a8",
  "paper": "#8a857b",
  "muted": "#8a857b",
}
INK, FAINT = "#26241f", "#dedad1"
STYLE: Any = {
  "font.family": "sans-serif",
  "font.size": 9.0,
  "svg.fonttype": "none",  # text stays text
  "svg.hashsalt": "vdr",  # the same figure is the same file
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.edgecolor": FAINT,
  "axes.labelcolor": INK,
  "text.color": INK,
  "xtick.color": INK,
  "ytick.color": INK,
  "axes.grid": True,
  "grid.color": FAINT,
  "grid.linewidth": 0.6,
  "axes.axisbelow": True,
  "legend.frameon": False,
}
WIDTH_IN = 6.4


def render(spec: parts.Spec, png_dpi: int) -> tuple[str, bytes]:
  """A figure as SVG and as PNG."""
  text = json.dumps(spec, ensure_ascii=False, default=str)
  family = {"font.family": ["sans-serif", *fonts.fallbacks(text)]}
  with matplotlib.rc_context(STYLE | family), warnings.catch_warnings():
    # It says once for each character what `families` has said for all.
    warnings.filterwarnings("ignore", "Glyph .* missing from font")
    figure = figures.Figure(layout="constrained")
    KINDS[spec["kind"]](figure, spec)
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=png_dpi, metadata={"Software": None})
  # Without the head of a file of its own it can stand in a page, too.
  text = svg.getvalue()
  return text[text.index("<svg") :], png.getvalue()


def _bars(figure: figures.Figure, spec: parts.Spec) -> None:
  names = spec["categories"]
  figure.set_size_inches(WIDTH_IN, 1.1 + 0.62 * len(names))
  axes = figure.subplots()
  bars, marks = spec["series"]
  rows = np.arange(len(names))
  colour = COLOURS[bars["colour"]]
  value = _numbers(bars["value"])
  axes.barh(rows, np.nan_to_num(value), 0.5, color=colour, label=bars["name"])
  _whiskers(axes, bars, rows, INK)
  for row, dots in enumerate(bars["dots"]):
    axes.plot(dots, [row] * len(dots), "o", color=INK, ms=3, alpha=0.7)
  axes.plot(
    _numbers(marks["value"]),
    rows,
    "D",
    mfc="none",
    mec=COLOURS[marks["colour"]],
    mew=1.4,
    ms=6,
    label=marks["name"],
  )
  axes.xaxis.set_major_formatter(ticker.PercentFormatter(1.0, 0))
  axes.set_xlim(spec["limits"])
  _categories(axes, names)
  axes.axvline(0, color=INK, lw=0.8)
  axes.set_xlabel(spec["axis"])
  axes.legend(loc="best")


def _dots(figure: figures.Figure, spec: parts.Spec) -> None:
  names, series = spec["categories"], spec["series"]
  figure.set_size_inches(WIDTH_IN, 1.1 + 0.42 * len(names))
  axes = figure.subplots()
  for index, one in enumerate(series):
    rows = np.arange(len(names)) + _offset(index, len(series))
    colour = COLOURS[one["colour"]]
    _whiskers(axes, one, rows, colour)
    axes.plot(
      _numbers(one["value"]), rows, "o", color=colour, ms=6, label=one["name"]
    )
  _categories(axes, names)
  if axes.get_xlim()[0] < 0 < axes.get_xlim()[1]:
    axes.axvline(0, color=INK, lw=0.8)
  axes.set_xlabel(spec["axis"])
  if len(series) > 1:
    axes.legend(loc="best")


def _offset(index: int, count: int) -> float:
  """Where a series stands beside the others in its row."""
  return 0.24 * (index - (count - 1) / 2)


def _whiskers(
  axes: Any, series: Mapping[str, Any], rows: np.ndarray, colour: str
) -> None:
  low, high = _numbers(series["low"]), _numbers(series["high"])
  axes.hlines(rows, low, high, color=colour, lw=1.4)


def _categories(axes: Any, names: Sequence[str]) -> None:
  axes.set_yticks(range(len(names)), names)
  axes.set_ylim(len(names) - 0.5, -0.5)
  axes.grid(axis="y", visible=False)
  axes.tick_params(length=0)


def _lines(figure: figures.Figure, spec: parts.Spec) -> None:
  figure.set_size_inches(WIDTH_IN, 3.6)
  axes = figure.subplots()
  for one in spec["series"]:
    colour, x = COLOURS[one["colour"]], _numbers(one["x"])
    few = len(x) <= 24
    style = "--" if one.get("dash") else ("o-" if few else "-")
    axes.plot(
      x, _numbers(one["value"]), style, color=colour, ms=4, label=one["name"]
    )
    if "low" in one:
      low, high = _numbers(one["low"]), _numbers(one["high"])
      axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
  if spec.get("log"):
    at = sorted({x for one in spec["series"] for x in one["x"]})
    axes.set_xscale("log")
    axes.set_xticks(at, [f"{x:g}" for x in at])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
  if spec.get("whole"):
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
  axes.set_xlabel(spec["axes"][0])
  axes.set_ylabel(f"{spec['axes'][1]} ({spec['better']} is better)")
  axes.legend(loc="best")


def _maps(figure: figures.Figure, spec: parts.Spec) -> None:
  panels = spec["panels"]
  figure.set_size_inches(WIDTH_IN, 3.0)
  scores = [_numbers(row) for panel in panels for row in panel["z"]]
  low = min((float(np.nanmin(s)) for s in scores), default=0.0)
  high = max((float(np.nanmax(s)) for s in scores), default=1.0)
  colours = "BuPu_r" if spec["lower_is_better"] else "BuPu"
  several = figure.subplots(1, len(panels), squeeze=False)[0]
  drawn = None
  for axes, panel in zip(several, panels, strict=True):
    z = np.stack([_numbers(row) for row in panel["z"]])
    drawn = axes.pcolormesh(z, cmap=colours, vmin=low, vmax=high)
    axes.set_xticks(np.arange(z.shape[1]) + 0.5, map(str, panel["x"]))
    axes.set_yticks(np.arange(z.shape[0]) + 0.5, map(_level, panel["y"]))
    axes.grid(visible=False)
    axes.tick_params(length=0)
    x, y = panel["best"]
    axes.plot(x + 0.5, y + 0.5, "o", mfc="none", mec="white", ms=15, mew=4)
    axes.plot(x + 0.5, y + 0.5, "o", mfc="none", mec=INK, ms=15, mew=1.6)
    axes.set_title(panel["title"], fontsize=10)
    axes.set_xlabel(spec["axes"][0])
  several[0].set_ylabel(spec["axes"][1])
  if drawn is not None:
    figure.colorbar(drawn, ax=list(several), label=spec["scale"])


def _level(value: words.Number | None) -> str:
  return "" if value is None else f"{value:g}"


def _radar(figure: figures.Figure, spec: parts.Spec) -> None:
  figure.set_size_inches(WIDTH_IN, 4.4)
  axes = figure.add_subplot(projection="polar")
  names = spec["categories"]
  angles = np.linspace(0, 2 * np.pi, len(names), endpoint=False)
  around = np.append(angles, angles[:1])
  for one in spec["series"]:
    colour, value = COLOURS[one["colour"]], _numbers(one["value"])
    closed = np.append(value, value[:1])
    axes.plot(around, closed, color=colour, label=one["name"])
    axes.fill(around, closed, color=colour, alpha=0.12)
  polar: Any = axes
  polar.set_theta_offset(np.pi / 2)
  polar.set_theta_direction(-1)
  axes.set_xticks(angles, names)
  axes.set_yticks([0.25, 0.5, 0.75, 1.0], [])
  axes.set_ylim(0, 1)
  axes.spines["polar"].set_color(FAINT)
  axes.legend(loc="upper right", bbox_to_anchor=(1.35, 1.1))


def _numbers(values: Sequence[words.Number | None]) -> np.ndarray:
  """Numbers, NaN where there is none."""
  return np.array([np.nan if v is None else v for v in values], np.float64)


KINDS = {
  "bars": _bars,
  "dots": _dots,
  "lines": _lines,
  "maps": _maps,
  "radar": _radar,
}
