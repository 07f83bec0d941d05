"""Point tracking: where points of the first frame go.

Queries are the points visible in frame 0, coordinates x, y
normalised (0 the left or top edge, 1 the right or bottom one), scores TAP-Vid's
in `first` mode. The mean error on the raster of 256 × 256 decides on small
simulated clips, where thresholds of 1 to 4 px are finer than a pixel; average
Jaccard is reported beside it, as the paper's metric.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from vdr.metrics import points as metrics
from vdr.metrics import statistics
from vdr.probes import losses, make
from vdr.tasks import task

MOST_QUERIES = 64  # of a clip, as published


@dataclasses.dataclass(frozen=True)
class Points(task.Task):
  """Tracks of up to 64 points."""

  def targets(self, batch: Mapping[str, np.ndarray]) -> task.Arrays:
    points_xy = batch["points_xy"][:, :MOST_QUERIES].astype(np.float32)
    visible = batch["points_visible"][:, :MOST_QUERIES]
    inside = np.all((points_xy >= 0) & (points_xy <= 1), axis=-1)
    query_visible = visible[:, :, 0] & inside[:, :, 0]
    query = np.clip(points_xy[:, :, 0], 0, 1)  # what is not asked is not read
    return {
      "query": np.nan_to_num(query),
      "points_xy": np.nan_to_num(points_xy),
      "points_visible": visible & inside,
      "query_visible": query_visible,
    }

  def readout(
    self, cfg: task.Config, shape: task.Shape, train: task.Arrays
  ) -> task.Readout:
    head, draw = make.track(
      cfg,
      "points",
      shape.frame_times,
      shape.num_frames,
      query_dim=2,
      names=("points_xy", "points_visible"),
      valid="query_visible",
    )
    loss = losses.Points(resolution=float(shape.width))
    return task.Readout(
      head, loss, cfg.track.batch_size, make.steps_of(cfg.track, cfg), draw
    )

  def score(
    self,
    outputs: task.Arrays,
    targets: task.Arrays,
    reference: task.Arrays,
  ) -> task.Scores:
    """TAP-Vid's scores, all of them."""
    said = _sigmoid(outputs["visible"]) * _sigmoid(outputs["certain"]) > 0.5
    valid = targets["query_visible"]
    return metrics.tap_vid(
      outputs["points_xy"],
      said,
      targets["points_xy"],
      targets["points_visible"],
      np.zeros(valid.shape, np.int64),
      valid,
      "first",
    )

  def blind(self, train: task.Arrays, targets: task.Arrays) -> task.Arrays:
    """Every point stays where it was asked, and is seen for ever."""
    shape = targets["points_visible"].shape
    query = targets["query"][:, :, None]
    sure = np.full(shape, 10.0, np.float32)
    points_xy = np.broadcast_to(query, (*shape, 2))
    return {"points_xy": points_xy, "visible": sure, "certain": sure}


def _sigmoid(x: np.ndarray) -> np.ndarray:
  return 0.5 + 0.5 * np.tanh(0.5 * x.astype(np.float64))


def make_task() -> Points:
  """The task."""
  return Points(
    name="points",
    title="point tracking",
    fields=("points_xy", "points_visible"),
    primary="error_px",
    goal=statistics.Goal(lower_is_better=True),
  )
