"""Tracks, boxes, poses and captions agree with the picture and each other."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from tests.data.physics import handmade
from vdr import geometry
from vdr.data import schema
from vdr.data.physics import render, scenes, truth, world


def _float64(known, *names):
  return [known.example[name].astype(float) for name in names]


def _camera_points(known):
  """The tracked points in camera axes: [t n 3]."""
  poses, points = _float64(known, "camera_to_world", "points_world_m")
  return geometry.transform_points(
    geometry.invert_rigid(poses), points.swapaxes(0, 1)
  )


def _pixels_off(known, xy, other_xy):
  size = [known.settings.width, known.settings.height]
  return np.abs((xy - other_xy) * size).max(initial=0)


def _project(known, points, t):
  poses, intrinsics = _float64(known, "camera_to_world", "intrinsics")
  return geometry.project(points, poses[t], intrinsics)


def test_ground_points_follow_the_camera(known_clips):
  """Pixel and depth in frame 0, moved by the poses, land on the track."""
  checked = 0
  for known in known_clips:
    poses, intrinsics, xy = _float64(
      known, "camera_to_world", "intrinsics", "points_xy"
    )
    ground = known.example["points_object"] == -1
    xy, depth = xy[ground], _camera_points(known)[:, ground, 2]
    points = geometry.unproject(xy[:, 0], depth[0], poses[0], intrinsics)
    assert np.abs(points[:, 2]).max(initial=0) < 1e-3
    for t in range(known.settings.num_frames):
      there, z = _project(known, points, t)
      ahead = z > 0.1
      assert _pixels_off(known, there[ahead], xy[ahead, t]) < 0.1
      checked += ahead.sum()
  assert checked > 10_000


def test_the_depth_map_moved_by_the_poses_lands_on_the_ground(known_clips):
  """The same for depth pixels, against the homography of the plane."""
  for known in known_clips[::2]:
    poses, intrinsics, depth = _float64(
      known, "camera_to_world", "intrinsics", "depth_m"
    )
    size = np.array([known.settings.width, known.settings.height])
    row, column = np.nonzero(known.example["segmentation"][0] == world.GROUND)
    xy = (np.stack([column, row], axis=-1) + 0.5) / size
    points = geometry.unproject(xy, depth[0, row, column], poses[0], intrinsics)
    # A ground point (x, y, 0) is seen at K [r1 r2 t] (x, y, 1).
    to_camera = geometry.invert_rigid(poses)
    planes = intrinsics @ to_camera[:, :3, [0, 1, 3]]
    for t in (4, 8, 16):
      there, z = _project(known, points, t)
      ones = np.ones((len(xy), 1))
      moved = np.concatenate([xy, ones], axis=-1)
      moved = moved @ (planes[t] @ np.linalg.inv(planes[0])).T
      moved = moved[:, :2] / moved[:, 2:]
      ahead = z > 0.1
      assert _pixels_off(known, there[ahead], moved[ahead]) < 0.1


def test_tracks_are_projections_of_their_points(known_clips):
  for known in known_clips:
    points = known.example["points_world_m"].astype(float)
    depth = _camera_points(known)[..., 2]
    for t in range(known.settings.num_frames):
      xy, z = _project(known, points[:, t], t)
      np.testing.assert_allclose(z, depth[t], atol=1e-9)
      ahead = z > 0.1
      track = known.example["points_xy"][ahead, t]
      assert _pixels_off(known, xy[ahead], track) < 0.01


def test_points_are_fixed_to_what_carries_them(known_clips):
  for known in known_clips:
    poses, points = _float64(known, "object_to_world", "points_world_m")
    carrier = known.example["points_object"]
    ground = points[carrier == -1]
    assert np.ptp(ground, axis=1).max(initial=0) == 0
    for o in range(len(poses)):
      here = points[carrier == o].swapaxes(0, 1)
      local = geometry.transform_points(geometry.invert_rigid(poses[o]), here)
      assert np.ptp(local, axis=0).max(initial=0) < 1e-5
      distance = np.linalg.norm(local, axis=-1)
      half = known.example["object_size_m"][o] / 2
      assert distance.max(initial=0) < np.linalg.norm(half) + 1e-4
      assert (np.abs(local) < half + 1e-4).all()


def test_main_points_stay_above_the_ground(known_clips):
  for known in known_clips:
    main = known.example["points_object"] == 0
    heights = known.example["points_world_m"][main][..., 2]
    assert heights.min(initial=1) > 0.009


def test_all_points_are_visible_where_they_start(known_clips):
  for known in known_clips:
    assert known.example["points_visible"][:, 0].all()
    xy = known.example["points_xy"][:, 0]
    assert (xy >= 0).all() and (xy < 1).all()


def test_shares_of_points(known_clips):
  for known in known_clips:
    first = known.example["segmentation"][0]
    carrier = known.example["points_object"]
    if (first == world.FIRST_OBJECT).any() and (first == world.GROUND).any():
      # A point drawn beside an outline may lie on the neighbour.
      assert 22 <= (carrier == 0).sum() <= 42
      assert (carrier == -1).sum() >= 10


def test_visibility_says_whether_a_point_is_in_view(known_clips):
  for known in known_clips:
    xy = known.example["points_xy"].astype(float)
    visible = known.example["points_visible"]
    depth = _camera_points(known)[..., 2].T
    inside = ((xy > -1e-6) & (xy < 1 + 1e-6)).all(axis=-1) & (depth > 0)
    assert inside[visible].all()


@dataclasses.dataclass(frozen=True)
class InView:
  """Every point in every frame whose picture it lies in; m of them.

  Attributes:
    visible: [m] what the clip says.
    own: [m] whether the pixel shows what carries the point.
    others: [m] whether the 3 x 3 pixels about it show another object.
    behind_m: [m] how far the point lies behind what its pixel shows; that is
      continued from the pixel's centre along the tangent plane, so slanted
      surfaces need no tolerance. NaN in the sky and at grazing views.
    turned: [m] cosine between the point's own normal and the ray that sees it;
      NaN where frame 0 does not show it. Negative faces the camera.
    on_ground: [m]
  """

  visible: np.ndarray
  own: np.ndarray
  others: np.ndarray
  behind_m: np.ndarray
  turned: np.ndarray
  on_ground: np.ndarray


def _turned(known, own_ray, t, n):
  """Normals of frame 0, carried along by their objects, against the rays."""
  example = known.example
  column, row = (
    example["points_xy"][:, 0] * [known.settings.width, known.settings.height]
  ).astype(int).T  # fmt: skip
  carrier = example["points_object"]
  shown = example["segmentation"][0, row, column] == carrier + 2
  poses, cameras = _float64(known, "object_to_world", "camera_to_world")
  poses = np.concatenate([poses, np.tile(np.eye(4), (1, len(cameras), 1, 1))])
  moved = poses[:, :, :3, :3] @ poses[:, :1, :3, :3].swapaxes(-1, -2)
  normal = cameras[0, :3, :3] @ example["normals"][0, row, column, :, None]
  normal = moved[carrier[n], t] @ normal[n]  # the last pose is the ground's
  normal = (cameras[t, :3, :3].swapaxes(-1, -2) @ normal)[..., 0]
  cosine = (normal * own_ray).sum(-1) / np.linalg.norm(own_ray, axis=-1)
  return np.where(shown[n], cosine, np.nan)


def _in_view(known):
  height, width = known.settings.height, known.settings.width
  points = _camera_points(known)
  xy = known.example["points_xy"].swapaxes(0, 1)
  inside = ((xy >= 0) & (xy < 1)).all(axis=-1) & (points[..., 2] > 0.1)
  t, n = np.nonzero(inside)
  column, row = (xy[t, n] * [width, height]).astype(int).T
  labels = np.pad(known.example["segmentation"], [(0, 0), (1, 1), (1, 1)])
  around = np.stack(
    [labels[t, row + y, column + x] for x in range(3) for y in range(3)]
  ).astype(int)
  carrier = known.example["points_object"][n] + world.FIRST_OBJECT
  depth = known.example["depth_m"][t, row, column].astype(float)
  normal = known.example["normals"][t, row, column].astype(float)
  rays = render.pixel_rays(known.scene.camera, height, width)
  rays = (rays / rays[2]).T.reshape(height, width, 3)[row, column]
  own_ray = points[t, n] / points[t, n, 2:]
  slope = (normal * own_ray).sum(axis=-1)
  slope[slope > -0.05] = np.nan
  return InView(
    visible=known.example["points_visible"][n, t],
    own=around[4] == carrier,
    others=((around >= world.FIRST_OBJECT) & (around != carrier)).any(axis=0),
    behind_m=points[t, n, 2] - depth * (normal * rays).sum(axis=-1) / slope,
    turned=_turned(known, own_ray, t, n),
    on_ground=carrier == world.GROUND,
  )


@pytest.fixture(scope="module")
def in_view(known_clips):
  parts = [_in_view(known) for known in known_clips]
  return InView(
    *(
      np.concatenate([getattr(part, field.name) for part in parts])
      for field in dataclasses.fields(InView)
    )
  )


def test_visible_points_are_what_their_pixels_show(in_view):
  """Pixel centres decide labels, points lie between them: outlines differ.

  So 4 % of visible points may lie on another label; of those on their own,
  98 % lie where the depth map says, within 2 cm (corners and curved sides).
  """
  visible = in_view.visible
  assert visible.sum() > 50_000
  assert in_view.own[visible].mean() > 0.96
  behind = in_view.behind_m[visible & in_view.own]
  behind = behind[np.isfinite(behind)]
  assert (np.abs(behind) < 0.02).mean() > 0.98
  ground = in_view.behind_m[visible & in_view.own & in_view.on_ground]
  ground = ground[np.isfinite(ground)]
  assert np.abs(ground).max() < 1e-3  # a plane: no exception
  facing = in_view.turned[visible & np.isfinite(in_view.turned)]
  assert (facing < 0.05).mean() > 0.98


def test_hidden_points_have_something_before_them(in_view):
  """Ground is hidden by an object; objects by another, or by themselves.

  Bodies are convex: what faces the camera is hidden by others only. 3 % may
  differ, whose normal changes from their place to their pixel's centre.
  """
  hidden = ~in_view.visible
  assert hidden.sum() > 5_000
  assert in_view.others[hidden & in_view.on_ground].all()
  by_itself = hidden & ~in_view.others & np.isfinite(in_view.turned)
  assert by_itself.sum() > 1_000
  assert (in_view.turned[by_itself] > -0.1).mean() > 0.97
  # Where the pixel shows something else, that is nearer.
  other = hidden & ~in_view.own & in_view.others & (in_view.behind_m > -9)
  assert (in_view.behind_m[other] > 0).mean() > 0.8


def test_visibility_on_and_behind_a_sphere_is_exact():
  camera = dataclasses.replace(handmade.CAMERA, motion="orbit_left", amount=1.2)
  scene = dataclasses.replace(handmade.SCENE, camera=camera)
  simulated = world.World(scene, 17, 12.0)
  pictures = render.render(simulated, 48, 48)
  rng = np.random.default_rng(0)
  example = truth.tracks(simulated, pictures, 400, rng)
  centre, radius = np.array([0, 0, 0.41]), 0.4
  points = example["points_world_m"].astype(float)
  eyes = simulated.trajectories.camera_to_world[:, :3, 3]
  towards = eyes - points  # [n t 3]
  reach = np.linalg.norm(towards, axis=-1, keepdims=True)
  # How near the line of sight comes to the sphere's centre, ahead of the point.
  along = ((centre - points) * towards / reach).sum(axis=-1)
  nearest = np.linalg.norm(
    points + np.maximum(along, 0)[..., None] * towards / reach - centre, axis=-1
  )
  xy = example["points_xy"]
  inside = ((xy >= 0) & (xy < 1)).all(axis=-1)
  # The ground: hidden where the line of sight enters the sphere. The sphere:
  # hidden where it leads through the sphere, that is, sets out inwards.
  on_ground = (example["points_object"] == -1)[:, None]
  free = np.where(on_ground, nearest > radius, along < 0)
  sure = np.where(on_ground, np.abs(nearest - radius), np.abs(along)) > 0.01
  expected = inside & free
  assert 0.1 < expected[sure].mean() < 0.95
  np.testing.assert_array_equal(example["points_visible"][sure], expected[sure])


def test_boxes_are_tight(known_clips):
  for known in known_clips:
    labels = known.example["segmentation"]
    height, width = labels.shape[1:]
    boxes, shown = known.example["boxes_yxyx"], known.example["boxes_valid"]
    for o, t in itertools.product(range(len(boxes)), range(0, 17, 4)):
      rows, columns = np.nonzero(labels[t] == world.FIRST_OBJECT + o)
      assert shown[o, t] == bool(rows.size)
      if rows.size:
        edges = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        expected = np.array(edges) / [height, width, height, width]
      else:
        expected = np.zeros(4)
      np.testing.assert_allclose(boxes[o, t], expected, atol=1e-6)


def test_objects_beyond_those_there_are_padding(known_clips):
  padded = 0
  for known in known_clips:
    example, scene = known.example, known.scene
    count = len(scene.distractors) + (scene.main is not None)
    valid = example["object_valid"]
    assert len(valid) == 1 + known.settings.max_distractors
    assert valid.tolist() == [o < count for o in range(len(valid))]
    assert not example["boxes_valid"][~valid].any()
    assert (example["boxes_yxyx"][~valid] == 0).all()
    assert (example["object_size_m"][~valid] == 0).all()
    assert (example["object_size_m"][valid] > 0).all()
    assert (example["object_to_world"][~valid] == np.eye(4)).all()
    padded += (~valid).sum()
  assert padded > 20


def test_a_hidden_object_has_no_box():
  behind = handmade.body("sphere", position_m=(0.0, 40.0, 0.4))
  ahead = handmade.body("box", position_m=(0.0, 2.0, 0.5))
  camera = dataclasses.replace(handmade.CAMERA, azimuth_rad=np.pi)
  scene = dataclasses.replace(
    handmade.SCENE, distractors=(behind, ahead), camera=camera
  )  # the camera looks from behind, away from the others
  simulated = world.World(scene, 5, 12.0)
  camera_places = simulated.trajectories.camera_to_world[:, 1, 3]
  assert (camera_places < 5).all()
  objects = truth.objects(simulated, render.render(simulated, 32, 32), 4)
  assert objects["boxes_valid"][0].all()
  assert not objects["boxes_valid"][[1, 3]].any()
  assert objects["object_valid"].tolist() == [True, True, True, False]


def _check_sentence(text):
  assert re.fullmatch(r"An? [a-z0-9,\- ]+\.", text), text
  assert "  " not in text and " ," not in text
  assert len(text.encode()) < schema.MAX_TEXT_BYTES
  an = text.startswith("An ")
  assert an == (text.split()[1][0] in "aeiou")


@pytest.mark.parametrize("shape", scenes.SHAPES)
def test_captions_are_sentences(shape):
  seen = set()
  for action, camera in itertools.product(
    (*scenes.ACTIONS, "none"), scenes.CAMERA_MOTIONS
  ):
    for count, texture in ((0, "dots"), (1, "two_tone"), (5, "rings")):
      scene = dataclasses.replace(
        handmade.SCENE,
        main=dataclasses.replace(
          handmade.body(shape),
          look=dataclasses.replace(handmade.PLAIN, texture=texture),
        ),
        motion=dataclasses.replace(handmade.MOTION, action=action),
        camera=dataclasses.replace(handmade.CAMERA, motion=camera),
        distractors=(handmade.body("box"),) * count,
      )
      text = truth.caption(scene)
      _check_sentence(text)
      assert shape in text
      seen.add(text)
  assert len(seen) == 9 * 9 * 3


def test_captions_of_sampled_scenes(known_clips):
  for known in known_clips:
    text = schema.untext(known.example["caption"])
    _check_sentence(text)
    if known.scene.main is None:
      assert text.startswith("A wall of ")
    else:
      assert f" {known.scene.main.shape} " in text


@pytest.mark.parametrize(
  ("rgb", "word"),
  [
    ((1.0, 0.0, 0.0), "red"),
    ((0.0, 1.0, 0.0), "green"),
    ((0.0, 0.0, 1.0), "blue"),
    ((1.0, 1.0, 0.0), "yellow"),
    ((1.0, 0.25, 0.0), "orange"),
    ((0.01, 0.01, 0.01), "black"),
    ((0.9, 0.9, 0.9), "white"),
    ((0.3, 0.3, 0.3), "grey"),
    ((1.0, 0.0, 0.01), "red"),
  ],
)
def test_colours_have_their_usual_names(rgb, word):
  look = dataclasses.replace(handmade.PLAIN, colours=(rgb, rgb))
  scene = dataclasses.replace(
    handmade.SCENE, main=dataclasses.replace(handmade.body("box"), look=look)
  )
  assert f" {word} plain box " in truth.caption(scene)
