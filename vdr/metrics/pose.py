"""Camera poses and trajectories: how far a predicted motion is off.

A relative pose is the upper 3 × 4 part [R | t] of a rigid transform, 12
numbers, as `vdr.geometry.relative_pose` defines it. Poses may come with further
axes after the clip's, for instance several pairs of frames; `valid` has the
same axes and says which to score.

Regressed matrices are no rotations: `project_rotation` first, for every score
but the end-point error and R², which take the 12 numbers as they are.

Rotations are scored as they are predicted. `trajectory_error` alone aligns, and
it scores positions only: a straight path fixes no turn about its line, so that
rotations scored after such an alignment could be off by any angle.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64

from vdr.metrics import accumulators

# The points that the end-point error moves, as in Kauldron's metric (x, y, z).
GRID = np.stack(
  np.meshgrid([-5.0, 5.0], [-5.0, 5.0], [0.0, 10.0], indexing="ij"), axis=-1
).reshape(8, 3)


def end_point_error(
  pred: Float[np.ndarray, "n *p 3 4"],
  target: Float[np.ndarray, "n *p 3 4"],
  valid: Bool[np.ndarray, " n *p"],
) -> accumulators.Ratio:
  """Mean distance between eight points moved by one pose and by the other.

  In the unit of the translations; 0 is perfect.
  """
  difference = _float64(pred, valid) - _float64(target, valid)
  moved = GRID @ np.swapaxes(difference[..., :3], -1, -2)
  moved = moved + difference[..., None, :, 3]
  return _mean(np.linalg.norm(moved, axis=-1).mean(axis=-1), valid)


def r_squared(
  pred: Float[np.ndarray, " n *p"],
  target: Float[np.ndarray, " n *p"],
  valid: Bool[np.ndarray, " n"],
  mean: Float[np.ndarray, "*p"],
) -> accumulators.Ratio:
  """Share of the variance of some numbers that a prediction explains.

  Numbers with a larger variance weigh more: squared errors of all are added
  before they are divided.

  Args:
    pred: predicted numbers, of a relative pose 3 × 4.
    target: the true ones.
    valid: the clips to score.
    mean: of the targets of the whole set, also where its clips come in parts:
      clips that are compared with the mean of their own part score less, and
      one alone explains nothing.

  Returns:
    At most 1, which is perfect; 0 is as good as the mean, less is worse. NaN if
    all targets are the mean.
  """
  inner = tuple(range(1, target.ndim))
  wide = valid.reshape(valid.shape + (1,) * len(inner))
  pred = np.where(wide, pred, 0.0).astype(np.float64)
  target = np.where(wide, target, 0.0).astype(np.float64)
  error = np.square(pred - target).sum(axis=inner)
  spread = np.square(target - mean).sum(axis=inner)
  spread = np.where(valid, spread, 0.0)
  return accumulators.Ratio(error, spread, accumulators.Final.EXPLAINED)


def rotation_error_deg(
  pred: Float[np.ndarray, "n *p 3 4"],
  target: Float[np.ndarray, "n *p 3 4"],
  valid: Bool[np.ndarray, " n *p"],
) -> accumulators.Ratio:
  """Mean angle between rotations, 0° to 180°."""
  return _mean(_angles(pred, target, valid)[0], valid)


def translation_error(
  pred: Float[np.ndarray, "n *p 3 4"],
  target: Float[np.ndarray, "n *p 3 4"],
  valid: Bool[np.ndarray, " n *p"],
) -> accumulators.Ratio:
  """Mean distance between translations, in their unit."""
  difference = _float64(pred, valid) - _float64(target, valid)
  return _mean(np.linalg.norm(difference[..., 3], axis=-1), valid)


def rotation_accuracy(
  pred: Float[np.ndarray, "n *p 3 4"],
  target: Float[np.ndarray, "n *p 3 4"],
  valid: Bool[np.ndarray, " n *p"],
  below_deg: float = 15.0,
) -> accumulators.Ratio:
  """RRA: share of poses whose rotation is off by less than an angle."""
  return _mean(_angles(pred, target, valid)[0] < below_deg, valid)


def translation_accuracy(
  pred: Float[np.ndarray, "n *p 3 4"],
  target: Float[np.ndarray, "n *p 3 4"],
  valid: Bool[np.ndarray, " n *p"],
  below_deg: float = 15.0,
) -> accumulators.Ratio:
  """RTA: share of poses whose direction is off by less than an angle.

  Opposite directions are 180° apart. A true translation of zero has no
  direction and is not scored; a predicted one is wrong.
  """
  moves = valid & _moves(target, valid)
  return _mean(_angles(pred, target, valid)[1] < below_deg, moves)


def mean_average_accuracy(
  pred: Float[np.ndarray, "n *p 3 4"],
  target: Float[np.ndarray, "n *p 3 4"],
  valid: Bool[np.ndarray, " n *p"],
  max_deg: int = 30,
) -> accumulators.Ratio:
  """mAA: share of poses right within k°, averaged over k = 1 … `max_deg`.

  Right is a pose whose rotation and direction both are. There are `max_deg`
  thresholds: references that use one more bin give another number. Poses
  without a direction are not scored, as in `translation_accuracy`.
  """
  rotation, direction = _angles(pred, target, valid)
  worse = np.maximum(rotation, direction)  # NaN stays NaN and is wrong
  thresholds = np.arange(1, max_deg + 1)
  within = worse[..., None] < thresholds
  within[..., -1] |= worse == max_deg  # a histogram's last bin is closed
  return _mean(within.mean(axis=-1), valid & _moves(target, valid))


def trajectory_error(
  pred_xyz: Float[np.ndarray, "n t 3"],
  target_xyz: Float[np.ndarray, "n t 3"],
  valid: Bool[np.ndarray, "n t"],
  with_scale: bool = True,
) -> accumulators.Ratio:
  """ATE: root mean square distance of camera positions after alignment.

  Args:
    pred_xyz: predicted camera positions.
    target_xyz: true ones.
    valid: the frames to score.
    with_scale: align by rotation, translation and scale; else without scale.

  Returns:
    Error of each clip in the unit of the target, 0 is perfect. Clips whose
    camera stands still, or with fewer than two valid frames, are skipped.
  """
  rows = np.zeros(len(valid))
  moves = np.zeros(len(valid), bool)
  for i, frames in enumerate(valid):
    p = pred_xyz[i, frames].astype(np.float64)
    d = target_xyz[i, frames].astype(np.float64)
    extent = np.abs(d - d[:1]).max(initial=0.0)
    moves[i] = extent > 1e-9 * np.abs(d).max(initial=1.0)
    if moves[i]:
      scale, rotation, translation = umeyama(p, d, with_scale)
      aligned = scale * p @ rotation.T + translation
      rows[i] = np.sqrt(np.square(aligned - d).sum(axis=-1).mean())
  return accumulators.Ratio(rows, moves)


def umeyama(
  source: Float[np.ndarray, "n d"],
  target: Float[np.ndarray, "n d"],
  with_scale: bool = True,
) -> tuple[float, Float64[np.ndarray, "d d"], Float64[np.ndarray, " d"]]:
  """The similarity that brings one set of points closest to another.

  Umeyama, "Least-squares estimation of transformation parameters between two
  point patterns" (1991), eq. 40 to 42.

  Args:
    source: points to move; all at one place, they keep their scale.
    target: where each of them should be.
    with_scale: fit a scale; else it is 1.

  Returns:
    Scale, rotation and translation: `scale · rotation · x + translation`.
    NaN if a point is.
  """
  source, target = source.astype(np.float64), target.astype(np.float64)
  mean_s, mean_t = source.mean(axis=0), target.mean(axis=0)
  covariance = (target - mean_t).T @ (source - mean_s) / len(source)
  rotation = project_rotation(covariance)
  variance = np.square(source - mean_s).sum() / len(source)
  scale = 1.0
  # Points at one place have a variance all the same, by rounding their mean.
  if with_scale and variance > np.square(1e-12 * np.abs(source).max()):
    scale = float(np.sum(rotation * covariance) / variance)
  return scale, rotation, mean_t - scale * rotation @ mean_s


def project_rotation(
  matrix: Float[np.ndarray, "*b d d"],
) -> Float64[np.ndarray, "*b d d"]:
  """The rotation nearest to each matrix (orthogonal Procrustes).

  A matrix of rank 1 or less is equally near to many; it gives one of them. NaN
  gives NaN.
  """
  matrix = matrix.astype(np.float64)
  finite = np.isfinite(matrix).all(axis=(-2, -1), keepdims=True)
  u, _, vt = np.linalg.svd(np.where(finite, matrix, 0.0))
  # A reflection becomes a rotation where that costs least: along the direction
  # of the smallest singular value, the last.
  u[..., -1] *= np.sign(np.linalg.det(u @ vt))[..., None]
  return np.where(finite, u @ vt, np.nan)


def rotation_angle_deg(
  a: Float[np.ndarray, "*b 3 3"], b: Float[np.ndarray, "*b 3 3"]
) -> Float64[np.ndarray, "*b"]:
  """Angle of the rotation from one to the other, 0° to 180°.

  The arc cosine of the trace has half the digits near 0° and 180°; sine and
  cosine together have them all.
  """
  r = a.astype(np.float64) @ np.swapaxes(b, -1, -2).astype(np.float64)
  axis = [r[..., j, i] - r[..., i, j] for i, j in ((1, 2), (2, 0), (0, 1))]
  twice_sine = np.linalg.norm(np.stack(axis, axis=-1), axis=-1)
  twice_cosine = np.trace(r, axis1=-2, axis2=-1) - 1
  return np.asarray(np.degrees(np.arctan2(twice_sine, twice_cosine)))


def direction_angle_deg(
  a: Float[np.ndarray, "*b 3"], b: Float[np.ndarray, "*b 3"]
) -> Float64[np.ndarray, "*b"]:
  """Angle between vectors, 0° to 180°; NaN if one of them is zero."""
  a, b = _unit(a), _unit(b)
  sine = np.linalg.norm(np.cross(a, b), axis=-1)
  return np.asarray(np.degrees(np.arctan2(sine, (a * b).sum(axis=-1))))


def _unit(x: np.ndarray) -> np.ndarray:
  """Vectors of length 1; NaN from zero."""
  x = x.astype(np.float64)
  # By the largest entry first: squares of tiny numbers are zero.
  largest = np.abs(x).max(axis=-1, keepdims=True)
  x = x / np.where(largest == 0, np.nan, largest)
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _float64(
  pose: Float[np.ndarray, "*b 3 4"], valid: Bool[np.ndarray, "*b"]
) -> Float64[np.ndarray, "*b 3 4"]:
  """Poses in float64, and zeros in place of those that are not scored."""
  return np.where(valid[..., None, None], pose, 0.0).astype(np.float64)


def _angles(
  pred: np.ndarray, target: np.ndarray, valid: np.ndarray
) -> tuple[Float64[np.ndarray, "*b"], Float64[np.ndarray, "*b"]]:
  """Angles between rotations and between directions."""
  pred, target = _float64(pred, valid), _float64(target, valid)
  return (
    rotation_angle_deg(pred[..., :3], target[..., :3]),
    direction_angle_deg(pred[..., 3], target[..., 3]),
  )


def _moves(target: np.ndarray, valid: np.ndarray) -> Bool[np.ndarray, "*b"]:
  """Which true translations have a direction."""
  return (_float64(target, valid)[..., 3] != 0).any(axis=-1)


def _mean(
  error: np.ndarray, valid: Bool[np.ndarray, " n *p"]
) -> accumulators.Ratio:
  """Sums over the poses of a clip."""
  inner = tuple(range(1, valid.ndim))
  return accumulators.Ratio(
    np.where(valid, error, 0.0).sum(axis=inner), valid.sum(axis=inner)
  )
