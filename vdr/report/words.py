"""How numbers and names are said to people."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Json = Mapping[str, Any]


class Metric(NamedTuple):
  """How a metric is written.

  Attributes:
    title: for people.
    unit: behind a number; "" if it has none.
    factor: from the number in files to the number on the page.
    digits: behind the point.
  """

  title: str
  unit: str = ""
  factor: float = 1.0
  digits: int = 3

  @property
  def label(self) -> str:
    """For an axis: "top-1 accuracy, %"."""
    return f"{self.title}, {self.unit}" if self.unit else self.title


METRICS = {
  "top_1": Metric("top-1 accuracy", "%", 100.0, 1),
  "abs_rel": Metric("AbsRel"),
  "r_squared": Metric("R²"),
  "error_px": Metric("mean error", "px of 256", 1.0, 2),
  "iou": Metric("IoU"),
}
MINUS, NONE = "\N{MINUS SIGN}", "\N{EN DASH}"


def metric(name: str) -> Metric:
  """How a metric is written; one that is not known here by its name."""
  return METRICS.get(name, Metric(name.replace("_", " ")))


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
  """A number with a real minus sign; a dash for none."""
  if value is None or not math.isfinite(value):
    return NONE
  text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
  if not float(text):  # no sign before a zero
    text = text.lstrip("+-")
  return text.replace("-", MINUS)


def percent(value: float | None, sign: bool = True) -> str:
  """A share as a percentage: "+42 %", "+1.8 %"."""
  if value is None or not math.isfinite(value):
    return NONE
  digits = 1 if abs(value) < 0.0995 else 0
  return f"{number(100 * value, digits, sign)}\N{NO-BREAK SPACE}%"


def score(name: str, value: float | None, sign: bool = False) -> str:
  """A score in the unit of its metric, without the unit."""
  return number(scaled(name, value), metric(name).digits, sign)


def scaled(name: str, value: float | None) -> float | None:
  """A score as its axis has it."""
  return None if value is None else metric(name).factor * value


def scored(name: str, value: float | None) -> str:
  """A score with its unit."""
  unit = metric(name).unit
  if value is None or not unit:
    return score(name, value)
  return f"{score(name, value)}\N{NO-BREAK SPACE}{unit}"


def interval(low: str, high: str) -> str:
  """An interval of two numbers that are text already."""
  return NONE if NONE in (low, high) else f"{low} to {high}"


def p_value(value: float | None) -> str:
  """A p-value: two digits, or less than a thousandth."""
  if value is None:
    return NONE
  return "< .001" if value < 1e-3 else f"{value:.2g}".removeprefix("0")


def listed(items: Sequence[str]) -> str:
  """ "a", "a and b", "a, b and c"."""
  if len(items) < 2:
    return "".join(items)
  return f"{', '.join(items[:-1])} and {items[-1]}"


def seconds(value: float | None) -> str:
  """A duration: "34 s", "12 min", "3.4 h"."""
  if value is None:
    return NONE
  if value < 100:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
  return f"{value / 60:.0f} min" if value < 6000 else f"{value / 3600:.1f} h"


def count(value: float | None) -> str:
  """A large number: "954,008", "8.77e12"."""
  if value is None:
    return NONE
  return f"{value:,.0f}" if value < 1e9 else f"{value:.3g}"


def escape(text: Any) -> str:
  """Text for HTML."""
  return html.escape(str(text))


def plural(count: int, word: str) -> str:
  """ "1 clip", "3 clips"."""
  return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


TASKS = {
  "shape": "image classification",
  "action": "action recognition",
  "depth": "monocular depth",
  "pose": "relative camera pose",
  "points": "point tracking",
  "boxes": "box tracking",
}


def task_title(name: str) -> str:
  """A task that has no result yet, for people."""
  return TASKS.get(name, name.replace("_", " "))
