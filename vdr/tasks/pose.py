"""Relative camera pose, from the first to the last frame of a clip.

[R | t] maps coordinates of the last camera to the first one's.
The translation is in metres on simulated clips. R² decides, as the end-point
error depends on the unit of length; both are reported. Rotations are projected
before they are scored, for all but R², which is of the raw 12 numbers. What R²
compares with is the mean of the split that is scored.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from vdr import geometry
from vdr.metrics import pose as metrics
from vdr.metrics import statistics
from vdr.probes import losses, make
from vdr.tasks import task

LEAST_STD = 1e-3  # of a number that hardly ever changes


@dataclasses.dataclass(frozen=True)
class Pose(task.Task):
  """Twelve numbers of a clip."""

  def targets(self, batch: Mapping[str, np.ndarray]) -> task.Arrays:
    cameras = batch["camera_to_world"].astype(np.float64)
    relative = geometry.relative_pose(cameras[:, 0], cameras[:, -1])
    return {"pose": relative[:, :3].astype(np.float32)}

  def readout(
    self, cfg: task.Config, shape: task.Shape, train: task.Arrays
  ) -> task.Readout:
    numbers = train["pose"].reshape(-1, 12)
    mean = tuple(map(float, numbers.mean(axis=0)))
    spread = np.maximum(numbers.std(axis=0), LEAST_STD)
    std = tuple(map(float, spread))
    # The loss is that of the numbers as they are, their scale but one number:
    # R² weighs them alike.
    whole = (float(np.sqrt((spread**2).mean())),)
    head = make.pose(
      cfg, shape.frame_times, shape.num_frames, mean=mean, std=std
    )
    loss = losses.Pose("pose", whole)
    return task.Readout(head, loss, cfg.batch_size, cfg.num_steps)

  def reference(self, targets: task.Arrays) -> task.Arrays:
    """The mean of the split: who says it explains nothing."""
    return {"mean": targets["pose"].mean(axis=0, dtype=np.float64)}

  def score(
    self,
    outputs: task.Arrays,
    targets: task.Arrays,
    reference: task.Arrays,
  ) -> task.Scores:
    """R², end-point error, angles, RRA / RTA at 15° and mAA at 30°."""
    pred, target = outputs["pose"], targets["pose"]
    valid = np.ones(len(target), bool)
    rigid = pred.astype(np.float64)
    finite = np.isfinite(rigid).all(axis=(1, 2))
    rigid[finite, :, :3] = metrics.project_rotation(rigid[finite, :, :3])
    args = (rigid, target.astype(np.float64), valid)
    return {
      "r_squared": metrics.r_squared(pred, target, valid, reference["mean"]),
      "end_point_error": metrics.end_point_error(*args),
      "rotation_error_deg": metrics.rotation_error_deg(*args),
      "translation_error": metrics.translation_error(*args),
      "rra_15": metrics.rotation_accuracy(*args),
      "rta_15": metrics.translation_accuracy(*args),
      "maa_30": metrics.mean_average_accuracy(*args),
    }

  def blind(self, train: task.Arrays, targets: task.Arrays) -> task.Arrays:
    """The mean pose."""
    mean = train["pose"].mean(axis=0)
    return {"pose": np.tile(mean, (len(targets["pose"]), 1, 1))}


def make_task() -> Pose:
  """The task."""
  return Pose(
    name="pose",
    title="relative camera pose",
    fields=("camera_to_world",),
    primary="r_squared",
    goal=statistics.Goal(chance=0.0),
  )
