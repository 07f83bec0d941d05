"""Bodies obey mechanics, keep to their field, and rays meet what is there."""

import dataclasses

import numpy as np
import pytest

from tests.data.physics import handmade
from vdr import geometry
from vdr.data.physics import motion, sampling, scenes, world

G = 9.81
TO_SIDE = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])  # z to y
# How deep a soft contact may give way.
GIVE_M = 0.03


def _world(distractors, num_frames=25, fps=24.0):
  scene = dataclasses.replace(
    handmade.SCENE, main=None, distractors=tuple(distractors)
  )
  return world.World(scene, num_frames, fps)


def _small(shape, position_m, **changes):
  body = handmade.body(shape, position_m=position_m, **changes)
  half = tuple(0.5 * extent for extent in body.half_extents_m)
  return dataclasses.replace(body, half_extents_m=half)


def _lowest(body, poses):
  """Height of a body's lowest point."""
  return poses[:, 2, 3] - motion.reach_down(body, poses[:, :3, :3])


def _foremost(body, poses):
  """y of a body's point that is nearest to the camera."""
  turned = TO_SIDE.T @ poses[:, :3, :3]  # what was along y is along z
  return poses[:, 1, 3] - motion.reach_down(body, turned)


def test_a_thrown_body_flies_in_a_parabola():
  body = _small("box", (0.0, 3.0, 9.0), velocity_m_s=(0.5, 1.0, 2.0))
  poses = _world([body]).trajectories.object_to_world[0]
  t = np.arange(25) / 24
  expected = np.array([0, 3.0, 9.0]) + t[:, None] * [0.5, 1.0, 2.0]
  expected[:, 2] -= G / 2 * t**2
  # Steps of 1/120 s are off by half a step's fall at most.
  np.testing.assert_allclose(poses[:, :3, 3], expected, atol=G / 120 * 1.0)


def test_a_flying_body_turns_as_thrown():
  spin = np.array([0.0, 0.0, 2.0])
  body = _small("sphere", (0.0, 3.0, 9.0), spin_rad_s=tuple(spin))
  poses = _world([body]).trajectories.object_to_world[0]
  expected = geometry.rotation_about(
    np.array([0, 0, 1.0]), 2.0 * np.arange(25) / 24
  )
  np.testing.assert_allclose(poses[:, :3, :3], expected, atol=1e-4)


@pytest.mark.parametrize("shape", scenes.SHAPES)
def test_a_dropped_body_comes_to_rest_on_the_ground(shape):
  body = _small(shape, (0.0, 2.5, 0.8), orientation=(0.9, 0.3, 0.3, 0.1))
  poses = _world([body], 24 * 12, 24.0).trajectories.object_to_world[0]
  height = _lowest(body, poses)
  assert height[0] > 0.4
  assert height.min() > -GIVE_M
  assert np.abs(height[-24:]).max() < 0.01
  speed = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=-1) * 24
  if shape == "ellipsoid":  # it rolls on, but no faster
    assert speed[-48:].mean() < 1.05 * speed[48:96].mean()
  else:
    assert speed[-24:].max() < 0.15
    assert np.ptp(poses[-24:, 2, 3]) < 0.01


def test_bodies_that_meet_bounce_off_each_other():
  left = _small("sphere", (-0.5, 3.0, 9.0), velocity_m_s=(1.5, 0.0, 0.0))
  right = _small("sphere", (0.5, 3.0, 9.0), velocity_m_s=(-0.5, 0.0, 0.0))
  paths = _world([left, right], 25, 24.0).trajectories.object_to_world
  places = paths[:, :, :3, 3]
  gap = np.linalg.norm(places[0] - places[1], axis=-1)
  touching = left.half_extents_m[0] + right.half_extents_m[0]
  assert gap.min() > touching - GIVE_M
  assert gap.min() < touching + 0.1  # they did meet
  x_speed = np.diff(places[:, :, 0], axis=1) * 24
  # Equal spheres: the sum of their velocities lasts, and the order stays.
  np.testing.assert_allclose(x_speed.sum(axis=0), 1.0, atol=0.02)
  assert x_speed[0, -1] < x_speed[1, -1] - 0.1
  energy = (x_speed**2).sum(axis=0)
  assert energy[-1] <= energy[0] + 0.01


