"""Where a token is: tables and rotations for any grid `(t', h', w')`.

Two kinds, by `config.model.positions`:

* `rope`: rotary positions (arXiv 2104.09864) along the three axes inside every
  window, and fixed sines, factorised over the axes, added to the tokens:
  windows hide from a token where in the picture its window lies. Nothing is
  learned, and a grid of any size has its positions. Base and split of the
  channels are ours.
* `learned`: W.A.L.T (arXiv 2312.06662): learned tables for space and time added
  to the tokens, and learned biases for relative places inside windows. That the
  bias is a sum over axes, and that tables are interpolated linearly for grids
  that are larger or smaller, is not stated; it is our choice.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from vdr.models import layers

Grid = tuple[int, int, int]  # frames, rows, columns

# Grids have 4 to 32 tokens a side: with the usual 10,000 more than half of the
# frequencies would hardly turn.
_BASE = 100.0
# The sines of a place count a picture's height and width as this many tokens,
# whatever its grid: W.A.L.T's latents have 16 × 16.
_SPAN = 16.0


def split_channels(num: int) -> Grid:
  """How many of `num` frequencies each axis gets: a quarter is for time."""
  time = num // 4
  rows = (num - time) // 2
  return time, rows, num - time - rows


def _angles(places: list[np.ndarray], num: int) -> np.ndarray:
  """Place times frequency for every token of a grid, `[t h w num]`."""
  grid = tuple(len(axis) for axis in places)
  parts = []
  for axis, share in enumerate(split_channels(num)):
    frequency = _BASE ** (-np.arange(share) / share)
    shape = [1, 1, 1, share]
    shape[axis] = grid[axis]
    angle = (places[axis][:, None] * frequency).reshape(shape)
    parts.append(np.broadcast_to(angle, (*grid, share)))
  return np.concatenate(parts, axis=-1)


def sines(grid: Grid, width: int) -> Float[np.ndarray, "t h w d"]:
  """The fixed table that is added to the tokens.

  Time counts latent frames from the clip's first; rows and columns are shares
  of the picture, so that the same place has the same sines at any resolution.
  """
  t, h, w = grid
  places = [
    np.arange(t, dtype=np.float64),
    (np.arange(h) + 0.5) / h * _SPAN,
    (np.arange(w) + 0.5) / w * _SPAN,
  ]
  angle = _angles(places, width // 2)
  table = np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
  return table.astype(np.float32)


def rotations(window: Grid, head_dim: int) -> Float[np.ndarray, "n c"]:
  """The angles by which tokens of a window turn their channel pairs.

  Only differences matter, so that all windows share one table.
  """
  places = [np.arange(size, dtype=np.float64) for size in window]
  angle = _angles(places, head_dim // 2).reshape(-1, head_dim // 2)
  return angle.astype(np.float32)


def rotate(
  x: Float[Array, "b n a c2"], angles: Float[np.ndarray, "n c"]
) -> Float[Array, "b n a c2"]:
  """Turns the pairs (i, i + c) of channels, in float32."""
  cos, sin = (jnp.asarray(f(angles))[None, :, None] for f in (np.cos, np.sin))
  return turn(x, cos, sin)


def turn(
  x: Float[Array, "*b c2"],
  cos: Float[Array, "*#b c"],
  sin: Float[Array, "*#b c"],
) -> Float[Array, "*b c2"]:
  """`rotate` by the cosines and sines of the angles, which broadcast to x."""
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = [first * cos - second * sin, second * cos + first * sin]
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def read_table(
  table: Float[Array, "n d"], places: Float[np.ndarray, " q"]
) -> Float[Array, "q d"]:
  """Rows of a table at fractional places, linearly; edges are repeated."""
  last = table.shape[0] - 1
  places = np.clip(places, 0, last)
  low = np.floor(places).astype(np.int32)
  high = np.minimum(low + 1, last)
  share = jnp.asarray((places - low).astype(np.float32))[:, None]
  return table[low] * (1 - share) + table[high] * share


class Absolute(nnx.Module):
  """Learned positions of a reference grid, added to the tokens.

  Space and time have tables of their own (W.A.L.T). Over another picture size
  the table for space is stretched; frames have the first rows of the table for
  time, which is stretched only over longer clips.
  """

  def __init__(self, grid: Grid, width: int, rngs: nnx.Rngs):
    t, h, w = grid
    self.time = nnx.Param(layers.normal(rngs.params(), (t, width)))
    self.space = nnx.Param(layers.normal(rngs.params(), (h, w, width)))

  def __call__(self, grid: Grid) -> Float[Array, "t h w d"]:
    t, h, w = grid
    rows, columns, width = self.space.shape
    frames = np.arange(t, dtype=np.float64)
    known = self.time.shape[0]
    if t > known:
      frames *= (known - 1) / (t - 1)
    time = read_table(self.time[...], frames)
    space = self.space[...].reshape(rows, columns * width)
    space = read_table(space, (np.arange(h) + 0.5) / h * rows - 0.5)
    space = space.reshape(h, columns, width).swapaxes(0, 1)
    space = read_table(
      space.reshape(columns, h * width),
      (np.arange(w) + 0.5) / w * columns - 0.5,
    )
    space = space.reshape(w, h, width).swapaxes(0, 1)
    return time[:, None, None] + space[None]


class RelativeBias(nnx.Module):
  """Learned biases of attention for places relative to one another.

  One table an axis, for differences −(n − 1) … n − 1 of a window of n; in
  larger windows differences are scaled to the table's.
  """

  def __init__(self, window: Grid, num_heads: int, rngs: nnx.Rngs):

    def table(size):
      shape = (2 * size - 1, num_heads)
      return nnx.Param(layers.normal(rngs.params(), shape))

    self.frames, self.rows, self.columns = map(table, window)

  def __call__(self, window: Grid) -> Float[Array, "a n n"]:
    total = jnp.zeros((1, 1, 1, 1, 1, 1, 1), jnp.float32)
    tables = (self.frames, self.rows, self.columns)
    for axis, (size, table) in enumerate(zip(window, tables, strict=True)):
      most = table.shape[0] // 2
      places = np.arange(size, dtype=np.float64)
      difference = places[:, None] - places[None]
      if size - 1 > most:
        difference = difference * most / (size - 1)
      bias = read_table(table[...], difference.reshape(-1) + most)
      shape = [1] * 6 + [table.shape[1]]
      shape[axis] = shape[axis + 3] = size
      total = total + bias.reshape(shape)
    n = int(np.prod(window))
    return total.reshape(n, n, -1).transpose(2, 0, 1)
