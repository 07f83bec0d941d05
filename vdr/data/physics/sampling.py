"""Draws scenes: every random number of a clip but where its points lie.

The drawing never depends on the action: the main object's position and
orientation have the same distribution at every frame whatever it does (see
`vdr.data.physics.motion`), and nothing else in the scene knows the action. So a
single frame says nothing about it.
"""

import colorsys
import dataclasses
import zlib

import numpy as np

from vdr.data.physics import scenes


def sample(
  scene: str, split: str, seed: int, index: int, max_distractors: int
) -> scenes.Scene:
  """Draws the scene of clip `index`.

  Args:
    scene: one of scenes.SCENES.
    split: one of scenes.SPLITS; splits never share a random number.
    seed: the data set's seed.
    index: number of the clip in its split.
    max_distractors: objects beside the main one, at the most.
  """
  varied, variant = "", 0
  streams = Streams(seed, split, index)
  if scene == "factors":  # the base scene stays the same for a run of clips
    run, variant = divmod(index, scenes.FACTOR_VALUES)
    varied = scenes.FACTORS[run % len(scenes.FACTORS)]
    streams = Streams(seed, split, run, varied, variant)
  drawn = _sample_default(
    streams, split == "test_ood", max_distractors, scene == "cluttered"
  )
  drawn = dataclasses.replace(drawn, varied=varied, variant=variant)
  if scene == "still":
    return dataclasses.replace(
      drawn,
      motion=dataclasses.replace(drawn.motion, action="none"),
      distractors=(),
      camera=dataclasses.replace(drawn.camera, motion="static", amount=0.0),
    )
  if scene == "brick_wall":
    return _brick_wall(streams("wall"), drawn)
  return drawn


class Streams:
  """Named, independent random streams of one clip."""

  def __init__(
    self, seed: int, split: str, index: int, varied: str = "", variant: int = 0
  ):
    self._seed = seed
    self._key = (scenes.SPLITS.index(split), index)
    self._renamed = {varied: f"{varied}{variant}"}

  def __call__(self, name: str) -> np.random.Generator:
    name = self._renamed.get(name, name)
    key = (*self._key, zlib.crc32(name.encode()))
    return np.random.Generator(
      np.random.PCG64(np.random.SeedSequence(self._seed, spawn_key=key))
    )


def _sample_default(
  streams: Streams, ood: bool, max_distractors: int, cluttered: bool
) -> scenes.Scene:
  shapes = scenes.SHAPES if ood else scenes.KNOWN_SHAPES
  rng = streams("shape")
  shape = shapes[rng.integers(len(shapes))]
  rng = streams("size")
  radius_m = rng.uniform(0.36, 0.43) * (0.7 if cluttered else 1.0)
  main = scenes.Body(
    shape=shape,
    half_extents_m=_half_extents(rng, shape, radius_m),
    look=_object_look(streams("texture"), streams("colour"), ood),
    orientation=_upright(streams("pose")),
  )
  rng = streams("count")
  least = max_distractors // 2 if cluttered else 0
  num_distractors = int(rng.integers(least, max_distractors + 1))
  return scenes.Scene(
    main=main,
    motion=_sample_motion(streams("action"), streams("motion")),
    distractors=tuple(
      _sample_distractor(streams(f"other{i}"), shapes, ood)
      for i in range(num_distractors)
    ),
    ground=_ground_look(streams("ground"), ood, cluttered),
    sky=_sky(streams("sky")),
    camera=_sample_camera(streams("camera"), cluttered),
    light=_sample_light(streams("light"), cluttered),
  )


def _brick_wall(rng: np.random.Generator, drawn: scenes.Scene) -> scenes.Scene:
  """One uniform texture that fills the view of a camera panning along it."""
  warm = rng.uniform(0.25, 0.6)
  bricks = scenes.Look(
    texture="bricks",
    frequency=float(rng.uniform(1.6, 2.4)),
    phase=_vector(rng.uniform(0, 2, size=3)),
    direction=(1.0, 0.0, 0.0),
    colours=((warm, warm * 0.42, warm * 0.3), (0.62, 0.6, 0.56)),
  )
  motion = ("pan_left", "pan_right")[rng.integers(2)]
  return dataclasses.replace(
    drawn,
    main=None,
    motion=dataclasses.replace(drawn.motion, action="none"),
    distractors=(),
    ground=bricks,
    # Straight above the plane: the picture is one wall, edge to edge.
    camera=scenes.Camera(
      motion=motion,
      amount=float(rng.uniform(0.15, 0.3)),
      distance_m=float(rng.uniform(2.6, 3.4)),
      elevation_rad=np.pi / 2,
      azimuth_rad=0.0,
      fov_y_rad=np.radians(50.0),
      look_at_z_m=0.0,
    ),
  )


