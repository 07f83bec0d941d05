"""Geometry against slow, separate versions, in NumPy and in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vdr import geometry

finite = st.floats(-3, 3, width=32)


@pytest.fixture(params=["numpy", "jax"])
def xp(request):
  """Makes arrays of one kind; outputs must be of the same kind."""
  kinds = {"numpy": (np.asarray, np.ndarray), "jax": (jnp.asarray, jax.Array)}
  return kinds[request.param]


def same_kind(xp, *arrays):
  assert all(isinstance(a, xp[1]) for a in arrays)
  return [np.asarray(a) for a in arrays]


def random_pose(rng, shape=()):
  """Random rigid transforms, float32."""
  matrices = np.linalg.qr(rng.normal(size=(*shape, 3, 3)))[0]
  matrices *= np.sign(np.linalg.det(matrices))[..., None, None]
  pose = np.zeros((*shape, 4, 4), np.float32)
  pose[..., :3, :3] = matrices
  pose[..., :3, 3] = rng.normal(size=(*shape, 3))
  pose[..., 3, 3] = 1
  return pose


def random_intrinsics(rng, shape=()):
  matrix = np.zeros((*shape, 3, 3), np.float32)
  matrix[..., 0, 0] = rng.uniform(0.5, 2, shape)
  matrix[..., 1, 1] = rng.uniform(0.5, 2, shape)
  matrix[..., :2, 2] = rng.uniform(0.3, 0.7, (*shape, 2))
  matrix[..., 2, 2] = 1
  return matrix


def slow_project(point, camera_to_world, intrinsics):
  """One point by homogeneous coordinates and a general inverse."""
  in_camera = np.linalg.inv(camera_to_world.astype(np.float64)) @ [*point, 1]
  image = intrinsics.astype(np.float64) @ in_camera[:3]
  return image[:2] / image[2], in_camera[2]


@pytest.fixture
def rng():
  return np.random.default_rng(0)


class TestRigid:
  def test_transform_points_is_a_homogeneous_product(self, xp, rng):
    transform, points = random_pose(rng, (2, 5)), rng.normal(size=(2, 5, 7, 3))
    points = points.astype(np.float32)
    (moved,) = same_kind(
      xp, geometry.transform_points(xp[0](transform), xp[0](points))
    )
    for index in np.ndindex(2, 5, 7):
      slow = transform[index[:2]] @ [*points[index], 1]
      np.testing.assert_allclose(moved[index], slow[:3], atol=1e-5)

  def test_invert_rigid_is_the_inverse(self, xp, rng):
    pose = random_pose(rng, (3, 2))
    (inverse,) = same_kind(xp, geometry.invert_rigid(xp[0](pose)))
    np.testing.assert_allclose(inverse, np.linalg.inv(pose), atol=1e-5)

  def test_relative_pose_takes_the_target_to_the_source(self, xp, rng):
    source, target = random_pose(rng, (4,)), random_pose(rng, (4,))
    (relative,) = same_kind(
      xp, geometry.relative_pose(xp[0](source), xp[0](target))
    )
    np.testing.assert_allclose(source @ relative, target, atol=1e-5)
    np.testing.assert_allclose(
      geometry.relative_pose(source, source),
      np.broadcast_to(np.eye(4), (4, 4, 4)),
      atol=1e-5,
    )

  @given(st.integers(0, 2**32), hnp.arrays(np.float64, (3,), elements=finite))
  def test_rotation_about_turns_by_the_right_hand(self, seed, angles):
    axis = np.random.default_rng(seed).normal(size=3)
    axis /= np.linalg.norm(axis)
    turns = geometry.rotation_about(axis, angles)
    eye = np.broadcast_to(np.eye(3), turns.shape)
    np.testing.assert_allclose(turns @ turns.mT, eye, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    np.testing.assert_allclose(turns @ axis, np.tile(axis, (3, 1)), atol=1e-9)
    # A vector across the axis moves by the angle, towards axis × vector.
    across = np.cross(axis, [1.0, 0.0, 0.0])
    across = across / np.linalg.norm(across)
    expected = np.cos(angles)[:, None] * across + np.sin(angles)[
      :, None
    ] * np.cross(axis, across)
    np.testing.assert_allclose(turns @ across, expected, atol=1e-9)

  def test_a_quaternion_is_an_axis_and_half_an_angle(self, rng):
    for angle in (0.0, 0.3, 1.7, 3.0):
      axis = rng.normal(size=3)
      axis /= np.linalg.norm(axis)
      quaternion = np.array([np.cos(angle / 2), *(np.sin(angle / 2) * axis)])
      np.testing.assert_allclose(
        geometry.rotation_matrix(quaternion),
        geometry.rotation_about(axis, np.array(angle)),
        atol=1e-12,
      )


class TestCamera:
  def test_project_is_the_homogeneous_way(self, xp, rng):
    points = rng.normal(size=(2, 3, 8, 3)).astype(np.float32)
    pose, intrinsics = random_pose(rng, (2, 3)), random_intrinsics(rng, (2, 3))
    xy, depth_m = same_kind(
      xp, *geometry.project(xp[0](points), xp[0](pose), xp[0](intrinsics))
    )
    assert (depth_m < 0).any()  # behind the camera, too
    for i in np.ndindex(2, 3, 8):
      slow_xy, slow_depth = slow_project(
        points[i], pose[i[:2]], intrinsics[i[:2]]
      )
      np.testing.assert_allclose(depth_m[i], slow_depth, atol=1e-5)
      if abs(slow_depth) > 0.05:
        np.testing.assert_allclose(xy[i], slow_xy, rtol=1e-3, atol=1e-3)

  def test_the_axes_point_right_down_and_forward(self, xp):
    points = np.array([[0, 0, 2], [1, 0, 2], [0, 1, 2], [0, 0, -2]], np.float32)
    intrinsics = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], np.float32)
    eye = np.eye(4, dtype=np.float32)
    xy, depth_m = same_kind(
      xp, *geometry.project(xp[0](points), xp[0](eye), xp[0](intrinsics))
    )
    np.testing.assert_allclose(xy[:3], [[0.5, 0.5], [1, 0.5], [0.5, 1]])
    np.testing.assert_allclose(depth_m, [2, 2, 2, -2])

  def test_a_point_in_the_camera_plane_stays_finite(self, xp):
    points = np.array([[0, 0, 0], [1, 1, 0]], np.float32)
    eye = np.eye(4, dtype=np.float32)
    xy, depth_m = same_kind(
      xp, *geometry.project(xp[0](points), xp[0](eye), xp[0](eye[:3, :3]))
    )
    assert np.isfinite(xy).all()
    assert (depth_m == 0).all()

  def test_unproject_goes_back(self, xp, rng):
    points = rng.normal(size=(4, 9, 3)).astype(np.float32)
    pose, intrinsics = random_pose(rng, (4,)), random_intrinsics(rng, (4,))
    camera = xp[0](pose), xp[0](intrinsics)
    xy, depth_m = geometry.project(xp[0](points), *camera)
    (back,) = same_kind(xp, geometry.unproject(xy, depth_m, *camera))
    away = np.abs(np.asarray(depth_m)) > 0.05
    np.testing.assert_allclose(back[away], points[away], atol=1e-3)

  def test_gradients_are_finite(self, rng):
    points = jnp.asarray(rng.normal(size=(5, 3)), jnp.float32)
    pose = jnp.asarray(random_pose(rng))
    intrinsics = jnp.asarray(random_intrinsics(rng))
    slope = jax.grad(lambda p: geometry.project(p, pose, intrinsics)[0].sum())
    assert jnp.isfinite(slope(points)).all()


scales = st.floats(0.2, 5) | st.floats(-5, -0.2)
affines = st.tuples(scales, finite, scales, finite).map(
  lambda v: np.array(v, np.float64).reshape(2, 2)
)


class TestAffine:
  @given(affines, st.integers(0, 2**32))
  def test_a_crops_camera_sees_what_the_crop_shows(self, affine, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(6, 3))
    points[:, 2] = rng.uniform(1, 4, 6)
    eye, intrinsics = np.eye(4), random_intrinsics(rng).astype(np.float64)
    xy, _ = geometry.project(points, eye, intrinsics)
    cropped, _ = geometry.project(
      points, eye, geometry.affine_intrinsics(affine, intrinsics)
    )
    np.testing.assert_allclose(
      cropped, geometry.affine_points_xy(affine, xy), atol=1e-9
    )

  def test_y_comes_first_in_an_affine_and_x_in_a_point(self, xp):
    affine = np.array([[2, 0.1], [3, 0.2]], np.float32)
    points = np.array([[0.5, 0.25]], np.float32)
    (moved,) = same_kind(
      xp, geometry.affine_points_xy(xp[0](affine), xp[0](points))
    )
    np.testing.assert_allclose(moved, [[3 * 0.5 + 0.2, 2 * 0.25 + 0.1]])

  @given(affines, hnp.arrays(np.float64, (5, 4), elements=finite))
  def test_boxes_move_with_their_corners(self, affine, corners):
    boxes = np.concatenate(
      [
        np.minimum(corners[:, :2], corners[:, 2:]),
        np.maximum(corners[:, :2], corners[:, 2:]),
      ],
      axis=-1,
    )
    moved = geometry.affine_boxes_yxyx(affine, boxes)
    assert (moved[:, :2] <= moved[:, 2:]).all()  # mirrored crops as well
    for box, new in zip(boxes, moved, strict=True):
      xy = np.array([[box[1], box[0]], [box[3], box[2]]])
      ends = geometry.affine_points_xy(affine, xy)
      low, high = ends.min(axis=0), ends.max(axis=0)
      np.testing.assert_allclose(new, [low[1], low[0], high[1], high[0]])

  def test_jax_agrees(self, rng):
    affine = np.array([[[2, 0.1], [-3, 0.2]]], np.float32)
    boxes = rng.uniform(size=(1, 6, 4)).astype(np.float32)
    intrinsics = random_intrinsics(rng, (1,))
    for function, other in (
      (geometry.affine_boxes_yxyx, boxes),
      (geometry.affine_intrinsics, intrinsics),
    ):
      result = function(jnp.asarray(affine), jnp.asarray(other))
      assert isinstance(result, jax.Array)
      np.testing.assert_allclose(result, function(affine, other), rtol=1e-5)


class TestBoxes:
  def test_clip_cuts_at_the_edges(self, xp):
    boxes = np.array(
      [
        [-1, 0.2, 0.5, 2],
        [1.2, 0, 2, 1],  # below the picture
        [0.4, 0.4, 0.4, 0.6],  # no height
      ],
      np.float32,
    )
    clipped, valid = same_kind(xp, *geometry.clip_boxes_yxyx(xp[0](boxes)))
    np.testing.assert_allclose(clipped[0], [0, 0.2, 0.5, 1])
    assert valid.tolist() == [True, False, False]

  @given(hnp.arrays(bool, st.tuples(*[st.integers(1, 5)] * 3)))
  def test_boxes_from_masks_is_the_slow_loop(self, masks):
    boxes, valid = geometry.boxes_from_masks(masks)
    assert boxes.dtype == np.float32
    _, height, width = masks.shape
    for mask, box, is_valid in zip(masks, boxes, valid, strict=True):
      ys, xs = np.nonzero(mask)
      assert is_valid == (len(ys) > 0)
      expected = np.zeros(4)
      if len(ys):
        expected = [
          min(ys) / height,
          min(xs) / width,
          (max(ys) + 1) / height,
          (max(xs) + 1) / width,
        ]
      np.testing.assert_allclose(box, expected, rtol=1e-6)

  def test_one_pixel_and_none(self):
    masks = np.zeros((2, 1, 4, 8), bool)
    masks[0, 0, 1, 3] = True
    boxes, valid = geometry.boxes_from_masks(masks)
    np.testing.assert_array_equal(boxes[0, 0], [1 / 4, 3 / 8, 2 / 4, 4 / 8])
    np.testing.assert_array_equal(boxes[1, 0], np.zeros(4))
    assert valid.tolist() == [[True], [False]]
