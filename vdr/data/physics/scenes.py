"""What is in a clip: every random factor of a scene, drawn in one place.

World axes: x right, y away from the camera, z up, metres; the main object moves
about the origin, the ground is z = 0.

The drawing never depends on the action: the main object's position and
orientation have the same distribution at every frame whatever it does (see
`vdr.data.physics.motion`), and nothing else in the scene knows the action. So a
single frame says nothing about it.
"""

import colorsys
import dataclasses
import zlib

import numpy as np

Vector = tuple[float, ...]

SHAPES = ("box", "sphere", "cylinder", "capsule", "ellipsoid", "cone")
KNOWN_SHAPES = SHAPES[:5]  # the cone is only met in `test_ood`
TEXTURES = ("checker", "stripes", "two_tone", "noise")
OOD_TEXTURES = ("dots", "rings")
ACTIONS = (
  "spin_cw",
  "spin_ccw",
  "orbit_cw",
  "orbit_ccw",
  "tumble_toward",
  "tumble_away",
  "dash_left",
  "dash_right",
)
CAMERA_MOTIONS = (
  "static",
  "orbit_left",
  "orbit_right",
  "pan_left",
  "pan_right",
  "dolly_in",
  "dolly_out",
  "roll_cw",
  "roll_ccw",
)
SCENES = ("default", "cluttered", "brick_wall", "still", "factors")
SPLITS = ("pretrain", "train", "select", "test", "test_ood")

# Factors of the scene `factors`: clips come in runs of FACTOR_VALUES, within
# which only the named one changes.
FACTORS = ("shape", "texture", "colour", "size", "camera", "light", "action")
FACTOR_VALUES = 8

# Where distractors may be: behind this plane the main object never reaches.
FIELD_NEAR_Y = 1.15


@dataclasses.dataclass(frozen=True)
class Look:
  """A two-coloured solid texture, in the coordinates of what carries it."""

  texture: str  # of TEXTURES or OOD_TEXTURES, "bricks" or "plain"
  frequency: float  # cells for each metre
  phase: Vector  # [3] cells
  direction: Vector  # [3] unit vector, for stripes and two-tone
  colours: tuple[Vector, Vector]  # linear RGB in [0, 1]


