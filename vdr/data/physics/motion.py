"""Where the main object and the camera go.

Every action is a *stationary* motion: at each frame the main object's position
and orientation have one and the same distribution, whatever the action, so that
no single frame can tell the action.

* Position is `centre + u + v`, u on a circle in the ground plane and v on a
  left-right segment. An orbit moves u at constant speed, a dash moves v to and
  fro, fast one way and slow the other; with a uniform phase, u is uniform on
  the circle and v uniform on the segment at any time. Who does not move keeps
  its phase, so its u and v are drawn from the same distributions.
* Orientation is `turn(t) · R`, R uniform on SO(3): uniform at any time,
  whatever axis the object turns about (Haar measure is invariant).
* Height follows from the orientation alone: the body always touches the ground.
"""

import numpy as np
from jaxtyping import Float

from vdr import geometry
from vdr.data.physics import scenes

GAP_M = 0.01  # between the main object's lowest point and the ground


def main_poses(
  body: scenes.Body, motion: scenes.Motion, times_s: Float[np.ndarray, " t"]
) -> Float[np.ndarray, "t 4 4"]:
  """Object-to-world poses of the main object at the given times."""
  clockwise = motion.action in ("spin_cw", "orbit_cw", "tumble_away")
  sense = -1.0 if clockwise else 1.0
  kind = motion.action.split("_")[0]

  turn = 2 * np.pi * motion.turn_rate_hz * times_s * sense
  # Seen from above for a spin; +x turns the top towards the camera.
  axis = np.array([1.0, 0, 0] if kind == "tumble" else [0, 0, 1.0])
  if kind not in ("spin", "tumble"):
    turn = np.zeros_like(turn)
  rotation = geometry.rotation_about(axis, turn) @ geometry.rotation_matrix(
    np.array(body.orientation)
  )

  orbit = np.full_like(times_s, motion.orbit_phase)
  if kind == "orbit":
    orbit = orbit + sense * motion.orbit_rate_hz * times_s
  dash = np.full_like(times_s, motion.dash_phase)
  if kind == "dash":
    dash = dash + motion.dash_rate_hz * times_s
  way = _to_and_fro(dash % 1.0, motion.dash_fast_share)
  if motion.action == "dash_left":  # fast to the left, slow to the right
    way = -way

  poses = np.tile(np.eye(4), (len(times_s), 1, 1))
  poses[:, :3, :3] = rotation
  angle = 2 * np.pi * orbit
  poses[:, 0, 3] = (
    motion.centre_m[0]
    + motion.orbit_radius_m * np.cos(angle)
    + motion.dash_span_m * way
  )
  poses[:, 1, 3] = motion.centre_m[1] + motion.orbit_radius_m * np.sin(angle)
  poses[:, 2, 3] = reach_down(body, rotation) + GAP_M
  return poses


def _to_and_fro(
  phase: Float[np.ndarray, " t"], fast_share: float
) -> Float[np.ndarray, " t"]:
  """From -1 to 1 in the fast share of a period, then slowly back."""
  there = 2 * phase / fast_share - 1
  back = 1 - 2 * (phase - fast_share) / (1 - fast_share)
  return np.where(phase < fast_share, there, back)


def reach_down(
  body: scenes.Body, rotation: Float[np.ndarray, "*b 3 3"]
) -> Float[np.ndarray, "*b"]:
  """How far a body reaches below its origin, in metres.

  The support function of the shape in the direction of -z.
  """
  x, y, z = body.half_extents_m
  down = rotation[..., 2, :]  # world z, seen from the body: [*b 3]
  across = np.sqrt(np.maximum(0.0, 1.0 - down[..., 2] ** 2))
  match body.shape:
    case "box":
      return np.abs(down) @ np.array([x, y, z])
    case "sphere" | "ellipsoid":
      return np.sqrt((down**2) @ np.array([x, y, z]) ** 2)
    case "cylinder":
      return x * across + z * np.abs(down[..., 2])
    case "capsule":
      return x + (z - x) * np.abs(down[..., 2])
    case "cone":  # its tip is at +z, its base a disc at -z
      return np.maximum(x * across + z * down[..., 2], -z * down[..., 2])
    case _:
      raise ValueError(f"unknown shape {body.shape!r}")


def camera_poses(
  camera: scenes.Camera, num_frames: int
) -> Float[np.ndarray, "t 4 4"]:
  """Camera-to-world poses (OpenCV axes); the move is even and centred."""
  kind, _, sense = camera.motion.partition("_")
  sign = -1.0 if sense in ("left", "in", "cw") else 1.0
  way = sign * camera.amount * np.linspace(-1.0, 1.0, num_frames)
  still = np.zeros(num_frames)
  azimuth = camera.azimuth_rad + (way if kind == "orbit" else still)
  distance = camera.distance_m + (way if kind == "dolly" else still)

  # The looking direction and what is right of it, from the two angles alone:
  # looking straight down is no special case.
  across = np.cos(camera.elevation_rad)
  forward = np.stack(
    [
      -np.sin(azimuth) * across,
      np.cos(azimuth) * across,
      np.full(num_frames, -np.sin(camera.elevation_rad)),
    ],
    axis=-1,
  )
  right = np.stack([np.cos(azimuth), np.sin(azimuth), still], axis=-1)
  down = np.cross(forward, right)
  poses = np.tile(np.eye(4), (num_frames, 1, 1))
  poses[:, :3, :3] = np.stack([right, down, forward], axis=-1)
  target = np.array([0.0, 0.0, camera.look_at_z_m])
  poses[:, :3, 3] = target - forward * distance[:, None]

  if kind == "pan":  # about the camera's own down axis: + looks right
    poses[:, :3, :3] @= geometry.rotation_about(np.array([0, 1.0, 0]), way)
  if kind == "roll":  # about the viewing direction: + turns the camera right
    poses[:, :3, :3] @= geometry.rotation_about(np.array([0, 0, 1.0]), -way)
  return poses
