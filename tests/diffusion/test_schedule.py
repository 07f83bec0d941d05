"""Schedules against their published formulas, in slow float64."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdr.diffusion import schedule
from vdr.runtime import errors

EVERYWHERE = np.unique(
  np.concatenate(
    [
      np.linspace(0, 1, 10001),
      np.logspace(-7, -2, 200),
      1 - np.logspace(-7, -2, 200),
    ]
  ).astype(np.float32)
)
INNER = EVERYWHERE[(EVERYWHERE >= 0.001) & (EVERYWHERE <= 0.999)]

noise_levels = st.floats(0.001, 0.999)


@functools.partial(jax.jit, static_argnums=(0, 1))
def call(found, method, values):
  """A method of a schedule, compiled."""
  return getattr(found, method)(values)


@functools.partial(jax.jit, static_argnums=(0, 1))
def slope(found, method, values):
  return jax.vmap(jax.grad(getattr(found, method)))(values)


@pytest.fixture(params=schedule.NAMES)
def any_schedule(request):
  return schedule.get_schedule(request.param)


@pytest.fixture(params=["linear_zsnr", "cosine"])
def preserving(request):
  return schedule.get_schedule(request.param)


def slow_linear_zsnr():
  """alpha after each of 1000 steps, one at a time (2305.08891 Alg. 1)."""
  roots, product = [], 1.0
  for i in range(1000):
    product *= 1.0 - (1e-4 + (0.02 - 1e-4) * i / 999)
    roots.append(math.sqrt(product))
  first, last = roots[0], roots[-1]
  return [(root - last) * first / (first - last) for root in roots]


def slow_cosine():
  """alpha after each of 1000 steps, one at a time (2102.09672 Eq. 17)."""

  def f(t):
    return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

  alphas, product = [], 1.0
  for t in range(1, 1001):
    product *= 1.0 - min(1.0 - f(t) / f(t - 1), 0.999)
    alphas.append(math.sqrt(product))
  return alphas


@pytest.mark.parametrize(
  ("name", "slow"), [("linear_zsnr", slow_linear_zsnr), ("cosine", slow_cosine)]
)
def test_published_steps_are_met(name, slow):
  steps = np.arange(1, 1001)
  alpha, sigma = call(schedule.get_schedule(name), "coefficients", steps / 1000)
  expected = np.array(slow())
  np.testing.assert_allclose(alpha, expected, rtol=1e-4, atol=1e-7)
  np.testing.assert_allclose(sigma, np.sqrt(1 - expected**2), rtol=1e-4)


def test_cosine_follows_its_formula_between_the_steps():
  share = np.linspace(0.001, 0.999, 3333)
  phase = (share + 0.008) / 1.008 * np.pi / 2
  alpha = np.cos(phase) / np.cos(0.008 / 1.008 * np.pi / 2)
  cosine = schedule.get_schedule("cosine")
  np.testing.assert_allclose(
    call(cosine, "alpha", share), alpha, rtol=1e-4, atol=1e-5
  )


def test_rectified_flow_is_a_straight_line():
  flow = schedule.get_schedule("rectified_flow")
  np.testing.assert_array_equal(flow.alpha(EVERYWHERE), 1 - EVERYWHERE)
  np.testing.assert_array_equal(flow.sigma(EVERYWHERE), EVERYWHERE)


def test_the_documented_log_snrs():
  rows = {
    "linear_zsnr": [9.2, -2.5, -19.3],
    "cosine": [10.1, 0.0, -12.9],
    "rectified_flow": [13.8, 0.0, -13.8],
  }
  places = np.searchsorted(EVERYWHERE, np.float32([0.001, 0.5, 0.999]))
  for name, row in rows.items():
    found = call(schedule.get_schedule(name), "log_snr", EVERYWHERE)
    np.testing.assert_allclose(found[places], row, atol=0.051)


def test_clean_at_0(any_schedule):
  alpha, sigma = call(any_schedule, "coefficients", EVERYWHERE)
  assert alpha[0] == 1
  assert sigma[0] == 0


@pytest.mark.parametrize("name", ["linear_zsnr", "rectified_flow"])
def test_zero_terminal_snr_is_exact(name):
  found = schedule.get_schedule(name)
  assert found.has_zero_terminal_snr
  assert found.alpha(1.0) == 0
  assert found.sigma(1.0) == 1
  assert found.log_snr(1.0) == -schedule.LOG_SNR_LIMIT
  assert found.from_log_snr(-math.inf) == 1
  assert found.alpha(np.nextafter(np.float32(1), np.float32(0))) > 0


def test_cosine_keeps_a_little_signal():
  cosine = schedule.get_schedule("cosine")
  assert not cosine.has_zero_terminal_snr
  assert cosine.alpha(1.0) > 4e-5
  np.testing.assert_allclose(cosine.log_snr(1.0), -19.836, atol=1e-3)
  assert cosine.from_log_snr(-30.0) == 1


def test_variance_is_preserved(preserving):
  alpha, sigma = call(preserving, "coefficients", EVERYWHERE)
  np.testing.assert_allclose(alpha**2 + sigma**2, 1.0, atol=3e-7)


def test_signal_falls_and_noise_rises(any_schedule):
  alpha, sigma = call(any_schedule, "coefficients", EVERYWHERE)
  assert np.all(np.diff(alpha) <= 0)
  assert np.all(np.diff(sigma) >= 0)


def test_log_snr_is_strictly_monotone(any_schedule):
  found = call(any_schedule, "log_snr", np.linspace(0, 1, 20001))
  assert np.all(np.diff(found) < 0)
  assert np.all(np.isfinite(found))


def test_log_snr_in_float32_is_that_in_float64(any_schedule):
  narrow = call(any_schedule, "log_snr", EVERYWHERE)
  assert narrow.dtype == jnp.float32
  with jax.enable_x64(True):
    wide = call(any_schedule, "log_snr", EVERYWHERE.astype(np.float64))
    alpha, sigma = map(
      np.asarray,
      call(any_schedule, "coefficients", EVERYWHERE.astype(np.float64)),
    )
  assert wide.dtype == jnp.float64
  np.testing.assert_allclose(narrow, wide, rtol=0, atol=1e-5)
  inner = (alpha > 1e-8) & (sigma > 1e-8)
  slow = np.log(alpha[inner] ** 2 / sigma[inner] ** 2)
  np.testing.assert_allclose(wide[inner], slow, rtol=0, atol=1e-9)


def test_the_inverse_of_log_snr(any_schedule):
  back = call(
    any_schedule, "from_log_snr", call(any_schedule, "log_snr", EVERYWHERE)
  )
  np.testing.assert_allclose(back, EVERYWHERE, rtol=0, atol=1e-6)


def test_log_snr_of_its_inverse(any_schedule):
  # Where one bit of s is less than 1e-5 of log-SNR: 6e-8 · 2 / (1 - s).
  log_snr = np.linspace(-4.5, 15.0, 4001, dtype=np.float32)
  back = call(
    any_schedule, "log_snr", call(any_schedule, "from_log_snr", log_snr)
  )
  np.testing.assert_allclose(back, log_snr, rtol=0, atol=1e-5)


@given(noise_levels)
def test_round_trip_of_any_level(s):
  for name in schedule.NAMES:
    found = schedule.get_schedule(name)
    back = call(found, "from_log_snr", call(found, "log_snr", np.float32(s)))
    assert abs(float(back) - s) < 1e-5


def test_log_snrs_out_of_reach_end_at_the_ends(any_schedule):
  found = any_schedule.from_log_snr(np.array([np.inf, -np.inf, 99.0, -99.0]))
  np.testing.assert_allclose(found, [0, 1, 0, 1], atol=1e-9)


def test_any_shape_and_transform(any_schedule):
  grid = jnp.asarray(INNER[:60].reshape(3, 4, 5))
  for name in ("log_snr", "from_log_snr"):
    whole = call(any_schedule, name, grid)
    assert whole.shape == grid.shape
    mapped = jax.vmap(functools.partial(call, any_schedule, name))(grid)
    np.testing.assert_allclose(whole, mapped, rtol=1e-6)


def test_half_precision_levels_are_widened(any_schedule):
  levels = jnp.array([0.25, 0.5], jnp.bfloat16)
  assert any_schedule.alpha(levels).dtype == jnp.float32
  np.testing.assert_array_equal(
    any_schedule.alpha(levels), any_schedule.alpha(np.array([0.25, 0.5]))
  )


def test_gradients_are_finite_everywhere(any_schedule):
  for name in ("alpha", "sigma", "log_snr"):
    slopes = slope(any_schedule, name, EVERYWHERE)
    assert np.all(np.isfinite(slopes)), name
  log_snrs = jnp.linspace(-45.0, 45.0, 91)
  slopes = slope(any_schedule, "from_log_snr", log_snrs)
  assert np.all(np.isfinite(slopes))


def test_the_slope_of_log_snr(any_schedule):
  # Away from the steps, where the slope of a tabulated schedule changes.
  s = (np.arange(10, 990, 7) + 0.5) / 1000
  slopes = slope(any_schedule, "log_snr", s.astype(np.float32))
  with jax.enable_x64(True):
    rise = call(any_schedule, "log_snr", s + 1e-5) - call(
      any_schedule, "log_snr", s - 1e-5
    )
  np.testing.assert_allclose(slopes, np.asarray(rise) / 2e-5, rtol=1e-3)


def test_schedules_are_static_arguments():
  @jax.jit
  def plain(s):
    return schedule.get_schedule("cosine").alpha(s)

  static = jax.jit(lambda found, s: found.alpha(s), static_argnums=0)
  for _ in range(2):
    found = static(schedule.get_schedule("cosine"), jnp.float32(0.3))
    assert found == plain(jnp.float32(0.3))
  assert static._cache_size() == 1


def test_an_unknown_name_is_refused():
  with pytest.raises(errors.UserError, match="'cosin'.*linear_zsnr, cosine"):
    schedule.get_schedule("cosin")
