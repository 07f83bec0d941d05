"""What a head is: sizes, and three functions of them.

    prepared = head.prepare(features)  # no parameters: once per clip
    params = head.init(key, prepared.shape[1:])
    outputs = head.apply(params, prepared, inputs)

A head is a frozen dataclass of numbers: equal heads compile once. Its
parameters are a nested dict, so that the engine stacks any number of them.
"""

import abc
import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from vdr.models import functional, layers

Params = functional.Params
# What a head is asked and what it is compared with, by name; axes start with
# the clip's. The names that heads read are in their docstrings.
Inputs = dict[str, Array]
Outputs = dict[str, Array]


def tokens(features: Float[Array, "b t h w d"]) -> Float[Array, "b t h w d"]:
  """Features with the mean 0 and variance 1 of a LayerNorm.

  All readouts begin with a LayerNorm. The part of it without parameters is done
  once for a clip, here; scale and bias are folded into what reads the tokens,
  so that no gradient ever reaches them.
  """
  return layers.layer_norm(features.astype(jnp.float32))


def mean(features: Float[Array, "b t h w d"]) -> Float[Array, "b d"]:
  """The mean over all tokens."""
  return jnp.mean(features.astype(jnp.float32), axis=(1, 2, 3))


@dataclasses.dataclass(frozen=True)
class Head(abc.ABC):
  """The sizes of a head, and what follows from them."""

  @abc.abstractmethod
  def build(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> Any:
    """The module, which is called with prepared features and inputs.

    Args:
      shape: of one clip's prepared features.
      rngs: what its parameters are drawn from.

    Raises:
      UserError: sizes don't fit one another or the features.
    """

  # What the head reads of features, without parameters: `tokens` or `mean`.
  # Heads with the same `prepare` share what is stored in memory.
  prepare = staticmethod(tokens)

  def init(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Params:
    """New parameters, for prepared features of this shape (of one clip)."""
    return functional.init(lambda rngs: self.build(shape, rngs), key)

  def apply(
    self, params: Params, prepared: Float[Array, " b *d"], inputs: Inputs
  ) -> Outputs:
    """Predictions for a batch of clips.

    Args:
      params: from `init`.
      prepared: what `prepare` gives.
      inputs: queries, and anything else, by name.
    """
    module = functional.fill(_skeleton(self, prepared.shape[1:]), params)
    return module(prepared, inputs)

  def num_params(self, shape: tuple[int, ...]) -> int:
    """Number of parameters for prepared features of this shape."""
    return functional.count(_skeleton(self, shape)[1])


@functools.lru_cache(maxsize=64)
def _skeleton(head: Head, shape: tuple[int, ...]) -> tuple[Any, Params]:
  """A head's module without numbers: tracing it takes longer than using it."""
  return functional.skeleton(lambda rngs: head.build(shape, rngs))
