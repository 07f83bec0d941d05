"""How much features depend on the order of frames, on simulated scenes.

Clips are made in pairs that differ in nothing but the order of the frames in
their middle; see `mirrored`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from vdr.data.physics import clip as simulation
from vdr.metrics import similarity
from vdr.runtime import progress

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Clips = UInt8[np.ndarray, "n t h w 3"]
# Features of clips with these numbers, [n t h w d].
Read = Callable[[np.ndarray, np.ndarray], np.ndarray]

SPLIT = "test"  # of the simulated world; no model is trained on it


def settings(
  cfg: Config, scene: str, num_frames: int, height: int, width: int, time: int
) -> simulation.Settings:
  """Settings of a scene whose clips can be mirrored.

  Args:
    cfg: config.physics.
    scene: one of its scenes.
    num_frames: of the clips that `mirrored` makes.
    height: pixels.
    width: pixels.
    time: frames of a latent frame.

  Raises:
    UserError: there are no such clips.
  """
  cfg = cfg.copy_and_resolve_references()
  with cfg.unlocked():
    cfg.update(
      scene=scene,
      num_frames=num_frames + time,
      height=height,
      width=width,
      num_points=1,
    )
  return simulation.Settings.from_config(cfg)


def simulate(world: simulation.Settings, seed: int, num: int) -> Clips:
  """The first clips of a scene."""
  clips = []
  with progress.bar(num, unit="clip", label=f"{world.scene}") as bar:
    for i in range(num):
      clips.append(simulation.simulate(world, SPLIT, seed, i)["video"])
      bar.advance(1)
  return np.stack(clips)


def middle_frames(
  num_frames: int, time: int
) -> tuple[int, Int[np.ndarray, " time"]]:
  """The latent frame in the middle of a clip, and its pixel frames."""
  middle = max(1, (num_frames // time + 1) // 2)
  return middle, np.arange(time * (middle - 1) + 1, time * middle + 1)


def mirrored(
  video: Clips, num_frames: int, time: int
) -> tuple[UInt8[np.ndarray, "n t2 h w 3"], UInt8[np.ndarray, "n t2 h w 3"]]:
  """Two clips of each: as it is, and one that runs backward.

  In both the frames of the latent frame in the middle are the same ones, once
  in their own order and once in reverse; before and after those motion goes on.

  Args:
    video: clips that are `time` frames longer than what is returned.
    num_frames: of what is returned, 4k + 1.
    time: frames of a latent frame.
  """
  _, frames = middle_frames(num_frames, time)
  numbers = np.arange(num_frames)
  back = frames[0] + frames[-1] - numbers
  first = max(0, -back.min())
  return video[:, first + numbers], video[:, first + back]


def sensitivity(
  read: Read, frame_by_frame: bool, forward: Clips, backward: Clips, time: int
) -> float:
  """`similarity.order_sensitivity` of the middle frames' features.

  Args:
    read: the features; a clip's noise depends on its number.
    frame_by_frame: whether frames are read one by one; then each has the noise
      of its clip, so that here, too, nothing but the order differs.
    forward: what `mirrored` gives.
    backward: likewise.
    time: frames of a latent frame.
  """
  n = len(forward)
  middle, frames = middle_frames(forward.shape[1], time)
  numbers = np.arange(n, dtype=np.int32)

  def of(clips: Clips, order: int) -> Float[np.ndarray, "n t2 h2 w2 d"]:
    if not frame_by_frame:
      return read(clips, numbers)[:, middle : middle + 1]
    images = clips[:, frames][:, ::order].reshape(-1, 1, *clips.shape[2:])
    found = read(images, numbers.repeat(time))
    return found.reshape(n, time, *found.shape[2:])

  value = similarity.order_sensitivity(of(forward, 1), of(backward, -1))
  return value if np.isfinite(value) else 0.0  # features that never change
