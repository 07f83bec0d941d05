"""Depth, normals, labels and light, against what is known on paper."""

import dataclasses

import numpy as np
import pytest

from tests.data.physics import handmade
from vdr import geometry
from vdr.data.physics import render, scenes, world

NUM_FRAMES = 5


def _render(scene, height=48, width=48, num_frames=NUM_FRAMES):
  simulated = world.World(scene, num_frames, 12.0)
  return simulated, render.render(simulated, height, width)


def _rays(known, t):
  """World rays of depth 1 through the pixel centres, and the camera's place."""
  camera = known.example["camera_to_world"][t].astype(float)
  intrinsics = known.example["intrinsics"].astype(float)
  height, width = known.settings.height, known.settings.width
  x = (np.arange(width) + 0.5) / width
  y = (np.arange(height) + 0.5) / height
  xy = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
  ends = geometry.unproject(xy, np.ones(len(xy)), camera, intrinsics)
  return (ends - camera[:3, 3]).reshape(height, width, 3), camera[:3, 3]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 40), (64, 32)])
def test_pixel_rays_go_through_the_pixel_centres(height, width):
  camera = handmade.CAMERA
  rays = render.pixel_rays(camera, height, width)
  intrinsics = render.intrinsics(camera, height, width)
  xy, depth = geometry.project(rays.T, np.eye(4), intrinsics)
  x = (np.arange(width) + 0.5) / width
  y = (np.arange(height) + 0.5) / height
  expected = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
  np.testing.assert_allclose(xy, expected, atol=1e-12)
  again = geometry.unproject(expected, depth, np.eye(4), intrinsics)
  np.testing.assert_allclose(again, rays.T, atol=1e-12)
  np.testing.assert_allclose(np.linalg.norm(rays, axis=0), 1)


def test_intrinsics_are_of_square_pixels_and_the_field_of_view():
  intrinsics = render.intrinsics(handmade.CAMERA, 30, 60)
  assert intrinsics[0, 0] * 60 == pytest.approx(intrinsics[1, 1] * 30)
  half = np.arctan2(0.5, intrinsics[1, 1])
  assert 2 * half == pytest.approx(handmade.CAMERA.fov_y_rad)


def test_ground_depth_is_where_the_ray_meets_the_plane(known_clips):
  checked = 0
  for known in known_clips:
    for t in (0, 8, 16):
      rays, origin = _rays(known, t)
      ground = known.example["segmentation"][t] == world.GROUND
      expected = -origin[2] / rays[ground][:, 2]
      depth = known.example["depth_m"][t][ground]
      # Poses are float32: a grazing ray magnifies their rounding.
      slack = 2e-5 * np.maximum(1, expected) ** 2
      assert (np.abs(depth - expected) < slack).all()
      checked += ground.sum()
  assert checked > 100_000


def test_labels_depth_and_normals_agree(known_clips):
  for known in known_clips:
    example = known.example
    labels, normals = example["segmentation"], example["normals"]
    sky = labels == 0
    np.testing.assert_array_equal(example["depth_m"] == 0, sky)
    assert (normals[sky] == 0).all()
    length = np.linalg.norm(normals[~sky], axis=-1)
    np.testing.assert_allclose(length, 1, atol=1e-5)
    assert labels.max() < world.FIRST_OBJECT + example["object_valid"].sum()
    # The ground's normal is the world's z, seen from the camera.
    up = example["camera_to_world"][:, 2, :3]
    for t, ground in enumerate(labels == world.GROUND):
      expected = np.broadcast_to(up[t], normals[t][ground].shape)
      np.testing.assert_allclose(normals[t][ground], expected, atol=1e-5)


def test_normals_face_the_camera(known_clips):
  for known in known_clips[::5]:
    rays = render.pixel_rays(
      known.scene.camera, known.settings.height, known.settings.width
    )
    towards = known.example["normals"].reshape(17, -1, 3) * rays.T
    assert towards.sum(axis=-1).max() < 1e-5


