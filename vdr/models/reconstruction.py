"""What a tokenizer is trained for: pixels that come back, latents that behave.

How the paper's terms on pixels look is not stated; we use absolute and squared
errors of the pixels, of their differences, and at coarser scales. The
perceptual and the adversarial term of MAGVIT-v2 (arXiv 2310.05737) are in
`perceptual.py` and `critic.py`, off unless given a weight.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Clip = Float[Array, "b t h w c"]
Each = Float[Array, " b"]  # one number for each clip

COARSE = (2, 4)  # pixels that become one, on a side


def losses(
  pred: Clip, target: Clip, mean: Array, log_std: Array
) -> dict[str, Each]:
  """Every term for each clip; `total` weighs them.

  Args:
    pred: reconstructed clips.
    target: the clips, in [-1, 1].
    mean: of the latents.
    log_std: of the latents.
  """
  error = pred - target
  return {
    "l1": _mean(jnp.abs(error)),
    "l2": _mean(jnp.square(error)),
    "gradient": gradient(error),
    "multiscale": multiscale(error),
    "kl": kl(mean, log_std),
  }


def total(cfg: Config, terms: dict[str, Each]) -> Each:
  """The sum of the terms, weighted as `config.tokenizer.loss` says."""
  weighted = [cfg[name] * term for name, term in terms.items()]
  return jnp.stack(weighted).sum(axis=0)


def gradient(error: Clip) -> Each:
  """Mean absolute difference between neighbours in time, height and width.

  Of the error, so it is that of the gradients: sharp edges count, and what
  flickers.
  """
  steps = [jnp.diff(error, axis=axis) for axis in (1, 2, 3)]
  found = [_mean(jnp.abs(step)) for step in steps if step.size]
  return sum(found, jnp.zeros(len(error))) / max(len(found), 1)


def multiscale(error: Clip) -> Each:
  """Mean squared error of pictures made smaller, a mean over the scales.

  Rows and columns that are over at the edge are left out.
  """
  b, t, h, w, c = error.shape
  found = []
  for n in COARSE:
    if min(h, w) < n:
      continue
    cut = error[:, :, : h // n * n, : w // n * n]
    blocks = cut.reshape(b, t, h // n, n, w // n, n, c)
    found.append(_mean(jnp.square(blocks.mean(axis=(3, 5)))))
  return sum(found, jnp.zeros(b)) / max(len(found), 1)


def kl(
  mean: Float[Array, "b tp hp wp d"], log_std: Float[Array, "b tp hp wp d"]
) -> Each:
  """Divergence from the standard normal, in nats per number."""
  spread = jnp.exp(2 * log_std) - 2 * log_std - 1
  return 0.5 * _mean(jnp.square(mean) + spread)


def _mean(x: Array) -> Each:
  return x.mean(axis=tuple(range(1, x.ndim)))
