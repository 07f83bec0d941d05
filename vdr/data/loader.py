"""Sources → shuffled, mixed, sharded and batched clips, by Grain.

Batch k is a pure function of (seed, k): position p of the stream decides which
clip is read (`vdr.data.order`) and what is random about it, and row j of batch
k is position k · batch_size + j. Hosts take consecutive rows of every batch.
The state of a loader is therefore one number, the next batch, whatever the
number of hosts and workers. Grain's own iterator state belongs to one layout of
workers, so it is not used: going on means slicing Grain's random-access data
set at the batch where the work stopped.
"""

import math
import os
import pathlib
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import grain
import numpy as np
from jaxtyping import Int

from vdr.data import failures as failures_lib
from vdr.data import host_clips, numbering, schema, workers
from vdr.data import order as order_lib
from vdr.data import source as source_lib
from vdr.runtime import errors, processes

Batch = dict[str, np.ndarray]
# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any


class Loader(Iterator[Batch]):
  """An iterator of batches, of which this host gets its rows.

  A batch has the fields of the sources and `clip_valid`, `clip_index`,
  `clip_id` and `error`, each with a leading axis of batch_size / process_count
  rows. A clip that can't be read is a row of zeros with `clip_valid` False and
  the reason in `error`. With a finite number of epochs the last batch is filled
  up with rows of zeros, `clip_index` -1, so every host gets the same number of
  batches; `shuffle=False, num_epochs=1` yields every clip once over all hosts.

  An endless mixture spreads its sources evenly, in proportion to their weights.
  A finite one has every clip of every source `num_epochs` times (one source
  behind the other, or shuffled together), so its weights must be equal.

  Workers start with the first batch. A second `for` goes on where the first
  stopped; `restore({"position": 0})` starts over. Each worker holds up to three
  batches: host memory is about 3 · num_workers · batch_size / process_count
  clips.

  Attributes:
    sources: the sources by name, those of weight 0 left out.
    num_clips: clips in one pass over all sources.
    num_batches: batches in all, None if endless; the same on every host.
    num_workers: worker processes; 0 is threads of this process.
    failures: counts and lists the clips that could not be read here.
  """

  def __init__(
    self,
    cfg: Config,
    *,
    seed: int,
    num_workers: int,
    process_index: int = 0,
    process_count: int = 1,
    max_clips: int | None = None,
    sources: Mapping[str, source_lib.Source] | None = None,
    failures_path: str | os.PathLike | None = None,
  ):
    """Opens the sources and reads one clip of each to learn the shapes.

    Args:
      cfg: of `configs/fields/data.py:loader`.
      seed: 0 to 2³² - 1; decides every order and every crop.
      num_workers: worker processes; 0: threads of this process (for notebooks
        and tests); -1: one process for each usable core.
      process_index: which host this is.
      process_count: how many hosts share each batch.
      max_clips: end after so many, of all hosts together; nothing is read ahead
        beyond them.
      sources: the sources, opened already, under the names of cfg.sources;
        None opens what cfg.sources describes. Reads come from several threads
        or processes at once.
      failures_path: JSON lines to list the clips that could not be read, each
        once; with several hosts "-INDEX" goes before the suffix.

    Raises:
      UserError: the config can't be met, or sources don't go together.
    """
    _check_config(cfg, seed, num_workers, process_count)
    names = sorted(n for n in cfg.sources if cfg.sources[n].weight > 0)
    _check_memory(cfg, process_count)
    if sources is None:
      sources = numbering.unite(
        {n: source_lib.open_source(cfg.sources[n]) for n in names}
      )
    self.sources = {n: sources[n] for n in names}
    self.num_clips = _count_clips(self.sources)
    self.num_workers = processes.resolve(num_workers)
    self._clips = host_clips.HostClips(
      names=tuple(names),
      sources=tuple(self.sources.values()),
      order=_order(cfg, self.sources, seed),
      num_positions=_count_positions(self.num_clips, cfg.num_epochs, max_clips),
      batch_size=cfg.batch_size,
      process_index=process_index,
      process_count=process_count,
      spec=host_clips.common_spec(self.sources),
    )
    self.num_batches = self._clips.num_batches
    self.failures = failures_lib.Failures(
      cfg.max_bad_share,
      self.num_clips,
      process_count,
      _host_path(failures_path, process_index, process_count),
    )
    self._position = 0
    self._checked = False
    self._reader: workers.Reader | None = None
    self._finalizer: weakref.finalize | None = None

  def __next__(self) -> Batch:
    """The next batch, this host's rows of it.

    Raises:
      UserError: too many clips can't be read, or a worker process died.
    """
    if self._position == self.num_batches:
      self.close()
      raise StopIteration
    try:
      batch = self._reader_here().next()
      if not self._checked:
        schema.check(batch, batched=True)
        self._checked = True
      self._note_failures(batch)
    except BaseException:
      self.close()  # the reader may be ahead of the position now
      raise
    self._position += 1
    return batch

  def groups(self, rows: Int[np.ndarray, " rows"]) -> list[tuple[str, str]]:
    """Source and group of rows of the last batch, none of them padding."""
    start = (self._position - 1) * self._clips.rows
    return [self._clips.group(start + int(row)) for row in rows]

  def state(self) -> dict[str, int]:
    """Where the loader stands: `position` is the number of the next batch.

    It holds for any number of hosts and workers, with the same sources, seed
    and batch size.
    """
    return {"position": self._position}

  def restore(self, state: Mapping[str, int]) -> None:
    """Goes on from a `state()`.

    Raises:
      ValueError: the loader has no such position.
    """
    position = int(state["position"])
    if position < 0 or (
      self.num_batches is not None and position > self.num_batches
    ):
      raise ValueError(
        f"position {position} is not within 0 to {self.num_batches} batches"
      )
    self.close()
    self._position = position

  def close(self) -> None:
    """Ends the workers; the next batch, if asked for, starts them again."""
    if self._finalizer is not None:
      self._finalizer()
    self._finalizer = self._reader = None

  def __enter__(self) -> "Loader":
    return self

  def __exit__(self, *unused) -> None:
    self.close()

  def _reader_here(self) -> workers.Reader:
    """A reader at the current position, started if there is none."""
    if self._reader is None:
      data = grain.MapDataset.source(self._clips).batch(self._clips.rows)
      num_workers = self.num_workers
      if self.num_batches is not None:  # a worker without a batch is a waste
        num_workers = min(num_workers, self.num_batches - self._position)
      self._reader = workers.Reader(data[self._position :], num_workers)
      # Also when the loader is dropped or the interpreter ends.
      self._finalizer = weakref.finalize(self, self._reader.close)
    return self._reader

  def _note_failures(self, batch: Batch) -> None:
    seen = int((batch["clip_index"] >= 0).sum())
    bad = np.flatnonzero(~batch["clip_valid"] & (batch["clip_index"] >= 0))
    found = [
      self._clips.failure(
        self._position * self._clips.rows + int(row),
        schema.untext(batch["error"][row]),
      )
      for row in bad
    ]
    self.failures.add(seen, found)


