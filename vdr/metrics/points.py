"""Point tracking scored as TAP-Vid does (Doersch et al. 2022, §4).

Distances are measured on a raster of 256 × 256, whatever the size of the video.
Everything is averaged within a video first, then over videos; a video with
nothing to score (0 / 0) is skipped and counted.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from vdr.metrics import accumulators

RASTER = 256.0
THRESHOLDS_PX = (1.0, 2.0, 4.0, 8.0, 16.0)

Mode = Literal["first", "strided"]


def first_queries(
  visible: Bool[np.ndarray, "*n t"],
) -> tuple[Int[np.ndarray, "*n"], Bool[np.ndarray, "*n"]]:
  """The frame where each track is first seen, and whether it ever is."""
  return np.asarray(visible.argmax(axis=-1)), np.asarray(visible.any(axis=-1))


def strided_queries(
  visible: Bool[np.ndarray, "n t"], stride: int = 5
) -> tuple[Int[np.ndarray, " q"], Int[np.ndarray, " q"]]:
  """A query for each track that is visible in frame 0, 5, 10, …

  Returns:
    The track and the frame of each query, by frame.
  """
  frames, tracks = np.nonzero(visible[:, ::stride].T)
  return tracks, frames * stride


def tap_vid(
  pred_xy: Float[np.ndarray, "b q t 2"],
  pred_visible: Bool[np.ndarray, "b q t"],
  target_xy: Float[np.ndarray, "b q t 2"],
  target_visible: Bool[np.ndarray, "b q t"],
  query_frame: Int[np.ndarray, "b q"],
  query_valid: Bool[np.ndarray, "b q"],
  mode: Mode,
) -> dict[str, accumulators.Ratio]:
  """All scores of the benchmark, each a mean over videos.

  Args:
    pred_xy: predicted points, normalised raster coordinates. NaN is nowhere
      near, and NaN in `error_px`.
    pred_visible: whether each is said to be visible.
    target_xy: where the point is; read only where it is visible.
    target_visible: whether it is.
    query_frame: the frame in which the point was given; it is not scored.
    query_valid: False pads the query axis, and drops tracks never seen.
    mode: "first" scores the frames after the query, "strided" all but it.

  Returns:
    `average_jaccard`, `delta_avg` and `occlusion_accuracy` (0 to 1, higher is
    better); `jaccard_1` to `jaccard_16` and `delta_1` to `delta_16`, of which
    the first two are means; and `error_px`, the mean distance of visible
    points on the raster.
  """
  frames = np.arange(target_visible.shape[-1])
  query = query_frame[..., None]
  scored = frames > query if mode == "first" else frames != query
  scored = scored & query_valid[..., None]
  seen, said = target_visible & scored, pred_visible & scored
  pred = np.where(seen[..., None], pred_xy, 0.0).astype(np.float64)
  target = np.where(seen[..., None], target_xy, 0.0).astype(np.float64)
  square = np.square((pred - target) * RASTER).sum(axis=-1)

  jaccards, deltas = {}, {}
  for threshold in THRESHOLDS_PX:
    near = seen & (square < threshold**2)
    hits, false = near & said, said & ~near
    jaccards[f"jaccard_{threshold:.0f}"] = _by_video(
      _count(hits), _count(seen) + _count(false)
    )
    deltas[f"delta_{threshold:.0f}"] = _by_video(_count(near), _count(seen))
  agree = scored & (pred_visible == target_visible)
  distance = np.where(seen, np.sqrt(square), 0.0).sum(axis=(1, 2))
  return {
    "average_jaccard": _mean(list(jaccards.values())),
    "delta_avg": _mean(list(deltas.values())),
    "occlusion_accuracy": _by_video(_count(agree), _count(scored)),
    "error_px": _by_video(distance, _count(seen)),
    **jaccards,
    **deltas,
  }


def _count(hits: Bool[np.ndarray, "b q t"]) -> Int[np.ndarray, " b"]:
  """How many of each video."""
  return hits.sum(axis=(1, 2))


def _by_video(
  part: Int[np.ndarray, " b"] | Float[np.ndarray, " b"],
  whole: Int[np.ndarray, " b"],
) -> accumulators.Ratio:
  """A quotient of each video, all of which weigh alike."""
  return accumulators.Ratio(part / np.maximum(whole, 1), whole > 0)


def _mean(parts: list[accumulators.Ratio]) -> accumulators.Ratio:
  """The mean of several scores: what has no weight in one has none in all."""
  return accumulators.Ratio(
    np.mean([part.numerator for part in parts], axis=0), parts[0].denominator
  )
