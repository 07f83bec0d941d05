"""Overlap of boxes, and its mean over tracked objects.

overlap = boxes.iou(pred_yxyx, boxes_yxyx)
scored = boxes_valid & (np.arange(num_frames) > 0)  # frame 0 was given
boxes.mean_iou(overlap, scored, pool="object_frames")
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64

from vdr.metrics import accumulators


def iou(
  pred_yxyx: Float[np.ndarray, "*b 4"], target_yxyx: Float[np.ndarray, "*b 4"]
) -> Float64[np.ndarray, "*b"]:
  """Intersection over union of continuous boxes.

  A box whose edges are the wrong way round has no area. Where neither box has,
  and where a prediction is NaN, the overlap is 0.
  """
  pred = pred_yxyx.astype(np.float64)
  target = target_yxyx.astype(np.float64)
  inner = np.concatenate(
    [
      np.maximum(pred[..., :2], target[..., :2]),
      np.minimum(pred[..., 2:], target[..., 2:]),
    ],
    axis=-1,
  )
  both = _area(inner)
  union = _area(pred) + _area(target) - both
  overlapping = union > 0  # not so for NaN
  return np.where(overlapping, both / np.where(overlapping, union, 1.0), 0.0)


def raster_iou(
  pred_yxyx: Float[np.ndarray, "*b 4"],
  target_yxyx: Float[np.ndarray, "*b 4"],
  height: int,
  width: int,
) -> Float64[np.ndarray, "*b"]:
  """Overlap as the VOT toolkit counts it, for numbers of its benchmarks.

  Corner, width and height are rounded to pixels, half to even; a box of width w
  then covers w columns. Where all that both cover is at most one pixel wide or
  high, the toolkit calls the boxes empty and the overlap 1. It comes near `iou`
  for large boxes only. A prediction that is NaN or inside out scores 0.

  Args:
    pred_yxyx: predicted boxes, normalised.
    target_yxyx: true ones.
    height: of the picture, in pixels.
    width: of the picture, in pixels.
  """
  (low_p, high_p), (low_t, high_t) = (
    _pixels(box, height, width) for box in (pred_yxyx, target_yxyx)
  )
  sides = np.minimum(high_p, high_t) - np.maximum(low_p, low_t) + 1
  both = np.maximum(sides, 0).prod(axis=-1)
  areas = [(high - low + 1) for high, low in ((high_p, low_p), (high_t, low_t))]
  union = sum(np.maximum(side, 0).prod(axis=-1) for side in areas) - both
  overlap = np.where(union > 0, both / np.where(union > 0, union, 1), 0.0)
  thin = np.maximum(high_p, high_t) <= np.minimum(low_p, low_t)
  overlap = np.where(thin.any(axis=-1), 1.0, overlap)
  with np.errstate(invalid="ignore"):
    good = (pred_yxyx[..., 2:] >= pred_yxyx[..., :2]).all(axis=-1)
  return np.where(good, overlap, 0.0)


def mean_iou(
  overlap: Float[np.ndarray, "n o t"],
  scored: Bool[np.ndarray, "n o t"],
  pool: Literal["object_frames", "objects", "clips"],
) -> accumulators.Ratio:
  """Mean overlap over the frames of tracked objects.

  Args:
    overlap: of each object in each frame.
    scored: where the object is annotated, without the frame that was given.
    pool: what weighs alike: every annotated box; every object, by its mean over
      frames; or every clip, by the mean of its objects' means.

  Returns:
    From 0 to 1. Objects without a scored frame are left out.
  """
  overlap = np.where(scored, overlap, 0.0).astype(np.float64)
  total, frames = overlap.sum(axis=2), scored.sum(axis=2).astype(np.float64)
  if pool == "object_frames":
    return accumulators.Ratio(total.sum(axis=1), frames.sum(axis=1))
  per_object = (total / np.maximum(frames, 1)).sum(axis=1)
  objects = (frames > 0).sum(axis=1)
  if pool == "objects":
    return accumulators.Ratio(per_object, objects)
  return accumulators.Ratio(per_object / np.maximum(objects, 1), objects > 0)


def _area(boxes_yxyx: Float64[np.ndarray, "*b 4"]) -> Float64[np.ndarray, "*b"]:
  """Area, of which an inverted side has none."""
  sides = boxes_yxyx[..., 2:] - boxes_yxyx[..., :2]
  return np.asarray(np.maximum(sides, 0.0).prod(axis=-1))


def _pixels(
  boxes_yxyx: Float[np.ndarray, "*b 4"], height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
  """First and last pixel of each box in y and x, both in it."""
  size = np.array([height, width], np.float64)
  boxes_yxyx = np.nan_to_num(boxes_yxyx.astype(np.float64))
  low = boxes_yxyx[..., :2] * size
  sides = np.rint(boxes_yxyx[..., 2:] * size - low)
  return np.rint(low), np.rint(low) + sides - 1
