"""PCK: the share of keypoints that are found."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64

from vdr.metrics import accumulators


def pck(
  pred_xy_px: Float[np.ndarray, "n k 2"],
  target_xy_px: Float[np.ndarray, "n k 2"],
  valid: Bool[np.ndarray, "n k"],
  size_px: Float[np.ndarray, " n"],
  alpha: float = 0.1,
  pool: Literal["images", "points"] = "images",
) -> accumulators.Ratio:
  """Share of keypoints no further off than `alpha` times a size.

  Args:
    pred_xy_px: predicted keypoints, in pixels of the target; NaN is wrong.
    target_xy_px: true ones.
    valid: those to score.
    size_px: what the distance is measured by: the longer side of the target's
      box for SPair-71k, `visible_size_px` for JHMDB.
    alpha: largest distance that counts as found, in sizes.
    pool: what weighs alike: every image, or every point.

  Returns:
    From 0 to 1.
  """
  wide = valid[..., None]
  pred = np.where(wide, pred_xy_px, 0.0).astype(np.float64)
  target = np.where(wide, target_xy_px, 0.0).astype(np.float64)
  distance = np.linalg.norm(pred - target, axis=-1)
  reach = alpha * size_px.astype(np.float64)
  found = (valid & (distance <= reach[:, None])).sum(axis=1)
  count = valid.sum(axis=1)
  if pool == "points":
    return accumulators.Ratio(found, count)
  return accumulators.Ratio(found / np.maximum(count, 1), count > 0)


def visible_size_px(
  target_xy_px: Float[np.ndarray, "n k 2"], valid: Bool[np.ndarray, "n k"]
) -> Float64[np.ndarray, " n"]:
  """0.6 times the diagonal of the box around visible joints, as for JHMDB.

  0 if there are none.
  """
  points, wide = target_xy_px.astype(np.float64), valid[..., None]
  low = np.where(wide, points, np.inf).min(axis=1, initial=np.inf)
  high = np.where(wide, points, -np.inf).max(axis=1, initial=-np.inf)
  some = valid.any(axis=1, keepdims=True)
  sides = np.where(some, high, 0.0) - np.where(some, low, 0.0)
  return 0.6 * np.linalg.norm(sides, axis=-1)
