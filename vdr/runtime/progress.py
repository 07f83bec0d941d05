"""How far long work is: a bar on a terminal, a line now and then elsewhere.

    with progress.bar(total, unit="clip", label="train", done=done) as bar:
      for shard in shards:
        ...
        bar.advance(len(shard))

Both show the mean rate since this start, and from it the time left. What was
already there at the start (`done`) counts as progress but not as work, so that
a resumed run shows its true rate.
"""

import contextlib
import re
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import tqdm

LINE_EVERY_S = 15.0  # seconds between two lines where there is no terminal


@runtime_checkable
class TextFile(Protocol):
  """What a bar needs of the file it writes to."""

  def write(self, text: str, /) -> Any: ...
  def flush(self) -> Any: ...
  def isatty(self) -> bool: ...


class Bar:
  """Counts units of work and shows them; made by `bar`.

  Attributes:
    done: units done so far, those of earlier starts included.
  """

  def __init__(self, done: int):
    self.done = done

  def advance(self, count: int = 1) -> None:
    """Tells that `count` more units are done."""
    self.done += count

  def note(self, text: str) -> None:
    """Sets what is shown behind the bar from now on, a loss for example."""


class Parts:
  """Says which part of the whole work each of several bars is.

      parts = Parts(5)
      parts.label("reading", 2)  # "[0-40%] reading"
      parts.label("fitting", 3)  # "[40-100%] fitting"

  Args:
    total: of the weights of all parts, which say how long they take.
  """

  def __init__(self, total: int):
    self._total, self._begun = total, 0

  def label(self, text: str, weight: int = 1) -> str:
    """The label of the next part's bar."""
    low, self._begun = self._begun, self._begun + weight
    low, high = (round(100 * x / self._total) for x in (low, self._begun))
    return f"[{low}-{high}%] {text}"


def share(line: str) -> float:
  """How much of the whole work the line of a bar says is done: 0 to 1.

  A line that does not say it counts as none.
  """
  part = re.match(r"\[(\d+)-(\d+)%\]", line)
  low, high = (int(x) / 100 for x in part.groups()) if part else (0.0, 1.0)
  found = re.search(r"\((\d+)%\)", line)
  done = min(int(found[1]) / 100, 1.0) if found else 0.0
  return low + (high - low) * done


@contextlib.contextmanager
def bar(
  total: int | None,
  *,
  unit: str = "step",
  label: str = "",
  done: int = 0,
  quiet: bool = False,
  file: TextFile | None = None,
) -> Iterator[Bar]:
  """Shows the progress of the work in its `with` block.

  Args:
    total: units of work in all; None if nobody knows.
    unit: what is counted, in the singular: "clip", "step".
    label: what the work is, in a word or two.
    done: units that were done before this start.
    quiet: show nothing, as on all hosts but the first.
    file: where to write; standard error by default.
  """
  file = sys.stderr if file is None else file
  if quiet or file is None:  # a process may have no standard error
    shown = Bar(done)
  elif file.isatty():
    shown = _TerminalBar(total, unit, label, done, file)
  else:
    shown = _LineBar(total, unit, label, done, file)
  try:
    yield shown
  finally:
    if isinstance(shown, (_TerminalBar, _LineBar)):
      shown.close()


class _Tqdm(tqdm.tqdm):
  # No thread that redraws a bar nobody advances: threads and forks mix badly.
  monitor_interval = 0


class _TerminalBar(Bar):
  """tqdm's bar, redrawn in place."""

  def __init__(
    self, total: int | None, unit: str, label: str, done: int, file: TextFile
  ):
    super().__init__(done)
    self._tqdm = _Tqdm(
      total=total,
      initial=done,
      desc=label or None,
      unit=f" {unit}",
      file=file,
      dynamic_ncols=True,
      smoothing=0,  # the mean rate: shards come in bursts
    )

  def advance(self, count: int = 1) -> None:
    super().advance(count)
    self._tqdm.update(count)

  def note(self, text: str) -> None:
    self._tqdm.set_postfix_str(text)

  def close(self) -> None:
    self._tqdm.close()


class _LineBar(Bar):
  """Plain lines, for log files and pipes."""

  def __init__(
    self, total: int | None, unit: str, label: str, done: int, file: TextFile
  ):
    super().__init__(done)
    self._total, self._unit, self._file = total, unit, file
    self._prefix = f"{label}: " if label else ""
    self._initial = done
    self._start = self._last_line = time.monotonic()
    self._shown = done
    self._note = ""

  def note(self, text: str) -> None:
    self._note = f", {text}" if text else ""

  def advance(self, count: int = 1) -> None:
    super().advance(count)
    now = time.monotonic()
    if now - self._last_line >= LINE_EVERY_S:
      self._last_line = now
      self._write()

  def close(self) -> None:
    if self.done != self._shown:  # the end, or how far an error let it come
      self._write()

  def _write(self) -> None:
    self._shown = self.done
    elapsed = max(time.monotonic() - self._start, 1e-9)
    rate = (self.done - self._initial) / elapsed
    time_shown = duration(elapsed)
    if self._total:
      count = f"{self.done:,} of {self._total:,} {self._unit}s"
      count += f" ({self.done / self._total:.0%})"
      if self.done < self._total and rate > 0:
        time_shown = f"{duration((self._total - self.done) / rate)} left"
    else:
      count = f"{self.done:,} {self._unit}s"
    rate_shown = _rate(rate, self._unit)
    line = f"{self._prefix}{count}, {rate_shown}, {time_shown}{self._note}"
    print(line, file=self._file, flush=True)


def _rate(per_second: float, unit: str) -> str:
  """Units per second, or seconds per unit where that is the larger number."""
  if 0 < per_second < 1:
    return f"{1 / per_second:,.1f} s/{unit}"
  return f"{per_second:,.1f} {unit}s/s"


def duration(seconds: float) -> str:
  """Hours, minutes and seconds: 1:02:03, or 2:03 under an hour."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return (
    f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
  )
