"""The clips that probes are fitted to, chosen on and scored on.

Three splits of one source, with the targets of some tasks.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vdr.data import loader
from vdr.runtime import errors
from vdr.tasks import Task

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Arrays = dict[str, np.ndarray]
SPLITS = ("train", "select", "test")


class Splits:
  """The clips of all splits, with the targets of some tasks.

  Targets are kept after the first reading of a split; from then on only pixels
  are read.

  Attributes:
    tasks: all of them.
    is_image: they are asked of the middle frame only.
    num_clips: of each split, those that can't be read among them.
    skipped: clips of each split that could not be read.
  """

  def __init__(self, config: Config, tasks: Sequence[Task]):
    self._config, self.tasks = config, list(tasks)
    self.is_image = self.tasks[0].is_image
    self.num_clips: dict[str, int] = {}
    self.skipped: dict[str, int] = {}
    self._kept: dict[str, Arrays] = {}

  def batches(self, split: str) -> Iterator[tuple[Arrays, Arrays]]:
    """Every clip of a split, once, in order; the last batch is filled up.

    Yields:
      A batch, and the targets of all tasks, under "TASK/NAME"; `clip_valid`
      there says which clips count.
    """
    kept, parts, start = self._kept.get(split), [], 0
    fields = {name for one in self.tasks for name in one.fields}
    for batch in self._read(split, fields if kept is None else set()):
      stop = start + len(batch["clip_valid"])
      if kept is None:
        own = self._targets(batch)
        parts.append(own)
      else:
        own = {k: v[start:stop] for k, v in kept.items()}
        own["clip_valid"] = own["clip_valid"] & batch["clip_valid"]
      start = stop
      yield batch, own
    if kept is None and parts:
      self._kept[split] = {
        k: np.concatenate([part[k] for part in parts]) for k in parts[0]
      }

  def targets(self, split: str) -> Arrays:
    """The targets of all clips of a split, as `batches` has them."""
    if split not in self._kept:
      for _ in self.batches(split):
        pass
    if split not in self._kept:
      raise errors.UserError(f"there are no clips in the split {split!r}")
    return self._kept[split]

  def first_clips(self, count: int) -> UInt8[np.ndarray, "b t h w 3"]:
    """The first test clips; of tasks on images their middle frame."""
    video = next(iter(self._read("test", set())))["video"][:count]
    return self.seen(video)

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
    return self.num_clips[split]

  def _loader(self, split: str, fields: Collection[str]) -> loader.Loader:
    config = self._config
    cfg = config.data.copy_and_resolve_references()
    with cfg.unlocked():
      cfg.update(shuffle=False, num_epochs=1)
      for source in cfg.sources.values():
        source.split = config.evaluate.splits[split]
        source.fields = ("video", *sorted(fields))
    return loader.Loader(
      cfg, seed=config.seed, num_workers=config.runtime.num_workers
    )

  def _read(self, split: str, fields: Collection[str]) -> Iterator[Arrays]:
    left, bad = self.count(split), 0
    with self._loader(split, fields) as batches:
      for batch in batches:
        batch["clip_valid"] &= np.arange(len(batch["clip_valid"])) < left
        seen = min(left, int((batch["clip_index"] >= 0).sum()))
        bad += seen - int(batch["clip_valid"].sum())
        left -= seen
        if left <= 0:
          self.skipped[split] = bad
        yield batch
        if left <= 0:
          break

  def _targets(self, batch: Arrays) -> Arrays:
    found = {"clip_valid": batch["clip_valid"]}
    for one in self.tasks:
      own = one.targets(batch)
      found |= {f"{one.name}/{k}": v for k, v in own.items()}
    return found


def own_targets(one: Task, targets: Mapping[str, Any]) -> dict[str, Any]:
  """One task's targets of those of all, and `clip_valid`."""
  prefix = f"{one.name}/"
  return {
    k.removeprefix(prefix): v
    for k, v in targets.items()
    if k.startswith(prefix) or k == "clip_valid"
  }


def valid_targets(one: Task, targets: Arrays) -> Arrays:
  """One task's targets of the clips that count."""
  own = own_targets(one, targets)
  valid = own.pop("clip_valid")
  return {k: v[valid] for k, v in own.items()}
