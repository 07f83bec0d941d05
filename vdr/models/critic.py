"""The critic of adversarial training: does a patch of a clip look real?

Strided convolutions over time, height and width; one logit for each patch of
the last level, so that clips and images of any size can be judged. The losses
are the non-saturating ones with R1 regularisation (arXiv 1801.04406), with
which MAGVIT-v2 (arXiv 2310.05737) trains its tokenizer; the critic's own
architecture (StyleGAN's there) is ours, and smaller.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from vdr.models import functional
from vdr.runtime import errors, workdir

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Params = functional.Params
Clip = Float[Array, "b t h w 3"]

KERNEL, SLOPE = 3, 0.2
STRIDES = ((1, 2, 2), (2, 2, 2), (2, 2, 2))


class Critic(nnx.Module):
  """Convolutions of doubling width, then one number."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    widths = [3] + [width * 2**i for i in range(len(STRIDES))]
    self.levels = nnx.List(
      [
        nnx.Conv(a, b, (KERNEL,) * 3, strides=stride, rngs=rngs)
        for a, b, stride in zip(widths, widths[1:], STRIDES, strict=False)
      ]
    )
    self.out = nnx.Conv(widths[-1], 1, (KERNEL,) * 3, rngs=rngs)

  def __call__(self, clip: Clip) -> Float[Array, " b"]:
    x = clip
    for level in self.levels:
      x = jax.nn.leaky_relu(level(x), SLOPE)
    x = self.out(x)
    return x.reshape(x.shape[0], -1).mean(axis=1)


def init(cfg: Config, key: jax.Array) -> Params:
  """New parameters; those of `cfg.critic_path` if there is one.

  Args:
    cfg: config.tokenizer.loss.
    key: what new ones are drawn from.

  Raises:
    UserError: the file can't be read, or is of another critic.
  """
  params = functional.init(lambda rngs: Critic(cfg.critic_width, rngs), key)
  if not cfg.critic_path:
    return params
  leaves, tree = jax.tree.flatten(params)
  try:
    with np.load(cfg.critic_path, allow_pickle=False) as file:
      found = [file[f"{i}"] for i in range(len(leaves))]
  except (OSError, ValueError, KeyError) as error:
    raise errors.UserError(
      f"tokenizer.loss.critic_path={cfg.critic_path} is no critic ({error})"
    ) from error
  if [x.shape for x in found] != [x.shape for x in leaves]:
    raise errors.UserError(
      f"tokenizer.loss.critic_path={cfg.critic_path} is a critic of another"
      " width; set tokenizer.loss.critic_width to its own"
    )
  return jax.tree.unflatten(tree, [jnp.asarray(x) for x in found])


def save(path: pathlib.Path, params: Params) -> None:
  """Writes what `critic_path` reads, whole or not at all."""
  leaves = jax.tree.leaves(params)
  arrays: dict[str, Any] = {f"{i}": np.asarray(x) for i, x in enumerate(leaves)}
  with workdir.atomic_path(path) as temporary, temporary.open("wb") as file:
    np.savez(file, **arrays)


def judge(cfg: Config, params: Params, clip: Clip) -> Float[Array, " b"]:
  """A logit for each clip: positive looks real."""
  return functional.bind(lambda rngs: Critic(cfg.critic_width, rngs), params)(
    clip
  )


def fool(cfg: Config, params: Params, fake: Clip) -> Float[Array, " b"]:
  """What the tokenizer pays for each clip that does not look real."""
  return jax.nn.softplus(-judge(cfg, params, fake))


def loss(
  cfg: Config, params: Params, real: Clip, fake: Clip
) -> Float[Array, " b"]:
  """What the critic pays: both mistakes, and the slope at real clips (R1)."""
  fake = jax.lax.stop_gradient(fake)

  def real_sum(real):
    logits = judge(cfg, params, real)
    return logits.sum(), logits

  slope, logits = jax.grad(real_sum, has_aux=True)(real)
  steep = jnp.square(slope).reshape(len(real), -1).sum(axis=1)
  wrong = jax.nn.softplus(-logits) + jax.nn.softplus(judge(cfg, params, fake))
  return wrong + 0.5 * cfg.r1 * steep
