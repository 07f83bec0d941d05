"""What the pipeline costs, and what its workers bring.

  python -m benchmarks.loader [--path=DIR] [--split=train] [--json=PATH]

Prints Markdown tables of clips per second relative to a bare loop over
`source.read` on one core: medians of rounds in which all ways take turns, since
the speed of a shared machine changes by the minute. Sources: one in memory that
only copies (what the pipeline itself costs), one that computes 10 ms a clip
(what workers bring), and the data set of the simulated world in --path.
"""

import time
from collections.abc import Callable

import numpy as np
from absl import app, flags

from benchmarks import feeding, turns
from configs import base
from vdr.data import schema
from vdr.data import source as source_lib
from vdr.runtime import processes

_PATH = flags.DEFINE_string("path", None, "Simulated data set to read.")
_SPLIT = flags.DEFINE_string("split", "train", "Split of it.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds; medians are printed.")
_SECONDS = flags.DEFINE_float("seconds", 1.0, "Time of one way in one round.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Clips of a batch.")

BARE = "bare loop"


class Synthetic:
  """Clips of 17×64×64 from memory, after a given time of computing."""

  class_names: dict[str, tuple[str, ...]] = {}

  def __init__(self, compute_s: float):
    self._compute_s = compute_s
    self._video = np.zeros((17, 64, 64, 3), np.uint8)

  def __len__(self) -> int:
    return 10_000

  def clip_id(self, index: int) -> str:
    return str(index)

  def video_of(self, index: int) -> str:
    return str(index)

  def group_of(self, index: int) -> str:
    return str(index)

  def contents(self, most: int | None = None) -> source_lib.Contents:
    count = len(self) if most is None else min(most, len(self))
    return source_lib.Contents({"synthetic": (range(count),)}, {})

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    end = time.thread_time() + self._compute_s
    while time.thread_time() < end:
      rng.random(1000)
    return {"video": self._video.copy(), "label": np.array(index, np.int32)}


def _ways(source: source_lib.Source) -> dict[str, Callable[[], float]]:
  """Clips per second of each way, in a turn of its own.

  Only one way runs at a time, so that workers do not slow the others.
  """

  def read(index: int) -> object:
    return source.read(index % len(source), np.random.default_rng(index))

  def loaded(num_workers: int, to_device: bool) -> Callable[[], float]:
    return lambda: feeding.loaded(
      source, num_workers, _BATCH.value, _SECONDS.value, to_device=to_device
    )

  return {
    BARE: lambda: feeding.bare(read, _BATCH.value, _SECONDS.value),
    "0 workers": loaded(0, False),
    "1 worker": loaded(1, False),
    "2 workers": loaded(2, False),
    "2 + device": loaded(2, True),
  }


def _table(name: str, source: source_lib.Source) -> list[turns.Comparison]:
  """Measures all ways in turns and prints their medians."""
  rates = turns.take(_ways(source), _ROUNDS.value)
  clips = turns.spread(rates[BARE]).middle
  print(f"\n{name}: {BARE} {clips:.0f} clips/s\n")
  rows, found = [], []
  for way, values in rates.items():
    relative = turns.ratios(values, rates[BARE])
    middle, least, most = turns.spread(relative)
    rows.append([way, f"{middle:.2f}", f"{least:.2f} to {most:.2f}"])
    if way != BARE:
      what = f"loader, {name}: {way} over a {BARE}"
      found.append(turns.Comparison.of(what, relative))
  print(turns.table(("way", "clips/s, relative", "range"), rows))
  return found


def main(argv: list[str]) -> None:
  del argv
  print(f"{processes.usable_cores()} usable cores, batches of {_BATCH.value}")
  found = _table("in memory", Synthetic(0.0))
  found += _table("10 ms of computing a clip", Synthetic(0.01))
  if _PATH.value:
    cfg = base.source()
    cfg.path, cfg.split = _PATH.value, _SPLIT.value
    found += _table("simulated world, video", source_lib.open_source(cfg))
  turns.write(found)


if __name__ == "__main__":
  app.run(main)
