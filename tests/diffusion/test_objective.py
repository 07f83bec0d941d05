"""Targets, losses and draws of noise levels."""

import functools
import itertools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.diffusion import gaussian
from vdr.diffusion import objective, schedule
from vdr.runtime import errors

# Every schedule with every target that it allows.
ALLOWED = [
  (name, target)
  for name, target in itertools.product(schedule.NAMES, objective.TARGETS)
  if target != "eps" or name == "cosine"
]
SHAPE = (5, 3, 2, 2, 4)  # b t h w c
LEVELS = np.array([0.001, 0.2, 0.5, 0.9, 0.999])
ROUND_TRIPS = [
  (name, first, second)
  for name in schedule.NAMES
  for first, second in itertools.permutations(objective.TARGETS, 2)
  if name == "cosine" or "eps" not in (first, second)
]


def make_batch(levels=LEVELS, dtype=np.float32, seed=0):
  """Clean examples, noise and noise levels, one example each."""
  rng = np.random.default_rng(seed)
  shape = (len(levels), *SHAPE[1:])
  return [
    jnp.asarray(a, dtype)
    for a in (rng.normal(size=shape), rng.normal(size=shape), levels)
  ]


@functools.partial(jax.jit, static_argnums=(0, 2))
def draw(task, key, batch):
  return task.sample_noise_level(key, batch)


def column(values):
  return np.asarray(values, np.float64).reshape(-1, 1, 1, 1, 1)


@pytest.mark.parametrize(("name", "target"), ALLOWED)
def test_noise_and_target_by_their_formulas(name, target):
  task = gaussian.make_objective(schedule=name, target=target)
  x0, eps, s = make_batch()
  alpha, sigma = (column(c) for c in task.schedule.coefficients(s))
  clean, noise = np.asarray(x0, np.float64), np.asarray(eps, np.float64)
  expected = {
    "v": alpha * noise - sigma * clean,
    "eps": noise,
    "x0": clean,
    "flow": noise - clean,
  }[target]
  np.testing.assert_allclose(
    task.add_noise(x0, eps, s), alpha * clean + sigma * noise, atol=1e-6
  )
  np.testing.assert_allclose(task.make_target(x0, eps, s), expected, atol=1e-6)


def test_flow_is_the_velocity_of_rectified_flow():
  task = gaussian.make_objective(schedule="rectified_flow", target="flow")
  x0, eps, s = make_batch()
  _, velocity = jax.jvp(
    lambda s: task.add_noise(x0, eps, s), (s,), (jnp.ones_like(s),)
  )
  np.testing.assert_allclose(velocity, task.make_target(x0, eps, s), atol=1e-6)


@pytest.mark.parametrize(("name", "target"), ALLOWED)
def test_a_perfect_prediction_gives_back_everything(name, target):
  task = gaussian.make_objective(schedule=name, target=target)
  x0, eps, s = make_batch()
  x, truth = task.add_noise(x0, eps, s), task.make_target(x0, eps, s)
  alpha, sigma = (column(c) for c in task.schedule.coefficients(s))
  # What float32 loses on the way, see the module's docstring.
  to_eps = (task.to_eps(truth, x, s) - eps) * np.minimum(1, sigma * 3)
  to_x0 = (task.to_x0(truth, x, s) - x0) * np.minimum(1, alpha * 3)
  np.testing.assert_allclose(to_eps, 0, atol=2e-6)
  np.testing.assert_allclose(to_x0, 0, atol=2e-6)
  assert np.all(task.loss(truth, x0, eps, s) == 0)


@given(
  case=st.sampled_from(ROUND_TRIPS),
  s=st.floats(0.001, 0.999),
  x=st.floats(-4, 4),
  prediction=st.floats(-4, 4),
)
@hypothesis.settings(max_examples=100)
def test_conversions_undo_each_other(case, s, x, prediction):
  with jax.enable_x64(True):
    error, _, _ = round_trip(*case, s, x, prediction, np.float64)
  assert np.max(error) < 1e-5


@pytest.mark.parametrize(("name", "first", "second"), ROUND_TRIPS)
def test_conversions_undo_each_other_in_float32(name, first, second):
  """To 1e-5 of what the way keeps: sigma of eps past x0, alpha of x0 past eps.

  The first target counts, too: what stands for x0 is large if alpha is small.
  """
  s = np.linspace(0.001, 0.999, 400)
  x, prediction = np.random.default_rng(0).normal(size=(2, 400))
  error, alpha, sigma = round_trip(
    name, first, second, s, x, prediction, np.float32
  )
  kept = {"x0": sigma, "eps": alpha}.get(second, np.ones_like(alpha))
  kept = {"x0": alpha, "eps": sigma}.get(first, 1.0) * kept
  assert np.max(error * kept) < 1e-5


def convert_twice(name, first, second, s, x, prediction):
  there = gaussian.make_objective(schedule=name, target=first)
  back = gaussian.make_objective(schedule=name, target=second)
  middle = there.convert(second, prediction, x, s)
  return back.convert(first, middle, x, s)


