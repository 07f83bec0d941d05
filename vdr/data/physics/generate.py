"""The `physics` verb: makes the simulated data set.

The unit of work is a shard: `clips_per_shard` clips, simulated by one worker
process and written atomically. A start after a kill keeps the finished shards
and makes the others; since every clip is a pure function of the config and its
number, the files are the same as those of an unbroken run, byte for byte.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import multiprocessing.queues
import os
import pathlib
import queue
from collections.abc import Iterator

import ml_collections

from vdr.data.physics import clip, records, scenes
from vdr.runtime import errors, processes, progress, workdir

SECTIONS = ("physics",)  # of the config: they decide


@dataclasses.dataclass(frozen=True)
class _Shard:
  """Clips `start` to `stop` of a split, and the file that they go to."""

  path: pathlib.Path
  split: str
  start: int
  stop: int

  def __len__(self) -> int:
    return self.stop - self.start


def run(
  config: ml_collections.ConfigDict, directory: str | os.PathLike
) -> None:
  """Makes every shard that is not there yet, then TFDS's metadata.

  Raises:
    UserError: the config can't be carried out, or the directory holds a data
      set of another config (another size, say).
  """
  settings = clip.Settings.from_config(config.physics)
  _check(config.physics)
  path = workdir.claim(directory, config, SECTIONS)
  workdir.remove_leftovers(path)
  shards = _plan(config.physics, path)
  missing = [shard for shard in shards if not shard.path.exists()]
  total, left = sum(map(len, shards)), sum(map(len, missing))
  print(
    f"{total} clips of {settings.num_frames}×{settings.height}×"
    f"{settings.width} in {len(shards)} shards; {total - left} are there"
  )
  with progress.bar(
    total, unit="clip", label="simulating", done=total - left
  ) as bar:
    workers = processes.resolve(config.runtime.num_workers)
    workers = min(workers, len(missing))
    for count in _make(missing, settings, config.seed, workers):
      bar.advance(count)
  records.write_metadata(path, settings, _shard_lengths(shards))
  size = sum(shard.path.stat().st_size for shard in shards)
  print(
    f"{path}: {size / 1e6:.1f} MB, {size / max(total, 1) / 1e3:.1f} KB a clip"
  )


def _check(cfg: ml_collections.ConfigDict) -> None:
  if not any(cfg.num_clips.values()):
    raise errors.UserError(
      "every field of physics.num_clips is 0; set one to make clips"
    )
  for split, count in cfg.num_clips.items():
    least = -(-count // records.MAX_SHARDS)
    if cfg.clips_per_shard < least:
      raise errors.UserError(
        f"physics.num_clips.{split}={count} are too many files of"
        f" {cfg.clips_per_shard} clips; set physics.clips_per_shard to {least}"
        " or more"
      )


def _plan(
  cfg: ml_collections.ConfigDict, directory: pathlib.Path
) -> list[_Shard]:
  """Every shard of every split, in a fixed order."""
  shards = []
  for split in scenes.SPLITS:
    num_clips, size = cfg.num_clips[split], cfg.clips_per_shard
    num_shards = -(-num_clips // size)
    for i in range(num_shards):
      name = records.shard_name(split, i, num_shards)
      stop = min((i + 1) * size, num_clips)
      shards.append(_Shard(directory / name, split, i * size, stop))
  return shards


def _shard_lengths(shards: list[_Shard]) -> dict[str, list[int]]:
  lengths: dict[str, list[int]] = {}
  for shard in shards:
    lengths.setdefault(shard.split, []).append(len(shard))
  return lengths


def _make(
  shards: list[_Shard], settings: clip.Settings, seed: int, num_workers: int
) -> Iterator[int]:
  """Makes shards; yields numbers of clips as they are finished."""
  if num_workers < 1:
    for shard in shards:
      yield from _write(shard, settings, seed)
    return
  # Fresh interpreters: MuJoCo and NumPy don't care for forked threads.
  context = multiprocessing.get_context("spawn")
  finished = context.Queue()
  with concurrent.futures.ProcessPoolExecutor(
    num_workers,
    context,
    initializer=_start_worker,
    initargs=(finished, settings, seed),
  ) as pool:
    futures = [pool.submit(_work, shard) for shard in shards]
    try:
      yield from _watch(futures, finished)
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise


def _watch(
  futures: list[concurrent.futures.Future],
  finished: multiprocessing.queues.Queue,
) -> Iterator[int]:
  """Yields counts from the queue until all work is done."""
  while True:
    done = all(future.done() for future in futures)
    while True:
      try:
        yield finished.get(timeout=0 if done else 0.5)
      except queue.Empty:
        break
    for future in futures:
      if future.done():
        future.result()  # raises what the worker raised
    if done:
      return


def _write(shard: _Shard, settings: clip.Settings, seed: int) -> Iterator[int]:
  """Makes one shard; yields 1 for every clip."""
  encoded = []
  for index in range(shard.start, shard.stop):
    example = clip.simulate(settings, shard.split, seed, index)
    encoded.append(records.encode(example))
    yield 1
  records.write_shard(shard.path, encoded)


# What a worker process was started with.
_worker_state: (
  tuple[multiprocessing.queues.Queue, clip.Settings, int] | None
) = None


def _start_worker(
  finished: multiprocessing.queues.Queue, settings: clip.Settings, seed: int
) -> None:
  global _worker_state
  _worker_state = (finished, settings, seed)
  processes.exit_with_parent()


def _work(shard: _Shard) -> None:
  assert _worker_state is not None
  finished, settings, seed = _worker_state
  for count in _write(shard, settings, seed):
    finished.put(count)
