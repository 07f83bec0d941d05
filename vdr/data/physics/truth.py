"""Labels of a world: point tracks, boxes, poses and a caption."""

import colorsys

import numpy as np
from jaxtyping import Float, Int, UInt8

from vdr import geometry
from vdr.data import schema
from vdr.data.physics import render, scenes, world

# Shares of the tracked points: on the main object, on the others, and the rest
# on the ground. What does not show leaves its share to the ground.
MAIN_SHARE, OTHERS_SHARE = 0.5, 0.25


def tracks(
  simulated: world.World,
  pictures: render.Pictures,
  num_points: int,
  rng: np.random.Generator,
) -> schema.Example:
  """Points fixed to surfaces, all visible in frame 0.

  Each starts at a random place in a random pixel of frame 0, so that queries
  are not tied to pixel centres. A point is visible where it lies in the
  picture and nothing lies between it and the camera.
  """
  _, height, width = pictures.segmentation.shape
  paths = simulated.trajectories
  camera = simulated.scene.camera
  intrinsics = render.intrinsics(camera, height, width)
  label, start = _start(simulated, pictures, intrinsics, num_points, rng)

  num_frames = len(paths.camera_to_world)
  points = np.broadcast_to(start[:, None], (num_points, num_frames, 3)).copy()
  for o, poses in enumerate(paths.object_to_world):
    here = label == world.FIRST_OBJECT + o
    fixed = geometry.transform_points(
      geometry.invert_rigid(poses[0]), start[here]
    )
    fixed = np.tile(fixed, (num_frames, 1, 1))
    points[here] = geometry.transform_points(poses, fixed).swapaxes(0, 1)

  xy, depth = geometry.project(
    points.swapaxes(0, 1),
    paths.camera_to_world,
    np.tile(intrinsics, (num_frames, 1, 1)),
  )
  visible = (depth > 0) & ((xy >= 0) & (xy < 1)).all(axis=-1)
  for t in range(num_frames):
    simulated.pose(t)
    origin = paths.camera_to_world[t, :3, 3]
    visible[t] &= simulated.sees(origin, points[:, t])
  return {
    "points_xy": xy.swapaxes(0, 1).astype(np.float32),
    "points_visible": visible.T.copy(),
    "points_world_m": points.astype(np.float32),
    "points_object": np.maximum(label - world.FIRST_OBJECT, -1).astype(
      np.int32
    ),
  }


