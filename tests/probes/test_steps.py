import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.probes import clips
from vdr.probes import heads, losses, steps

HEAD = heads.Linear(3)
DECAYS = {"out": {"kernel": np.ones((6, 3)), "bias": np.zeros(3)}}
DECAYS = jax.tree.map(np.float32, DECAYS)
KEYS = jax.random.split(jax.random.key(0), 2)
FRONT = (2, 3, 2)  # cells, hypers, seeds
HYPERS = steps.Hypers(jnp.array([0.1, 0.2, 0.3]), jnp.array([0.0, 0.5, 1.0]))


def state():
  return steps.start(steps.draw_params(KEYS, HEAD, (6,)), *FRONT[:2])


def job(clip_norm=0.0):
  rule = steps.Rule((0.8, 0.9), 1e-6, clip_norm)
  return steps.Job(HEAD, losses.CrossEntropy("label"), None, rule)


class TestStart:
  def test_members_of_a_seed_start_alike_and_seeds_do_not(self):
    kernel = np.asarray(state().params["out"]["kernel"])
    assert kernel.shape == (*FRONT, 6, 3)
    np.testing.assert_array_equal(
      kernel, np.broadcast_to(kernel[:1, :1], kernel.shape)
    )
    assert np.abs(kernel[0, 0, 0] - kernel[0, 0, 1]).max() > 0.01

  def test_a_seed_starts_as_it_does_alone(self):
    alone = HEAD.init(KEYS[1], (6,))["out"]["kernel"]
    found = state().params["out"]["kernel"][0, 0, 1]
    np.testing.assert_allclose(found, alone, atol=1e-7)


class TestUpdate:
  @pytest.mark.parametrize("clip_norm", [0.0, 0.7])
  @jax.numpy_dtype_promotion("standard")  # Optax mixes types
  def test_each_member_has_the_adamw_of_its_own(self, clip_norm):
    own, rule = state(), job(clip_norm).rule
    grads = [
      jax.tree.map(lambda p, i=i: clips.normal(*p.shape, seed=i), own.params)
      for i in (1, 2)
    ]
    shares = (0.5, 1.0)
    for grad, share in zip(grads, shares, strict=True):
      loss = jnp.zeros(FRONT)
      own = steps.update(
        rule, own, loss, grad, HYPERS, jnp.array(share), DECAYS
      )
    for c, h, s in np.ndindex(FRONT):
      expected = jax.tree.map(lambda p, i=(c, h, s): p[i], state().params)
      tx = optax.chain(
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        optax.inject_hyperparams(
          optax.adamw, static_args=("b1", "b2", "eps", "mask")
        )(
          learning_rate=1.0,
          weight_decay=float(HYPERS.weight_decay[h]),
          b1=0.8,
          b2=0.9,
          eps=1e-6,
          mask={"out": {"kernel": True, "bias": False}},
        ),
      )
      adam = tx.init(expected)
      for grad, share in zip(grads, shares, strict=True):
        member = jax.tree.map(lambda g, i=(c, h, s): g[i], grad)
        adam[1].hyperparams["learning_rate"] = HYPERS.learning_rate[h] * share
        delta, adam = tx.update(member, adam, expected)
        expected = optax.apply_updates(expected, delta)
      jax.tree.map(
        lambda a, b, i=(c, h, s): np.testing.assert_allclose(
          a[i], b, rtol=1e-5, atol=1e-6
        ),
        own.params,
        expected,
      )

  def test_one_that_is_not_finite_stops_for_good_and_alone(self):
    own, rule = state(), job().rule
    grads = jax.tree.map(jnp.ones_like, own.params)
    bad = jax.tree.map(lambda g: g, grads)
    bad["out"]["bias"] = bad["out"]["bias"].at[1, 2, 0, 1].set(jnp.nan)
    loss = jnp.zeros(FRONT).at[0, 0, 1].set(jnp.inf)
    first = steps.update(rule, own, loss, bad, HYPERS, jnp.array(1.0), DECAYS)
    zero = jnp.zeros(FRONT)
    second = steps.update(
      rule, first, zero, grads, HYPERS, jnp.array(1.0), DECAYS
    )
    expected = np.ones(FRONT, bool)
    expected[1, 2, 0] = expected[0, 0, 1] = False
    np.testing.assert_array_equal(second.alive, expected)
    moved = np.abs(second.params["out"]["kernel"] - own.params["out"]["kernel"])
    np.testing.assert_array_equal(moved.max((-1, -2)) > 0, expected)
    good = steps.update(rule, own, zero, grads, HYPERS, jnp.array(1.0), DECAYS)
    good = steps.update(rule, good, zero, grads, HYPERS, jnp.array(1.0), DECAYS)
    for a, b in zip(
      jax.tree.leaves(second.params), jax.tree.leaves(good.params), strict=True
    ):
      assert np.isfinite(a).all()
      np.testing.assert_array_equal(a[expected], b[expected])


class TestMemberLoss:
  def test_clips_that_do_not_count_do_not(self):
    params = clips.params(HEAD, (6,))
    x, label = clips.normal(4, 6), jnp.array([0, 1, 2, 0], jnp.int32)
    valid = jnp.array([True, False, True, True])
    kept = steps.member_loss(job(), params, x[valid], {"label": label[valid]})
    found = steps.member_loss(
      job(), params, x, {"label": label, "clip_valid": valid}
    )
    np.testing.assert_allclose(found, kept, rtol=1e-6)

  def test_none_that_count_have_no_loss(self):
    params = clips.params(HEAD, (6,))
    targets = {
      "label": jnp.zeros(4, jnp.int32),
      "clip_valid": jnp.zeros(4, bool),
    }
    assert steps.member_loss(job(), params, clips.normal(4, 6), targets) == 0


def test_rows_are_gathered_for_each_cell_and_seed():
  cells = tuple(clips.normal(5, 6, seed=i).astype(jnp.float16) for i in (0, 1))
  rows = jnp.array([[3, 0, 1], [4, 4, 2]])
  x, own = steps.gather(cells, {"label": jnp.arange(5)}, rows)
  assert x.shape == (2, 2, 3, 6) and x.dtype == jnp.float32
  np.testing.assert_array_equal(x[1, 0, 2], cells[1][1].astype(jnp.float32))
  np.testing.assert_array_equal(own["label"], rows)
