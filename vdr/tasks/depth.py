"""Monocular depth of every pixel of some frames.

Pixels of 1 mm to 1 km are valid (the sky is 0), AbsRel pooled
over all of them decides. No scale is aligned.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from vdr.metrics import depth as metrics
from vdr.metrics import statistics
from vdr.probes import losses, make
from vdr.tasks import task

VALID_M = (1e-3, 1e3)  # both excluded


@dataclasses.dataclass(frozen=True)
class Depth(task.Task):
  """Depth in metres of frames `frames`, those that latent frames end with."""

  frames: tuple[int, ...] = (0, 4, 8, 12, 16)

  def targets(self, batch: Mapping[str, np.ndarray]) -> task.Arrays:
    return {"depth_m": batch["depth_m"][:, list(self.frames)]}

  def readout(
    self, cfg: task.Config, shape: task.Shape, train: task.Arrays
  ) -> task.Readout:
    loss = losses.Depth(kind=cfg.dense.depth_loss, valid_m=VALID_M)
    loss.check()
    seen = train["depth_m"][_valid(train["depth_m"])]
    if loss.of_logarithms:
      seen = np.log(seen)
    head, draw = make.dense(
      cfg,
      shape.frame_times,
      shape.num_frames,
      frames=self.frames,
      height=shape.height,
      width=shape.width,
      names=("depth_m",),
      mean=float(seen.mean()),
      std=float(seen.std()),
      logarithms=loss.of_logarithms,
    )
    return task.Readout(
      head, loss, cfg.dense.batch_size, make.steps_of(cfg.dense, cfg), draw
    )

  def score(
    self,
    outputs: task.Arrays,
    targets: task.Arrays,
    reference: task.Arrays,
  ) -> task.Scores:
    """AbsRel, RMSE (metres), log10 and δ1 … δ3, pooled over pixels."""
    pred_m, target_m = outputs["map"][..., 0], targets["depth_m"]
    args = (pred_m, target_m, _valid(target_m))
    return {
      "abs_rel": metrics.abs_rel(*args),
      "abs_rel_per_image": metrics.abs_rel(*args, pool="images"),
      "rmse_m": metrics.rmse(*args),
      "log10": metrics.log10_error(*args),
      **{f"delta_{k}": metrics.delta(*args, power=k) for k in (1, 2, 3)},
    }

  def blind(self, train: task.Arrays, targets: task.Arrays) -> task.Arrays:
    """The mean depth of every pixel."""
    valid = _valid(train["depth_m"])
    total = np.where(valid, train["depth_m"], 0.0).sum(axis=0)
    seen = valid.sum(axis=0)
    overall = total.sum() / max(seen.sum(), 1)
    mean = np.where(seen > 0, total / np.maximum(seen, 1), overall)
    rows = (len(targets["depth_m"]), 1, 1, 1, 1)
    return {"map": np.tile(mean[..., None].astype(np.float32), rows)}


def _valid(depth_m: np.ndarray) -> np.ndarray:
  return (depth_m > VALID_M[0]) & (depth_m < VALID_M[1])


def make_task(num_frames: int) -> Depth:
  """The task for clips of this length."""
  return Depth(
    name="depth",
    title="monocular depth",
    fields=("depth_m",),
    primary="abs_rel",
    goal=statistics.Goal(lower_is_better=True),
    frames=tuple(range(0, num_frames, 4)),
  )
