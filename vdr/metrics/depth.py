"""How far predicted depth is off: relative, squared, logarithmic, by share.

Each error takes depth maps of any number of axes after the clip's and a mask of
the same shape, and `pool` says what is averaged: "pixels" weighs all valid
pixels of all clips alike; "images" first averages over each picture, that is
over the last two axes, then over those pictures that have a valid pixel.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64

from vdr.metrics import accumulators

# In AbsRel's denominator, as in Kauldron's metric; not stated in the paper.
EPSILON_M = 1e-6
# What a prediction at or below 0 counts as where a logarithm is taken.
MIN_DEPTH_M = 1e-3

Pool = Literal["pixels", "images"]
Error = Callable[[np.ndarray, np.ndarray], np.ndarray]


def abs_rel(
  pred_m: Float[np.ndarray, "n *t h w"],
  target_m: Float[np.ndarray, "n *t h w"],
  valid: Bool[np.ndarray, "n *t h w"],
  pool: Pool = "pixels",
) -> accumulators.Ratio:
  """Mean absolute error relative to the true depth; 0 is perfect."""
  return _pooled(
    lambda p, d: np.abs(p - d) / (d + EPSILON_M), pred_m, target_m, valid, pool
  )


def delta(
  pred_m: Float[np.ndarray, "n *t h w"],
  target_m: Float[np.ndarray, "n *t h w"],
  valid: Bool[np.ndarray, "n *t h w"],
  power: int = 1,
  pool: Pool = "pixels",
) -> accumulators.Ratio:
  """Share of pixels whose depth is right within a factor of 1.25^power.

  A prediction that is not positive is wrong, as is one that is NaN.
  """
  factor = 1.25**power

  def within(p: np.ndarray, d: np.ndarray) -> np.ndarray:
    return (p > 0) & (p < factor * d) & (d < factor * p)

  return _pooled(within, pred_m, target_m, valid, pool)


def rmse(
  pred_m: Float[np.ndarray, "n *t h w"],
  target_m: Float[np.ndarray, "n *t h w"],
  valid: Bool[np.ndarray, "n *t h w"],
  pool: Pool = "pixels",
) -> accumulators.Ratio:
  """Root of the mean squared error, in metres.

  With "images" the roots of the pictures are averaged.
  """
  return _pooled(
    lambda p, d: np.square(p - d), pred_m, target_m, valid, pool, root=True
  )


def log10_error(
  pred_m: Float[np.ndarray, "n *t h w"],
  target_m: Float[np.ndarray, "n *t h w"],
  valid: Bool[np.ndarray, "n *t h w"],
  pool: Pool = "pixels",
) -> accumulators.Ratio:
  """Mean absolute difference of decimal logarithms.

  Predictions below a millimetre count as one millimetre.
  """

  def error(p: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.abs(np.log10(np.maximum(p, MIN_DEPTH_M)) - np.log10(d))

  return _pooled(error, pred_m, target_m, valid, pool)


def align(
  pred_m: Float[np.ndarray, "*b h w"],
  target_m: Float[np.ndarray, "*b h w"],
  valid: Bool[np.ndarray, "*b h w"],
  how: Literal["scale", "scale_shift"],
) -> Float64[np.ndarray, "*b h w"]:
  """Predictions, each picture fitted to its truth by least squares.

  For predictions that are right only up to a scale (and a shift). The scores of
  the paper's kind of table use none of this: say so where it is used.

  Args:
    pred_m: predicted depth.
    target_m: true depth, read only where valid.
    valid: where it was measured.
    how: "scale" fits s·p, "scale_shift" s·p + b.

  Returns:
    The fitted prediction. Where a scale can't be told, because all of the
    prediction is one value (for "scale": is 0) or nothing is valid, it is 1.
  """
  p, d = np.where(valid, pred_m, 0.0), np.where(valid, target_m, 0.0)
  p, d = p.astype(np.float64), d.astype(np.float64)
  axes = (-2, -1)
  count = np.maximum(valid.sum(axis=axes, keepdims=True), 1)
  mean_p = mean_d = np.zeros_like(count, np.float64)
  if how == "scale_shift":
    mean_p = p.sum(axis=axes, keepdims=True) / count
    mean_d = d.sum(axis=axes, keepdims=True) / count
  centred = np.where(valid, p - mean_p, 0.0)
  cross = (centred * (d - mean_d)).sum(axis=axes, keepdims=True)
  square = np.square(centred).sum(axis=axes, keepdims=True)
  # A constant leaves nothing but rounding around its mean.
  size = np.square(p).sum(axis=axes, keepdims=True)
  flat = square <= 1e-24 * size
  scale = np.where(flat, 1.0, cross / np.where(flat, 1.0, square))
  return scale * (pred_m - mean_p) + mean_d


def _pooled(
  error: Error,
  pred_m: np.ndarray,
  target_m: np.ndarray,
  valid: np.ndarray,
  pool: Pool,
  root: bool = False,
) -> accumulators.Ratio:
  """Sums an error over pixels or over pictures, and keeps clips apart."""
  # What is masked out is never read: a 1 in its place suits every error.
  p = np.where(valid, pred_m, 1.0).astype(np.float64)
  d = np.where(valid, target_m, 1.0).astype(np.float64)
  total = np.where(valid, error(p, d), 0.0).sum(axis=(-2, -1))
  count = valid.sum(axis=(-2, -1)).astype(np.float64)
  if pool == "images":
    total = np.where(count > 0, total / np.maximum(count, 1), 0.0)
    total, count = np.sqrt(total) if root else total, count > 0
    root = False
  pictures = tuple(range(1, total.ndim))
  return accumulators.Ratio(
    total.sum(axis=pictures),
    count.sum(axis=pictures),
    accumulators.Final.ROOT if root else accumulators.Final.MEAN,
  )
