"""Points that are found again by the similarity of features, and pictures."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from vdr import page, panels, strips
from vdr.metrics import similarity

RASTER_PX = 256.0  # of errors, as TAP-Vid has it
MOVED_PX = 32.0  # of the raster: what a point moves at least that moves
NOTE = (
  f"Mean distance on a raster of {RASTER_PX:.0f} between where a point of frame"
  " 0 is in the last frame and the place with the most similar feature (cosine,"
  " bilinear between tokens); copy: it stays where it was. Features of latent"
  " frame k are those of frames 4k-3 to 4k and count for frame 4k. Moving:"
  f" points that move by {MOVED_PX:.0f} or more."
)
CAPTION = (
  "Cosine of the features of all places with that of a point of frame 0, yellow"
  " where it is highest. Ring: where the point is. Dot: the most similar place."
)
MOST_FRAMES = 5  # of a clip in the picture


class Tracks(NamedTuple):
  """Points of one clip that are looked for in its last frame.

  Attributes:
    true_xy: their tracks.
    query: their features in the first frame.
    found_xy: where they are found.
  """

  true_xy: Float[np.ndarray, "q t 2"]
  query: Float[np.ndarray, "q d"]
  found_xy: Float[np.ndarray, "q 2"]

  def errors_px(self) -> Float[np.ndarray, "q 2"]:
    """Of each point: what was found, and what staying would be off."""
    first, last = self.true_xy[:, 0], self.true_xy[:, -1]
    apart = np.stack([self.found_xy - last, first - last], axis=1)
    return RASTER_PX * np.linalg.norm(apart, axis=-1)


def follow(
  features: Float[np.ndarray, "t2 h2 w2 d"],
  points_xy: Float[np.ndarray, "q t 2"],
  visible: np.ndarray,
  height: int,
  width: int,
) -> Tracks:
  """Looks for the points that are seen in the first and the last frame.

  Args:
    features: of the clip; the first ones are those of frame 0.
    points_xy: all its tracks.
    visible: where they are seen, bool [q t].
    height: of the clip, in pixels.
    width: likewise.
  """
  ends = points_xy[:, [0, -1]]
  seen = visible[:, [0, -1]].all(axis=1)
  seen &= np.all((ends >= 0) & (ends <= 1), axis=(1, 2))
  true_xy = points_xy[seen].astype(np.float64)
  query = similarity.sample(features[0], true_xy[:, 0])
  maps = similarity.similarity(query, features[-1], height, width)
  return Tracks(true_xy, query, similarity.most_similar(maps))


def summary(tracks: list[Tracks]) -> dict[str, Any]:
  """The means over all points of all clips, None where there is no point."""
  errors_px = np.concatenate([each.errors_px() for each in tracks])
  moving = errors_px[errors_px[:, 1] >= MOVED_PX]
  return {**_means(errors_px), "moving": _means(moving), "note": NOTE}


def _means(errors_px: Float[np.ndarray, "q 2"]) -> dict[str, Any]:
  """The errors of what was found and of staying, and their number."""
  found, copied = (
    errors_px.mean(axis=0).tolist() if len(errors_px) else (None,) * 2
  )
  return {"error_px": found, "copy_error_px": copied, "n": len(errors_px)}


def draw(
  clip: UInt8[np.ndarray, "t h w 3"],
  features: Float[np.ndarray, "t2 h2 w2 d"],
  times: Int[np.ndarray, " t2"],
  tracks: Tracks,
  most: int,
) -> list[list[page.Picture]]:
  """Similarity maps, a row for each of some points, frame after frame.

  Args:
    clip: the clip.
    features: its features.
    times: the last pixel frame that each feature frame covers.
    tracks: its points, one at least.
    most: points that are drawn, spread over all.
  """
  index = frames_shown(times)
  rows = []
  for q in _spread(len(tracks.query), most):
    query, (height, width) = tracks.query[q : q + 1], clip.shape[1:3]
    maps = np.concatenate(
      [similarity.similarity(query, features[k], height, width) for k in index]
    )
    level = (maps - maps.min()) / max(float(np.ptp(maps)), 1e-9)
    heat = strips.enlarge(panels.heat(clip[times[index]], level))
    true = tracks.true_xy[q : q + 1, times[index]]
    found = similarity.most_similar(maps)[None]
    sure = np.ones(true.shape[:2], bool)
    rows.append(list(panels.draw_answers(heat, true, sure, found, sure)))
  return rows


def frames_shown(times: Int[np.ndarray, " t2"]) -> list[int]:
  """The feature frames that `draw` shows, first and last among them."""
  return _spread(len(times), MOST_FRAMES)


def _spread(num: int, most: int) -> list[int]:
  """Up to so many of the numbers below `num`, evenly."""
  spread = np.linspace(0, num - 1, min(most, num)).round().astype(int)
  return sorted(set(spread.tolist()))
