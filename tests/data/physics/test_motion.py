"""Actions and camera motions do what their names say, and nothing else."""

import dataclasses

import numpy as np
import pytest

from tests.data.physics import handmade
from vdr import geometry
from vdr.data.physics import motion, render, sampling, scenes

TIMES_S = np.arange(240) / 60.0  # several beats, finely sampled
WAY = np.linspace(-0.2, 0.2, 17)  # of a camera, radians or metres


@pytest.mark.parametrize("shape", scenes.SHAPES)
def test_reach_down_is_the_support_of_the_surface(shape):
  rng = np.random.default_rng(0)
  extents_m = handmade.EXTENTS_M[shape]
  points = handmade.surface(shape, extents_m)
  rotations = np.stack(
    [np.eye(3), np.diag([1.0, -1, -1])]
    + [handmade.rotation(rng) for _ in range(60)]
  )
  reach = motion.reach_down(handmade.body(shape), rotations)
  lowest = (points @ rotations.swapaxes(-1, -2))[..., 2].min(axis=-1)
  np.testing.assert_allclose(reach, -lowest, atol=1e-4)


def test_reach_down_of_an_unknown_shape():
  body = dataclasses.replace(handmade.body("box"), shape="torus")
  with pytest.raises(ValueError, match="torus"):
    motion.reach_down(body, np.eye(3))


@pytest.mark.parametrize("action", scenes.ACTIONS)
def test_the_main_object_stays_above_the_ground(action):
  for index in range(40):
    scene = sampling.sample("default", "test_ood", 1, index, 0)
    moved = dataclasses.replace(scene.motion, action=action)
    poses = motion.main_poses(scene.main, moved, TIMES_S[::8])
    surface = handmade.surface(scene.main.shape, scene.main.half_extents_m, 18)
    heights = (
      surface @ poses[:, :3, :3].swapaxes(-1, -2) + poses[:, None, :3, 3]
    )[..., 2]
    assert heights.min() > motion.GAP_M - 1e-4
    # And it does come near: at its lowest it all but touches.
    assert heights.min() < motion.GAP_M + scene.motion.bob_height_m + 1e-4


def _poses(action, **changes):
  moved = dataclasses.replace(handmade.MOVING, action=action, **changes)
  tilt = geometry.rotation_about(np.array([1.0, 0, 0]), np.array(0.2))
  w, x = np.cos(0.1), np.sin(0.1)
  body = handmade.body("box", orientation=(w, x, 0.0, 0.0))
  poses = motion.main_poses(body, moved, TIMES_S)
  np.testing.assert_allclose(poses[0, :3, :3], tilt, atol=1e-12)
  return poses


def _is_constant(values):
  return np.ptp(values, axis=0).max() < 1e-9


@pytest.mark.parametrize(("sense", "sign"), [("cw", -1), ("ccw", 1)])
def test_a_spin_turns_in_place(sense, sign):
  poses = _poses(f"spin_{sense}")
  assert _is_constant(poses[:, :3, 3])
  step = poses[1:, :3, :3] @ poses[:-1, :3, :3].swapaxes(-1, -2)
  # Seen from above (x to the right, y up the page), + is counter-clockwise.
  angle = np.arctan2(step[:, 1, 0], step[:, 0, 0])
  expected = sign * 2 * np.pi * handmade.MOVING.spin_rate_hz / 60
  np.testing.assert_allclose(angle, expected, atol=1e-9)
  np.testing.assert_allclose(step[:, 2, 2], 1, atol=1e-12)


@pytest.mark.parametrize(("sense", "sign"), [("cw", -1), ("ccw", 1)])
def test_an_orbit_goes_round_without_turning(sense, sign):
  poses = _poses(f"orbit_{sense}")
  assert _is_constant(poses[:, :3, :3])
  assert _is_constant(poses[:, 2, 3])
  x, y = poses[:, 0, 3], poses[:, 1, 3]
  x, y = x - (x.min() + x.max()) / 2, y - (y.min() + y.max()) / 2
  steps = np.diff(np.unwrap(np.arctan2(y, x)))
  expected = sign * 2 * np.pi * handmade.MOVING.orbit_rate_hz / 60
  np.testing.assert_allclose(steps, expected, atol=2e-3)
  np.testing.assert_allclose(np.hypot(x, y), 0.3, atol=1e-3)


