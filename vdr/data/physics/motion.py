"""Where the main object and the camera go.

Every action is a *stationary* motion: at each frame the main object's position
and orientation have one and the same distribution, whatever the action, so that
no single frame can tell the action.

* Position is `centre + u + v + w`: u on a circle in the ground plane, v on a
  left-right segment, w on an upright one. An orbit moves u at constant speed, a
  dash moves v and a bob moves w to and fro, fast one way and slow the other.
  With a uniform phase, u is uniform on its circle, v and w on their segments,
  at any time; and who does not move keeps its phase, so its u, v and w are
  drawn from the very same distributions.
* Orientation is a uniform heading times a slight lean; a spin adds to the
  heading, which stays uniform at any time.
"""

import numpy as np
from jaxtyping import Float

from vdr import geometry
from vdr.data.physics import scenes

GAP_M = 0.01  # least height of the main object above the ground


def main_poses(
  body: scenes.Body, motion: scenes.Motion, times_s: Float[np.ndarray, " t"]
) -> Float[np.ndarray, "t 4 4"]:
  """Object-to-world poses of the main object at the given times."""
  kind, _, sense = motion.action.partition("_")
  sign = -1.0 if sense in ("cw", "left", "down") else 1.0

  heading = np.zeros_like(times_s)
  if kind == "spin":
    heading = sign * 2 * np.pi * motion.spin_rate_hz * times_s
  up = np.array([0.0, 0.0, 1.0])
  rotation = geometry.rotation_about(up, heading) @ geometry.rotation_matrix(
    np.array(body.orientation)
  )

  angle = np.full_like(times_s, 2 * np.pi * motion.orbit_phase)
  if kind == "orbit":
    angle += sign * 2 * np.pi * motion.orbit_rate_hz * times_s
  beats = motion.beat_rate_hz * times_s
  dash = _to_and_fro(motion.dash_phase + beats * (kind == "dash"), motion)
  bob = _to_and_fro(motion.bob_phase + beats * (kind == "bob"), motion)
  # Turning the segment round turns the fast way round, and nothing else.
  dash = dash * sign if kind == "dash" else dash
  bob = bob * sign if kind == "bob" else bob

  radius = motion.orbit_radius_m
  x = motion.centre_m[0] + radius * np.cos(angle) + motion.dash_span_m * dash
  y = motion.centre_m[1] + radius * np.sin(angle)
  lift = motion.bob_height_m * (bob + 1) / 2
  z = reach_down(body, rotation) + GAP_M + lift
  poses = np.tile(np.eye(4), (len(times_s), 1, 1))
  poses[:, :3, :3] = rotation
  poses[:, :3, 3] = np.stack([x, y, z], axis=-1)
  return poses


def _to_and_fro(
  beats: Float[np.ndarray, " t"], motion: scenes.Motion
) -> Float[np.ndarray, " t"]:
  """From -1 to 1 in the fast share of a beat, then slowly back."""
  phase, fast = beats % 1.0, motion.fast_share
  there = 2 * phase / fast - 1
  back = 1 - 2 * (phase - fast) / (1 - fast)
  return np.where(phase < fast, there, back)


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
