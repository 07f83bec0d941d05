"""What features say by themselves, without a probe: two numbers of them.

Neither depends on the scale of features, so that networks can be compared.
"""

import numpy as np
from jaxtyping import Float


def order_sensitivity(
  forward: Float[np.ndarray, "n t h w d"],
  backward: Float[np.ndarray, "n t h w d"],
) -> float:
  """How much features change when the same frames come in reverse.

  The mean squared distance between a clip's features and those of the same
  frames in reverse, over that between the features of two clips, both a mean
  over places. 0: the order of frames is nothing to the features; 1: the reverse
  is as far as another clip. A factor or an offset of the features changes
  nothing.

  Args:
    forward: features of n clips, two or more.
    backward: of the same frames in reverse, place by place.

  Returns:
    At least 0; NaN if all clips have the same features.
  """
  n = len(forward)
  if n < 2:
    raise ValueError("one clip has no other to be compared with")
  forward, backward = forward.astype(np.float64), backward.astype(np.float64)
  own = np.square(forward - backward).sum() / n
  # The mean over pairs of clips is twice the unbiased variance.
  spread = np.square(forward - forward.mean(axis=0)).sum() / (n - 1)
  return float(own / (2 * spread)) if spread > 0 else float("nan")


def sample(
  features: Float[np.ndarray, "h w d"], points_xy: Float[np.ndarray, "q 2"]
) -> Float[np.ndarray, "q d"]:
  """Features at points, bilinear between the middles of tokens.

  Outside of those the nearest ones count. Points are normalised, x first, 0 the
  left or top edge of the picture.
  """
  size = np.array(features.shape[1::-1])
  place = np.clip(points_xy * size - 0.5, 0, size - 1)
  low = np.minimum(place.astype(int), np.maximum(size - 2, 0))
  high = np.minimum(low + 1, size - 1)
  (x0, y0), (x1, y1) = low.T, high.T
  wx, wy = (place - low).T[..., None]
  top = (1 - wx) * features[y0, x0] + wx * features[y0, x1]
  bottom = (1 - wx) * features[y1, x0] + wx * features[y1, x1]
  return (1 - wy) * top + wy * bottom


def similarity(
  query: Float[np.ndarray, "q d"],
  features: Float[np.ndarray, "h w d"],
  height: int,
  width: int,
) -> Float[np.ndarray, "q y x"]:
  """The cosine of queries with the features at each pixel, bilinear there.

  Args:
    query: features of what is looked for.
    features: of the picture that it is looked for in.
    height: of the picture, in pixels.
    width: likewise.
  """
  y, x = np.mgrid[:height, :width]
  middles = np.stack([(x + 0.5) / width, (y + 0.5) / height], axis=-1)
  found = sample(features, middles.reshape(-1, 2))
  cosine = _unit(query) @ _unit(found).T
  return cosine.reshape(len(query), height, width)


def most_similar(
  similar: Float[np.ndarray, "q y x"],
) -> Float[np.ndarray, "q 2"]:
  """The middle of the pixel where each map is highest, normalised, x first."""
  _, height, width = similar.shape
  best = similar.reshape(len(similar), height * width).argmax(axis=1)
  y, x = np.divmod(best, width)
  return np.stack([(x + 0.5) / width, (y + 0.5) / height], axis=-1)


def _unit(x: np.ndarray) -> np.ndarray:
  return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