@pytest.mark.parametrize(
  ("action", "axis", "sign", "span_m"),
  [
    ("dash_left", 0, -1, 0.6),
    ("dash_right", 0, 1, 0.6),
    ("bob_up", 2, 1, 0.5),
    ("bob_down", 2, -1, 0.5),
  ],
)
def test_dashes_and_bobs_are_fast_the_way_they_are_called(
  action, axis, sign, span_m
):
  poses = _poses(action)
  assert _is_constant(poses[:, :3, :3])
  others = [i for i in range(3) if i != axis]
  assert _is_constant(poses[:, others, 3])
  way = poses[:, axis, 3] * sign
  steps = np.diff(way) * 60
  share = handmade.MOVING.fast_share
  assert steps.max() == pytest.approx(span_m / share, rel=1e-6)
  assert -steps.min() == pytest.approx(span_m / (1 - share), rel=1e-6)
  # Left is +x's other side, up is away from the ground.
  assert np.ptp(way) == pytest.approx(span_m, rel=0.05)


@pytest.mark.parametrize("action", scenes.ACTIONS)
def test_every_action_moves_and_is_even_from_beat_to_beat(action):
  poses = _poses(action, spin_rate_hz=1.0, orbit_rate_hz=1.0, beat_rate_hz=1.0)
  assert not np.allclose(poses[0], poses[5])
  np.testing.assert_allclose(poses[:60], poses[60:120], atol=1e-9)


@pytest.mark.parametrize("action", scenes.ACTIONS)
@pytest.mark.parametrize("part", ["orbit", "dash", "bob"])
def test_every_action_keeps_the_spread_of_places(part, action):
  """Evenly spread phases give evenly spread places at any time."""
  alone = dict(orbit_radius_m=0.0, dash_span_m=0.0, bob_height_m=0.0)
  span = {"orbit": "orbit_radius_m", "dash": "dash_span_m"}.get(part)
  alone[span or "bob_height_m"] = 1.0
  phases, body = (np.arange(400) + 0.5) / 400, handmade.body("sphere")
  places = np.stack(
    [
      motion.main_poses(
        body,
        dataclasses.replace(
          handmade.MOTION,
          action=action,
          **{**alone, f"{part}_phase": float(phase)},
        ),
        np.arange(17) / 12,
      )[:, :3, 3]
      for phase in phases
    ]
  )
  if part == "orbit":
    value = np.arctan2(places[..., 1], places[..., 0]) / (2 * np.pi) % 1
  elif part == "dash":
    value = (places[..., 0] + 1) / 2
  else:
    value = places[..., 2] - places[..., 2].min()
  value = np.sort(value, axis=0)
  assert np.abs(value - phases[:, None]).max() < 0.01


@pytest.mark.parametrize("action", scenes.ACTIONS)
def test_every_action_keeps_the_spread_of_headings(action):
  headings = (np.arange(90) + 0.5) / 90 * 2 * np.pi
  moved = dataclasses.replace(handmade.MOVING, action=action)
  turned = []
  for heading in headings:
    body = handmade.body(
      "box",
      orientation=(float(np.cos(heading / 2)), 0.0, 0.0,
                   float(np.sin(heading / 2))),
    )  # fmt: skip
    poses = motion.main_poses(body, moved, np.arange(17) / 12)
    turned.append(np.arctan2(poses[:, 1, 0], poses[:, 0, 0]) / (2 * np.pi) % 1)
  gaps = np.diff(np.sort(np.array(turned), axis=0), axis=0)
  np.testing.assert_allclose(gaps, 1 / 90, atol=1e-9)


def test_no_action_moves_nothing():
  assert _is_constant(_poses("none"))


def _camera(name, **changes):
  amount = 0.0 if name == "static" else 0.2
  return dataclasses.replace(
    handmade.CAMERA, motion=name, amount=amount, **changes
  )


