"""Heads with one answer a clip: linear, attentive, and camera pose.

The readouts of SciVid and 4DS, which arXiv 2502.07001 is said to share. There
the attentive one has width 1024, 16 heads and one learned query.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vdr.models import layers
from vdr.probes import head as head_lib
from vdr.probes import readout
from vdr.runtime import errors

# [R | t] of a camera that does not move.
IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Linear(head_lib.Head):
  """The mean over all tokens, then one linear map (LinearReadout).

  Outputs: `logits [b k]`. No norm: the published one has none either.
  """

  num_outputs: int
  prepare = staticmethod(head_lib.mean)

  def build(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> "_Linear":
    return _Linear(shape[-1], self.num_outputs, rngs)


class _Linear(nnx.Module):
  def __init__(self, width: int, num_outputs: int, rngs: nnx.Rngs):
    self.out = readout.dense((width,), (num_outputs,), rngs)

  def __call__(self, x: Float[Array, "b d"], inputs: head_lib.Inputs):
    return {"logits": self.out(x)}


@dataclasses.dataclass(frozen=True)
class Attentive(head_lib.Head):
  """One learned query reads the clip, then one linear map.

  Outputs: `logits [b k]`.
  """

  num_outputs: int
  sizes: readout.Sizes

  def build(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> "_Attentive":
    return _Attentive(self, shape, rngs)


class _Attentive(nnx.Module):
  def __init__(self, head: Attentive, shape: tuple[int, ...], rngs: nnx.Rngs):
    width = head.sizes.width
    self.query = nnx.Param(layers.normal(rngs.params(), (1, width)))
    self.readout = readout.Readout(head.sizes, shape, rngs)
    self.out = readout.dense((width,), (head.num_outputs,), rngs)

  def queries(self, inputs: head_lib.Inputs) -> Float[Array, "q p"]:
    """What the readout is asked."""
    return self.query[...]

  def __call__(self, x: Float[Array, "b t h w d"], inputs: head_lib.Inputs):
    read = self.readout(x, self.queries(inputs))
    return {"logits": self.out(read[:, 0])}


@dataclasses.dataclass(frozen=True)
class Pose(head_lib.Head):
  """A relative camera pose: an attentive head with 12 numbers.

  Outputs: `pose [b 3 4]`, [R | t] of `geometry.relative_pose`; no rotation yet:
  `metrics.pose.project_rotation` makes it one.

  What the numbers start from is not stated; with `mean` and `std` they are
  `mean + std · y`, so that few steps suffice.

  Attributes:
    sizes: of the attention.
    mean: 12 numbers, row by row; the identity by default.
    std: as many, or one for all.
  """

  sizes: readout.Sizes
  mean: tuple[float, ...] = IDENTITY
  std: tuple[float, ...] = (1.0,)

  def build(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> "_Pose":
    if len(self.mean) != 12 or len(self.std) not in (1, 12):
      raise errors.UserError(
        f"a pose has 12 numbers; mean has {len(self.mean)}, std"
        f" {len(self.std)} of them"
      )
    return _Pose(self, shape, rngs)


class _Pose(nnx.Module):
  def __init__(self, head: Pose, shape: tuple[int, ...], rngs: nnx.Rngs):
    self.mean, self.std = head.mean, head.std
    self.attentive = _Attentive(Attentive(12, head.sizes), shape, rngs)

  @property
  def readout(self) -> readout.Readout:
    return self.attentive.readout

  def queries(self, inputs: head_lib.Inputs) -> Float[Array, "q p"]:
    """What the readout is asked."""
    return self.attentive.queries(inputs)

  def __call__(self, x: Float[Array, "b t h w d"], inputs: head_lib.Inputs):
    y = self.attentive(x, inputs)["logits"]
    mean = jnp.array(self.mean, jnp.float32)[None]
    std = jnp.array(self.std, jnp.float32)[None]
    y = mean + std * y
    return {"pose": y.reshape(-1, 3, 4)}