def test_normals_are_those_of_the_depth(known_clips):
  """Neighbours on one surface lie in its tangent plane, but for curvature."""
  off = []
  for known in known_clips[::10]:
    rays = render.pixel_rays(
      known.scene.camera, known.settings.height, known.settings.width
    )
    rays = (rays / rays[2]).T.reshape(known.settings.height, -1, 3)
    points = rays * known.example["depth_m"][..., None]
    labels = known.example["segmentation"]
    here = (labels[:, :, 1:] == labels[:, :, :-1]) & (labels[:, :, 1:] > 1)
    along = (points[:, :, 1:] - points[:, :, :-1])[here]
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    mean = (
      known.example["normals"][:, :, 1:] + known.example["normals"][:, :, :-1]
    )
    off.append(np.abs((along * mean[here] / 2).sum(axis=-1)))
  off = np.concatenate(off)
  assert len(off) > 10_000
  assert np.median(off) < 1e-3
  assert (off < 0.1).mean() > 0.85  # the others are edges between faces


def test_a_sphere_is_where_it_should_be():
  height_m, radius = 0.41, 0.4
  simulated, pictures = _render(handmade.SCENE, 64, 64)
  rays = render.pixel_rays(handmade.CAMERA, 64, 64)
  pose = simulated.trajectories.camera_to_world[0]
  directions = pose[:3, :3] @ rays
  offset = pose[:3, 3] - [0, 0, height_m]
  half_b = offset @ directions
  root = half_b**2 - (offset @ offset - radius**2)
  hit = root > 0
  distance = -half_b - np.sqrt(np.maximum(root, 0))
  labels = pictures.segmentation[0].ravel()
  # Within a hair of the outline either answer is right.
  sure = np.abs(root) > 1e-6
  np.testing.assert_array_equal((labels == world.FIRST_OBJECT)[sure], hit[sure])
  inside = hit & sure
  np.testing.assert_allclose(
    pictures.depth_m[0].ravel()[inside], (distance * rays[2])[inside], rtol=1e-5
  )
  surface = offset[:, None] + directions * distance
  expected = (pose[:3, :3].T @ surface / radius).T
  np.testing.assert_allclose(
    pictures.normals[0].reshape(-1, 3)[inside], expected[inside], atol=1e-4
  )


def test_nothing_depends_on_the_resolution():
  """Every third pixel of 144 has its centre where a pixel of 48 has it."""
  scene = dataclasses.replace(
    handmade.SCENE, camera=dataclasses.replace(
      handmade.CAMERA, motion="orbit_left", amount=0.3
    ),
    distractors=(handmade.body("box", position_m=(0.4, 2.0, 0.9)),),
  )  # fmt: skip
  _, small = _render(scene, 48, 48, 3)
  _, large = _render(scene, 144, 144, 3)
  middle = slice(1, None, 3)
  for name in ("depth_m", "segmentation", "normals"):
    np.testing.assert_allclose(
      getattr(small, name), getattr(large, name)[:, middle, middle], atol=1e-5
    )


def test_pictures_have_their_types():
  _, pictures = _render(handmade.SCENE, 16, 24)
  assert pictures.video.dtype == np.uint8
  assert pictures.video.shape == (NUM_FRAMES, 16, 24, 3)
  assert pictures.depth_m.shape == (NUM_FRAMES, 16, 24)
  assert pictures.depth_m.dtype == pictures.normals.dtype == np.float32
  assert pictures.segmentation.dtype == np.uint8


def _ground_colour(pictures, simulated, points_m):
  """The brightness of frame 0 at points of the ground."""
  height, width = pictures.video.shape[1:3]
  xy, _ = geometry.project(
    np.asarray(points_m, float),
    simulated.trajectories.camera_to_world[0],
    render.intrinsics(simulated.scene.camera, height, width),
  )
  column, row = (xy * [width, height]).astype(int).T
  assert (pictures.segmentation[0, row, column] == world.GROUND).all()
  return pictures.video[0, row, column].mean(axis=-1)