@dataclasses.dataclass(frozen=True)
class Body:
  """One rigid body; its pose is where a free one starts."""

  shape: str
  half_extents_m: Vector  # [3] along its own axes
  look: Look
  position_m: Vector = (0.0, 0.0, 0.0)
  orientation: Vector = (1.0, 0.0, 0.0, 0.0)  # quaternion w x y z
  velocity_m_s: Vector = (0.0, 0.0, 0.0)
  spin_rad_s: Vector = (0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Motion:
  """How the main object moves: see `vdr.data.physics.motion`."""

  action: str  # of ACTIONS, or "none"
  centre_m: Vector  # [2] x, y
  turn_rate_hz: float  # spin and tumble
  orbit_rate_hz: float
  orbit_radius_m: float
  orbit_phase: float  # turns
  dash_rate_hz: float
  dash_span_m: float
  dash_phase: float  # periods
  dash_fast_share: float  # of a period that the fast way takes


@dataclasses.dataclass(frozen=True)
class Camera:
  """A pinhole camera that looks at the main object's place and moves once."""

  motion: str  # of CAMERA_MOTIONS
  amount: float  # half the whole way: radians, or metres for a dolly
  distance_m: float
  elevation_rad: float
  azimuth_rad: float
  fov_y_rad: float
  look_at_z_m: float


@dataclasses.dataclass(frozen=True)
class Light:
  """A point light."""

  position_m: Vector
  velocity_m_s: Vector
  ambient: float  # share of the light that comes from everywhere


@dataclasses.dataclass(frozen=True)
class Scene:
  """Everything about a clip but its size."""

  main: Body | None
  motion: Motion
  distractors: tuple[Body, ...]
  ground: Look
  sky: tuple[Vector, Vector]  # linear RGB at the horizon and overhead
  camera: Camera
  light: Light
  varied: str = ""  # scene `factors`: which factor, of FACTORS
  variant: int = 0  # scene `factors`: which of its values


def sample(
  scene: str, split: str, seed: int, index: int, max_distractors: int
) -> Scene:
  """Draws the scene of clip `index`.

  Args:
    scene: one of SCENES.
    split: one of SPLITS; splits never share a random number.
    seed: the data set's seed.
    index: number of the clip in its split.
    max_distractors: objects beside the main one, at the most.
  """
  varied, variant = "", 0
  streams = Streams(seed, split, index)
  if scene == "factors":  # the base scene stays the same for a run of clips
    run, variant = divmod(index, FACTOR_VALUES)
    varied = FACTORS[run % len(FACTORS)]
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
    self._key = (SPLITS.index(split), index)
    self._renamed = {varied: f"{varied}{variant}"}

  def __call__(self, name: str) -> np.random.Generator:
    name = self._renamed.get(name, name)
    key = (*self._key, zlib.crc32(name.encode()))
    return np.random.Generator(
      np.random.PCG64(np.random.SeedSequence(self._seed, spawn_key=key))
    )


def _sample_default(
  streams: Streams, ood: bool, max_distractors: int, cluttered: bool
) -> Scene:
  shapes = SHAPES if ood else KNOWN_SHAPES
  rng = streams("shape")
  shape = shapes[rng.integers(len(shapes))]
  rng = streams("size")
  radius_m = rng.uniform(0.33, 0.41) * (0.7 if cluttered else 1.0)
  main = Body(
    shape=shape,
    half_extents_m=_half_extents(rng, shape, radius_m),
    look=_object_look(streams("texture"), streams("colour"), ood),
    orientation=_vector(_unit(streams("pose").normal(size=4))),
  )
  rng = streams("count")
  least = max_distractors // 2 if cluttered else 0
  num_distractors = int(rng.integers(least, max_distractors + 1))
  return Scene(
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


def _brick_wall(rng: np.random.Generator, drawn: Scene) -> Scene:
  """One uniform texture that fills the view of a camera panning along it."""
  warm = rng.uniform(0.25, 0.6)
  bricks = Look(
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
    camera=Camera(
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
) -> Motion:
  return Motion(
    action=ACTIONS[rng_action.integers(len(ACTIONS))],
    centre_m=_vector(rng.uniform(-0.08, 0.08, size=2)),
    turn_rate_hz=float(rng.uniform(0.55, 0.9)),
    orbit_rate_hz=float(rng.uniform(0.6, 0.95)),
    orbit_radius_m=float(rng.uniform(0.3, 0.42)),
    orbit_phase=float(rng.uniform()),
    dash_rate_hz=float(rng.uniform(0.8, 1.1)),
    dash_span_m=float(rng.uniform(0.32, 0.46)),
    dash_phase=float(rng.uniform()),
    dash_fast_share=float(rng.uniform(0.18, 0.26)),
  )


def _sample_camera(rng: np.random.Generator, cluttered: bool) -> Camera:
  # A third of the cameras stand still; the others share the rest evenly.
  moving = rng.uniform() > 0.3
  motion = CAMERA_MOTIONS[rng.integers(1, len(CAMERA_MOTIONS)) if moving else 0]
  most = {"static": 0.0, "orbit": 0.35, "pan": 0.16, "dolly": 0.5, "roll": 0.22}
  amount = most[motion.split("_")[0]] * rng.uniform(0.4, 1.0)
  return Camera(
    motion=motion,
    amount=float(amount),
    distance_m=float(rng.uniform(2.8, 3.3) * (1.15 if cluttered else 1.0)),
    elevation_rad=float(np.radians(rng.uniform(16.0, 30.0))),
    azimuth_rad=float(np.radians(rng.uniform(-12.0, 12.0))),
    fov_y_rad=float(np.radians(rng.uniform(41.0, 46.0))),
    look_at_z_m=float(rng.uniform(0.3, 0.45)),
  )


def _sample_light(rng: np.random.Generator, cluttered: bool) -> Light:
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
  return Light(_vector(position), _vector(drift), float(rng.uniform(0.3, 0.4)))


def _sample_distractor(
  rng: np.random.Generator, shapes: tuple[str, ...], ood: bool
) -> Body:
  """A small body, thrown or dropped into the field behind the main one."""
  shape = shapes[rng.integers(len(shapes))]
  position = [
    rng.uniform(-1.5, 1.5),
    rng.uniform(FIELD_NEAR_Y + 0.4, 3.0),
    rng.uniform(0.4, 1.6),
  ]
  # Towards the middle of the field, so that bodies meet.
  heading = np.array([0.0, 1.9]) - position[:2] + rng.normal(scale=0.5, size=2)
  speed = rng.uniform(0.0, 2.2)
  velocity = [*(speed * _unit(heading)), rng.uniform(-1.0, 2.0)]
  return Body(
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
) -> Vector:
  """Proportions that keep the shapes apart from every side."""
  stretch = rng.uniform(0.92, 1.08, size=3)
  match shape:
    case "sphere":
      unit = np.ones(3)
    case "box":
      unit = np.array([0.82, 0.74, 0.66]) * stretch
    case "cylinder":
      unit = np.array([0.66, 0.66, 1.0]) * stretch[[0, 0, 2]]
    case "capsule":
      unit = np.array([0.5, 0.5, 1.2]) * stretch[[0, 0, 2]]
    case "ellipsoid":
      unit = np.array([1.25, 0.8, 0.52]) * stretch
    case "cone":
      unit = np.array([0.85, 0.85, 1.0]) * stretch[[0, 0, 2]]
    case _:
      raise ValueError(f"unknown shape {shape!r}")
  return _vector(unit * radius_m)


def _object_look(
  rng: np.random.Generator, rng_colour: np.random.Generator, ood: bool
) -> Look:
  textures = OOD_TEXTURES if ood else TEXTURES
  hue = rng_colour.uniform()
  dark = _rgb(
    hue, rng_colour.uniform(0.75, 1.0), rng_colour.uniform(0.45, 0.85)
  )
  light = _rgb(
    hue + rng_colour.uniform(0.25, 0.75),
    rng_colour.uniform(0.05, 0.45),
    rng_colour.uniform(0.85, 1.0),
  )
  return Look(
    texture=textures[rng.integers(len(textures))],
    frequency=float(rng.uniform(2.6, 4.2)),
    phase=_vector(rng.uniform(0.0, 2.0, size=3)),
    direction=_vector(_unit(rng.normal(size=3))),
    colours=(dark, light),
  )


def _ground_look(rng: np.random.Generator, ood: bool, cluttered: bool) -> Look:
  textures = OOD_TEXTURES if ood else ("checker", "stripes", "noise")
  texture = textures[rng.integers(len(textures))]
  hue, saturation = rng.uniform(), rng.uniform(0.05, 0.35)
  value = rng.uniform(0.35, 0.75)
  contrast = rng.uniform(0.25, 0.5) * (1.6 if cluttered else 1.0)
  angle = rng.uniform(0, 2 * np.pi)
  return Look(
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


def _sky(rng: np.random.Generator) -> tuple[Vector, Vector]:
  hue = rng.uniform(0.5, 0.68)
  horizon = _rgb(hue + rng.uniform(-0.1, 0.1), rng.uniform(0.05, 0.25), 0.95)
  return horizon, _rgb(hue, rng.uniform(0.4, 0.75), rng.uniform(0.55, 0.9))


def _rgb(hue: float, saturation: float, value: float) -> Vector:
  """HSV as linear RGB (a square is close enough to the sRGB curve)."""
  rgb = colorsys.hsv_to_rgb(hue % 1.0, saturation, min(value, 1.0))
  return _vector(np.square(rgb))


def _unit(vector: np.ndarray) -> np.ndarray:
  return vector / np.linalg.norm(vector)


def _vector(values) -> Vector:
  return tuple(float(v) for v in values)