def round_trip(name, first, second, s, x, prediction, dtype):
  """The error of going from one target to another and back; alpha and sigma."""
  s, x, prediction = (
    jnp.asarray(np.atleast_1d(a), dtype) for a in (s, x, prediction)
  )
  again = convert_twice(name, first, second, s, x, prediction)
  assert again.dtype == dtype
  alpha, sigma = schedule.get_schedule(name).coefficients(s)
  return np.abs(np.asarray(again) - prediction), alpha, sigma


def test_named_conversions_are_the_general_one():
  task = gaussian.make_objective(schedule="cosine", target="flow")
  prediction, x, s = make_batch()
  for target in objective.TARGETS:
    found = getattr(task, f"to_{target}")(prediction, x, s)
    np.testing.assert_array_equal(found, task.convert(target, prediction, x, s))


@pytest.mark.parametrize("name", ["linear_zsnr", "rectified_flow"])
def test_pure_noise_still_tells_x0(name):
  for target in ("v", "x0", "flow"):
    task = gaussian.make_objective(schedule=name, target=target)
    x0, eps, s = make_batch([1.0] * 5)
    x, truth = task.add_noise(x0, eps, s), task.make_target(x0, eps, s)
    np.testing.assert_array_equal(x, eps)
    np.testing.assert_allclose(task.to_x0(truth, x, s), x0, atol=1e-6)
    np.testing.assert_allclose(task.to_eps(truth, x, s), eps, atol=1e-6)


@pytest.mark.parametrize("name", ["linear_zsnr", "rectified_flow"])
def test_eps_with_zero_terminal_snr_is_refused(name):
  with pytest.raises(
    errors.UserError, match=f"'eps'.*'{name}'.*set the target"
  ):
    gaussian.make_objective(schedule=name, target="eps")


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("schedule", "linear"),
    ("target", "score"),
    ("noise_levels", "edm"),
    ("weighting", "snr"),
    ("log_normal_std", 0.0),
    ("min_snr_gamma", -1.0),
  ],
)
def test_values_that_mean_nothing_are_refused(field, value):
  with pytest.raises(errors.UserError, match=f"{field} .*{value}"):
    gaussian.make_objective(**{field: value})


class TestLoss:
  def test_it_is_the_mean_square_of_each_example(self):
    task = gaussian.make_objective()
    x0, eps, s = make_batch()
    prediction = make_batch(seed=1)[0]
    found = task.loss(prediction, x0, eps, s)
    truth = np.asarray(task.make_target(x0, eps, s), np.float64)
    slow = [np.mean((prediction[i] - truth[i]) ** 2) for i in range(5)]
    np.testing.assert_allclose(found, slow, rtol=1e-5)

  @pytest.mark.parametrize("axes", [1, 2, 5])
  def test_a_mask_leaves_elements_out(self, axes):
    task = gaussian.make_objective()
    x0, eps, s = make_batch()
    prediction = make_batch(seed=1)[0]
    rng = np.random.default_rng(2)
    mask = rng.random((*SHAPE[:axes], *(1,) * (axes - 2))[:axes]) < 0.5
    mask = mask if axes < 5 else rng.random((5, 3, 1, 2, 1)) < 0.5
    mask[0] = False
    found = task.error(prediction, x0, eps, s, jnp.asarray(mask))
    squares = np.square(prediction - task.make_target(x0, eps, s))
    full = np.broadcast_to(
      mask.reshape(mask.shape + (1,) * (5 - mask.ndim)), SHAPE
    )
    for i in range(5):
      slow = squares[i][full[i]].mean() if full[i].any() else 0.0
      np.testing.assert_allclose(found[i], slow, rtol=1e-5)

  def test_what_the_mask_hides_may_be_nan(self):
    task = gaussian.make_objective()
    x0, eps, s = make_batch()
    prediction = make_batch(seed=1)[0].at[:, 1].set(np.nan)
    mask = jnp.array([[True, False, True]] * 5)
    assert np.all(np.isfinite(task.loss(prediction, x0, eps, s, mask)))

  def test_half_precision_is_widened_first(self):
    task = gaussian.make_objective()
    x0, eps, s = make_batch()
    prediction = make_batch(seed=1)[0].astype(jnp.bfloat16)
    found = task.loss(prediction, x0, eps, s)
    assert found.dtype == jnp.float32
    wide = task.loss(prediction.astype(jnp.float32), x0, eps, s)
    np.testing.assert_array_equal(found, wide)

  @pytest.mark.parametrize(("name", "target"), ALLOWED)
  def test_gradients_are_finite_from_end_to_end(self, name, target):
    task = gaussian.make_objective(
      schedule=name, target=target, weighting="min_snr"
    )
    x0, eps, s = make_batch([0.0, 1e-7, 0.5, 1 - 1e-7, 1.0])

    @jax.jit
    @jax.grad
    def slope(prediction):
      x = task.add_noise(x0, eps, s)
      estimate = task.to_x0(prediction, x, s) + task.to_eps(prediction, x, s)
      return jnp.sum(task.loss(prediction, x0, eps, s)) + jnp.sum(estimate)

    assert np.all(np.isfinite(slope(x0)))


