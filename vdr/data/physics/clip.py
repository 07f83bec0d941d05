"""One clip of the simulated world, with everything known about it.

A clip is a pure function of (settings, split, seed, index): no other clip, no
worker and no earlier draw can change it.
"""

import dataclasses
import json
from typing import Any

import ml_collections
import numpy as np

from vdr.data import schema
from vdr.data.physics import render, sampling, scenes, truth, world
from vdr.runtime import errors


@dataclasses.dataclass(frozen=True)
class Settings:
  """What all clips of a data set have in common; see configs/base.py."""

  scene: str
  num_frames: int
  height: int
  width: int
  fps: float
  num_points: int
  max_distractors: int

  @classmethod
  def from_config(cls, cfg: ml_collections.ConfigDict) -> "Settings":
    """Settings of a `configs/base.py:physics` config.

    Raises:
      UserError: a value that no clip can have.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    values: dict[str, Any] = {name: cfg[name] for name in names}
    settings = cls(**values)
    settings.check()
    return settings

  def check(self) -> None:
    """Raises UserError for the first value out of bounds."""
    if self.scene not in scenes.SCENES:
      raise errors.UserError(
        f"physics.scene={self.scene!r} is unknown; choose from"
        f" {', '.join(scenes.SCENES)}"
      )
    if self.num_frames < 1 or self.num_frames % 4 != 1:
      raise errors.UserError(
        f"physics.num_frames={self.num_frames} is not 4k + 1 (1, 5, … 17 …)"
      )
    for name, low, high in (
      ("height", 16, 256),
      ("width", 16, 256),
      ("fps", 1.0, 120.0),
      ("num_points", 1, 4096),
      ("max_distractors", 0, 16),
    ):
      value = getattr(self, name)
      if not low <= value <= high:
        raise errors.UserError(
          f"physics.{name}={value} is out of bounds; choose {low} to {high}"
        )


CLASS_NAMES = {
  "shape": scenes.SHAPES,
  "action": scenes.ACTIONS,
  "camera_motion": scenes.CAMERA_MOTIONS,
}


def simulate(
  settings: Settings, split: str, seed: int, index: int
) -> schema.Example:
  """Clip `index` of a split: every field of the schema that has a truth."""
  scene = sampling.sample(
    settings.scene, split, seed, index, settings.max_distractors
  )
  simulated = world.World(scene, settings.num_frames, settings.fps)
  pictures = render.render(simulated, settings.height, settings.width)
  rng = sampling.Streams(seed, split, index)("points")
  shape = scene.main.shape if scene.main else "none"
  intrinsics = render.intrinsics(scene.camera, settings.height, settings.width)
  return {
    "video": pictures.video,
    "shape": _class("shape", shape),
    "action": _class("action", scene.motion.action),
    "camera_motion": _class("camera_motion", scene.camera.motion),
    "depth_m": pictures.depth_m,
    "segmentation": pictures.segmentation,
    "normals": pictures.normals,
    "camera_to_world": simulated.trajectories.camera_to_world.astype(
      np.float32
    ),
    "intrinsics": intrinsics.astype(np.float32),
    **truth.objects(simulated, pictures, 1 + settings.max_distractors),
    **truth.tracks(simulated, pictures, settings.num_points, rng),
    "caption": schema.text(truth.caption(scene)),
    "factors": schema.text(factors_json(scene), schema.MAX_JSON_BYTES),
    "frame_times_s": np.arange(settings.num_frames, dtype=np.float32)
    / np.float32(settings.fps),
  }


def factors_json(scene: scenes.Scene) -> str:
  """All random factors of a scene; numbers to a hundredth of a millimetre."""

  def short(value):
    if isinstance(value, float):
      return round(value, 5)
    if isinstance(value, dict):
      return {key: short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
      return [short(item) for item in value]
    return value

  return json.dumps(short(dataclasses.asdict(scene)), separators=(",", ":"))


def _class(field: str, name: str) -> np.ndarray:
  """The class index of a label; -1 for what has none."""
  names = CLASS_NAMES[field]
  return np.array(names.index(name) if name in names else -1, np.int32)