def test_distractors_keep_to_their_field():
  deepest, nearest, met = 0.0, np.inf, 0
  for index in range(24):
    scene = sampling.sample("cluttered", "test_ood", 0, index, 12)
    paths = world.World(scene, 37, 12.0).trajectories.object_to_world[1:]
    for body, poses in zip(scene.distractors, paths, strict=True):
      deepest = max(deepest, -_lowest(body, poses).min())
      nearest = min(nearest, _foremost(body, poses).min())
      met += _foremost(body, poses).min() < scenes.FIELD_NEAR_Y + 0.02
  assert deepest < 2 * GIVE_M  # under a pile
  assert nearest > scenes.FIELD_NEAR_Y - 2 * GIVE_M
  assert met > 3  # the wall was needed


@pytest.mark.parametrize("action", scenes.ACTIONS)
def test_the_main_object_keeps_out_of_that_field(action):
  times_s = np.arange(34) / 24
  for index in range(60):
    scene = sampling.sample("default", "test_ood", 2, index, 0)
    moved = dataclasses.replace(scene.motion, action=action)
    poses = motion.main_poses(scene.main, moved, times_s)
    turned = TO_SIDE @ poses[:, :3, :3]  # what was along -y is along z
    reach = poses[:, 1, 3] + motion.reach_down(scene.main, turned)
    assert reach.max() < scenes.FIELD_NEAR_Y


def test_distractors_do_not_know_the_action():
  scene = sampling.sample("cluttered", "train", 0, 1, 8)
  paths = []
  for action in scenes.ACTIONS:
    moved = dataclasses.replace(scene.motion, action=action)
    changed = dataclasses.replace(scene, motion=moved)
    paths.append(world.World(changed, 17, 12.0).trajectories)
  for path in paths[1:]:
    np.testing.assert_array_equal(
      path.object_to_world[1:], paths[0].object_to_world[1:]
    )
    assert not np.array_equal(
      path.object_to_world[0], paths[0].object_to_world[0]
    )


def test_nor_does_the_main_object_touch_them():
  scene = sampling.sample("cluttered", "train", 0, 1, 8)
  alone = dataclasses.replace(scene, main=None)
  np.testing.assert_array_equal(
    world.World(scene, 17, 12.0).trajectories.object_to_world[1:],
    world.World(alone, 17, 12.0).trajectories.object_to_world,
  )


def test_the_light_drifts_evenly():
  light = scenes.Light((1.0, 2.0, 5.0), (1.0, 0.0, -2.0), 0.3)
  scene = dataclasses.replace(handmade.SCENE, light=light)
  lights = world.World(scene, 5, 2.0).trajectories.light_m
  np.testing.assert_allclose(lights[[0, 4]], [[1, 2, 5], [3, 2, 1]])


def _rays(rng, n=400):
  """Rays from one place above the ground to the neighbourhood of (0, 0, 1)."""
  origin = np.array([0.3, -3.0, 1.5])
  aims = np.array([0, 0, 1.0]) + rng.uniform(-0.7, 0.7, size=(n, 3))
  directions = aims - origin
  return origin, directions / np.linalg.norm(directions, axis=-1)[:, None]


@pytest.mark.parametrize("shape", scenes.SHAPES)
def test_rays_meet_the_shape_that_is_described(shape):
  """What a ray meets lies on the surface, and what it misses is outside."""
  rng = np.random.default_rng(1)
  body = handmade.body(shape, orientation=(0.8, 0.6, 0.0, 0.0))
  scene = dataclasses.replace(
    handmade.SCENE,
    main=body,
    motion=dataclasses.replace(
      handmade.MOTION, bob_height_m=1.2, bob_phase=0.1
    ),
  )
  simulated = world.World(scene, 1, 12.0)
  simulated.pose(0)
  origin, directions = _rays(rng)
  label, distance, normals = simulated.cast_surfaces(origin, directions)
  hit = label == world.FIRST_OBJECT
  assert 0.05 < hit.mean() < 0.9
  pose = simulated.trajectories.object_to_world[0, 0]
  points = origin + directions * distance[:, None]
  local = geometry.transform_points(geometry.invert_rigid(pose), points)
  # A cone of 32 sides lies within the round one.
  slack = 0.006 if shape == "cone" else 1e-6
  np.testing.assert_allclose(_outside(body, local[hit]), 0, atol=slack)
  # Along a ray that misses, no point is inside.
  steps = origin + directions[~hit][:, None] * np.linspace(0, 6, 400)[:, None]
  inside = geometry.transform_points(
    geometry.invert_rigid(pose), steps.reshape(-1, 3)
  )
  assert _outside(body, inside).min() > -slack
  # Normals are unit vectors that face the ray.
  np.testing.assert_allclose(np.linalg.norm(normals[hit], axis=-1), 1)
  assert (np.einsum("nd,nd->n", normals, directions)[hit] < 1e-9).all()