def test_objects_throw_shadows_away_from_the_light():
  # A sphere of 0.4 m in the way of a light from the far left.
  light = scenes.Light((-5.0, 0.0, 4.0), (0.0, 0.0, 0.0), 0.3)
  scene = dataclasses.replace(handmade.SCENE, light=light)
  simulated, pictures = _render(scene, 96, 96)
  shadow, mirrored = _ground_colour(
    pictures, simulated, [[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]]
  )
  assert shadow < 0.7 * mirrored
  # The light's other side, the other shadow.
  light = dataclasses.replace(light, position_m=(5.0, 0.0, 4.0))
  scene = dataclasses.replace(handmade.SCENE, light=light)
  simulated, pictures = _render(scene, 96, 96)
  mirrored, shadow = _ground_colour(
    pictures, simulated, [[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]]
  )
  assert shadow < 0.7 * mirrored


def test_surfaces_that_face_the_light_are_brighter():
  light = scenes.Light((-6.0, -1.0, 2.0), (0.0, 0.0, 0.0), 0.3)
  _, pictures = _render(dataclasses.replace(handmade.SCENE, light=light))
  mask = pictures.segmentation[0] == world.FIRST_OBJECT
  rows, columns = np.nonzero(mask)
  brightness = pictures.video[0].mean(axis=-1)[mask]
  left = brightness[columns < np.median(columns)].mean()
  right = brightness[columns > np.median(columns)].mean()
  assert left > 1.3 * right


def test_more_ambient_light_brightens_shadows_only():
  brightness = []
  for ambient in (0.1, 0.4):
    light = scenes.Light((-5.0, 0.0, 4.0), (0.0, 0.0, 0.0), ambient)
    scene = dataclasses.replace(handmade.SCENE, light=light)
    simulated, pictures = _render(scene, 96, 96)
    brightness.append(_ground_colour(pictures, simulated, [[0.5, 0.0, 0.0]]))
  assert brightness[1] > 1.5 * brightness[0]


def test_the_sky_runs_from_the_horizon_to_overhead():
  camera = dataclasses.replace(
    handmade.CAMERA, elevation_rad=-0.05, fov_y_rad=1.2
  )
  scene = dataclasses.replace(handmade.SCENE, main=None, camera=camera)
  simulated, pictures = _render(scene, 64, 64)
  assert (pictures.segmentation[0, 0] == 0).all()
  top = pictures.video[0, 0].mean(axis=0) / 255
  horizon, overhead = np.sqrt(np.array(scene.sky))
  assert (top < horizon + 0.02).all()
  assert (top > overhead - 0.02).all()
  # Nearer to the horizon it is nearer to the horizon's colour.
  last = int((pictures.segmentation[0, :, 32] == 0).sum()) - 1
  low = pictures.video[0, last, 32] / 255
  assert np.abs(low - horizon).max() < np.abs(top - horizon).max()


def test_a_brick_wall_fills_the_view(known_clips):
  walls = [k for k in known_clips if k.settings.scene == "brick_wall"]
  assert walls
  for known in walls:
    assert set(np.unique(known.example["segmentation"])) == {world.GROUND}
    assert known.example["video"][0].std() > 5  # bricks and mortar
    assert not np.array_equal(
      known.example["video"][0], known.example["video"][-1]
    )


def test_still_clips_stand_still(known_clips):
  still = [k for k in known_clips if k.settings.scene == "still"]
  assert still
  for known in still:
    for name in ("video", "depth_m", "segmentation", "normals"):
      value = known.example[name]
      assert (value == value[:1]).all()


def test_other_clips_move(known_clips):
  for known in known_clips:
    if known.settings.scene != "still":
      video = known.example["video"].astype(int)
      assert np.abs(np.diff(video, axis=0)).max(axis=(1, 2, 3)).min() > 20


def test_pictures_are_neither_dark_nor_burnt(known_clips):
  means = [known.example["video"].mean() for known in known_clips]
  assert 60 < np.quantile(means, 0.05)
  assert np.quantile(means, 0.95) < 220
  burnt = [
    (known.example["video"] == 255).all(-1).mean() for known in known_clips
  ]
  assert np.mean(burnt) < 0.02
