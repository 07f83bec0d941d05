"""Noise schedules: how much signal and noise each noise level mixes.

A **noise level** s in [0, 1] is a share of the schedule: 0 is clean, 1 is (all
but) pure noise, and `x = alpha(s) · x0 + sigma(s) · eps` with standard normal
eps. **log-SNR** is `log(alpha² / sigma²)`, the coordinate that is comparable
across schedules; it falls strictly with s.

| name | alpha, sigma | log-SNR at s = 0.001, 0.5, 0.999, 1 |
|---|---|---|
| `linear_zsnr` | DDPM's linear betas, rescaled | 9.2, -2.5, -19.3, -∞ |
| `cosine` | squared cosine, last beta clipped | 10.1, 0.0, -12.9, -19.8 |
| `rectified_flow` | 1 - s, s | 13.8, 0, -13.8, -∞ |

The first two are published as 1000 discrete steps. Their step i is s = i /
1000, step 0 is clean data, and between steps the angle `arctan(sigma / alpha)`
runs linearly: every published step is met exactly, and alpha² + sigma² is 1
everywhere.

All functions are elementwise over noise levels of any shape, in float32 or, if
they get it, float64. They measure an angle from the nearer end, since π/2 minus
a small angle has lost it in float32: log-SNR is right to 2e-6 for every float32
s.
"""

import abc
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from vdr.runtime import errors

NAMES = ("linear_zsnr", "cosine", "rectified_flow")

# What `log_snr` gives instead of ±∞, so that it can be stored, plotted and
# differentiated. Only 1 itself and levels below 3e-9 come to it in float32.
LOG_SNR_LIMIT = 40.0

_NUM_STEPS = 1000
_BETAS = (1e-4, 0.02)  # arXiv 2006.11239 §4; also W.A.L.T's, 2312.06662
_COSINE_OFFSET = 0.008  # arXiv 2102.09672 §3.2
_COSINE_MAX_BETA = 0.999  # ibid.