def _sample_motion(
  rng_action: np.random.Generator, rng: np.random.Generator
) -> scenes.Motion:
  return scenes.Motion(
    action=scenes.ACTIONS[rng_action.integers(len(scenes.ACTIONS))],
    centre_m=_vector(rng.uniform(-0.06, 0.06, size=2)),
    spin_rate_hz=float(rng.uniform(0.6, 0.9)),
    orbit_rate_hz=float(rng.uniform(0.6, 0.9)),
    orbit_radius_m=float(rng.uniform(0.26, 0.34)),
    orbit_phase=float(rng.uniform()),
    beat_rate_hz=float(rng.uniform(0.8, 1.1)),
    fast_share=float(rng.uniform(0.18, 0.25)),
    dash_span_m=float(rng.uniform(0.26, 0.36)),
    dash_phase=float(rng.uniform()),
    bob_height_m=float(rng.uniform(0.45, 0.6)),
    bob_phase=float(rng.uniform()),
  )


def _sample_camera(rng: np.random.Generator, cluttered: bool) -> scenes.Camera:
  # A third of the cameras stand still; the others share the rest evenly.
  moving = rng.uniform() > 0.3
  motion = scenes.CAMERA_MOTIONS[
    rng.integers(1, len(scenes.CAMERA_MOTIONS)) if moving else 0
  ]
  most = {"static": 0.0, "orbit": 0.35, "pan": 0.16, "dolly": 0.5, "roll": 0.22}
  amount = most[motion.split("_")[0]] * rng.uniform(0.4, 1.0)
  return scenes.Camera(
    motion=motion,
    amount=float(amount),
    distance_m=float(rng.uniform(2.8, 3.2) * (1.2 if cluttered else 1.0)),
    elevation_rad=float(np.radians(rng.uniform(14.0, 26.0))),
    azimuth_rad=float(np.radians(rng.uniform(-12.0, 12.0))),
    fov_y_rad=float(np.radians(rng.uniform(39.0, 43.0))),
    look_at_z_m=float(rng.uniform(0.55, 0.65)),
  )


def _sample_light(rng: np.random.Generator, cluttered: bool) -> scenes.Light:
  azimuth = rng.uniform(-np.pi, np.pi)
  elevation = np.radians(rng.uniform(38.0, 68.0))
  reach = 7.0 * np.cos(elevation)
  position = [
    reach * np.sin(azimuth),
    # Mostly from the camera's side: what we look at should be lit.
    -reach * np.cos(azimuth) * (1.0 if np.cos(azimuth) > 0 else 0.6),
    7.0 * np.sin(elevation),
  ]
  drift = rng.uniform(-2.5, 2.5, size=3) if cluttered else np.zeros(3)
  drift[2] = 0.0
  return scenes.Light(
    _vector(position), _vector(drift), float(rng.uniform(0.3, 0.4))
  )


def _sample_distractor(
  rng: np.random.Generator, shapes: tuple[str, ...], ood: bool
) -> scenes.Body:
  """A small body, thrown or dropped into the field behind the main one."""
  shape = shapes[rng.integers(len(shapes))]
  position = [
    rng.uniform(-1.5, 1.5),
    rng.uniform(scenes.FIELD_NEAR_Y + 0.4, 3.0),
    rng.uniform(0.4, 1.6),
  ]
  # Towards the middle of the field, so that bodies meet.
  heading = np.array([0.0, 1.9]) - position[:2] + rng.normal(scale=0.5, size=2)
  speed = rng.uniform(0.0, 2.2)
  velocity = [*(speed * _unit(heading)), rng.uniform(-1.0, 2.0)]
  return scenes.Body(
    shape=shape,
    half_extents_m=_half_extents(rng, shape, rng.uniform(0.14, 0.28)),
    look=_object_look(rng, rng, ood),
    position_m=_vector(position),
    orientation=_vector(_unit(rng.normal(size=4))),
    velocity_m_s=_vector(velocity),
    spin_rad_s=_vector(rng.normal(scale=3.0, size=3)),
  )