@pytest.mark.parametrize("elevation_rad", [0.0, 0.35, np.pi / 2])
@pytest.mark.parametrize("name", scenes.CAMERA_MOTIONS)
def test_camera_poses_are_rigid(name, elevation_rad):
  poses = motion.camera_poses(_camera(name, elevation_rad=elevation_rad), 17)
  rotation = poses[:, :3, :3]
  np.testing.assert_allclose(
    rotation @ rotation.swapaxes(-1, -2), np.tile(np.eye(3), (17, 1, 1)),
    atol=1e-12,
  )  # fmt: skip
  np.testing.assert_allclose(np.linalg.det(rotation), 1)
  np.testing.assert_array_equal(poses[:, 3], np.tile([0, 0, 0, 1.0], (17, 1)))


def _axes(name):
  """Right, down and forward of the camera [t 3], and its place [t 3]."""
  poses = motion.camera_poses(_camera(name), 17)
  return (*np.moveaxis(poses[:, :3, :3], -1, 0), poses[:, :3, 3])


def _in_view(name):
  """Where the camera sees its target, and how far off: [t 2], [t]."""
  camera = _camera(name)
  poses = motion.camera_poses(camera, 17)
  target = np.tile([[0.0, 0.0, camera.look_at_z_m]], (17, 1, 1))
  intrinsics = np.tile(render.intrinsics(camera, 64, 64), (17, 1, 1))
  xy, depth = geometry.project(target, poses, intrinsics)
  return xy[:, 0], depth[:, 0]


@pytest.mark.parametrize(("name", "sign"), [("left", -1), ("right", 1)])
def test_a_pan_turns_the_optical_axis_to_its_side(name, sign):
  right, down, forward, place = _axes(f"pan_{name}")
  assert _is_constant(place)
  assert _is_constant(down)
  turned = np.arctan2(forward @ right[8], forward @ forward[8])
  np.testing.assert_allclose(turned, sign * WAY, atol=1e-12)
  # What the camera looks at goes to the other side of the picture.
  assert (np.diff(_in_view(f"pan_{name}")[0][:, 0]) * sign < 0).all()


@pytest.mark.parametrize(("name", "sign"), [("cw", 1), ("ccw", -1)])
def test_a_roll_turns_about_the_optical_axis(name, sign):
  right, down, forward, place = _axes(f"roll_{name}")
  assert _is_constant(place)
  assert _is_constant(forward)
  # Clockwise, seen from behind the camera: its right side goes down.
  turned = np.arctan2(right @ down[8], right @ right[8])
  np.testing.assert_allclose(turned, sign * WAY, atol=1e-12)
  assert down[8, 2] < 0  # upright in between


@pytest.mark.parametrize(("name", "sign"), [("in", -1), ("out", 1)])
def test_a_dolly_changes_the_distance(name, sign):
  right, down, forward, _ = _axes(f"dolly_{name}")
  assert all(map(_is_constant, (right, down, forward)))
  xy, depth = _in_view(f"dolly_{name}")
  np.testing.assert_allclose(xy, 0.5, atol=1e-9)
  np.testing.assert_allclose(depth, 3 + sign * WAY)


@pytest.mark.parametrize(("name", "sign"), [("left", -1), ("right", 1)])
def test_an_orbit_moves_the_camera_around_its_target(name, sign):
  right, _, _, place = _axes(f"orbit_{name}")
  assert (np.diff((place - place[8]) @ right[8]) * sign > 0).all()
  xy, depth = _in_view(f"orbit_{name}")
  np.testing.assert_allclose(xy, 0.5, atol=1e-9)
  np.testing.assert_allclose(depth, 3, atol=1e-9)
  assert _is_constant(place[:, 2:])


def test_a_static_camera_stands_still():
  poses = motion.camera_poses(_camera("static"), 17)
  assert _is_constant(poses)
  np.testing.assert_allclose(_in_view("static")[0], 0.5, atol=1e-9)


@pytest.mark.parametrize("name", scenes.CAMERA_MOTIONS[1:])
def test_opposite_names_are_opposite_ways(name):
  kind, sense = name.split("_")
  other = next(
    n
    for n in scenes.CAMERA_MOTIONS
    if n.startswith(f"{kind}_") and n != f"{kind}_{sense}"
  )
  forth = motion.camera_poses(_camera(name), 17)
  back = motion.camera_poses(_camera(other), 17)
  np.testing.assert_allclose(forth, back[::-1], atol=1e-12)
