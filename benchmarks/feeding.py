"""Rates at which clips arrive, bare or through the loader."""

import contextlib
import time
from collections.abc import Callable, Iterator

import jax

from configs import base
from vdr.data import loader, prefetch
from vdr.data import source as source_lib


def bare(
  read: Callable[[int], object], batch_size: int, seconds: float
) -> float:
  """Clips per second of reading one after the other, and nothing else.

  Args:
    read: reads clip number 0, 1, 2, …
    batch_size: clips that are read between two looks at the clock.
    seconds: time of the turn.
  """

  def batches() -> Iterator[None]:
    index = 0
    while True:
      for _ in range(batch_size):
        read(index)
        index += 1
      yield

  found = batches()
  return batch_size * _rate(lambda: next(found), seconds)


def loaded(
  source: source_lib.Source,
  num_workers: int,
  batch_size: int,
  seconds: float,
  *,
  to_device: bool,
) -> float:
  """Clips per second of the loader, which starts for this turn and warms up.

  Args:
    source: that it reads.
    num_workers: worker processes; 0: threads.
    batch_size: clips of a batch.
    seconds: time of the turn, start-up apart.
    to_device: through `prefetch_to_device`, as in training.
  """
  cfg = base.loader()
  cfg.batch_size = batch_size
  with contextlib.ExitStack() as stack:
    batches: Iterator = stack.enter_context(
      loader.Loader(
        cfg, seed=0, num_workers=num_workers, sources={"main": source}
      )
    )
    if to_device:
      batches = stack.enter_context(prefetch.prefetch_to_device(batches))

    def step() -> object:
      batch = next(batches)
      arrays = isinstance(batch, prefetch.DeviceBatch)
      return jax.block_until_ready(batch.arrays) if arrays else batch

    for _ in range(3 * max(1, num_workers)):
      step()  # start, and empty what was read before the turn
    return batch_size * _rate(step, seconds)


def _rate(step: Callable[[], object], seconds: float) -> float:
  """Steps per second."""
  start, count = time.perf_counter(), 0
  while time.perf_counter() - start < seconds:
    step()
    count += 1
  return count / (time.perf_counter() - start)
