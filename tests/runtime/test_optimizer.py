"""Optimisers by hand-computed cases: who decays, who is averaged, who waits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from vdr.models import dit
from vdr.runtime import errors, optimizer, trees

NAMES = ("adamw", "adafactor", "muon")


@pytest.fixture
def cfg():
  return base.default().optimizer


def small_params():
  rng = np.random.default_rng(0)

  def normal(*shape):
    return jnp.asarray(rng.standard_normal(shape, np.float32))

  return {
    "embed": {"kernel": normal(4, 8), "bias": normal(8)},
    "classes": normal(3, 8),
    "positions": {"time": normal(5, 8)},
    "blocks": {
      "attention": {
        "qkv": {"kernel": normal(2, 8, 3, 2, 4)},
        "out": {"kernel": normal(2, 2, 4, 8)},
        "q_scale": jnp.ones((2, 4)),
      }
    },
  }


DECAYED = {
  "embed/kernel",
  "blocks/attention/qkv/kernel",
  "blocks/attention/out/kernel",
}


def named(tree):
  return {
    trees.path_name(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def test_matrices_decay_and_nothing_else():
  mask = named(optimizer.decay_mask(small_params()))
  assert {name for name, decays in mask.items() if decays} == DECAYED


def test_the_model_decays_in_its_kernels_only():
  model = base.default().model
  model.update(num_classes=10, text_dim=16, positions="learned")
  params = jax.eval_shape(lambda key: dit.init(model, key), jax.random.key(0))
  for name, decays in named(optimizer.decay_mask(params)).items():
    assert decays == name.endswith("/kernel"), name


@pytest.mark.parametrize("name", NAMES)
def test_without_a_gradient_there_is_only_decay(cfg, name):
  cfg.update(name=name, schedule="constant", warmup_steps=0)
  cfg.update(learning_rate=0.1, weight_decay=0.5)
  params = small_params()
  tx = optimizer.make_optimizer(cfg, 10, params)
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = jax.jit(tx.update)(zeros, tx.init(params), params)
  for path, update in named(updates).items():
    factor = -0.1 * 0.5 if path in DECAYED else 0.0
    np.testing.assert_allclose(
      update, factor * named(params)[path], rtol=1e-6, err_msg=path
    )


def test_adamw_is_that_of_optax(cfg):
  cfg.update(warmup_steps=2, learning_rate=0.1, weight_decay=0.3)
  params = small_params()
  ours = optimizer.make_optimizer(cfg, 10, params)
  theirs = optax.chain(
    optax.clip_by_global_norm(cfg.clip_norm),
    optax.adamw(
      optimizer.make_schedule(cfg, 10),
      b1=cfg.betas[0],
      b2=cfg.betas[1],
      eps=cfg.epsilon,
      weight_decay=0.3,
      mask=optimizer.decay_mask(params),
    ),
  )
  results = []
  for tx in (ours, theirs):
    now, state = params, tx.init(params)
    update = jax.jit(tx.update)
    for _ in range(3):
      grads = jax.tree.map(jnp.sin, now)
      with jax.numpy_dtype_promotion("standard"):  # theirs needs it
        updates, state = update(grads, state, now)
      now = optax.apply_updates(now, updates)
    results.append(now)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
    *results,
  )


def newton_schulz(x):
  """Muon's update of one matrix, but for its size (Jordan et al., 2024)."""
  x = x / np.linalg.norm(x)
  for _ in range(5):
    y = x @ x.T
    x = 3.4445 * x + (-4.775 * y + 2.0315 * y @ y) @ x
  return x


def test_muon_works_on_each_matrix_of_each_layer(cfg):
  cfg.update(name="muon", schedule="constant", warmup_steps=0, clip_norm=0.0)
  params = small_params()
  grads = jax.tree.map(jnp.cos, params)
  tx = optimizer.make_optimizer(cfg, 10, params)
  updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)

  def matrices(tree):
    attention = tree["blocks"]["attention"]
    qkv = np.moveaxis(np.asarray(attention["qkv"]["kernel"]), 2, 1)
    out = np.asarray(attention["out"]["kernel"])
    return [*qkv.reshape(6, 8, 8), *out.reshape(2, 8, 8)]

  for update, grad in zip(matrices(updates), matrices(grads), strict=True):
    expected = -cfg.learning_rate * 0.2 * 8**0.5 * newton_schulz(grad)
    np.testing.assert_allclose(update, expected, rtol=1e-3, atol=1e-8)
  # The others have Adam, whose first steps are all of one size.
  embed = np.abs(np.asarray(updates["embed"]["kernel"]))
  np.testing.assert_allclose(embed, embed[0, 0], rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_steps_of_all_optimisers_are_of_the_size_of_the_learning_rate(
  cfg, name
):
  cfg.update(name=name, schedule="constant", warmup_steps=0, learning_rate=0.01)
  params = small_params()
  tx = optimizer.make_optimizer(cfg, 10, jax.eval_shape(lambda: params))
  grads = jax.tree.map(jnp.cos, params)
  updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
  for path, update in named(updates).items():
    size = np.sqrt(np.mean(np.square(update)))
    assert 0.0015 < size < 0.02, (path, size)


def test_gradients_are_clipped_by_their_common_norm(cfg):
  cfg.update(warmup_steps=0, schedule="constant", clip_norm=1.0)
  cfg.update(betas=(0.0, 0.0), epsilon=1e3, learning_rate=1e3)
  params = {"a": jnp.zeros(2), "b": jnp.zeros(1)}
  tx = optimizer.make_optimizer(cfg, 10, params)
  grads = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}
  updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
  # With so large an epsilon Adam divides by it alone.
  np.testing.assert_allclose(updates["a"], [-0.6, 0.0], rtol=2e-3)
  np.testing.assert_allclose(updates["b"], [-0.8], rtol=2e-3)