@pytest.mark.parametrize("shape", scenes.SHAPES)
def test_rays_from_anywhere_meet_a_body_that_they_aim_at(shape):
  """Corners and ends, too; from near by, and from within its reach."""
  rng = np.random.default_rng(2)
  body = handmade.body(shape, orientation=(0.8, 0.6, 0.0, 0.0))
  high = dataclasses.replace(handmade.MOTION, bob_height_m=20.0, bob_phase=0.1)
  scene = dataclasses.replace(handmade.SCENE, main=body, motion=high)
  simulated = world.World(scene, 1, 12.0)
  simulated.pose(0)
  pose = simulated.trajectories.object_to_world[0, 0]
  surface = handmade.surface(shape, body.half_extents_m, 8)
  inside = geometry.transform_points(pose, 0.99 * surface)
  tried = 0
  for distance in (0.02, 0.2, 1.0, 5.0):
    for _ in range(40):
      aim = inside[rng.integers(len(inside))]
      way = rng.normal(size=3)
      way /= np.linalg.norm(way)
      origin = aim - distance * way
      local = geometry.transform_points(
        geometry.invert_rigid(pose), origin[None]
      )
      if _outside(body, local)[0] < 0.01:
        continue  # from inside the body rays go out
      label, met = simulated.cast(origin, way[None])
      assert label[0] == world.FIRST_OBJECT
      assert met[0] <= distance + 1e-9
      tried += 1
  assert tried > 80


def _outside(body, points):
  """A function that is 0 on the surface, negative inside, about in metres."""
  x, y, z = body.half_extents_m
  radius, height = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
  match body.shape:
    case "box":
      return (np.abs(points) - [x, y, z]).max(axis=-1)
    case "sphere" | "ellipsoid":
      return (np.linalg.norm(points / [x, y, z], axis=-1) - 1) * min(x, y, z)
    case "cylinder":
      return np.maximum(radius - x, np.abs(height) - z)
    case "capsule":
      beyond = np.maximum(np.abs(height) - (z - x), 0)
      return np.hypot(radius, beyond) - x
    case "cone":
      slope = x / (2 * z)  # radius lost for each metre of height
      side = (radius - slope * (z - height)) / np.hypot(1, slope)
      return np.maximum(side, -z - height)


def test_rays_that_miss_everything():
  simulated = world.World(handmade.SCENE, 1, 12.0)
  simulated.pose(0)
  origin = np.array([0.0, -3.0, 1.0])
  up = np.array([[0.0, 0.0, 1.0], [0.0, -0.8, 0.6]])
  label, distance, normals = simulated.cast_surfaces(origin, up)
  assert (label == 0).all()
  assert (distance == world.FAR_M).all()
  assert (normals == 0).all()
  # Ground beyond FAR_M is sky, too.
  flat = np.array([[0.0, -1.0, -1.0 / (world.FAR_M + 5)]])
  label, distance = simulated.cast(origin, flat / np.linalg.norm(flat))
  assert (label[0], distance[0]) == (0, world.FAR_M)


def test_sees_is_blocked_by_what_stands_between():
  simulated = world.World(handmade.SCENE, 1, 12.0)  # a sphere of 0.4 m
  simulated.pose(0)
  origin = np.array([0.0, -3.0, 0.41])
  points = np.array(
    [[0.0, -0.4, 0.41], [0.0, 0.4, 0.41], [0.0, 3.0, 0.41], [1.0, 0.0, 0.0]]
  )
  assert simulated.sees(origin, points).tolist() == [True, False, False, True]


def test_an_unknown_shape_is_refused():
  body = dataclasses.replace(handmade.body("box"), shape="torus")
  with pytest.raises(ValueError, match="torus"):
    _world([body])
