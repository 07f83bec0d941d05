"""Samplers against a slow version, and on data whose exact flow is known."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.diffusion import gaussian
from vdr.diffusion import objective, sampler, schedule
from vdr.runtime import errors

# Every schedule with the targets and methods that it allows.
ALLOWED = [
  (name, target, method)
  for name, target, method in itertools.product(
    schedule.NAMES, objective.TARGETS, sampler.METHODS
  )
  if (target != "eps" or name == "cosine")
  and (method != "euler" or name == "rectified_flow")
]
PATHS = [(name, method) for name, target, method in ALLOWED if target == "v"]


@functools.partial(
  jax.jit,
  static_argnums=(0, 1),
  # There are dozens of them, each run but once.
  compiler_options={"xla_backend_optimization_level": 0},
)
def sample_gaussian(draw, task, noise, keys=None, noise_levels=None):
  return draw.sample(
    task, gaussian.oracle(task), noise, keys=keys, noise_levels=noise_levels
  )


def run(draw, denoise_fn, noise, *, target="v", **fields):
  """Samples on rectified flow, compiled as one."""
  task = gaussian.make_objective(schedule="rectified_flow", target=target)

  @jax.jit
  def sample(noise):
    return draw.sample(task, denoise_fn, noise, **fields)

  out = jax.block_until_ready(sample(noise))
  jax.effects_barrier()
  return out


def measure(name, target, method, levels):
  """The affine map of a sampler through noise levels, and the exact one."""
  task = gaussian.make_objective(schedule=name, target=target)
  draw = gaussian.make_sampler(method=method)
  levels = np.asarray(levels, np.float32)
  found = gaussian.measure_map(
    functools.partial(sample_gaussian, draw, task, noise_levels=levels)
  )
  return found, gaussian.flow_map(name, levels[0], levels[-1])


def map_error(*args):
  (offset, matrix), (exact_offset, exact_matrix) = measure(*args)
  return np.linalg.norm(offset - exact_offset) + np.linalg.norm(
    matrix - exact_matrix
  )


@pytest.mark.parametrize(("name", "target", "method"), ALLOWED)
def test_100_steps_recover_mean_and_covariance(name, target, method):
  """The mean to 1e-4; the covariance to 4 % (0.4 % at order 2) of its norm."""
  levels = sampler.equal_steps(100)
  (mean, matrix), _ = measure(name, target, method, levels)
  np.testing.assert_allclose(mean, gaussian.MEAN, atol=1e-4)
  error = np.linalg.norm(matrix @ matrix.T - gaussian.COVARIANCE)
  tolerance = 0.004 if method == "dpmpp_2m" else 0.04
  assert error < tolerance * np.linalg.norm(gaussian.COVARIANCE)


@pytest.mark.parametrize(("name", "method"), PATHS)
def test_errors_shrink_with_the_order(name, method):
  """From 25 to 100 equal steps: by 4 and, at order 2, by 16 less a logarithm.

  Near both ends equal steps in s are no short ones in log-SNR, in which
  DPM-Solver++ is of order 2: its sum of errors has a factor log(steps).
  """
  few, many = (
    map_error(name, "v", method, sampler.equal_steps(num_steps))
    for num_steps in (25, 100)
  )
  order = math.log(few / many, 4)
  least, most = (1.4, 2.3) if method == "dpmpp_2m" else (0.9, 1.1)
  assert least < order < most


@pytest.mark.parametrize(("name", "method"), PATHS)
def test_order_over_equal_steps_of_log_snr(name, method):
  found = schedule.get_schedule(name)
  few, many = (
    map_error(
      name,
      "v",
      method,
      found.from_log_snr(np.linspace(-5.0, 5.0, num_steps + 1)),
    )
    for num_steps in (25, 100)
  )
  expected = 2 if method == "dpmpp_2m" else 1
  assert abs(math.log(few / many, 4) - expected) < 0.15


@pytest.mark.parametrize("name", schedule.NAMES)
def test_fresh_noise_keeps_mean_and_covariance(name):
  """To 0.1: five deviations of 8192 draws, and 0.05 of 100 steps."""
  task = gaussian.make_objective(schedule=name)
  draw = gaussian.make_sampler(num_steps=100, eta=0.8)
  keys = jax.random.split(jax.random.key(0))
  noise = jax.random.normal(keys[0], (8192, 3))
  out = sample_gaussian(draw, task, noise, jax.random.split(keys[1], 8192))
  np.testing.assert_allclose(out.mean(0), gaussian.MEAN, atol=0.1)
  np.testing.assert_allclose(
    np.cov(out, rowvar=False), gaussian.COVARIANCE, atol=0.1, rtol=0.06
  )


def test_euler_is_ddim_on_rectified_flow():
  task = gaussian.make_objective(schedule="rectified_flow", target="flow")
  noise = jax.random.normal(jax.random.key(0), (4, 3))
  euler, ddim = (
    sample_gaussian(gaussian.make_sampler(method=method), task, noise)
    for method in ("euler", "ddim")
  )
  np.testing.assert_allclose(euler, ddim, atol=1e-5)


def slow_sample(task, draw, denoise, other, noise, levels, fresh=None):
  """One step after another in float64, by the formulas of the papers."""
  x, x0_before, h_before = np.asarray(noise, np.float64), 0 * noise, None
  for i, (s, s_next) in enumerate(itertools.pairwise(levels)):
    (a, b), (a_next, b_next) = (
      map(float, task.schedule.coefficients(float(level)))
      for level in (s, s_next)
    )
    x0 = denoise(x, s, x0_before)
    first, last = draw.guidance_interval
    if first < s <= last:
      x0 = other(x, s, x0_before) + draw.guidance * (
        x0 - other(x, s, x0_before)
      )
    if draw.clip:
      limit = np.full(len(x0), draw.clip)
      if draw.clip_quantile:
        quantile = np.quantile(abs(x0), draw.clip_quantile, axis=1)
        limit = np.maximum(limit, quantile)
      limit = limit[:, None]
      x0 = np.clip(x0, -limit, limit) / limit * draw.clip
    eps = (x - a * x0) / b
    if draw.method == "euler":
      x = x + (s_next - s) * (eps - x0)
    elif draw.method == "dpmpp_2m" and b_next > 0:
      # Half log-SNRs; the multistep needs two finite steps.
      h = (math.log(a_next / b_next) - math.log(a / b)) if a else None
      mean = x0
      if h and h_before:
        r = h_before / h
        mean = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * x0_before
      shrunk = math.exp(-h) if h else 0.0
      x = b_next / b * x - a_next * (shrunk - 1) * mean
      h_before = h
    else:
      noisy = 0.0
      if draw.eta and b_next > 0:
        noisy = draw.eta * b_next / b * math.sqrt(1 - a**2 / a_next**2)
      x = a_next * x0 + math.sqrt(b_next**2 - noisy**2) * eps
      if noisy:
        x = x + noisy * fresh[i]
    x0_before = x0
  return x


# Denoisers that use all they get; they work on NumPy and on JAX arrays.
def denoise(x, s, before):
  return 0.6 * x * (1 - s) + 0.3 * before + s


def denoise_otherwise(x, s, before):
  return 0.2 * x - 0.5 * before + 0.4 * s


@pytest.mark.parametrize(
  ("name", "fields"),
  [
    ("linear_zsnr", dict()),
    ("cosine", dict(eta=0.7)),
    ("linear_zsnr", dict(eta=1.0, guidance=1.5)),
    ("rectified_flow", dict(method="euler", guidance=3.0)),
    ("linear_zsnr", dict(method="dpmpp_2m")),
    ("cosine", dict(method="dpmpp_2m", guidance=2.0)),
    ("linear_zsnr", dict(guidance=2.0, guidance_interval=(0.25, 0.625))),
    ("rectified_flow", dict(method="dpmpp_2m", clip=0.5)),
    ("linear_zsnr", dict(clip=0.5, clip_quantile=0.6)),
  ],
)
def test_samplers_step_by_step(name, fields):
  task = gaussian.make_objective(schedule=name, target="x0")
  draw = gaussian.make_sampler(num_steps=8, **fields)
  keys = jax.random.split(jax.random.key(1), 3)
  noise = jax.random.normal(jax.random.key(0), (3, 5))
  fresh = [
    np.stack([jax.random.normal(jax.random.fold_in(k, i), (5,)) for k in keys])
    for i in range(8)
  ]

  @jax.jit
  def run(noise):
    return draw.sample(
      task,
      lambda x, s, before: denoise(x, s[:, None], before),
      noise,
      keys=keys,
      unconditional_fn=lambda x, s, before: denoise_otherwise(
        x, s[:, None], before
      ),
    )

  levels = np.linspace(1, 0, 9)
  expected = slow_sample(
    task, draw, denoise, denoise_otherwise, np.asarray(noise), levels, fresh
  )
  np.testing.assert_allclose(run(noise), expected, rtol=1e-4, atol=1e-5)


class TestSteps:
  @pytest.mark.parametrize("method", sampler.METHODS)
  @pytest.mark.parametrize("num_steps", [1, 2, 3])
  def test_the_last_step_gives_the_last_estimate(self, method, num_steps):
    draw = gaussian.make_sampler(method=method, num_steps=num_steps)
    noise = jax.random.normal(jax.random.key(0), (2, 3))
    seen = []

    def constant(x, s, before):
      jax.debug.callback(lambda s: seen.append(s), s)
      return jnp.full_like(x, 0.7)

    out = run(draw, constant, noise, target="x0")
    np.testing.assert_allclose(out, 0.7, atol=1e-6)
    expected = 1 - np.arange(num_steps) / num_steps
    np.testing.assert_allclose(np.stack(seen)[:, 0], expected, atol=1e-6)

  def test_it_starts_from_pure_noise(self):
    assert sampler.equal_steps(9)[0] == 1

  def test_it_may_start_anywhere(self):
    """From noised data, the rest of the path leads to where they lie."""
    levels = np.linspace(0.4, 0.0, 101)
    found, exact = measure("linear_zsnr", "v", "dpmpp_2m", levels)
    np.testing.assert_allclose(found[0], exact[0], atol=1e-3)
    np.testing.assert_allclose(found[1], exact[1], atol=1e-3)

  @pytest.mark.parametrize("method", sampler.METHODS)
  def test_clips_in_half_precision_come_out_finite_in_float32(self, method):
    draw = gaussian.make_sampler(method=method, num_steps=3)
    noise = jnp.ones((2, 3, 4, 4, 1), jnp.bfloat16)
    out = run(draw, lambda x, s, _: x.astype(jnp.bfloat16), noise)
    assert out.shape == noise.shape
    assert out.dtype == jnp.float32
    assert np.all(np.isfinite(out))

  def test_gradients_pass_through(self):
    task = gaussian.make_objective(schedule="rectified_flow")
    draw = gaussian.make_sampler(method="dpmpp_2m", num_steps=4)
    oracle = gaussian.oracle(task)
    slope = jax.jit(jax.grad(lambda x: draw.sample(task, oracle, x).sum()))
    assert np.all(np.isfinite(slope(jnp.ones((2, 3)))))

  def test_without_eta_the_key_does_nothing(self):
    task = gaussian.make_objective(schedule="rectified_flow")
    draw = gaussian.make_sampler()
    noise = jnp.ones((2, 3))
    np.testing.assert_array_equal(
      sample_gaussian(draw, task, noise),
      sample_gaussian(draw, task, noise, jax.random.split(jax.random.key(3))),
    )

  def test_eta_without_a_key_is_an_error(self):
    draw = gaussian.make_sampler(eta=0.5)
    with pytest.raises(ValueError, match="pass keys"):
      sample_gaussian(draw, gaussian.make_objective(), jnp.ones((2, 3)))


class TestGuidance:
  def calls(self, **fields):
    """Noise levels at which the unconditional model was asked, of 8 steps."""
    draw = gaussian.make_sampler(num_steps=8, **fields)
    seen = []

    def unconditional(x, s, before):
      jax.debug.callback(lambda s: seen.append(float(s[0])), s)
      return 0.5 * x

    run(
      draw, lambda x, s, _: x, jnp.ones((2, 3)), unconditional_fn=unconditional
    )
    return sorted(seen)

  def test_a_scale_of_1_asks_one_model_only(self):
    assert self.calls(guidance=1.0) == []

  def test_both_models_are_asked_at_every_step(self):
    assert len(self.calls(guidance=2.0)) == 8

  def test_only_in_the_interval(self):
    found = self.calls(guidance=2.0, guidance_interval=(0.25, 0.625))
    assert found == [0.375, 0.5, 0.625]

  @pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
  def test_the_same_model_twice_is_no_guidance(self, scale):
    noise = jax.random.normal(jax.random.key(0), (4, 3))
    draw = gaussian.make_sampler(num_steps=8, guidance=scale)
    plain = gaussian.make_sampler(num_steps=8)

    def halve(x, s, before):
      return 0.5 * x

    np.testing.assert_allclose(
      run(draw, halve, noise, unconditional_fn=halve),
      run(plain, halve, noise),
      atol=1e-5,
    )

  def test_a_model_without_condition_is_refused(self):
    with pytest.raises(errors.UserError, match="guidance 2.0 .*set it to 1.0"):
      sample_gaussian(
        gaussian.make_sampler(guidance=2.0),
        gaussian.make_objective(),
        jnp.ones((2, 3)),
      )


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(method="heun"), "'heun' is unknown; choose from ddim"),
    (dict(num_steps=0), "num_steps 0"),
    (dict(eta=1.5), "eta 1.5"),
    (dict(eta=0.5, method="dpmpp_2m"), "set it to 0.0"),
    (dict(guidance_interval=(0.5, 0.5)), "guidance_interval"),
    (dict(guidance_interval=(0.5, 1.5)), "guidance_interval"),
    (dict(clip=-1.0), "clip -1.0"),
    (dict(clip_quantile=0.9), "clip_quantile 0.9 .*unless clip"),
  ],
)
def test_values_that_mean_nothing_are_refused(fields, message):
  with pytest.raises(errors.UserError, match=message):
    gaussian.make_sampler(**fields)


def test_euler_is_for_rectified_flow():
  with pytest.raises(errors.UserError, match="'euler'.*'linear_zsnr'.*ddim"):
    sample_gaussian(
      gaussian.make_sampler(method="euler"),
      gaussian.make_objective(),
      jnp.ones((2, 3)),
    )
