"""Masks of objects scored as DAVIS does: region J and boundary F.

Perazzi et al., "A benchmark dataset and evaluation methodology for video object
segmentation" (2016), §3.
"""

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage

from vdr.metrics import accumulators

# How far a boundary may be off, as a share of the picture's diagonal.
TOLERANCE = 0.008


def region(
  pred: Bool[np.ndarray, "*b h w"], target: Bool[np.ndarray, "*b h w"]
) -> Float64[np.ndarray, "*b"]:
  """J: intersection over union of masks; 1 where both are empty."""
  both = (pred & target).sum(axis=(-2, -1))
  union = (pred | target).sum(axis=(-2, -1))
  return np.where(union > 0, both / np.maximum(union, 1), 1.0)


def boundary(
  pred: Bool[np.ndarray, "*b h w"],
  target: Bool[np.ndarray, "*b h w"],
  tolerance: float = TOLERANCE,
) -> Float64[np.ndarray, "*b"]:
  """F: how well outlines match, within a disk around each of their pixels.

  The harmonic mean of two shares: of the predicted outline that is near the
  true one, and of the true one near the predicted one. 1 where neither has an
  outline, 0 where only one does.

  Args:
    pred: predicted masks.
    target: true ones.
    tolerance: radius of the disk, a share of the diagonal, rounded up.
  """
  radius_px = np.ceil(tolerance * np.hypot(*pred.shape[-2:]))
  scores = np.empty(pred.shape[:-2])
  for index in np.ndindex(scores.shape):
    a, b = outline(pred[index]), outline(target[index])
    if not a.any() or not b.any():
      scores[index] = float(a.any() == b.any())
      continue
    precision = (_distance_px(b)[a] <= radius_px).mean()
    recall = (_distance_px(a)[b] <= radius_px).mean()
    either = precision + recall
    scores[index] = 2 * precision * recall / either if either else 0.0
  return scores


def j_and_f(
  pred: Bool[np.ndarray, "n o t h w"],
  target: Bool[np.ndarray, "n o t h w"],
  scored: Bool[np.ndarray, "n o t"],
) -> dict[str, accumulators.Ratio]:
  """J, F and their mean, each a mean over objects of the mean over frames.

  Args:
    pred: predicted masks of each object.
    target: true ones.
    scored: frames to score; DAVIS leaves out the first and the last of a video.

  Returns:
    `j`, `f` and `j_and_f`, from 0 to 1. Objects without a scored frame are left
    out.
  """
  frames = scored.sum(axis=2)
  weight = scored / np.maximum(frames, 1)[..., None]
  objects = (frames > 0).sum(axis=1)
  f = np.zeros(scored.shape)
  f[scored] = boundary(pred[scored], target[scored])
  j = (region(pred, target) * weight).sum(axis=(1, 2))
  f = (f * weight).sum(axis=(1, 2))
  sums = {"j": j, "f": f, "j_and_f": (j + f) / 2}
  return {name: accumulators.Ratio(x, objects) for name, x in sums.items()}


def outline(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
  """Pixels that differ from the one to the right, below, or diagonally so.

  The benchmark's definition: half a pixel up and left of the true edge, and the
  picture's border is no edge.
  """
  around = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
  right, below, across = around[:-1, 1:], around[1:, :-1], around[1:, 1:]
  return (mask != right) | (mask != below) | (mask != across)


def _distance_px(marked: Bool[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
  """Distance of each pixel to the nearest marked one.

  What lies within a distance is what dilation by a disk would cover, at a cost
  that does not grow with the disk.
  """
  return np.asarray(ndimage.distance_transform_edt(~marked), np.float64)
