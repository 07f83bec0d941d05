"""From noise to clean examples, in a given number of steps.

All methods follow the same path, the probability flow, from one noise level to
the next. Each asks the denoiser once a step and differs in what it takes to
stay the same until the next level:

| method | order | stays the same | source |
|---|---|---|---|
| `ddim` | 1 | x0 and eps | arXiv 2010.02502 Eq. 12 |
| `dpmpp_2m` | 2 | the slope of x0 over log-SNR | arXiv 2211.01095 Alg. 2 |
| `euler` | 1 | the velocity `dx / ds`; for `rectified_flow` | 2209.03003 §2.1 |

On rectified flow, `euler` and `ddim` are one and the same. Steps have equal
lengths in noise level and run from 1 to 0: with zero terminal SNR the first
one must be at 1 (arXiv 2305.08891 §3.3, its "trailing" steps).

Nothing here divides by the alpha that a step starts from: it may be 0.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vdr.diffusion import objective as objectives
from vdr.diffusion import schedule as schedules
from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

METHODS = ("ddim", "dpmpp_2m", "euler")

# A model's prediction of the objective's target from noised examples, their
# noise levels `[b]` and the previous step's estimate of x0. The estimate is for
# self-conditioning (arXiv 2208.04202); it is all zeros at first.
DenoiseFn = Callable[[Array, Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Sampler:
  """How to sample. Equal samplers hash alike: one may be static in a jit.

  Attributes:
    method: one of `METHODS`.
    num_steps: steps, and calls of the denoiser.
    eta: `ddim` only: fresh noise of a step, as a share of what ancestral
      sampling adds (arXiv 2010.02502 Eq. 16); 0 adds none.
    guidance: scale g of `unconditional + g · (conditional - unconditional)`,
      classifier-free guidance (arXiv 2207.12598 Eq. 6, with g = w + 1); 1 is
      none, and asks only the conditional model.
    guidance_interval: guidance acts at noise levels above the first and up to
      the second value (arXiv 2404.07724); elsewhere g is 1.
    clip: estimates of x0 are clipped to [-clip, clip]; 0 leaves them alone.
    clip_quantile: of each example's |x0|: if it exceeds `clip`, x0 is clipped
      there instead and scaled down to [-clip, clip] (dynamic thresholding,
      arXiv 2205.11487 §2.3); 0 clips at `clip`.
  """

  method: str
  num_steps: int
  eta: float
  guidance: float
  guidance_interval: tuple[float, float]
  clip: float
  clip_quantile: float

  @classmethod
  def from_config(cls, cfg: Config) -> "Sampler":
    """The sampler of the section `sampler` of a config.

    Raises:
      UserError: a field means nothing.
    """
    first, last = cfg.guidance_interval
    return cls(
      method=cfg.method,
      num_steps=cfg.num_steps,
      eta=cfg.eta,
      guidance=cfg.guidance,
      guidance_interval=(first, last),
      clip=cfg.clip,
      clip_quantile=cfg.clip_quantile,
    )

  def __post_init__(self) -> None:
    first, last = self.guidance_interval
    rules = {
      f"method {self.method!r} is unknown; choose from {', '.join(METHODS)}": (
        self.method in METHODS
      ),
      f"num_steps {self.num_steps} must be 1 or more": self.num_steps >= 1,
      f"eta {self.eta} must be in [0, 1]": 0 <= self.eta <= 1,
      f"eta {self.eta} is for method ddim; set it to 0.0": (
        self.eta == 0 or self.method == "ddim"
      ),
      f"guidance_interval {self.guidance_interval} must be two noise levels"
      " with 0 <= first < last <= 1": 0 <= first < last <= 1,
      f"clip {self.clip} must be 0 or more": self.clip >= 0,
      f"clip_quantile {self.clip_quantile} must be in [0, 1], and 0 unless clip"
      " is set": 0 <= self.clip_quantile <= bool(self.clip),
    }
    for complaint, is_kept in rules.items():
      if not is_kept:
        raise errors.UserError(f"sampler.{complaint}")

  def sample(
    self,
    objective: objectives.Objective,
    denoise_fn: DenoiseFn,
    noise: Float[Array, " b *x"],
    *,
    unconditional_fn: DenoiseFn | None = None,
    keys: Key[Array, " b"] | None = None,
    noise_levels: Float[Array, " levels"] | None = None,
  ) -> Float[Array, " b *x"]:
    """Turns noise into clean examples.

    Args:
      objective: what `denoise_fn` was trained to predict.
      denoise_fn: the model, see `DenoiseFn`; it sees float32 (or float64).
      noise: standard normal, or examples at the first of `noise_levels`.
      unconditional_fn: the model without its condition, for guidance. It is
        not called outside the guidance interval.
      keys: `[b]`, one for each example: of the fresh noise, if `eta` is not
        0.
      noise_levels: falling, in place of `num_steps` equal steps from 1 to 0;
        the denoiser is asked at all but the last.

    Returns:
      Examples at the last noise level. At 0 they are the last estimate of x0.

    Raises:
      UserError: the method doesn't go with the schedule, or guidance was asked
        of a model that has no condition.
    """
    if self.method == "euler" and objective.schedule.name != "rectified_flow":
      raise errors.UserError(
        "sampler.method 'euler' is for schedule rectified_flow, not"
        f" {objective.schedule.name!r}; set it to ddim"
      )
    if self.guidance != 1 and unconditional_fn is None:
      raise errors.UserError(
        f"sampler.guidance {self.guidance} needs a model with a condition;"
        " set it to 1.0"
      )
    if self.eta and keys is None:
      raise ValueError("eta adds noise: pass keys")
    if noise_levels is None:
      noise_levels = equal_steps(self.num_steps)

    dtype = schedules.wide(noise.dtype)
    steps = _steps(objective.schedule, noise_levels.astype(dtype), self.eta)

    def advance(carry, step):
      x, before = carry
      levels = jnp.full(x.shape[:1], step.noise_level)
      prediction = self._predict(
        denoise_fn, unconditional_fn, x, levels, before, step.noise_level
      )
      x0 = objective.to_x0(prediction, x, levels)
      eps = objective.to_eps(prediction, x, levels)
      if self.clip:
        x0 = self._clip(x0)
        eps = (x - step.alpha * x0) / step.sigma
      return (self._next(step, x, x0, eps, before, keys), x0), None

    x = noise.astype(dtype)
    (x, _), _ = jax.lax.scan(advance, (x, jnp.zeros_like(x)), steps)
    return x

  def _predict(
    self,
    denoise_fn: DenoiseFn,
    unconditional_fn: DenoiseFn | None,
    x: Float[Array, " b *x"],
    levels: Float[Array, " b"],
    before: Float[Array, " b *x"],
    noise_level: Float[Array, ""],
  ) -> Float[Array, " b *x"]:
    """The prediction at one noise level, guided where it should be."""
    conditional = denoise_fn(x, levels, before).astype(x.dtype)
    if self.guidance == 1 or unconditional_fn is None:
      return conditional

    def guide(conditional):
      other = unconditional_fn(x, levels, before).astype(x.dtype)
      return other + self.guidance * (conditional - other)

    first, last = self.guidance_interval
    if (first, last) == (0, 1):
      return guide(conditional)
    is_inside = (first < noise_level) & (noise_level <= last)
    return jax.lax.cond(is_inside, guide, lambda x: x, conditional)

  def _clip(self, x0: Float[Array, " b *x"]) -> Float[Array, " b *x"]:
    """An estimate of x0 within [-clip, clip]."""
    if not self.clip_quantile:
      return jnp.clip(x0, -self.clip, self.clip)
    size = jnp.abs(x0).reshape(len(x0), -1)
    limit = jnp.quantile(size, self.clip_quantile, axis=1)
    limit = jnp.maximum(limit, self.clip)
    limit = limit.reshape((-1,) + (1,) * (x0.ndim - 1))
    return jnp.clip(x0, -limit, limit) * (self.clip / limit)

  def _next(
    self,
    step: "_Step",
    x: Float[Array, " b *x"],
    x0: Float[Array, " b *x"],
    eps: Float[Array, " b *x"],
    before: Float[Array, " b *x"],
    keys: Key[Array, " b"] | None,
  ) -> Float[Array, " b *x"]:
    """The examples at the next noise level.

    Args:
      step: where they are, and where they go.
      x: the examples.
      x0: the estimate of x0 at this step.
      eps: the noise in x by that estimate.
      before: the estimate of x0 at the step before.
      keys: of the fresh noise.
    """
    if self.method == "euler":
      return x + (step.next_noise_level - step.noise_level) * (eps - x0)
    if self.method == "dpmpp_2m":
      x0 = x0 + step.extrapolation * (x0 - before)
      shrink = step.next_sigma / step.sigma
      return shrink * x + (step.next_alpha - shrink * step.alpha) * x0
    x = step.next_alpha * x0 + step.kept_sigma * eps
    if keys is None or not self.eta:
      return x
    fresh = draw_noise(
      jax.vmap(jax.random.fold_in, (0, None))(keys, step.index),
      x.shape[1:],
    ).astype(x.dtype)
    return x + step.fresh_sigma * fresh


def draw_noise(
  keys: Key[Array, " b"], shape: tuple[int, ...]
) -> Float[Array, " b *x"]:
  """Standard normal noise `[b *shape]`, each example by its own key."""
  return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def equal_steps(num_steps: int) -> Float[Array, " {num_steps}+1"]:
  """Noise levels from 1 to 0 with equal steps between them."""
  return jnp.asarray(np.linspace(1.0, 0.0, num_steps + 1), jnp.float32)


class _Step(NamedTuple):
  """Scalars of one step, or arrays over all steps.

  Attributes:
    index: 0 for the first step.
    noise_level: where the denoiser is asked.
    alpha: there.
    sigma: there.
    next_noise_level: where the step leads.
    next_alpha: there.
    next_sigma: there; kept² + fresh² is its square.
    kept_sigma: noise after the step that comes from eps.
    fresh_sigma: noise after the step that is drawn anew.
    extrapolation: how far x0 runs on, in units of its change over the step
      before.
  """

  index: Array
  noise_level: Array
  alpha: Array
  sigma: Array
  next_noise_level: Array
  next_alpha: Array
  next_sigma: Array
  kept_sigma: Array
  fresh_sigma: Array
  extrapolation: Array


def _steps(
  schedule: schedules.Schedule, noise_levels: Float[Array, " n"], eta: float
) -> _Step:
  """All steps between the given noise levels."""
  alphas, sigmas = schedule.coefficients(noise_levels)
  alpha, next_alpha = alphas[:-1], alphas[1:]
  sigma, next_sigma = sigmas[:-1], sigmas[1:]
  # The variance of x at the next level given x here and x0.
  snr_share = jnp.square((alpha * next_sigma) / (next_alpha * sigma))
  fresh = eta * next_sigma * jnp.sqrt(jnp.maximum(1.0 - snr_share, 0.0))
  kept = jnp.sqrt(jnp.maximum(jnp.square(next_sigma) - jnp.square(fresh), 0.0))
  # 1 / (2 r) of Algorithm 2, for steps h in log-SNR. A step that begins or ends
  # at infinite log-SNR has no slope: it is, and is followed by, one of order 1.
  h = jnp.diff(schedule.log_snr(noise_levels))
  is_finite = (alpha > 0) & (next_sigma > 0)
  ratio = h[1:] / (2.0 * h[:-1])
  ratio = jnp.where(is_finite[1:] & is_finite[:-1], ratio, 0.0)
  return _Step(
    index=jnp.arange(len(alpha)),
    noise_level=noise_levels[:-1],
    alpha=alpha,
    sigma=sigma,
    next_noise_level=noise_levels[1:],
    next_alpha=next_alpha,
    next_sigma=next_sigma,
    kept_sigma=kept,
    fresh_sigma=fresh,
    extrapolation=jnp.concatenate([jnp.zeros_like(ratio, shape=(1,)), ratio]),
  )