def _count_clips(sources: Mapping[str, source_lib.Source]) -> int:
  """Clips of all sources; raises UserError if one has none."""
  for name, source in sources.items():
    if len(source) == 0:
      raise errors.UserError(
        f"source {name!r} has no clips; mend its path or split, or set"
        f" data.sources.{name}.weight=0 to leave it out"
      )
  return sum(len(source) for source in sources.values())


def _count_positions(
  num_clips: int, num_epochs: int, most: int | None
) -> int | None:
  """Clips that are read in all; None: without end."""
  counts = [num_clips * num_epochs] if num_epochs > 0 else []
  counts += [] if most is None else [most]
  return min(counts, default=None)


def _order(
  cfg: Config, sources: Mapping[str, source_lib.Source], seed: int
) -> order_lib.Order:
  weights = None
  if cfg.num_epochs < 0 and len(sources) > 1:
    weights = order_lib.whole_weights(
      [float(cfg.sources[n].weight) for n in sources]
    )
  return order_lib.Order(
    lengths=tuple(len(source) for source in sources.values()),
    weights=weights,
    seed=seed,
    shuffle=cfg.shuffle,
  )


def _check_config(
  cfg: Config,
  seed: int,
  num_workers: int,
  process_count: int,
) -> None:
  """Raises UserError for values that no loader can work with."""
  weights = {name: cfg.sources[name].weight for name in cfg.sources}
  problem = None
  if not 0 <= seed < 2**32:
    problem = f"seed={seed} is not within 0 to 2**32 - 1"
  elif num_workers < -1:
    problem = (
      f"runtime.num_workers={num_workers}: use -1 (one for each core), 0"
      " (threads) or more"
    )
  elif cfg.batch_size < 1 or cfg.batch_size % process_count:
    problem = (
      f"data.batch_size={cfg.batch_size} can't be shared equally by"
      f" {process_count} hosts; use a multiple of {process_count}"
    )
  elif cfg.num_epochs == 0 or cfg.num_epochs < -1:
    problem = f"data.num_epochs={cfg.num_epochs}: use -1 (endless), 1 or more"
  elif not 0 <= cfg.max_bad_share <= 1:
    problem = f"data.max_bad_share={cfg.max_bad_share} is not within 0 to 1"
  elif not weights:
    problem = "data.sources is empty; name at least one source"
  elif min(weights.values()) < 0 or max(weights.values()) == 0:
    problem = (
      f"data.sources has the weights {weights}; use 0 or more, not all 0"
    )
  elif cfg.num_epochs > 0 and len(set(weights.values()) - {0.0}) > 1:
    problem = (
      f"data.num_epochs={cfg.num_epochs} reads every clip of every source, so"
      f" the weights {weights} can't hold; make them equal or set num_epochs=-1"
    )
  if problem:
    raise errors.UserError(problem)


def _check_memory(cfg: Config, process_count: int) -> None:
  """Refuses batches whose pixels this machine can't hold."""
  rows = cfg.batch_size // process_count
  for name, source in cfg.sources.items():
    shape = source.num_frames, source.height, source.width
    processes.check_memory(
      3 * rows * math.prod(shape),
      f"batch_size={cfg.batch_size} clips of {'×'.join(map(str, shape))} pixels"
      f" (source {name!r})",
      "lower batch_size, or num_frames, height or width of the source",
    )


def _host_path(
  path: str | os.PathLike | None, process_index: int, process_count: int
) -> pathlib.Path | None:
  """A file for this host alone: appends of several hosts may tear lines."""
  if path is None:
    return None
  path = pathlib.Path(path)
  if process_count == 1:
    return path
  return path.with_stem(f"{path.stem}-{process_index}")
