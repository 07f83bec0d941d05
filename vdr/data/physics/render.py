"""Pictures and dense truth of a world, by casting one ray a pixel.

Shading is Lambert's law with a shadow ray to the light, hemisphere ambient
light, a soft highlight, and haze towards the horizon.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int, UInt8

from vdr.data.physics import scenes, textures, world

HAZE_M = 22.0  # distance over which two thirds of a colour turn into sky


@dataclasses.dataclass(frozen=True)
class Pictures:
  """What the camera records; sky has depth 0 and normal 0."""

  video: UInt8[np.ndarray, "t h w 3"]
  depth_m: Float[np.ndarray, "t h w"]
  segmentation: UInt8[np.ndarray, "t h w"]
  normals: Float[np.ndarray, "t h w 3"]  # camera axes


@dataclasses.dataclass
class _Frame:
  """One ray for each of a frame's n pixels; vectors lie along the first axis.

  So each coordinate is contiguous, and a frame fits the processor's cache:
  twice as fast as whole clips of [n 3].
  """

  direction: Float[np.ndarray, "3 n"]
  label: Int[np.ndarray, " n"]
  distance_m: Float[np.ndarray, " n"]
  normal: Float[np.ndarray, "3 n"]
  point_m: Float[np.ndarray, "3 n"]
  light: Float[np.ndarray, "3 n"]  # unit vector to the light
  lit: Float[np.ndarray, " n"]  # 0 in the shadow


def focal_lengths(
  camera: scenes.Camera, height: int, width: int
) -> tuple[float, float]:
  """Normalised focal lengths (fx, fy) of square pixels."""
  fy = 0.5 / np.tan(camera.fov_y_rad / 2)
  return fy * height / width, fy


def intrinsics(
  camera: scenes.Camera, height: int, width: int
) -> Float[np.ndarray, "3 3"]:
  """Normalised intrinsics; the principal point is the picture's centre."""
  fx, fy = focal_lengths(camera, height, width)
  return np.array([[fx, 0, 0.5], [0, fy, 0.5], [0, 0, 1.0]])


def pixel_rays(
  camera: scenes.Camera, height: int, width: int
) -> Float[np.ndarray, "3 n"]:
  """Unit vectors through the pixel centres, camera axes, row by row."""
  fx, fy = focal_lengths(camera, height, width)
  x = ((np.arange(width) + 0.5) / width - 0.5) / fx
  y = ((np.arange(height) + 0.5) / height - 0.5) / fy
  rays = np.stack([*np.meshgrid(x, y), np.ones((height, width))])
  return (rays / np.linalg.norm(rays, axis=0)).reshape(3, -1)


def render(simulated: world.World, height: int, width: int) -> Pictures:
  """Renders every frame of a world."""
  camera_rays = pixel_rays(simulated.scene.camera, height, width)
  forward = camera_rays[2].astype(np.float32)
  num_frames = len(simulated.trajectories.camera_to_world)
  shape = (num_frames, height * width)
  video = np.empty((*shape, 3), np.uint8)
  depth_m = np.empty(shape, np.float32)
  segmentation = np.empty(shape, np.uint8)
  normals = np.empty((*shape, 3), np.float32)
  for t in range(num_frames):
    frame = cast_frame(simulated, t, camera_rays)
    colour = _shade(
      simulated.scene, frame, _albedo(simulated, t, frame, height)
    )
    hit = frame.label > 0
    to_camera = simulated.trajectories.camera_to_world[t, :3, :3].T
    video[t] = colour.T
    depth_m[t] = frame.distance_m * forward * hit
    segmentation[t] = frame.label
    normals[t] = (to_camera.astype(np.float32) @ frame.normal * hit).T
  size = (num_frames, height, width)
  return Pictures(
    video=video.reshape(*size, 3),
    depth_m=depth_m.reshape(size),
    segmentation=segmentation.reshape(size),
    normals=normals.reshape(*size, 3),
  )


