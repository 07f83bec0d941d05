"""Box tracking: where objects of the first frame go.

Normalised (ymin, xmin, ymax, xmax), the box of frame 0 is given
and not scored, continuous IoU, pooled over annotated boxes (the paper's choice
is not stated). Objects without a box in frame 0 are not asked for.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from vdr.metrics import boxes as metrics
from vdr.metrics import statistics
from vdr.probes import losses, make
from vdr.tasks import task

LEAST_AREA = 0.005  # of the picture; smaller boxes are not asked for


@dataclasses.dataclass(frozen=True)
class Boxes(task.Task):
  """Tracks of all objects that have a box in frame 0."""

  def targets(self, batch: Mapping[str, np.ndarray]) -> task.Arrays:
    boxes = np.nan_to_num(batch["boxes_yxyx"]).astype(np.float32)
    valid = batch["boxes_valid"]
    height, width = np.moveaxis(boxes[..., 2:] - boxes[..., :2], -1, 0)
    asked = valid[:, :, 0] & (height * width >= LEAST_AREA)[:, :, 0]
    return {
      "query": np.clip(boxes[:, :, 0], 0, 1),
      "boxes_yxyx": boxes,
      "boxes_valid": valid & asked[:, :, None],
      "asked": asked,
    }

  def readout(
    self, cfg: task.Config, shape: task.Shape, train: task.Arrays
  ) -> task.Readout:
    head, draw = make.track(
      cfg,
      "boxes",
      shape.frame_times,
      shape.num_frames,
      query_dim=4,
      names=("boxes_yxyx", "boxes_valid"),
      valid="asked",
    )
    return task.Readout(
      head,
      losses.Boxes(),
      cfg.track.batch_size,
      make.steps_of(cfg.track, cfg),
      draw,
    )

  def score(
    self,
    outputs: task.Arrays,
    targets: task.Arrays,
    reference: task.Arrays,
  ) -> task.Scores:
    """`iou` over boxes, and its mean of objects and of clips."""
    overlap = metrics.iou(outputs["boxes_yxyx"], targets["boxes_yxyx"])
    scored = targets["boxes_valid"].copy()
    scored[:, :, 0] = False
    return {
      "iou": metrics.mean_iou(overlap, scored, "object_frames"),
      "iou_per_object": metrics.mean_iou(overlap, scored, "objects"),
      "iou_per_clip": metrics.mean_iou(overlap, scored, "clips"),
    }

  def blind(self, train: task.Arrays, targets: task.Arrays) -> task.Arrays:
    """Every box stays where it was given."""
    query = targets["query"][:, :, None]
    return {"boxes_yxyx": np.broadcast_to(query, targets["boxes_yxyx"].shape)}


def make_task() -> Boxes:
  """The task."""
  return Boxes(
    name="boxes",
    title="box tracking",
    fields=("boxes_yxyx", "boxes_valid"),
    primary="iou",
    goal=statistics.Goal(),
  )
