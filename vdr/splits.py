"""The clips that probes are fitted to, chosen on and scored on.

Three splits of one source, with the targets of some tasks. Several hosts take
turns at the batches of a split; a batch is whole, so that what is computed of
it is what one host would.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from vdr.data import held_out, loader
from vdr.data import source as source_lib
from vdr.runtime import errors, hosts
from vdr.tasks import Task, scoring

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Arrays = dict[str, np.ndarray]
SPLITS = ("train", "select", "test")


class Known(NamedTuple):
  """What is known of the clips of a split that count, in one task.

  Attributes:
    targets: of the task.
    clips: which they are.
  """

  targets: Arrays
  clips: scoring.Clips


class Splits:
  """The clips of all splits, with the targets of some tasks.

  Targets are kept after the first reading of a split; from then on only pixels
  are read.

  Attributes:
    tasks: all of them.
    is_image: they are asked of the middle frame only.
    num_clips: of each split, those that can't be read among them.
    skipped: clips of each split that could not be read, at its first reading.
  """

  def __init__(self, config: Config, tasks: Sequence[Task]):
    self._config, self.tasks = config, list(tasks)
    self.is_image = self.tasks[0].is_image
    self.num_clips: dict[str, int] = {}
    self.skipped: dict[str, int] = {}
    self._kept: dict[str, Arrays] = {}
    self._sources: dict[str, source_lib.Source] = {}
    self._clips: dict[str, scoring.Clips] = {}

  def batches(self, split: str) -> Iterator[tuple[Arrays, Arrays]]:
    """Every clip of a split, once, in order; the last batch is filled up.

    Host h of n gets batches h, h + n, h + 2n, … All get equally many, some of
    them one without clips at the end, and all go on together.

    Yields:
      A batch, and the targets of all tasks, under "TASK/NAME"; `clip_valid`
      there says which clips count, and `clip_index` which they are.
    """
    kept, parts = self._kept.get(split), []
    fields = {name for one in self.tasks for name in one.fields}
    for start, batch in self._read(split, fields if kept is None else set()):
      if kept is None:
        found = hosts.gather(self._targets(batch))
        parts += found
        own = found[jax.process_index()]
      else:
        stop = start + len(batch["clip_valid"])
        own = {k: v[start:stop] for k, v in kept.items()}
        own["clip_valid"] = own["clip_valid"] & batch["clip_valid"]
      yield batch, own
    if kept is None and parts:
      self._kept[split] = kept = {
        k: np.concatenate([part[k] for part in parts]) for k in parts[0]
      }
      self.skipped[split] = self.count(split) - int(kept["clip_valid"].sum())

  def targets(self, split: str) -> Arrays:
    """The targets of all clips of a split, as `batches` of all hosts have."""
    if split not in self._kept:
      for _ in self.batches(split):
        pass
    if split not in self._kept:
      raise errors.UserError(f"there are no clips in the split {split!r}")
    return self._kept[split]

  def clips(self, split: str) -> scoring.Clips:
    """The clips of a split that can be read, with their videos and groups.

    Raises:
      UserError: there are none.
    """
    if split not in self._clips:
      kept = self.targets(split)
      index = kept[scoring.INDEX][kept[scoring.VALID]]
      if not len(index):
        raise errors.UserError(
          f"none of the {self.count(split)} clips of the split {split!r} can be"
          " read; the log says why"
        )
      source = self._sources[split]
      videos = [source.video_of(i) for i in index.tolist()]
      groups = np.array([source.group_of(i) for i in index.tolist()])
      _, numbers = np.unique(videos, return_inverse=True)
      self._clips[split] = scoring.Clips(index, numbers.reshape(-1), groups)
    return self._clips[split]

  def known(self, one: Task) -> dict[str, Known]:
    """What is known of all splits in one task."""
    return {
      split: Known(valid_targets(one, self.targets(split)), self.clips(split))
      for split in SPLITS
    }

  def first_clips(self, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
    """The first test clips; of tasks on images their middle frame.

    For the first host alone, which has the first batch.
    """
    _, batch = next(iter(self._read("test", set())))
    return self.seen(batch["video"][:count])

  def seen(self, video: np.ndarray) -> np.ndarray:
    """What tasks are asked of: clips, or their middle frame."""
    middle = video.shape[1] // 2
    return video[:, middle : middle + 1] if self.is_image else video

  @property
  def num_read(self) -> dict[str, int]:
    """Clips of each split that could be read."""
    return {k: n - self.skipped.get(k, 0) for k, n in self.num_clips.items()}

  def count(self, split: str) -> int:
    """Clips of a split, those that can't be read among them."""
    if split not in self.num_clips:
      most = self._config.evaluate.num_clips[split]
      with self._loader(split, set()) as batches:
        self.num_clips[split] = min(batches.num_clips, most or 2**62)
        (self._sources[split],) = batches.sources.values()
    return self.num_clips[split]

  def _loader(
    self, split: str, fields: Collection[str], max_clips: int | None = None
  ) -> loader.Loader:
    config = self._config
    # The loader shares out the rows of a batch: one for each host's batch.
    size = config.data.batch_size * jax.process_count()
    cfg = held_out.of_split(
      config.data,
      config.evaluate.splits[split],
      shuffle=False,
      num_epochs=1,
      batch_size=size,
    )
    with cfg.unlocked():
      for source in cfg.sources.values():
        source.fields = ("video", *sorted(fields))
    return loader.Loader(
      cfg,
      seed=config.seed,
      num_workers=config.runtime.num_workers,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
      max_clips=max_clips,
    )

  def _read(
    self, split: str, fields: Collection[str]
  ) -> Iterator[tuple[int, Arrays]]:
    """This host's batches, and where in the split they start."""
    limit = self.count(split)
    index, count = jax.process_index(), jax.process_count()
    with self._loader(split, fields, limit) as batches:
      for number, batch in enumerate(batches):
        size = len(batch["clip_valid"])
        yield (number * count + index) * size, batch

  def _targets(self, batch: Arrays) -> Arrays:
    found = {
      scoring.VALID: batch[scoring.VALID],
      scoring.INDEX: batch[scoring.INDEX].astype(np.int32),
    }
    for one in self.tasks:
      own = one.targets(batch)
      found |= {f"{one.name}/{k}": v for k, v in own.items()}
    return found