def cast_frame(
  simulated: world.World, t: int, camera_rays: Float[np.ndarray, "3 n"]
) -> _Frame:
  """Rays from the camera and, where light may reach, from the light."""
  simulated.pose(t)
  camera_to_world = simulated.trajectories.camera_to_world[t]
  light_m = simulated.trajectories.light_m[t]
  origin = camera_to_world[:3, 3]
  direction = camera_to_world[:3, :3] @ camera_rays
  label, distance, normal = simulated.cast_surfaces(origin, direction.T)
  point = origin[:, None] + direction * distance
  to_light = light_m[:, None] - point
  reach = np.sqrt(np.einsum("dn,dn->n", to_light, to_light))
  to_light /= reach
  normal = np.ascontiguousarray(normal.T, np.float32)
  light = to_light.astype(np.float32)
  # Surfaces turned away from the light need no ray to be dark.
  facing = np.einsum("dn,dn->n", normal, light) > 0
  asked = np.flatnonzero(facing & (label > 0))
  _, first_hit = simulated.cast(light_m, -np.take(to_light, asked, axis=1).T)
  lit = np.zeros(len(label), np.float32)
  lit[asked] = first_hit > reach[asked] - 2e-3
  return _Frame(
    direction=direction.astype(np.float32),
    label=label,
    distance_m=distance.astype(np.float32),
    normal=normal,
    point_m=point.astype(np.float32),
    light=light,
    lit=lit,
  )


def _albedo(
  simulated: world.World, t: int, frame: _Frame, height: int
) -> Float[np.ndarray, "3 n"]:
  """The textures' colours, each looked up in its own body's coordinates."""
  _, fy = focal_lengths(simulated.scene.camera, height, height)
  slant = np.abs(np.einsum("dn,dn->n", frame.normal, frame.direction))
  # What a pixel sees is stretched along the slant: take the root, between the
  # width across and the width along.
  footprint = frame.distance_m / np.sqrt(np.maximum(slant, np.float32(0.02)))
  footprint *= np.float32(1 / (fy * height))
  # The ground is looked up everywhere: cheaper than picking out its pixels.
  ground = simulated.scene.ground
  albedo = textures.colours(ground, frame.point_m, footprint)
  for o, body in enumerate(simulated.bodies):
    here = np.flatnonzero(frame.label == world.FIRST_OBJECT + o)
    pose = simulated.trajectories.object_to_world[o, t].astype(np.float32)
    points = np.take(frame.point_m, here, axis=1) - pose[:3, 3:]
    points = pose[:3, :3].T @ points
    albedo[:, here] = textures.colours(body.look, points, footprint[here])
  return albedo


def _shade(
  scene: scenes.Scene, frame: _Frame, albedo: Float[np.ndarray, "3 n"]
) -> UInt8[np.ndarray, "3 n"]:
  """Linear light, hazed and turned into 8-bit sRGB (by a square root)."""
  ambient = np.float32(scene.light.ambient)
  facing = np.einsum("dn,dn->n", frame.normal, frame.light)
  # Light from the sky: more on what looks up.
  light = ambient * (np.float32(0.75) + np.float32(0.25) * frame.normal[2])
  light += (np.float32(1.05) - ambient) * np.maximum(facing, 0) * frame.lit
  colour = albedo * light
  colour += _highlight(frame)

  horizon, zenith = np.asarray(scene.sky, np.float32)[..., None]
  up = np.sqrt(np.clip(frame.direction[2] * 2, 0, 1))
  sky = horizon + up * (zenith - horizon)
  haze = 1 - np.exp(-np.square(frame.distance_m * np.float32(1 / HAZE_M)))
  haze[frame.label == 0] = 1
  colour += haze * (sky - colour)
  np.clip(colour, 0, 1, out=colour)
  return (np.sqrt(colour) * 255 + np.float32(0.5)).astype(np.uint8)


def _highlight(frame: _Frame) -> Float[np.ndarray, " n"]:
  """Blinn's highlight on objects, faint: it moves with light and camera."""
  strength = np.zeros(len(frame.label), np.float32)
  here = np.flatnonzero(frame.lit * (frame.label >= world.FIRST_OBJECT))
  half = np.take(frame.light, here, axis=1)
  half -= np.take(frame.direction, here, axis=1)
  half /= np.sqrt(np.einsum("dn,dn->n", half, half))
  shine = np.einsum("dn,dn->n", np.take(frame.normal, here, axis=1), half)
  shine = np.maximum(shine, 0)
  for _ in range(5):  # to the power of 32
    shine *= shine
  strength[here] = np.float32(0.18) * shine
  return strength
