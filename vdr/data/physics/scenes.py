"""What can be in a clip: names, and every random factor of a scene.

World axes: x right, y away from the camera, z up, metres; the main object moves
about the origin, the ground is z = 0.
"""

import dataclasses

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
  "dash_left",
  "dash_right",
  "bob_up",
  "bob_down",
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
FIELD_NEAR_Y = 1.0


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
  spin_rate_hz: float
  orbit_rate_hz: float
  orbit_radius_m: float
  orbit_phase: float  # turns
  beat_rate_hz: float  # of a dash or a bob
  fast_share: float  # of a beat that its fast way takes
  dash_span_m: float  # to either side
  dash_phase: float  # beats
  bob_height_m: float
  bob_phase: float  # beats


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