def _start(
  simulated: world.World,
  pictures: render.Pictures,
  intrinsics: Float[np.ndarray, "3 3"],
  num_points: int,
  rng: np.random.Generator,
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
  """What carries each point, and where it is in frame 0 (world, metres)."""
  first = pictures.segmentation[0]
  height, width = first.shape
  pixels = _pick_pixels(first.ravel(), num_points, rng)
  corner = np.stack([pixels % width, pixels // width], axis=-1)
  # Off the pixel's border by a hair, lest float32 carries it to a neighbour.
  xy = (corner + rng.uniform(1e-3, 1 - 1e-3, size=corner.shape)) / (
    width,
    height,
  )
  pose = simulated.trajectories.camera_to_world[0]
  simulated.pose(0)
  far = geometry.unproject(xy, np.ones(num_points), pose, intrinsics)
  directions = far - pose[:3, 3]
  directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
  label, distance = simulated.cast(pose[:3, 3], directions)
  # A ray beside an outline may miss what the pixel's centre meets: sky carries
  # no point, so fall back on the centre.
  missed = np.flatnonzero(label == 0)
  centres = render.pixel_rays(simulated.scene.camera, height, width)
  directions[missed] = centres[:, pixels[missed]].T @ pose[:3, :3].T
  label[missed], distance[missed] = simulated.cast(
    pose[:3, 3], directions[missed]
  )
  return label, pose[:3, 3] + directions * distance[:, None]


def _pick_pixels(
  labels: UInt8[np.ndarray, " p"], num_points: int, rng: np.random.Generator
) -> Int[np.ndarray, " n"]:
  main = np.flatnonzero(labels == world.FIRST_OBJECT)
  others = np.flatnonzero(labels > world.FIRST_OBJECT)
  ground = np.flatnonzero(labels == world.GROUND)
  num_main = int(num_points * MAIN_SHARE) if main.size else 0
  num_others = int(num_points * OTHERS_SHARE) if others.size else 0
  num_ground = num_points - num_main - num_others
  return np.concatenate(
    [
      rng.choice(pool, size) if size else np.empty(0, int)
      for pool, size in (
        (main, num_main),
        (others, num_others),
        (ground if ground.size else main, num_ground),
      )
    ]
  )


def objects(
  simulated: world.World, pictures: render.Pictures, num_objects: int
) -> schema.Example:
  """Poses, sizes and boxes, padded to `num_objects`."""
  poses = simulated.trajectories.object_to_world
  here, num_frames = poses.shape[:2]
  padded = np.tile(np.eye(4, dtype=np.float32), (num_objects, num_frames, 1, 1))
  padded[:here] = poses
  sizes = np.zeros((num_objects, 3), np.float32)
  for o, body in enumerate(simulated.bodies):
    sizes[o] = 2 * np.asarray(body.half_extents_m)
  labels = world.FIRST_OBJECT + np.arange(num_objects)
  masks = pictures.segmentation == labels[:, None, None, None]
  boxes, shown = geometry.boxes_from_masks(masks)
  return {
    "object_to_world": padded,
    "object_size_m": sizes,
    "object_valid": np.arange(num_objects) < here,
    "boxes_yxyx": boxes,
    "boxes_valid": shown,
  }


def caption(scene: scenes.Scene) -> str:
  """One English sentence about the clip."""
  camera = _CAMERA_WORDS[scene.camera.motion]
  ground = _look_words(scene.ground)
  if scene.main is None:
    return f"A wall of {ground} while {camera}."
  count = len(scene.distractors)
  others = ("", ", beside one other object")[count] if count < 2 else None
  if others is None:
    others = f", beside {count} other objects"
  return (
    f"{_article(_look_words(scene.main.look))} {scene.main.shape}"
    f" {_ACTION_WORDS[scene.motion.action]} over {ground} ground{others},"
    f" while {camera}."
  )


_ACTION_WORDS = {
  "none": "stands still",
  "spin_cw": "spins clockwise",
  "spin_ccw": "spins counter-clockwise",
  "orbit_cw": "circles clockwise",
  "orbit_ccw": "circles counter-clockwise",
  "bob_up": "leaps up and sinks back",
  "bob_down": "drops down and rises back",
  "dash_left": "dashes left and drifts back",
  "dash_right": "dashes right and drifts back",
}
_CAMERA_WORDS = {
  "static": "the camera stands still",
  "orbit_left": "the camera circles to the left",
  "orbit_right": "the camera circles to the right",
  "pan_left": "the camera pans left",
  "pan_right": "the camera pans right",
  "dolly_in": "the camera moves closer",
  "dolly_out": "the camera moves back",
  "roll_cw": "the camera rolls clockwise",
  "roll_ccw": "the camera rolls counter-clockwise",
}
_TEXTURE_WORDS = {
  "checker": "checkered",
  "stripes": "striped",
  "two_tone": "two-tone",
  "noise": "mottled",
  "dots": "dotted",
  "rings": "ringed",
  "bricks": "bricks",
  "plain": "plain",
}
_HUES = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
_HUE_EDGES = (0.04, 0.11, 0.19, 0.45, 0.54, 0.7, 0.8, 0.95)


def _look_words(look: scenes.Look) -> str:
  first, second = (_colour_word(colour) for colour in look.colours)
  colours = first if first == second else f"{first}-and-{second}"
  return f"{colours} {_TEXTURE_WORDS[look.texture]}"


def _colour_word(linear: scenes.Vector) -> str:
  hue, saturation, value = colorsys.rgb_to_hsv(*(c**0.5 for c in linear))
  if value < 0.2:
    return "black"
  if saturation < 0.18:
    return "white" if value > 0.8 else "grey"
  return next(
    (name for name, edge in zip(_HUES, _HUE_EDGES, strict=True) if hue < edge),
    "red",
  )


def _article(words: str) -> str:
  return f"{'An' if words[0] in 'aeiou' else 'A'} {words}"
