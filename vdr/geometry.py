"""Cameras, rigid motions, affine maps and boxes: pure functions.

Conventions, used everywhere in vdr:

* **Camera axes** are OpenCV's: x right, y down, z forward. `camera_to_world`
  maps camera coordinates to world coordinates, in metres.
* **Raster coordinates** are continuous and normalised: 0 is the left (top)
  edge of the picture, 1 its right (bottom) edge, and the centre of pixel i of w
  lies at (i + 0.5) / w.
* **Intrinsics** are normalised alike: `x = fx · X / Z + cx` is in [0, 1], so
  that resizing a picture changes nothing.
* **Boxes** are `[y_min, x_min, y_max, x_max]`, normalised.
* **An affine** is `[[scale_y, offset_y], [scale_x, offset_x]]`: it maps raster
  coordinates of a source picture to those of a crop, `new = scale · old +
  offset`; a mirrored crop has a negative scale.

Every function takes NumPy or JAX arrays and returns the same kind.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

Array = Any  # np.ndarray or jax.Array; this module imports no JAX


def transform_points(
  transform: Float[Array, "*b 4 4"], points: Float[Array, "*b n 3"]
) -> Float[Array, "*b n 3"]:
  """Applies a rigid (or any affine) 4 × 4 transform to 3-D points."""
  xp = points.__array_namespace__()
  rotated = xp.matmul(points, xp.swapaxes(transform[..., :3, :3], -1, -2))
  return rotated + transform[..., None, :3, 3]


def invert_rigid(
  transform: Float[Array, "*b 4 4"],
) -> Float[Array, "*b 4 4"]:
  """The inverse of a rigid transform, without a matrix inversion."""
  xp = transform.__array_namespace__()
  rotation_t = xp.swapaxes(transform[..., :3, :3], -1, -2)
  translation = -xp.matmul(rotation_t, transform[..., :3, 3:])
  upper = xp.concat([rotation_t, translation], axis=-1)
  return xp.concat([upper, transform[..., 3:, :]], axis=-2)


def relative_pose(
  source: Float[Array, "*b 4 4"], target: Float[Array, "*b 4 4"]
) -> Float[Array, "*b 4 4"]:
  """Pose of the target camera in the source camera's frame.

  Maps target-camera coordinates to source-camera coordinates: the inverse of
  `source` times `target`, both `camera_to_world`.
  """
  xp = source.__array_namespace__()
  return xp.matmul(invert_rigid(source), target)


def project(
  points_world: Float[Array, "*b n 3"],
  camera_to_world: Float[Array, "*b 4 4"],
  intrinsics: Float[Array, "*b 3 3"],
) -> tuple[Float[Array, "*b n 2"], Float[Array, "*b n"]]:
  """Projects world points into a camera.

  Args:
    points_world: points in metres.
    camera_to_world: the camera's pose.
    intrinsics: normalised intrinsics.

  Returns:
    Normalised raster coordinates (x, y), meaningful only where the depth is
    positive, and z-depth in metres.
  """
  xp = points_world.__array_namespace__()
  in_camera = transform_points(invert_rigid(camera_to_world), points_world)
  depth_m = in_camera[..., 2]
  safe = xp.where(xp.abs(depth_m) < 1e-9, 1e-9, depth_m)
  rays = in_camera[..., :2] / safe[..., None]
  focal = xp.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], axis=-1)
  return rays * focal[..., None, :] + intrinsics[..., None, :2, 2], depth_m


def unproject(
  points_xy: Float[Array, "*b n 2"],
  depth_m: Float[Array, "*b n"],
  camera_to_world: Float[Array, "*b 4 4"],
  intrinsics: Float[Array, "*b 3 3"],
) -> Float[Array, "*b n 3"]:
  """World points at the given raster coordinates and z-depths, in metres."""
  xp = points_xy.__array_namespace__()
  focal = xp.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], axis=-1)
  rays = (points_xy - intrinsics[..., None, :2, 2]) / focal[..., None, :]
  in_camera = xp.concat([rays, xp.ones_like(rays[..., :1])], axis=-1)
  in_camera = in_camera * depth_m[..., None]
  return transform_points(camera_to_world, in_camera)


def affine_points_xy(
  affine: Float[Array, "*b 2 2"], points_xy: Float[Array, "*b n 2"]
) -> Float[Array, "*b n 2"]:
  """Raster coordinates of a source picture as those of its crop."""
  scale_xy, offset_xy = affine[..., ::-1, 0], affine[..., ::-1, 1]
  return points_xy * scale_xy[..., None, :] + offset_xy[..., None, :]


def affine_boxes_yxyx(
  affine: Float[Array, "*b 2 2"], boxes_yxyx: Float[Array, "*b n 4"]
) -> Float[Array, "*b n 4"]:
  """Boxes of a source picture as boxes of its crop, not clipped to it."""
  xp = boxes_yxyx.__array_namespace__()
  scale, offset = affine[..., None, :, 0], affine[..., None, :, 1]
  first = boxes_yxyx[..., :2] * scale + offset
  second = boxes_yxyx[..., 2:] * scale + offset
  # A mirrored crop swaps the two edges.
  return xp.concat(
    [xp.minimum(first, second), xp.maximum(first, second)], axis=-1
  )


def clip_boxes_yxyx(
  boxes_yxyx: Float[Array, "*b 4"],
) -> tuple[Float[Array, "*b 4"], Bool[Array, "*b"]]:
  """Boxes cut off at the picture's edges, and whether anything is left."""
  xp = boxes_yxyx.__array_namespace__()
  boxes_yxyx = xp.clip(boxes_yxyx, 0.0, 1.0)
  sides = boxes_yxyx[..., 2:] - boxes_yxyx[..., :2]
  return boxes_yxyx, xp.all(sides > 0, axis=-1)


