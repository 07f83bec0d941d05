"""The tokenizer without training: orthonormal patch transforms found by PCA.

The first frame is cut into patches of p × p pixels, the others into patches of
4 frames × p × p pixels; each patch becomes its first `channels` principal
components. First and later patches have bases of their own but equally many
channels, in the order of their variance, so that one projection can read both.
It is the floor that a trained tokenizer has to rise above, and takes seconds.

Not in the paper, whose tokenizer is a network (`vdr.models.autoencoder`).
"""

from collections.abc import Iterable
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vdr.runtime import errors

Array = Any  # np.ndarray or jax.Array
Params = dict[str, Any]

TIME = 4  # frames of a later patch
HIGHEST = jax.lax.Precision.HIGHEST  # an orthonormal transform in f32 is exact


def split_patches(
  video: Float[Array, "b t h w 3"], size: int
) -> tuple[Float[Array, "b 1 hp wp k"], Float[Array, "b tp hp wp n"]]:
  """Cuts a clip into patches of its first frame and of every 4 later ones.

  Args:
    video: pixels; t is 4k + 1 and size divides h and w.
    size: pixels of a patch's side.
  """
  first = einops.rearrange(
    video[:, :1],
    "b t (h p) (w q) c -> b t h w (p q c)",
    p=size,
    q=size,
  )
  later = einops.rearrange(
    video[:, 1:],
    "b (t s) (h p) (w q) c -> b t h w (s p q c)",
    s=TIME,
    p=size,
    q=size,
  )
  return first, later


def join_patches(
  first: Float[Array, "b 1 hp wp k"],
  later: Float[Array, "b tp hp wp n"],
  size: int,
) -> Float[Array, "b t h w 3"]:
  """The clip that `split_patches` cut."""
  frame = einops.rearrange(
    first, "b t h w (p q c) -> b t (h p) (w q) c", p=size, q=size
  )
  frames = einops.rearrange(
    later,
    "b t h w (s p q c) -> b (t s) (h p) (w q) c",
    s=TIME,
    p=size,
    q=size,
  )
  return jnp.concatenate([frame, frames], axis=1)


def init(size: int, channels: int, key: jax.Array) -> Params:
  """Random orthonormal bases, of the shapes that `fit` gives."""
  first, later = 3 * size**2, 3 * TIME * size**2
  keys = jax.random.split(key)
  return {
    "first": _random_basis(first, channels, keys[0]),
    "later": _random_basis(later, channels, keys[1]),
  }


def encode(
  params: Params, video: Float[Array, "b t h w 3"], size: int
) -> Float[Array, "b tp hp wp c"]:
  """Latents of clips in [-1, 1]."""
  parts = []
  for name, patches in zip(
    ("first", "later"), split_patches(video, size), strict=True
  ):
    centred = patches - params[name]["mean"].reshape(1, 1, 1, 1, -1)
    parts.append(
      jnp.einsum(
        "bthwn,cn->bthwc", centred, params[name]["basis"], precision=HIGHEST
      )
    )
  return jnp.concatenate(parts, axis=1)


def decode(
  params: Params, latents: Float[Array, "b tp hp wp c"], size: int
) -> Float[Array, "b t h w 3"]:
  """Clips from latents; may leave [-1, 1]."""
  parts = []
  for name, part in (("first", latents[:, :1]), ("later", latents[:, 1:])):
    centred = jnp.einsum(
      "bthwc,cn->bthwn", part, params[name]["basis"], precision=HIGHEST
    )
    parts.append(centred + params[name]["mean"].reshape(1, 1, 1, 1, -1))
  return join_patches(parts[0], parts[1], size)


class Moments:
  """Mean and covariance of rows that come in batches, in float64.

  Batches are merged by the pairwise update of Chan, Golub and LeVeque (1979),
  which does not subtract large sums.
  """

  def __init__(self, num_columns: int):
    self.count = 0
    self.mean = np.zeros(num_columns)
    self._scatter = np.zeros((num_columns, num_columns))

  def add(self, rows: Float[np.ndarray, "m n"]) -> None:
    """Takes in some more rows."""
    if not len(rows):
      return
    rows = rows.astype(np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    total = self.count + len(rows)
    step = mean - self.mean
    self._scatter += centred.T @ centred
    self._scatter += np.outer(step, step) * (self.count * len(rows) / total)
    self.mean += step * (len(rows) / total)
    self.count = total

  def covariance(self) -> Float[np.ndarray, "n n"]:
    """Of all rows so far (divided by their number)."""
    return self._scatter / max(self.count, 1)


def fit(
  batches: Iterable[np.ndarray], size: int, channels: int
) -> tuple[Params, Float[np.ndarray, "2 c"]]:
  """Principal components of the patches of clips.

  Args:
    batches: arrays `[b t h w 3]` in [-1, 1], each of any length b.
    size: pixels of a patch's side.
    channels: components to keep.

  Returns:
    The parameters, and the standard deviation of each channel of first and of
    later latents; their means are 0.

  Raises:
    UserError: there is no clip, or none of more than one frame.
  """
  moments = Moments(3 * size**2), Moments(3 * TIME * size**2)
  for video in batches:
    for part, patches in zip(moments, split_patches(video, size), strict=True):
      part.add(patches.reshape(-1, patches.shape[-1]))
  if not all(part.count for part in moments):
    raise errors.UserError(
      "the patch tokenizer found"
      f" {moments[0].count} patches of first frames and {moments[1].count} of"
      " later ones; give it at least one clip of 5 frames"
    )
  fitted = [_components(part, channels) for part in moments]
  params = {
    name: {
      "basis": jnp.asarray(basis, jnp.float32),
      "mean": jnp.asarray(part.mean, jnp.float32),
    }
    for name, part, (basis, _) in zip(
      ("first", "later"), moments, fitted, strict=True
    )
  }
  return params, np.stack([std for _, std in fitted])


def _components(
  moments: Moments, channels: int
) -> tuple[Float[np.ndarray, "c n"], Float[np.ndarray, " c"]]:
  """The main axes as rows, and the standard deviation along each.

  An axis has no direction of its own: its largest entry is made positive.
  """
  variances, axes = np.linalg.eigh(moments.covariance())
  axes = axes.T[::-1][:channels]
  # Of entries that differ by rounding alone, the first one decides.
  sizes = np.abs(axes)
  largest = np.argmax(
    sizes > (1 - 1e-6) * sizes.max(axis=1, keepdims=True), axis=1
  )
  axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
  return axes, np.sqrt(np.maximum(variances[::-1][:channels], 0))


def _random_basis(n: int, channels: int, key: jax.Array) -> Params:
  square, _ = jnp.linalg.qr(jax.random.normal(key, (n, channels)))
  return {"basis": square.T, "mean": jnp.zeros(n)}