def check(config: Config, trained: Config, labels: Collection[str]) -> None:
  """Refuses splits that share clips, or with the model's training.

  Probes may be fitted to clips of the model's training, but neither chosen nor
  scored on them.

  Args:
    config: the whole config.
    trained: the one that the model was trained with.
    labels: fields of the classes that probes learn.

  Raises:
    UserError: clips are shared, a split is empty, or nobody could learn a
      class.
  """
  cfg = config.evaluate
  parts, most = {}, {}
  for name in SPLITS:
    field = f"evaluate.splits.{name}={cfg.splits[name]}"
    parts[field] = [held_out.of_split(config.data, cfg.splits[name])]
    most[field] = cfg.num_clips[name]
  held_out.check(parts, most, sorted(labels))
  for field, (data,) in list(parts.items())[1:]:
    held_out.check_unseen(trained, field, data)


def own_targets(one: Task, targets: Mapping[str, Any]) -> dict[str, Any]:
  """One task's targets of those of all, `clip_valid` and `clip_index`."""
  prefix = f"{one.name}/"
  return {
    k.removeprefix(prefix): v
    for k, v in targets.items()
    if k.startswith(prefix) or k in (scoring.VALID, scoring.INDEX)
  }


def valid_targets(one: Task, targets: Arrays) -> Arrays:
  """One task's targets of the clips that count."""
  own = own_targets(one, targets)
  valid, _ = own.pop(scoring.VALID), own.pop(scoring.INDEX)
  return {k: v[valid] for k, v in own.items()}
