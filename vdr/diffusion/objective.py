"""What a denoiser is trained to predict, at which noise levels, by which loss.

Every target is a mixture `y = a · x0 + b · eps` of the clean example and its
noise, as the noised example `x = alpha · x0 + sigma · eps` is one:

| target | a, b | |
|---|---|---|
| `v` | -sigma, alpha | arXiv 2202.00512 §4 (W.A.L.T's target) |
| `eps` | 0, 1 | arXiv 2006.11239 §3.2 |
| `x0` | 1, 0 | ibid. |
| `flow` | -1, 1 | velocity of the straight path, arXiv 2209.03003 Eq. 1 |

So x0 and eps follow from any prediction by solving two equations, whose
determinant is `alpha · b - sigma · a`; any target goes with any schedule, but
for eps where alpha reaches 0: there x and eps don't tell x0.

Float32 keeps what it can: x0 loses 1 / sigma of its precision on the way to eps
and eps 1 / alpha of it on the way to x0.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import special
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from vdr.diffusion import schedule as schedules
from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

TARGETS = ("v", "eps", "x0", "flow")
NOISE_LEVELS = ("uniform", "log_normal")
WEIGHTINGS = ("none", "min_snr")

# Below it a denominator is 0 for our purposes: (1e-9)² is still a float32.
_TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Objective:
  """A denoiser's task. Arrays `b *x` have one noise level for each of b.

  Results are in float32, or float64 if an example is, whatever the model's own
  type. Equal objectives hash alike, so one may be static in a jit.

  Attributes:
    schedule: of signal and noise.
    target: one of `TARGETS`.
    noise_levels: the density that training draws from. `uniform` in s, or
      `log_normal`: log(sigma / alpha) is normal, EDM's (arXiv 2206.00364 Table
      1); with `rectified_flow`, s is logit-normal then, as in arXiv 2403.03206
      §3.1.
    log_normal_mean: of log(sigma / alpha), which is -log-SNR / 2.
    log_normal_std: of the same.
    stratified: spread a batch evenly over the density's quantiles.
    weighting: one of `WEIGHTINGS`, see `weight`.
    min_snr_gamma: the largest SNR that counts in full, for `min_snr`.
  """

  schedule: schedules.Schedule
  target: str
  noise_levels: str
  log_normal_mean: float
  log_normal_std: float
  stratified: bool
  weighting: str
  min_snr_gamma: float

  @classmethod
  def from_config(cls, cfg: Config) -> "Objective":
    """The objective of the section `diffusion` of a config.

    Raises:
      UserError: a field means nothing, or the target can't be learned.
    """
    return cls(
      schedule=schedules.get_schedule(cfg.schedule),
      target=cfg.target,
      noise_levels=cfg.noise_levels,
      log_normal_mean=cfg.log_normal_mean,
      log_normal_std=cfg.log_normal_std,
      stratified=cfg.stratified,
      weighting=cfg.weighting,
      min_snr_gamma=cfg.min_snr_gamma,
    )

  def __post_init__(self) -> None:
    for field, choices in (
      ("target", TARGETS),
      ("noise_levels", NOISE_LEVELS),
      ("weighting", WEIGHTINGS),
    ):
      if getattr(self, field) not in choices:
        raise errors.UserError(
          f"diffusion.{field} {getattr(self, field)!r} is unknown; choose from"
          f" {', '.join(choices)}"
        )
    if self.target == "eps" and self.schedule.has_zero_terminal_snr:
      raise errors.UserError(
        f"diffusion.target 'eps' tells nothing at the end of schedule"
        f" {self.schedule.name!r}, where nothing but noise is left; set the"
        " target to v, or the schedule to cosine"
      )
    for field in ("log_normal_std", "min_snr_gamma"):
      if not getattr(self, field) > 0:
        raise errors.UserError(
          f"diffusion.{field} {getattr(self, field)} must be positive"
        )

  def sample_noise_level(
    self, key: PRNGKeyArray, batch: int
  ) -> Float[Array, " {batch}"]:
    """Draws noise levels in (0, 1] for a batch.

    Stratified, one draw shifts an even grid of quantiles (arXiv 2107.00630
    App. I.1): every example's level still has the density asked for, whatever
    its place in the batch.
    """
    if self.stratified:
      grid = jnp.arange(batch, dtype=jnp.float32) / batch
      share = (jax.random.uniform(key) + grid) % 1.0
    else:
      share = jax.random.uniform(key, (batch,))
    share = 1.0 - share  # 1 may be drawn, 0, where nothing is to learn, may not
    if self.noise_levels == "uniform":
      return share
    # A quantile of exactly 1 would be infinite; this one is 5 deviations off.
    normal = special.ndtri(jnp.minimum(share, 1.0 - 2.0**-22))
    log_ratio = self.log_normal_mean + self.log_normal_std * normal
    return self.schedule.from_log_snr(-2.0 * log_ratio)

  def add_noise(
    self,
    x0: Float[Array, " b *x"],
    eps: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
  ) -> Float[Array, " b *x"]:
    """`alpha · x0 + sigma · eps`."""
    alpha, sigma = self._coefficients(x0, noise_level)
    return alpha * _wide(x0) + sigma * _wide(eps)

  def make_target(
    self,
    x0: Float[Array, " b *x"],
    eps: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
  ) -> Float[Array, " b *x"]:
    """What a perfect denoiser would predict."""
    return self._mix(self.target, x0, eps, noise_level)

  def to_x0(
    self,
    prediction: Float[Array, " b *x"],
    x: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
  ) -> Float[Array, " b *x"]:
    """The clean example that a prediction about `x` amounts to."""
    if self.target == "x0":
      return _wide(prediction)
    alpha, sigma = self._coefficients(x, noise_level)
    a, b = _weights(self.target, alpha, sigma)
    determinant = alpha * b - sigma * a
    return (b * _wide(x) - sigma * _wide(prediction)) / determinant

  def to_eps(
    self,
    prediction: Float[Array, " b *x"],
    x: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
  ) -> Float[Array, " b *x"]:
    """The noise that a prediction about `x` amounts to.

    From x0 at noise level 0 it is undetermined, and finite.
    """
    if self.target == "eps":
      return _wide(prediction)
    alpha, sigma = self._coefficients(x, noise_level)
    if self.target == "x0":
      rest = _wide(x) - alpha * _wide(prediction)
      return rest / jnp.maximum(sigma, _TINY)
    a, b = _weights(self.target, alpha, sigma)
    determinant = alpha * b - sigma * a
    return (alpha * _wide(prediction) - a * _wide(x)) / determinant

  def to_v(
    self,
    prediction: Float[Array, " b *x"],
    x: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
  ) -> Float[Array, " b *x"]:
    """The v that a prediction about `x` amounts to."""
    return self.convert("v", prediction, x, noise_level)

  def to_flow(
    self,
    prediction: Float[Array, " b *x"],
    x: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
  ) -> Float[Array, " b *x"]:
    """`eps - x0` of a prediction about `x`."""
    return self.convert("flow", prediction, x, noise_level)

  def convert(
    self,
    target: str,
    prediction: Float[Array, " b *x"],
    x: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
  ) -> Float[Array, " b *x"]:
    """The prediction of another target that says the same about `x`."""
    if target == self.target:
      return _wide(prediction)
    x0 = self.to_x0(prediction, x, noise_level)
    eps = self.to_eps(prediction, x, noise_level)
    return self._mix(target, x0, eps, noise_level)

  def loss(
    self,
    prediction: Float[Array, " b *x"],
    x0: Float[Array, " b *x"],
    eps: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
    mask: Bool[Array, " b *m"] | None = None,
  ) -> Float[Array, " b"]:
    """The weighted squared error of each example; arguments as in `error`."""
    error = self.error(prediction, x0, eps, noise_level, mask)
    return error * self.weight(noise_level).astype(error.dtype)

  def error(
    self,
    prediction: Float[Array, " b *x"],
    x0: Float[Array, " b *x"],
    eps: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
    mask: Bool[Array, " b *m"] | None = None,
  ) -> Float[Array, " b"]:
    """Mean squared error of each example's prediction, without weights.

    Args:
      prediction: of `target`, for the noised example.
      x0: clean examples.
      eps: their noise.
      noise_level: in [0, 1].
      mask: True where an element counts; axes of size 1 stand for all, and
        axes left out at the end, too: `[b]`, `[b t]`, `[b t 1 1 1]`, ….

    Returns:
      One mean for each example; 0 where nothing counts.
    """
    truth = self.make_target(x0, eps, noise_level)
    squares = jnp.square(_wide(prediction) - truth)
    axes = tuple(range(1, squares.ndim))
    if mask is None:
      return jnp.mean(squares, axis=axes)
    mask = mask.reshape(mask.shape + (1,) * (squares.ndim - mask.ndim))
    mask = jnp.broadcast_to(mask, squares.shape)
    count = jnp.sum(mask, axis=axes, dtype=squares.dtype)
    total = jnp.sum(jnp.where(mask, squares, 0.0), axis=axes)
    return total / jnp.maximum(count, 1.0)

  def weight(self, noise_level: Float[Array, " b"]) -> Float[Array, " b"]:
    """The factor of the loss at each noise level.

    `none` is 1. `min_snr` (arXiv 2303.09556 §3.4) counts errors of x0, whatever
    the target, by `min(SNR, gamma)`; for x0, eps and v these are its three
    formulas. At zero SNR the weight is 0.
    """
    alpha, sigma = self.schedule.coefficients(noise_level)
    if self.weighting == "none":
      return jnp.ones_like(alpha)
    # An error of the target is an error of x0 times |determinant| / sigma.
    ratio = jnp.ones_like(alpha)
    if self.target != "x0":
      a, b = _weights(self.target, alpha, sigma)
      ratio = sigma / (alpha * b - sigma * a)
    snr = jnp.square(alpha / jnp.maximum(sigma, _TINY))
    return jnp.minimum(snr, self.min_snr_gamma) * jnp.square(ratio)

  def _mix(
    self,
    target: str,
    x0: Float[Array, " b *x"],
    eps: Float[Array, " b *x"],
    noise_level: Float[Array, " b"],
  ) -> Float[Array, " b *x"]:
    """The mixture of `x0` and `eps` that a target is."""
    if target == "x0":  # without `0 · eps`, which may be NaN
      return _wide(x0)
    if target == "eps":
      return _wide(eps)
    a, b = _weights(target, *self._coefficients(x0, noise_level))
    return a * _wide(x0) + b * _wide(eps)

  def _coefficients(
    self, like: Shaped[Array, " b *x"], noise_level: Float[Array, " b"]
  ) -> tuple[Float[Array, " b *ones"], Float[Array, " b *ones"]]:
    """alpha and sigma in the rank and type of arithmetic with an array."""
    shape = (-1,) + (1,) * (like.ndim - 1)
    dtype = schedules.wide(like.dtype)
    alpha, sigma = self.schedule.coefficients(noise_level)
    return (
      alpha.reshape(shape).astype(dtype),
      sigma.reshape(shape).astype(dtype),
    )


def _weights(
  target: str, alpha: Float[Array, "*s"], sigma: Float[Array, "*s"]
) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
  """The weights `a, b` of x0 and eps in a target."""
  zero, one = jnp.zeros_like(alpha), jnp.ones_like(alpha)
  return {
    "v": (-sigma, alpha),
    "eps": (zero, one),
    "x0": (one, zero),
    "flow": (-one, one),
  }[target]


def _wide(x: Float[Array, "*x"]) -> Float[Array, "*x"]:
  return x.astype(schedules.wide(x.dtype))
