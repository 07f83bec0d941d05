"""The clips that could not be read: counted, listed, and too many of them."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable

from vdr.runtime import errors


@dataclasses.dataclass(frozen=True)
class Failure:
  """A clip that could not be read.

  Attributes:
    source: name of its source in the config.
    clip_index: which item of its source.
    clip_id: the source's own name of it.
    reason: why it could not be read.
  """

  source: str
  clip_index: int
  clip_id: str
  reason: str


class Failures:
  """Collects failures and ends the work once there are too many.

  Two rules decide, neither of which a run of bad luck can trip:

  - once this host has seen its share of a pass: more different clips are bad
    than `max_share` of all the data;
  - at any time: bad clips exceed `max_share` of the clips seen by more than
    5 · √(max_share · seen) + 3, which is far beyond chance (five standard
    deviations). With `max_share` 0 the first bad clip is one too many.

  Each host counts its own clips only: it tells the others by ending.

  Attributes:
    num_seen: clips seen by this object, repetitions included, padding not.
    num_bad: those of them that could not be read.
  """

  def __init__(
    self,
    max_share: float,
    num_clips: int,
    num_hosts: int = 1,
    path: str | os.PathLike | None = None,
  ):
    """Starts counting at 0.

    Args:
      max_share: of clips that may be bad.
      num_clips: clips of all the data.
      num_hosts: hosts that share them.
      path: JSON lines that every clip is added to, once, however often it is
        seen and however often the work is started again; None writes nothing.
    """
    self.num_seen = 0
    self.num_bad = 0
    self._max_share = max_share
    self._num_clips = num_clips
    self._share_of_pass = num_clips / num_hosts
    self._path = None if path is None else pathlib.Path(path)
    self._unique: dict[tuple[str, str], Failure] = {}
    self._written: set[tuple[str, str]] | None = None

  @property
  def unique(self) -> tuple[Failure, ...]:
    """Every bad clip once, in the order they were met."""
    return tuple(self._unique.values())

  def add(self, num_seen: int, failures: Iterable[Failure]) -> None:
    """Takes note of `num_seen` more clips, of which `failures` are bad.

    Raises:
      UserError: too many clips are bad; they are written down all the same.
    """
    self.num_seen += num_seen
    new = []
    for failure in failures:
      self.num_bad += 1
      key = failure.source, failure.clip_id
      if key not in self._unique:
        self._unique[key] = failure
        new.append(failure)
    if new:
      self._write(new)
    self._judge()

  def _judge(self) -> None:
    bad, seen = self.num_bad, self.num_seen
    chance = self._max_share * seen
    over = bad > chance + 5 * chance**0.5 + 3 * (self._max_share > 0)
    if not over and seen >= self._share_of_pass:
      bad, seen = len(self._unique), self._num_clips
      over = bad > self._max_share * seen
    if not over:
      return
    first = next(iter(self._unique.values()))
    listed = f"; {self._path} lists them" if self._path else ""
    raise errors.UserError(
      f"{bad} of {seen} clips could not be read: {bad / seen:.2%}, and"
      f" data.max_bad_share={self._max_share:g} allows {self._max_share:.2%};"
      f" the first was {first.clip_id} of source {first.source!r}:"
      f" {first.reason}{listed}; mend or remove them, or raise"
      " data.max_bad_share"
    )

  def _write(self, failures: Iterable[Failure]) -> None:
    if self._path is None:
      return
    if self._written is None:
      self._written = _read_keys(self._path)
    lines = []
    for failure in failures:
      key = failure.source, failure.clip_id
      if key not in self._written:
        self._written.add(key)
        lines.append(json.dumps(dataclasses.asdict(failure)) + "\n")
    if lines:
      self._path.parent.mkdir(parents=True, exist_ok=True)
      with self._path.open("ab", buffering=0) as file:  # one write, at the end
        file.write("".join(lines).encode())


def _read_keys(path: pathlib.Path) -> set[tuple[str, str]]:
  """What `path` lists already; a line that a kill cut short is cut off."""
  if not path.exists():
    return set()
  raw = path.read_bytes()
  whole = raw[: raw.rfind(b"\n") + 1]
  if len(whole) < len(raw):
    os.truncate(path, len(whole))
  entries = (json.loads(line) for line in whole.splitlines())
  return {(entry["source"], entry["clip_id"]) for entry in entries}