class TestWeight:
  def test_none_is_one(self):
    weight = gaussian.make_objective().weight(jnp.asarray(LEVELS, jnp.float32))
    np.testing.assert_array_equal(weight, 1.0)

  @pytest.mark.parametrize("target", ["x0", "eps", "v"])
  def test_min_snr_by_its_formulas(self, target):
    task = gaussian.make_objective(
      schedule="cosine", target=target, weighting="min_snr", min_snr_gamma=5.0
    )
    s = jnp.array([0.001, 0.1, 0.3, 0.6, 1.0])
    snr = np.exp(np.asarray(task.schedule.log_snr(s), np.float64))
    part = {"x0": 1.0, "eps": snr, "v": snr + 1.0}[target]
    np.testing.assert_allclose(
      task.weight(s), np.minimum(snr, 5.0) / part, rtol=1e-4
    )

  def test_min_snr_is_the_same_loss_for_all_targets(self):
    x0, eps, s = make_batch()
    losses = []
    for target in objective.TARGETS:
      task = gaussian.make_objective(
        schedule="cosine", target=target, weighting="min_snr"
      )
      x = task.add_noise(x0, eps, s)
      wrong = gaussian.make_objective(schedule="cosine", target="x0").convert(
        target, 0.9 * x0, x, s
      )
      losses.append(task.loss(wrong, x0, eps, s))
    for other in losses[1:]:
      np.testing.assert_allclose(losses[0], other, rtol=5e-3)

  @pytest.mark.parametrize(("name", "target"), ALLOWED)
  def test_min_snr_is_finite_at_the_ends(self, name, target):
    task = gaussian.make_objective(
      schedule=name, target=target, weighting="min_snr"
    )
    weight = task.weight(jnp.array([0.0, 1e-7, 0.5, 1 - 1e-7, 1.0]))
    assert np.all(np.isfinite(weight))
    if task.schedule.has_zero_terminal_snr:
      assert weight[4] == 0


class TestSampleNoiseLevel:
  def draw(self, batch=4096, seed=0, **fields):
    task = gaussian.make_objective(**fields)
    return task, np.asarray(draw(task, jax.random.key(seed), batch))

  @pytest.mark.parametrize("stratified", [False, True])
  @pytest.mark.parametrize("name", schedule.NAMES)
  def test_uniform(self, name, stratified):
    _, levels = self.draw(schedule=name, stratified=stratified)
    assert stats.kstest(levels, "uniform").pvalue > 0.01

  @pytest.mark.parametrize("stratified", [False, True])
  @pytest.mark.parametrize("name", schedule.NAMES)
  def test_log_normal(self, name, stratified):
    task, levels = self.draw(
      schedule=name,
      stratified=stratified,
      noise_levels="log_normal",
      log_normal_mean=-1.2,
      log_normal_std=1.2,
    )
    ratio = -np.asarray(jax.jit(task.schedule.log_snr)(levels)) / 2
    assert stats.kstest(ratio, stats.norm(-1.2, 1.2).cdf).pvalue > 0.01

  def test_log_normal_on_rectified_flow_is_logit_normal(self):
    _, levels = self.draw(schedule="rectified_flow", noise_levels="log_normal")
    logit = np.log(levels / (1 - levels))
    assert stats.kstest(logit, "norm").pvalue > 0.01

  def test_a_stratified_batch_has_one_draw_in_each_stratum(self):
    for seed in range(20):
      _, levels = self.draw(batch=8, seed=seed, stratified=True)
      assert sorted(np.ceil(levels * 8)) == [1, 2, 3, 4, 5, 6, 7, 8]

  @pytest.mark.parametrize("place", [0, 5])
  def test_every_place_of_a_stratified_batch_sees_all_levels(self, place):
    task = gaussian.make_objective(stratified=True)
    keys = jax.random.split(jax.random.key(0), 2000)
    levels = jax.vmap(lambda key: draw(task, key, 8))(keys)
    assert stats.kstest(np.asarray(levels[:, place]), "uniform").pvalue > 0.01

  @pytest.mark.parametrize("kind", objective.NOISE_LEVELS)
  def test_levels_are_never_clean(self, kind):
    _, levels = self.draw(batch=100_000, noise_levels=kind, stratified=False)
    assert levels.min() > 0
    assert levels.max() <= 1

  def test_the_key_decides(self):
    first, same, other = (self.draw(seed=seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert np.any(first != other)


def test_objectives_are_static_arguments():
  static = jax.jit(lambda task, s: task.weight(s), static_argnums=0)
  for _ in range(2):
    static(gaussian.make_objective(), jnp.ones(3))
  assert static._cache_size() == 1