def test_the_schedule_rises_and_falls(cfg):
  cfg.update(learning_rate=2.0, warmup_steps=4, final_share=0.1)
  schedule = optimizer.make_schedule(cfg, 14)
  found = [float(schedule(step)) for step in (0, 1, 3, 4, 9, 14, 99)]
  expected = [0.5, 1.0, 2.0, 2.0, 1.1, 0.2, 0.2]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_constant_schedule_only_rises(cfg):
  cfg.update(learning_rate=2.0, warmup_steps=2, schedule="constant")
  schedule = optimizer.make_schedule(cfg, 10)
  found = [float(schedule(step)) for step in (0, 1, 2, 1000)]
  np.testing.assert_allclose(found, [1.0, 2.0, 2.0, 2.0])


@pytest.mark.parametrize("warmup", [0, 20])
def test_a_run_may_be_as_short_as_its_warm_up(cfg, warmup):
  cfg.update(warmup_steps=warmup)
  schedule = optimizer.make_schedule(cfg, 10)
  assert all(0 <= float(schedule(s)) <= cfg.learning_rate for s in range(11))


@pytest.mark.parametrize("num_parts", [2, 3, 6])
def test_parts_of_a_batch_are_the_whole_batch(num_parts):
  params = {"w": jnp.arange(3.0), "b": jnp.float32(0.5)}
  key = jax.random.key(1)
  batch = {
    "x": jax.random.normal(key, (6, 3)),
    "weight": jnp.array([0.3, 0.1, 0.0, 0.2, 0.3, 0.1]),
  }

  def loss_fn(params, batch):
    y = jnp.tanh(batch["x"] @ params["w"] + params["b"])
    loss = jnp.sum(batch["weight"] * y**2)
    return loss, {"rows": jnp.sum(batch["weight"] > 0)}

  (loss, aux), grads = optimizer.accumulate(loss_fn, params, batch, 1)
  found = jax.jit(lambda p, b: optimizer.accumulate(loss_fn, p, b, num_parts))(
    params, batch
  )
  assert int(found[0][1]["rows"]) == int(aux["rows"]) == 5
  np.testing.assert_allclose(found[0][0], loss, rtol=1e-6)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found[1], grads
  )


def test_averages_follow_their_formula():
  decays = (0.5, 0.999)
  values = [3.0, -1.0, 2.0]
  params = {"w": jnp.full((2,), 1.0, jnp.bfloat16)}
  ema = optimizer.init_ema(params, decays)
  expected = {d: 1.0 for d in decays}
  for step, value in enumerate(values):
    params = {"w": jnp.full((2,), value, jnp.bfloat16)}
    ema = jax.jit(optimizer.update_ema)(ema, params, jnp.int32(step))
    for decay in decays:
      d = min(decay, (1 + step) / (10 + step))
      expected[decay] = d * expected[decay] + (1 - d) * value
  assert list(ema) == ["0.5", "0.999"]
  for decay in decays:
    average = ema[optimizer.ema_name(decay)]["w"]
    assert average.dtype == jnp.float32
    np.testing.assert_allclose(average, expected[decay], rtol=1e-6)


def test_after_its_warm_up_an_average_has_its_own_decay():
  ema = {"0.9": {"w": jnp.ones(1)}}
  found = optimizer.update_ema(ema, {"w": jnp.zeros(1)}, jnp.int32(10**6))
  np.testing.assert_allclose(found["0.9"]["w"], 0.9, rtol=1e-6)


def test_averages_may_be_donated_together_with_the_parameters():
  params = {"w": jnp.ones(3)}
  ema = optimizer.init_ema(params, (0.9, 0.99))
  state = {"params": params, "ema": ema}
  step = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  assert float(step(state)["ema"]["0.9"]["w"][0]) == 2.0


def test_a_step_that_is_not_finite_changes_nothing_but_the_counts():
  state = {"params": jnp.ones(2), "opt": jnp.int32(3)}
  skips = optimizer.init_skips()

  @jax.jit
  def step(state, skips, grads):
    ok = optimizer.all_finite(grads)
    new = {"params": state["params"] - grads["g"], "opt": state["opt"] + 1}
    return optimizer.guard(ok, new, state), optimizer.count_skips(skips, ok)

  seen = []
  for value in (1.0, np.nan, np.inf, 0.5, -np.inf):
    grads = {"g": jnp.array([0.0, value], jnp.float32), "n": jnp.int32(1)}
    state, skips = step(state, skips, grads)
    seen.append((int(skips["total"]), int(skips["in_a_row"])))
  assert seen == [(0, 0), (1, 1), (2, 2), (2, 0), (3, 1)]
  np.testing.assert_array_equal(state["params"], [1.0, -0.5])
  assert int(state["opt"]) == 5


def test_nothing_is_finite():
  assert bool(optimizer.all_finite({}))


def test_too_many_skips_in_a_row_lead_back_and_then_to_an_error(cfg):
  cfg.max_skips, cfg.max_rollbacks = 3, 1
  skips = {name: jnp.int32(0) for name in ("total", "in_a_row", "rollbacks")}
  skips["in_a_row"] = jnp.int32(2)
  assert not optimizer.must_roll_back(skips, cfg, 5)
  skips["in_a_row"] = jnp.int32(3)
  assert optimizer.must_roll_back(skips, cfg, 5)
  skips["rollbacks"] = jnp.int32(1)
  with pytest.raises(errors.UserError, match="3 steps in a row, up to step 5"):
    optimizer.must_roll_back(skips, cfg, 5)