@dataclasses.dataclass(frozen=True)
class Schedule(abc.ABC):
  """A noise schedule; equal and hashed by name, so it may be static in a jit.

  Attributes:
    name: one of `NAMES`.
    has_zero_terminal_snr: alpha(1) is exactly 0, so that sampling starts from
      what training ended with (arXiv 2305.08891 §3.1).
  """

  name: str
  has_zero_terminal_snr: bool

  @abc.abstractmethod
  def coefficients(
    self, noise_level: Float[ArrayLike, "*s"]
  ) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    """The weights `(alpha, sigma)` of signal and noise, each in [0, 1].

    alpha(0) = 1 and sigma(0) = 0 exactly; so is alpha(1) = 0 where
    `has_zero_terminal_snr`.
    """

  @abc.abstractmethod
  def log_snr(self, noise_level: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    """`log(alpha² / sigma²)`, clamped to ±`LOG_SNR_LIMIT`."""

  @abc.abstractmethod
  def from_log_snr(self, log_snr: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    """The noise level in [0, 1] of a log-SNR.

    Log-SNRs that the schedule doesn't reach, ±∞ among them, give 0 or 1.
    """

  def alpha(self, noise_level: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    """The weight of the signal."""
    return self.coefficients(noise_level)[0]

  def sigma(self, noise_level: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    """The weight of the noise."""
    return self.coefficients(noise_level)[1]


@dataclasses.dataclass(frozen=True)
class RectifiedFlow(Schedule):
  """The straight line from data to noise (arXiv 2209.03003 Eq. 1)."""

  name: str = "rectified_flow"
  has_zero_terminal_snr: bool = True

  def coefficients(
    self, noise_level: Float[ArrayLike, "*s"]
  ) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    s = _as_float(noise_level)
    return 1.0 - s, s

  def log_snr(self, noise_level: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    s = _as_float(noise_level)
    least = math.exp(-LOG_SNR_LIMIT / 2)
    alpha, sigma = jnp.maximum(1.0 - s, least), jnp.maximum(s, least)
    return 2.0 * (jnp.log(alpha) - jnp.log(sigma))

  def from_log_snr(self, log_snr: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    return jax.nn.sigmoid(-_as_float(log_snr) / 2.0)


@dataclasses.dataclass(frozen=True)
class Tabulated(Schedule):
  """A variance-preserving schedule, given by its discrete steps."""

  def coefficients(
    self, noise_level: Float[ArrayLike, "*s"]
  ) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    angle, is_clean_half = self._angle(noise_level)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    alpha = jnp.where(is_clean_half, cosine, sine)
    return alpha, jnp.where(is_clean_half, sine, cosine)

  def log_snr(self, noise_level: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    angle, is_clean_half = self._angle(noise_level)
    angle = jnp.maximum(angle, math.exp(-LOG_SNR_LIMIT / 2))
    value = 2.0 * jnp.log(jnp.tan(angle))
    return jnp.where(is_clean_half, -value, value)

  def from_log_snr(self, log_snr: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    half = _as_float(log_snr) / 2.0
    from_clean, from_noise = _angles(self.name)
    s = np.linspace(0.0, 1.0, _NUM_STEPS + 1)

    def invert(angle, angles):
      return jnp.interp(angle, *(jnp.asarray(a, half.dtype) for a in angles))

    near_clean = invert(jnp.arctan(jnp.exp(-half)), (from_clean, s))
    near_noise = 1.0 - invert(jnp.arctan(jnp.exp(half)), (from_noise, s))
    return jnp.where(near_clean < 0.5, near_clean, near_noise)

  def _angle(
    self, noise_level: Float[ArrayLike, "*s"]
  ) -> tuple[Float[Array, "*s"], Array]:
    """The angle from the nearer end, and whether that is the clean one."""
    s = _as_float(noise_level)
    is_clean_half = s < 0.5
    steps = jnp.where(is_clean_half, s, 1.0 - s) * _NUM_STEPS
    before = jnp.clip(jnp.floor(steps), 0, _NUM_STEPS - 1).astype(jnp.int32)
    angles = jnp.asarray(np.stack(_angles(self.name)), s.dtype)
    end = 1 - is_clean_half.astype(jnp.int32)
    first, second = angles[end, before], angles[end, before + 1]
    share = steps - before.astype(s.dtype)
    return first + share * (second - first), is_clean_half


def get_schedule(name: str) -> Schedule:
  """The schedule of a name.

  Raises:
    UserError: there is none.
  """
  if name not in NAMES:
    raise errors.UserError(
      f"schedule {name!r} is unknown; choose from {', '.join(NAMES)}"
    )
  if name == "rectified_flow":
    return RectifiedFlow()
  return Tabulated(name, has_zero_terminal_snr=name == "linear_zsnr")


@functools.cache
def _angles(
  name: str,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
  """Angles of a tabulated schedule, both rising from 0.

  Returns:
    `arctan(sigma / alpha)` at each step from clean to noise, and `arctan(alpha
    / sigma)` at each step from noise to clean.
  """
  alphas = _ALPHAS[name]()
  sigmas = np.sqrt(1.0 - np.square(alphas))
  return np.arctan2(sigmas, alphas), np.arctan2(alphas, sigmas)[::-1]


def _linear_zsnr() -> Float[np.ndarray, " n"]:
  """Linear betas with zero terminal SNR (arXiv 2305.08891 Algorithm 1).

  The root of alpha-bar is moved so that it ends at 0 and scaled so that its
  value at step 1 stays. Step 0, clean data, is no part of the algorithm.
  """
  betas = np.linspace(*_BETAS, _NUM_STEPS)
  roots = np.sqrt(np.cumprod(1.0 - betas))
  roots = (roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))
  return np.concatenate([[1.0], roots])


def _cosine() -> Float[np.ndarray, " n"]:
  """The squared-cosine schedule (arXiv 2102.09672 Eq. 17).

  With its clip of the betas, which only the last step meets: without it SNR
  would end at 0 and noise could not be predicted.
  """
  share = np.arange(_NUM_STEPS + 1) / _NUM_STEPS
  phase = (share + _COSINE_OFFSET) / (1 + _COSINE_OFFSET)
  bars = np.square(np.cos(phase * np.pi / 2))
  betas = np.minimum(1.0 - bars[1:] / bars[:-1], _COSINE_MAX_BETA)
  return np.sqrt(np.concatenate([[1.0], np.cumprod(1.0 - betas)]))


_ALPHAS = {"linear_zsnr": _linear_zsnr, "cosine": _cosine}


def wide(dtype: np.dtype) -> np.dtype:
  """What noise arithmetic on values of a type runs in: float32 or float64."""
  return np.promote_types(dtype, np.float32)


def _as_float(values: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
  """As a JAX array, in float32 unless that would narrow it."""
  array = jnp.asarray(values)
  return array.astype(wide(array.dtype))
