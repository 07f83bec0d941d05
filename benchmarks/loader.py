"""What the pipeline costs, and what its workers bring.

  python -m benchmarks.loader [--path=DIR] [--split=train] [--rounds=5]

Prints Markdown tables of clips per second relative to a bare loop over
`source.read` on one core: medians of rounds in which all ways take turns, since
the speed of a shared machine changes by the minute. Sources: one in memory that
only copies (what the pipeline itself costs), one that computes 10 ms a clip
(what workers bring), and the data set of the simulated world in --path.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from absl import app, flags

from configs import base
from vdr.data import loader, prefetch, schema
from vdr.data import source as source_lib
from vdr.runtime import processes

_PATH = flags.DEFINE_string("path", None, "Simulated data set to read.")
_SPLIT = flags.DEFINE_string("split", "train", "Split of it.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds; medians are printed.")
_SECONDS = flags.DEFINE_float("seconds", 1.0, "Time of one way in one round.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Clips of a batch.")


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

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    end = time.thread_time() + self._compute_s
    while time.thread_time() < end:
      rng.random(1000)
    return {"video": self._video.copy(), "label": np.array(index, np.int32)}


def _loader(source: source_lib.Source, num_workers: int) -> loader.Loader:
  cfg = base.loader()
  cfg.batch_size = _BATCH.value
  return loader.Loader(
    cfg, seed=0, num_workers=num_workers, sources={"main": source}
  )


def _bare(source: source_lib.Source) -> Iterator[None]:
  """One batch's worth of reads at a time, and nothing else."""
  index = 0
  while True:
    for _ in range(_BATCH.value):
      source.read(index % len(source), np.random.default_rng(index))
      index += 1
    yield


def _rate(step: Callable[[], object]) -> float:
  """Batches per second of one turn."""
  start, count = time.perf_counter(), 0
  while time.perf_counter() - start < _SECONDS.value:
    step()
    count += 1
  return count / (time.perf_counter() - start)


def _table(name: str, source: source_lib.Source) -> None:
  """Measures all ways in turns and prints their medians.

  Only one way runs at a time: a loader starts for its turn and warms up, so
  that its workers do not slow the others.
  """
  ways = ["bare loop", "0 workers", "1 worker", "2 workers", "2 + device"]
  ratios: dict[str, list[float]] = {way: [] for way in ways}
  rates = []
  for _ in range(_ROUNDS.value):
    bare = _bare(source)
    reference = _rate(lambda bare=bare: next(bare))
    rates.append(reference * _BATCH.value)
    ratios["bare loop"].append(1.0)
    for way, num_workers in zip(ways[1:], (0, 1, 2, 2), strict=True):
      with contextlib.ExitStack() as stack:
        batches = stack.enter_context(_loader(source, num_workers))
        if way.endswith("device"):
          batches = stack.enter_context(prefetch.prefetch_to_device(batches))
        for _ in range(3 * max(1, num_workers)):
          next(batches)  # start, and empty what was read before the turn
        rate = _rate(
          lambda batches=batches: jax.block_until_ready(_next(batches))
        )
        ratios[way].append(rate / reference)
  print(f"\n{name}: bare loop {statistics.median(rates):.0f} clips/s\n")
  print("| way | clips/s, relative | range |\n|---|---|---|")
  for way, values in ratios.items():
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"| {way} | {middle:.2f} | {low:.2f} to {high:.2f} |")


def _next(batches: Iterator) -> object:
  batch = next(batches)
  return batch.arrays if isinstance(batch, prefetch.DeviceBatch) else None


def main(argv: list[str]) -> None:
  del argv
  print(f"{processes.usable_cores()} usable cores, batches of {_BATCH.value}")
  _table("in memory", Synthetic(0.0))
  _table("10 ms of computing a clip", Synthetic(0.01))
  if _PATH.value:
    cfg = base.source()
    cfg.path, cfg.split = _PATH.value, _SPLIT.value
    _table("simulated world, video", source_lib.open_source(cfg))


if __name__ == "__main__":
  app.run(main)
