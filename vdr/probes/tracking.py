"""The one-shot tracking head: where points or boxes go, in one reading.

SciVid's readout: a query's Fourier features go through an MLP (512, GELU, 512);
the query is repeated for every tile of frames, each with a learned vector of
its own; the queries read the clip's tokens, and a linear map makes the numbers
of the tile's frames: of points x, y, visibility and certainty (width 1024, 8
heads, 8 tiles of 2 frames, sigmoid on x and y), of boxes four numbers without
activation (4 heads, one tile of 16 frames). `recurrent.py` has the other kind.

Clips of 4k + 1 frames do not split into tiles: surplus frames of the last tile
are dropped (ours).
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from vdr.models import layers
from vdr.probes import head as head_lib
from vdr.probes import places, readout
from vdr.runtime import errors

QUERY = "query"
Kind = Literal["points", "boxes"]


@dataclasses.dataclass(frozen=True)
class Targets:
  """What is tracked, as both tracking heads have it.

  Inputs: `query [b n k]`: points (x, y), or boxes (ymin, xmin, ymax, xmax), at
  the frame where they are given, normalised; further coordinates may follow,
  for instance the query's time as a share of the clip.

  Outputs: of points `points_xy [b n t 2]`, `visible [b n t]` and `certain
  [b n t]`, logits both; a point is taken for visible where sigmoid(visible) ·
  sigmoid(certain) > .5. Of boxes `boxes_yxyx [b n t 4]`.

  Attributes:
    kind: points or boxes.
    query_dim: coordinates of a query, k.
    octaves: of the Fourier features; 16 as published.
    hidden: width of the queries' MLP, and of what it gives; 512 as published.
    from_query: the head's numbers are added to those of the query, and start at
      zero: everything is at rest. Ours: the published heads have to learn to
      copy the query, for which few steps are too few.
  """

  kind: Kind
  query_dim: int
  octaves: int = 16
  hidden: int = 512
  from_query: bool = False

  @property
  def last_kernel(self) -> layers.Initializer:
    """Where the last linear map starts."""
    return layers.zeros if self.from_query else readout.fan_in(1)

  @property
  def num_values(self) -> int:
    """Numbers of an object in a frame."""
    return 2 if self.kind == "points" else 4

  def check(self) -> None:
    """Verifies the sizes.

    Raises:
      UserError: queries have too few coordinates.
    """
    if self.query_dim < self.num_values:
      raise errors.UserError(
        f"queries of {self.kind} need {self.num_values} coordinates or more,"
        f" not {self.query_dim}"
      )

  def place(
    self, y: Float[Array, "b n t v"], query: Float[Array, "b n k"]
  ) -> Float[Array, "b n t v"]:
    """Positions from what the last layer gives."""
    start = query[:, :, None, : self.num_values]
    if self.kind == "boxes":
      return y + start if self.from_query else y
    if self.from_query:
      start = jnp.clip(start, 0.01, 0.99)
      y = y + jnp.log(start / (1 - start))
    return jax.nn.sigmoid(y)


class Embedding(nnx.Module):
  """Queries as vectors: Fourier features, then an MLP."""

  def __init__(self, targets: Targets, rngs: nnx.Rngs):
    targets.check()
    self.targets = targets
    ins = 2 * targets.query_dim * targets.octaves
    self.mlp = readout.Mlp((ins, targets.hidden, targets.hidden), rngs)

  def __call__(self, query: Float[Array, "b n k"]) -> Float[Array, "b n d"]:
    if query.shape[-1] != self.targets.query_dim:
      raise ValueError(
        f"queries have {query.shape[-1]} coordinates, the head"
        f" {self.targets.query_dim}"
      )
    return self.mlp(places.fourier(query, self.targets.octaves))


@dataclasses.dataclass(frozen=True)
class Track(head_lib.Head):
  """Inputs and outputs: see `Targets`.

  Attributes:
    sizes: of the attention.
    targets: what is tracked.
    tile_frames: pixel frames that one query answers for.
  """

  sizes: readout.Sizes
  targets: Targets
  tile_frames: int

  @property
  def num_tiles(self) -> int:
    return -(-self.sizes.num_frames // self.tile_frames)

  def build(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> "_Track":
    if not 1 <= self.tile_frames <= self.sizes.num_frames:
      raise errors.UserError(
        f"tiles of {self.tile_frames} frames in a clip of"
        f" {self.sizes.num_frames}; choose 1 to {self.sizes.num_frames}"
      )
    return _Track(self, shape, rngs)


class _Track(nnx.Module):
  def __init__(self, head: Track, shape: tuple[int, ...], rngs: nnx.Rngs):
    self.head = head
    targets, width = head.targets, head.sizes.width
    self.embed = Embedding(targets, rngs)
    # Its scale is not stated; we use that of other embeddings.
    self.tiles = nnx.Param(
      layers.normal(rngs.params(), (head.num_tiles, targets.hidden))
    )
    self.query = readout.dense((targets.hidden,), (width,), rngs)
    self.readout = readout.Readout(head.sizes, shape, rngs)
    numbers = 4  # points: x, y, visible, certain; boxes: yxyx
    self.out = layers.Linear(
      (width,), (head.tile_frames, numbers), rngs, kernel=targets.last_kernel
    )

  def queries(self, inputs: head_lib.Inputs) -> Float[Array, "b q p"]:
    """What the readout is asked: of each object a query for every tile."""
    given = inputs[QUERY]
    b, n = given.shape[:2]
    query = self.embed(given)[:, :, None] + self.tiles[...][None, None]
    return self.query(query.reshape(b, n * self.head.num_tiles, -1))

  def __call__(self, x: Float[Array, "b t h w d"], inputs: head_lib.Inputs):
    head, given = self.head, inputs[QUERY]
    b, n = given.shape[:2]
    # [b (n tiles) frames numbers]
    y = self.out(self.readout(x, self.queries(inputs)))
    y = y.reshape(b, n, -1, y.shape[-1])[:, :, : head.sizes.num_frames]
    return outputs(head.targets, y, given)


def outputs(
  targets: Targets, y: Float[Array, "b n t 4"], query: Float[Array, "b n k"]
) -> head_lib.Outputs:
  """The named outputs from four numbers a frame."""
  if targets.kind == "boxes":
    return {"boxes_yxyx": targets.place(y, query)}
  return {
    "points_xy": targets.place(y[..., :2], query),
    "visible": y[..., 2],
    "certain": y[..., 3],
  }


@dataclasses.dataclass(frozen=True)
class DrawQueries:
  """What a step sees of the targets: some of each clip's points or boxes.

  Those that count come first, so that few steps are lost on the others.

  Attributes:
    num: how many of a clip.
    names: the inputs that are cut, the query's own too; axes b and n first.
    valid: the input `[b n]` that is True where there is something to learn.
  """

  num: int
  names: tuple[str, ...]
  valid: str

  def __call__(
    self, key: PRNGKeyArray, inputs: head_lib.Inputs
  ) -> head_lib.Inputs:
    valid: Bool[Array, "b n"] = inputs[self.valid]
    drawn = jax.random.uniform(key, valid.shape) + valid.astype(jnp.float32)
    _, index = jax.lax.top_k(drawn, min(self.num, valid.shape[1]))  # [b m]

    def cut(x: Array) -> Array:
      own = index.reshape(*index.shape, *(1,) * (x.ndim - 2))
      return jnp.take_along_axis(x, own, axis=1)

    names = {*self.names, self.valid, QUERY}
    return {k: cut(x) if k in names else x for k, x in inputs.items()}
