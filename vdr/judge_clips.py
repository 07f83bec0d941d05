"""What a judge learns from: clips of a split, and what is known of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, UInt8

from vdr.data import held_out, loader
from vdr.runtime import errors, processes, progress

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

CELLS = 4  # coarse depth: rows, and columns
NEAREST_M = 0.1  # nothing is nearer, for the sake of its inverse
CHUNK = 64  # clips at a time


class Clips(NamedTuple):
  """Clips and what is asked about them; all of it fits into memory.

  Attributes:
    video: pixels.
    labels: classes by field; -1 is unknown.
    box_yxyx: of the main object, normalised.
    box_valid: whether it is seen.
    inverse_depth: means of 1 / depth in cells, 1/m; 0 where nothing is.
  """

  video: UInt8[Any, "n t h w 3"]
  labels: dict[str, Int32[Any, " n"]]
  box_yxyx: Float32[Any, "n t 4"]
  box_valid: Bool[Any, "n t"]
  inverse_depth: Float32[Any, "n t i j"]


def read(
  config: Config, split: str, num_clips: int, label: str = "reading"
) -> tuple[Clips, dict[str, tuple[str, ...]]]:
  """Clips of a split with what is asked about them, and names of classes.

  Args:
    config: the whole config.
    split: of the source.
    num_clips: at the most; 0: all of them.
    label: what the progress bar is called, before the split.

  Raises:
    UserError: there are none, or they lack what is asked.
  """
  cfg = config.judge
  labels = tuple(dict.fromkeys((*cfg.clip_labels, *cfg.frame_labels)))
  dense = ("boxes_yxyx",) * (cfg.box_weight > 0)
  dense += ("depth_m",) * (cfg.depth_weight > 0)
  # In another order than the files': folders list class by class.
  data = held_out.of_split(
    config.data, split, shuffle=True, num_epochs=1, batch_size=CHUNK
  )
  with data.unlocked():
    for source in data.sources.values():
      source.fields = ("video", *labels, *dense)
  with loader.Loader(
    data, seed=config.seed, num_workers=config.runtime.num_workers
  ) as batches:
    (opened,) = batches.sources.values()
    names = opened.class_names
    parts, total = [], min(num_clips or batches.num_clips, batches.num_clips)
    with progress.bar(total, unit="clip", label=f"{label} {split}") as bar:
      for batch in batches:
        _refuse_missing(batch, names, labels, dense)
        parts.append(_clips_of(batch, labels, total - bar.done))
        processes.check_memory(
          total * sum(x.nbytes for x in jax.tree.leaves(parts[0])) // CHUNK,
          f"{total} clips of split {split!r}, kept,",
          "lower judge.num_clips or judge.test_clips",
        )
        bar.advance(len(parts[-1].video))
        if bar.done >= total:
          break
  clips = jax.tree.map(lambda *x: np.concatenate(x), *parts)
  if not len(clips.video):
    raise errors.UserError(
      f"no clip of data.sources, split {split!r}, can be read; mend its path"
    )
  return clips, names


def _refuse_missing(batch, names, labels, dense) -> None:
  """Raises UserError for clips about which the questions have no answer."""
  for name in (*labels, *dense):
    if name not in batch or (name in labels and name not in names):
      raise errors.UserError(
        f"clips of data.sources have no {name!r}; name what they have in"
        " judge.clip_labels and judge.frame_labels, and set judge.box_weight"
        " and judge.depth_weight to 0 where there is neither"
      )


def _clips_of(
  batch: loader.Batch, labels: tuple[str, ...], limit: int
) -> Clips:
  """The clips of a batch that could be read."""
  batch = {k: v[batch["clip_valid"]][:limit] for k, v in batch.items()}
  n, t, h, w = batch["video"].shape[:4]
  box, seen = np.zeros((n, t, 4), np.float32), np.zeros((n, t), bool)
  if "boxes_yxyx" in batch:  # object 0 is the main one
    box, seen = batch["boxes_yxyx"][:, 0], batch["boxes_valid"][:, 0]
  inverse = np.zeros((n, t, CELLS, CELLS), np.float32)
  if "depth_m" in batch:
    depth_m = batch["depth_m"]
    nearness = np.where(depth_m > 0, 1 / np.maximum(depth_m, NEAREST_M), 0)
    cells = (n, t, CELLS, h // CELLS, CELLS, w // CELLS)
    inverse = nearness.reshape(cells).mean(axis=(3, 5), dtype=np.float32)
  return Clips(
    batch["video"], {name: batch[name] for name in labels}, box, seen, inverse
  )


def frames_of(clips: Clips, which: Int[Any, " n"]) -> Clips:
  """One frame of each clip, as clips of one frame."""

  def pick(x):
    index = which.reshape(-1, *[1] * (x.ndim - 1))
    return jnp.take_along_axis(x, index, axis=1)

  timed = {
    name: pick(jnp.asarray(getattr(clips, name)))
    for name in ("video", "box_yxyx", "box_valid", "inverse_depth")
  }
  return clips._replace(**timed)
