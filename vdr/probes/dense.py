"""The dense head: a picture for each of some frames, patch by patch.

4DS's depth readout: learned queries, one for each patch of 2 × 8 × 8 pixels of
16 frames of 224 × 224 (6,272 of them), width 1024, 16 heads, and a linear map
to the patch's pixels. Ours are smaller.

Three things are ours. To its learned vector a query adds a linear map of the
sines of its place, the same that tokens carry, so that what one patch learns
serves the others. That map starts such that a query looks at the tokens about
its own place: from hardly any place, hundreds of steps go by before a probe
finds out that depth is a matter of where one looks (on a local study's features
AbsRel on `select` is .099 after 1,000 steps from a logit of 5 there, .125 from
one of .6). And a step may train a random part of the queries (`DrawPatches`),
as the depth readout of MooG trains on a random part of the pixels.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from vdr.models import layers
from vdr.probes import head as head_lib
from vdr.probes import places, readout
from vdr.runtime import errors

PATCH_INDEX = "patch_index"

# At first: the spread of the embeddings of places, so that they weigh about as
# much as what tokens say, and the mean logit of a token at the query's place.
PLACE_STD = 0.3
NEAR_LOGIT = 6.0
_LOG_LIMIT = 30.0  # beyond which a map of logarithms can't go


@dataclasses.dataclass(frozen=True)
class Dense(head_lib.Head):
  """Maps of all pixels of some frames.

  Inputs: `patch_index [m]`, if there, asks for these patches only.
  Outputs: `map [b t h w c]`, or `[b m pt ph pw c]` of the patches asked for.

  Attributes:
    sizes: of the attention.
    frames: pixel frames that are predicted.
    height: pixels of the maps, not necessarily those of the video.
    width: pixels.
    patch: frames, rows and columns of a patch; frames are counted in `frames`.
    channels: numbers of a pixel, e.g. 1 for depth.
    mean: the map is mean + std · y. Not stated; without it, few steps would go
      into learning how far away things are at all.
    std: likewise.
    logarithms: mean and std are of logarithms: the map is exp(mean + std · y).
  """

  sizes: readout.Sizes
  frames: tuple[int, ...]
  height: int
  width: int
  patch: tuple[int, int, int]
  channels: int = 1
  mean: float = 0.0
  std: float = 1.0
  logarithms: bool = False

  @property
  def grid(self) -> tuple[int, int, int]:
    """Patches along frames, rows and columns."""
    t, h, w = self.patch
    return len(self.frames) // t, self.height // h, self.width // w

  @property
  def num_patches(self) -> int:
    return int(np.prod(self.grid))

  def build(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> "_Dense":
    size = (len(self.frames), self.height, self.width)
    if any(n < 1 or n % p for n, p in zip(size, self.patch, strict=True)):
      raise errors.UserError(
        f"{size} frames, rows and columns do not split into patches of"
        f" {self.patch}; choose divisors"
      )
    if min(self.frames) < 0 or max(self.frames) >= self.sizes.num_frames:
      raise errors.UserError(
        f"frames {self.frames} to predict are not all in a clip of"
        f" {self.sizes.num_frames}"
      )
    return _Dense(self, shape, rngs)


@functools.cache
def _places(head: Dense) -> Float[np.ndarray, "q s"]:
  """The sines of the middle of every patch."""
  times = (np.array(head.frames, np.float64) + 0.5) / head.sizes.num_frames
  times = times.reshape(-1, head.patch[0]).mean(axis=1)
  table = places.sines(times, *head.grid[1:])
  return table.reshape(-1, table.shape[-1])


class _Dense(nnx.Module):
  def __init__(self, head: Dense, shape: tuple[int, ...], rngs: nnx.Rngs):
    self.head = head
    width = head.sizes.width
    self.query = nnx.Param(
      layers.normal(rngs.params(), (head.num_patches, width))
    )
    self.query_place = (
      layers.Linear(
        (places.CHANNELS,),
        (width,),
        rngs,
        kernel=readout.fan_in(1),
        bias=None,
      )
      if head.sizes.places
      else None
    )
    self.readout = readout.Readout(head.sizes, shape, rngs)
    self.out = readout.dense((width,), (*head.patch, head.channels), rngs)
    if self.query_place is not None:
      self.query_place.kernel[...] = self._look_near()

  def _look_near(self) -> Float[Array, "s p"]:
    """The map of places under which a query is as the keys of its place are."""
    tokens, key = self.readout.tokens, self.readout.key.kernel[...]
    tokens.place[...] = tokens.place[...] * (PLACE_STD / layers.NORMAL_STD)
    sines = tokens.place[...][-places.CHANNELS :]
    kernel = jnp.einsum("sd,dac->sac", sines, key)
    keys = jnp.einsum(
      "ns,sac->nac", tokens.table()[:, -places.CHANNELS :], kernel
    )
    logit = jnp.mean(jnp.sum(keys**2, axis=-1)) / key.shape[-1] ** 0.5
    return (NEAR_LOGIT / logit * kernel).reshape(places.CHANNELS, -1)

  def queries(self, inputs: head_lib.Inputs) -> Float[Array, "q p"]:
    """What the readout is asked: a query for each patch."""
    query = self.query[...]
    if self.query_place is not None:
      query = query + self.query_place(jnp.asarray(_places(self.head)))
    index = inputs.get(PATCH_INDEX)
    return query if index is None else query[index]

  def __call__(self, x: Float[Array, "b t h w d"], inputs: head_lib.Inputs):
    index = inputs.get(PATCH_INDEX)
    y = self.out(self.readout(x, self.queries(inputs)))
    y = self.head.mean + self.head.std * y
    if self.head.logarithms:
      y = jnp.exp(jnp.clip(y, -_LOG_LIMIT, _LOG_LIMIT))
    return {"map": y if index is not None else from_patches(self.head, y)}


def from_patches(
  head: Dense, patches: Shaped[Array, "b q pt ph pw c"]
) -> Shaped[Array, "b t h w c"]:
  """Whole maps of all patches."""
  b, t, h, w = patches.shape[0], *head.grid
  x = patches.reshape(b, t, h, w, *patches.shape[2:])
  x = x.transpose(0, 1, 4, 2, 5, 3, 6, 7)
  size = (len(head.frames), head.height, head.width)
  return x.reshape(b, *size, -1)


def to_patches(
  head: Dense, maps: Shaped[Array, "b t h w c"]
) -> Shaped[Array, "b q pt ph pw c"]:
  """The inverse of `from_patches`."""
  (t, h, w), (pt, ph, pw) = head.grid, head.patch
  x = maps.reshape(maps.shape[0], t, pt, h, ph, w, pw, -1)
  x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7)
  return x.reshape(maps.shape[0], t * h * w, pt, ph, pw, -1)


@dataclasses.dataclass(frozen=True)
class DrawPatches:
  """What a step sees of the targets: a random part of the patches.

  Attributes:
    head: whose patches.
    num: patches of a step, the same ones of every clip of its batch.
    names: targets that are maps, `[b t h w c]` or `[b t h w]`.
  """

  head: Dense
  num: int
  names: tuple[str, ...]

  def __call__(
    self, key: PRNGKeyArray, inputs: head_lib.Inputs
  ) -> head_lib.Inputs:
    """The inputs with `patch_index`, and maps cut to those patches.

    Maps get the axes of the head's output, those without channels too.
    """
    total = self.head.num_patches
    index = jax.random.permutation(key, total)[: min(self.num, total)]
    cut = {name: self._cut(inputs[name], index) for name in self.names}
    return {**inputs, **cut, PATCH_INDEX: index}

  def _cut(self, maps: Array, index: Int[Array, " m"]) -> Array:
    flat = maps.ndim == 4
    patches = to_patches(self.head, maps[..., None] if flat else maps)
    patches = patches[:, index]
    return patches[..., 0] if flat else patches
