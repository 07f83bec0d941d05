"""Scenes made by hand, where the answer is known on paper."""

import dataclasses

import numpy as np

from vdr.data.physics import scenes

PLAIN = scenes.Look(
  texture="plain",
  frequency=1.0,
  phase=(0.0, 0.0, 0.0),
  direction=(1.0, 0.0, 0.0),
  colours=((0.5, 0.5, 0.5), (0.1, 0.1, 0.1)),
)
# Extents that differ wherever a shape lets them.
EXTENTS_M = {
  "box": (0.3, 0.4, 0.5),
  "sphere": (0.4, 0.4, 0.4),
  "cylinder": (0.3, 0.3, 0.5),
  "capsule": (0.2, 0.2, 0.5),
  "ellipsoid": (0.5, 0.4, 0.2),
  "cone": (0.3, 0.3, 0.5),
}
MOTION = scenes.Motion(
  action="none",
  centre_m=(0.0, 0.0),
  spin_rate_hz=0.7,
  orbit_rate_hz=0.7,
  orbit_radius_m=0.0,
  orbit_phase=0.1,
  beat_rate_hz=1.0,
  fast_share=0.2,
  dash_span_m=0.0,
  dash_phase=0.3,
  bob_height_m=0.0,
  bob_phase=0.3,
)
MOVING = dataclasses.replace(
  MOTION,
  centre_m=(0.05, -0.03),
  orbit_radius_m=0.3,
  dash_span_m=0.3,
  bob_height_m=0.5,
)
CAMERA = scenes.Camera(
  motion="static",
  amount=0.0,
  distance_m=3.0,
  elevation_rad=0.35,
  azimuth_rad=0.1,
  fov_y_rad=0.7,
  look_at_z_m=0.4,
)
LIGHT = scenes.Light((0.0, -1.0, 7.0), (0.0, 0.0, 0.0), 0.3)
SCENE = scenes.Scene(
  main=scenes.Body("sphere", EXTENTS_M["sphere"], PLAIN),
  motion=MOTION,
  distractors=(),
  ground=PLAIN,
  sky=((0.8, 0.9, 1.0), (0.2, 0.4, 0.9)),
  camera=CAMERA,
  light=LIGHT,
)


def body(shape: str, **changes) -> scenes.Body:
  return scenes.Body(shape, EXTENTS_M[shape], PLAIN, **changes)


def surface(
  shape: str, extents_m: scenes.Vector, num_steps: int = 180
) -> np.ndarray:
  """Points [n 3] of a shape's surface, dense where it is curved."""
  x, y, z = extents_m
  angle = np.linspace(0, 2 * np.pi, 2 * num_steps + 1)
  circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
  polar = np.linspace(0, np.pi, num_steps + 1)[:, None, None]
  ball = (np.sin(polar) * circle + np.cos(polar) * [0, 0, 1]).reshape(-1, 3)
  top = np.array([0, 0, z])
  match shape:
    case "box":
      corners = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), axis=-1)
      return corners.reshape(-1, 3) * [x, y, z]
    case "sphere" | "ellipsoid":
      return ball * [x, y, z]
    case "cylinder":
      return np.concatenate([circle * x + top, circle * x - top])
    case "capsule":
      middle = np.array([0, 0, z - x])
      return np.concatenate([ball * x + middle, ball * x - middle])
    case "cone":
      return np.concatenate([circle * x - top, top[None]])
  raise ValueError(shape)


def rotation(rng: np.random.Generator) -> np.ndarray:
  """A uniform random rotation matrix."""
  q, r = np.linalg.qr(rng.normal(size=(3, 3)))
  q *= np.sign(np.diag(r))
  return q * np.sign(np.linalg.det(q))