def affine_intrinsics(
  affine: Float[Array, "*b 2 2"], intrinsics: Float[Array, "*b 3 3"]
) -> Float[Array, "*b 3 3"]:
  """Intrinsics of a crop; a mirrored one has a negative focal length in x."""
  xp = intrinsics.__array_namespace__()
  scale_y, offset_y = affine[..., 0, 0], affine[..., 0, 1]
  scale_x, offset_x = affine[..., 1, 0], affine[..., 1, 1]
  zero, one = xp.zeros_like(scale_x), xp.ones_like(scale_x)
  rows = [
    xp.stack([scale_x, zero, offset_x], axis=-1),
    xp.stack([zero, scale_y, offset_y], axis=-1),
    xp.stack([zero, zero, one], axis=-1),
  ]
  return xp.matmul(xp.stack(rows, axis=-2), intrinsics)


def boxes_from_masks(
  masks: Bool[np.ndarray, "*b h w"],
) -> tuple[Float[np.ndarray, "*b 4"], Bool[np.ndarray, "*b"]]:
  """The tight box of each mask, and whether the mask has any pixel.

  The box runs along the outer edges of the outermost pixels; an empty mask
  gives a box of zeros.
  """
  rows, columns = np.asarray(masks.any(axis=-1)), np.asarray(masks.any(axis=-2))
  valid = np.asarray(rows.any(axis=-1))
  edges = [_extent(rows), _extent(columns)]
  boxes = np.stack(
    [edges[0][0], edges[1][0], edges[0][1], edges[1][1]], axis=-1
  )
  return np.where(valid[..., None], boxes, 0.0).astype(np.float32), valid


def _extent(
  hit: Bool[np.ndarray, "*b n"],
) -> tuple[Shaped[np.ndarray, "*b"], Shaped[np.ndarray, "*b"]]:
  """Where the first hit begins and the last one ends, as shares of n."""
  n = hit.shape[-1]
  first = hit.argmax(axis=-1)
  last = n - hit[..., ::-1].argmax(axis=-1)
  return first / n, last / n


def rotation_about(
  axis: Float[np.ndarray, "3"], angle_rad: Float[np.ndarray, "*b"]
) -> Float[np.ndarray, "*b 3 3"]:
  """Rotation matrices about one unit axis (Rodrigues' formula)."""
  x, y, z = axis
  cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
  sine, cosine = np.sin(angle_rad), np.cos(angle_rad)
  return (
    np.eye(3)
    + sine[..., None, None] * cross
    + (1.0 - cosine)[..., None, None] * (cross @ cross)
  )


def rotation_matrix(
  quaternion: Float[np.ndarray, "4"],
) -> Float[np.ndarray, "3 3"]:
  """The rotation of a unit quaternion (w, x, y, z)."""
  w, x, y, z = quaternion
  return np.array(
    [
      [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
      [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
      [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
  )
