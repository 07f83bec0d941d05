"""Ways to do one thing, timed in turns, and what comes of it.

The speed of a shared machine changes by the minute, so ways are timed one after
the other, round by round, in reversed order every second round; ratios are
taken within a round, and told are their median, least and most.
"""

import dataclasses
import functools
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from absl import flags

from vdr.runtime import processes, versions, workdir

T = TypeVar("T")
S = TypeVar("S")

JSON = flags.DEFINE_string("json", "", "Where to write the figures, too.")


class Seconds(NamedTuple):
  """Time of the wall, and of the processors that worked.

  On a machine that others use, too, only the latter tells much.
  """

  wall: float
  processor: float


class Spread(NamedTuple):
  """Of what was measured once a round."""

  middle: float
  least: float
  most: float


@dataclasses.dataclass(frozen=True)
class Comparison:
  """A line of the table of all benchmarks.

  Attributes:
    what: is compared with what, in words.
    value: the median over the rounds.
    least: of the rounds.
    most: of the rounds.
    unit: of all three, written behind them; × is a ratio.
    at_least: what is aimed at; None: no such aim.
    at_most: likewise.
  """

  what: str
  value: float
  least: float
  most: float
  unit: str = "×"
  at_least: float | None = None
  at_most: float | None = None

  @classmethod
  def of(cls, what: str, values: Iterable[float], **rest: Any) -> "Comparison":
    """From what was measured once a round."""
    return cls(what, *spread(values), **rest)

  @property
  def target(self) -> str:
    """What is aimed at, in words; "" if nothing is."""
    ends = (("≥", self.at_least), ("≤", self.at_most))
    return ", ".join(
      f"{sign} {end:.2f}" for sign, end in ends if end is not None
    )

  @property
  def held(self) -> str:
    """Whether the median reaches it: yes, no, or "" without a target."""
    if self.at_least is None and self.at_most is None:
      return ""
    least = -np.inf if self.at_least is None else self.at_least
    most = np.inf if self.at_most is None else self.at_most
    return "yes" if least <= self.value <= most else "no"

  def cells(self) -> list[str]:
    """What is compared, the median, the range, the target, held or not."""
    unit = "" if self.unit == "×" else f" {self.unit}"
    return [
      self.what,
      f"{number(self.value)}{unit}",
      f"{number(self.least)} to {number(self.most)}",
      self.target,
      self.held,
    ]


def number(value: float) -> str:
  """Three digits, as people write them."""
  return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Iterable[float]) -> Spread:
  """Median, least and most."""
  values = list(values)
  return Spread(statistics.median(values), min(values), max(values))


def ratios(over: Iterable[float], under: Iterable[float]) -> list[float]:
  """Ratios within each round."""
  return [a / b for a, b in zip(over, under, strict=True)]


def timed(run: Callable[[], Any]) -> Seconds:
  """How long a call takes, to the end of what it started on the device."""
  start = time.perf_counter(), time.process_time()
  jax.block_until_ready(run())
  return Seconds(time.perf_counter() - start[0], time.process_time() - start[1])


def each_timed(
  ways: Mapping[str, Callable[[], Any]],
) -> dict[str, Callable[[], Seconds]]:
  """Calls as ways that return how long they take."""
  return {name: functools.partial(timed, run) for name, run in ways.items()}


def medians(times: Iterable[Seconds]) -> Seconds:
  """Of the wall's and of the processors' time, each by itself."""
  return Seconds(*map(statistics.median, zip(*times, strict=True)))


def repeat(
  step: Callable[[], T],
  wait: Callable[[T], Any],
  seconds: float,
  clock: Callable[[], float] = time.perf_counter,
) -> float:
  """Seconds of a step, over as many as take about `seconds`.

  The first step, which wakes a library's threads, is not counted.

  Args:
    step: starts one; it may go on in the background.
    wait: until a step that was started is done.
    seconds: how long all of it takes, about.
    clock: `time.process_time` counts work and not what others take.
  """
  start = clock()
  wait(step())
  count = max(1, round(seconds / max(clock() - start, 1e-9)))
  start = clock()
  for _ in range(count - 1):
    step()
  wait(step())
  return (clock() - start) / count


def take(
  ways: Mapping[str, Callable[[], T]], rounds: int
) -> dict[str, list[T]]:
  """Lets all ways take turns.

  Args:
    ways: each makes one turn and returns what was measured.
    rounds: turns of each.

  Returns:
    By way, what was measured in each round.
  """
  found: dict[str, list[T]] = {name: [] for name in ways}
  for round_ in range(rounds):
    for name in list(ways)[:: -1 if round_ % 2 else 1]:
      found[name].append(ways[name]())
  return found


def beside(
  ways: Mapping[str, Callable[[], T]], reference: Callable[[], S], rounds: int
) -> dict[str, list[tuple[T, S]]]:
  """Lets each way and the reference take turns, pair by pair.

  Closer in time than `take`, for ways that are many.

  Returns:
    By way, what it and the reference beside it measured in each round.
  """
  found: dict[str, list[tuple[T, S]]] = {name: [] for name in ways}
  for round_ in range(rounds):
    for name, way in ways.items():
      if round_ % 2:
        other, own = reference(), way()
      else:
        own, other = way(), reference()
      found[name].append((own, other))
  return found


def check(what: str, ours: Any, theirs: Any, tolerance: float) -> float:
  """The largest difference of two sides whose speed is to be compared.

  Raises:
    SystemExit: it is too large for that.
  """
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  difference = float(np.abs(ours - theirs).max())
  if not difference <= tolerance:
    raise SystemExit(
      f"{what} differ by {difference:.2g}, more than {tolerance:g}: the two"
      " sides do not compute the same, and their times can't be compared"
    )
  return difference


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """A Markdown table."""
  lines = [f"| {' | '.join(map(str, line))} |" for line in (head, *rows)]
  lines.insert(1, "|---" * len(head) + "|")
  return "\n".join(lines)


def write(
  comparisons: Sequence[Comparison], about: Mapping[str, Any] | None = None
) -> None:
  """Writes the figures to --json, if that is given.

  Args:
    comparisons: lines for the table of all benchmarks.
    about: all else worth keeping, as plain JSON.
  """
  if not JSON.value:
    return
  device = jax.devices()[0].device_kind
  text = json.dumps(
    {
      "comparisons": [dataclasses.asdict(c) for c in comparisons],
      "about": dict(about or {}),
      "cores": processes.usable_cores(),
      "versions": versions.collect(device, jax.device_count()),
    },
    indent=2,
  )
  workdir.write_text(pathlib.Path(JSON.value), text + "\n")