def _half_extents(
  rng: np.random.Generator, shape: str, radius_m: float
) -> scenes.Vector:
  """Proportions that keep the shapes apart from every side."""
  stretch = rng.uniform(0.92, 1.08, size=3)
  match shape:
    case "sphere":
      unit = np.ones(3)
    case "box":
      unit = np.array([0.86, 0.76, 0.8]) * stretch
    case "cylinder":
      unit = np.array([0.62, 0.62, 1.05]) * stretch[[0, 0, 2]]
    case "capsule":
      unit = np.array([0.42, 0.42, 1.25]) * stretch[[0, 0, 2]]
    case "ellipsoid":
      unit = np.array([1.3, 1.0, 0.5]) * stretch
    case "cone":
      unit = np.array([0.85, 0.85, 1.0]) * stretch[[0, 0, 2]]
    case _:
      raise ValueError(f"unknown shape {shape!r}")
  return _vector(unit * radius_m)


def _object_look(
  rng: np.random.Generator, rng_colour: np.random.Generator, ood: bool
) -> scenes.Look:
  textures = scenes.OOD_TEXTURES if ood else scenes.TEXTURES
  hue = rng_colour.uniform()
  dark = _rgb(
    hue, rng_colour.uniform(0.75, 1.0), rng_colour.uniform(0.45, 0.85)
  )
  light = _rgb(
    hue + rng_colour.uniform(0.25, 0.75),
    rng_colour.uniform(0.05, 0.45),
    rng_colour.uniform(0.85, 1.0),
  )
  return scenes.Look(
    texture=textures[rng.integers(len(textures))],
    frequency=float(rng.uniform(2.2, 3.2)),
    phase=_vector(rng.uniform(0.0, 2.0, size=3)),
    # Flattened: a turn about the vertical axis must show.
    direction=_vector(_unit(rng.normal(size=3) * [1.0, 1.0, 0.4])),
    colours=(dark, light),
  )


def _ground_look(
  rng: np.random.Generator, ood: bool, cluttered: bool
) -> scenes.Look:
  textures = scenes.OOD_TEXTURES if ood else ("checker", "stripes", "noise")
  texture = textures[rng.integers(len(textures))]
  hue, saturation = rng.uniform(), rng.uniform(0.05, 0.35)
  value = rng.uniform(0.35, 0.75)
  contrast = rng.uniform(0.2, 0.4) * (1.6 if cluttered else 1.0)
  angle = rng.uniform(0, 2 * np.pi)
  return scenes.Look(
    texture=texture,
    frequency=float(rng.uniform(0.9, 1.6) * (1.8 if cluttered else 1.0)),
    # So that the plane z = 0 cuts the cells through their middles.
    phase=_vector(
      [*rng.uniform(0.0, 2.0, size=2), 0.5 if texture == "dots" else 0.0]
    ),
    direction=(float(np.cos(angle)), float(np.sin(angle)), 0.0),
    colours=(
      _rgb(hue, saturation, value),
      _rgb(hue + rng.uniform(-0.1, 0.1), saturation, value * (1 - contrast)),
    ),
  )


def _sky(rng: np.random.Generator) -> tuple[scenes.Vector, scenes.Vector]:
  hue = rng.uniform(0.5, 0.68)
  horizon = _rgb(hue + rng.uniform(-0.1, 0.1), rng.uniform(0.05, 0.25), 0.95)
  return horizon, _rgb(hue, rng.uniform(0.4, 0.75), rng.uniform(0.55, 0.9))


def _rgb(hue: float, saturation: float, value: float) -> scenes.Vector:
  """HSV as linear RGB (a square is close enough to the sRGB curve)."""
  rgb = colorsys.hsv_to_rgb(hue % 1.0, saturation, min(value, 1.0))
  return _vector(np.square(rgb))


def _upright(rng: np.random.Generator) -> scenes.Vector:
  """A quaternion: any heading, and a slight lean to any side."""
  heading, lean = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(0, 12))
  side = rng.uniform(0, 2 * np.pi)
  # heading · lean, the lean about a horizontal axis.
  c, s = np.cos(heading / 2), np.sin(heading / 2)
  w, x, y = np.cos(lean / 2), *(np.sin(lean / 2) * _circle(side))
  return _vector([c * w, c * x - s * y, c * y + s * x, s * w])


def _circle(angle: float) -> np.ndarray:
  return np.array([np.cos(angle), np.sin(angle)])


def _unit(vector: np.ndarray) -> np.ndarray:
  return vector / np.linalg.norm(vector)


def _vector(values) -> scenes.Vector:
  return tuple(float(v) for v in values)
