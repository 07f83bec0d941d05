import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes import clips
from vdr.probes import blocks, choose, engine, heads, losses, tracking
from vdr.probes.plan import Plan
from vdr.runtime import errors

HEAD = heads.Linear(3)
LOSS = losses.CrossEntropy("label")
PLAN = Plan(
  num_steps=9,
  batch_size=4,
  learning_rates=(0.01, 0.1),
  weight_decays=(0.0, 0.1),
  seeds=(0, 1),
  warmup_steps=2,
  clip_norm=1.0,
  steps_per_call=4,
)
NUM_CLIPS = 14  # three batches, and two clips that are left out
NUM_CELLS = 3


def change(**fields):
  return dataclasses.replace(PLAN, **fields)


def block(n=NUM_CLIPS, shape=(6,), cells=NUM_CELLS):
  """Cells whose features say less and less about the label."""
  label = np.arange(n) % 3
  hot = jnp.asarray(np.eye(3, shape[-1])[label], jnp.float32)
  hot = hot.reshape(n, *(1,) * (len(shape) - 1), shape[-1])
  features = tuple(
    clips.normal(n, *shape, seed=cell) + (3.0 - cell) * hot
    for cell in range(cells)
  )
  return blocks.Block(features, {"label": jnp.asarray(label, jnp.int32)})


def part(whole, cell):
  return blocks.Block(whole.features[cell : cell + 1], whole.targets)


def fit(whole, plan=PLAN, head=HEAD, loss=LOSS, draw=None):
  return engine.fit(head, loss, whole, plan, draw=draw, quiet=True)


def assert_close(a, b, atol=1e-5):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), a, b)


class TestTogether:
  def test_members_are_what_they_are_alone(self):
    together = fit(block())
    for cell, hyper, seed in np.ndindex(NUM_CELLS, 4, 2):
      rate, decay = PLAN.hypers[hyper]
      plan = change(
        learning_rates=(rate,), weight_decays=(decay,), seeds=(seed,)
      )
      alone = fit(part(block(), cell), plan)
      member = jax.tree.map(
        lambda x, i=(cell, hyper, seed): x[i], together.params
      )
      assert_close(member, jax.tree.map(lambda x: x[0, 0, 0], alone.params))
      np.testing.assert_allclose(
        together.losses[:, cell, hyper, seed],
        alone.losses[:, 0, 0, 0],
        atol=1e-5,
      )

  def test_groups_make_no_difference(self):
    together = fit(block())
    by_turns = fit(block(), change(step_bytes=0))
    assert_close(together.params, by_turns.params)

  def test_nor_does_the_number_of_steps_of_a_call(self):
    together, other = fit(block()), fit(block(), change(steps_per_call=100))
    assert_close(together.params, other.params)
    assert together.losses.shape[0] == 3 and other.losses.shape[0] == 3

  def test_seeds_have_orders_of_their_own(self):
    order = engine._order(PLAN, NUM_CLIPS, 0)
    assert order.shape == (3, 2, 4)
    for seed in (0, 1):
      assert len(set(order[:, seed].ravel().tolist())) == 12
    assert (order[:, 0] != order[:, 1]).any()
    assert (order != engine._order(PLAN, NUM_CLIPS, 1)).any()

  def test_a_draw_is_of_the_seed_and_the_step(self):
    """A loss that is nothing but what was drawn."""
    whole = block()
    together = fit(whole, loss=DrawnLoss(), draw=draw_noise)
    alone = fit(
      part(whole, 2), change(seeds=(1,)), loss=DrawnLoss(), draw=draw_noise
    )
    np.testing.assert_allclose(
      together.losses[:, 2, :, 1], alone.losses[:, 0, :, 0], atol=1e-6
    )
    assert np.ptp(together.losses, axis=(1, 2)).max() < 1e-6
    assert np.ptp(together.losses, axis=0).min() > 1e-3
    assert np.ptp(together.losses, axis=3).min() > 1e-3


@dataclasses.dataclass(frozen=True)
class DrawnLoss:
  def __call__(self, outputs, targets):
    return targets["noise"] + 0.0 * outputs["logits"][:, 0]


def draw_noise(key, targets):
  noise = jax.random.normal(key, targets["label"].shape)
  return {**targets, "noise": noise}


class TestStream:
  def test_a_stream_of_all_clips_is_as_good_as_memory(self):
    whole = block()
    stream = blocks.Stream(lambda: iter([whole]))
    assert_close(fit(whole).params, fit(stream).params)

  def test_blocks_follow_one_another_and_begin_again(self):
    whole = block(16)
    halves = [
      blocks.Block(
        tuple(cell[rows] for cell in whole.features),
        {"label": whole.targets["label"][rows]},
      )
      for rows in (slice(8), slice(8, 16))
    ]
    epochs = []

    def make():
      epochs.append(1)
      return iter(halves)

    fitted = fit(blocks.Stream(make), change(num_steps=7))
    assert len(epochs) == 2  # 4 steps, then 3
    assert fitted.losses.shape[0] == 4

  def test_a_stream_without_blocks_is_refused(self):
    with pytest.raises(errors.UserError, match="no clips"):
      fit(blocks.Stream(lambda: iter([])))

  def test_a_batch_of_more_clips_than_there_are_is_refused(self):
    with pytest.raises(errors.UserError, match="batch_size 15 is more"):
      fit(block(), change(batch_size=15))


class TestLearning:
  def test_it_learns_what_can_be_learnt(self):
    fitted = fit(block(30), change(num_steps=60))
    assert not fitted.diverged.any()
    first, last = fitted.losses[0, 0, 2], fitted.losses[-1, 0, 2]
    assert (last < 0.5 * first).all()

  def test_a_nan_stays_with_its_cell(self):
    whole = block()
    broken = (whole.features[0].at[:].set(jnp.nan), *whole.features[1:])
    fitted = fit(blocks.Block(broken, whole.targets))
    assert fitted.diverged[0].all() and not fitted.diverged[1:].any()
    good = fit(whole)
    for a, b in zip(
      jax.tree.leaves(fitted.params), jax.tree.leaves(good.params), strict=True
    ):
      assert np.isfinite(a).all()
      np.testing.assert_allclose(a[1:], b[1:], atol=1e-6)

  def test_a_rate_that_explodes_stays_with_its_hyper(self):
    plan = change(learning_rates=(0.01, 1e38))
    fitted = fit(block(), plan)
    assert fitted.diverged[:, 2:].all() and not fitted.diverged[:, :2].any()
    scores = np.where(fitted.diverged, 0.0, 1.0)
    chosen = choose.choose(scores, True, fitted.diverged)
    assert (chosen < 2).all()

  def test_clips_that_do_not_count_change_nothing(self):
    whole = block(8)
    valid = jnp.arange(8) < 4
    junk = tuple(x.at[4:].set(7.0) for x in whole.features)
    plan = change(batch_size=8, num_steps=3)
    targets = {**whole.targets, "clip_valid": valid}
    fitted = [
      fit(blocks.Block(features, targets), plan)
      for features in (whole.features, junk)
    ]
    assert_close(fitted[0].params, fitted[1].params, 1e-6)


class TestPredict:
  def outputs(self, params, whole, **fields):
    found = list(engine.predict(HEAD, params, whole, change(**fields)))
    logits = np.concatenate([o["logits"] for o, _ in found], axis=3)
    return logits, np.concatenate([t["label"] for _, t in found])

  def test_every_clip_has_one_prediction_of_every_member(self):
    whole, fitted = block(), fit(block())
    logits, label = self.outputs(fitted.params, whole)
    assert logits.shape == (NUM_CELLS, 4, 2, NUM_CLIPS, 3)
    np.testing.assert_array_equal(label, whole.targets["label"])
    for c, h, s in np.ndindex(NUM_CELLS, 4, 2):
      params = jax.tree.map(
        lambda x, i=(c, h, s): jnp.asarray(x[i]), fitted.params
      )
      expected = HEAD.apply(params, whole.features[c], {})["logits"]
      np.testing.assert_allclose(logits[c, h, s], expected, atol=1e-5)

  @pytest.mark.parametrize("fields", [{"step_bytes": 0}, {"batch_size": 99}])
  def test_neither_groups_nor_batches_matter(self, fields):
    params = fit(block()).params
    expected, _ = self.outputs(params, block())
    found, _ = self.outputs(params, block(), **fields)
    np.testing.assert_allclose(found, expected, atol=1e-5)

  def test_the_chosen_predict_as_they_did(self):
    params = fit(block()).params
    everyone, _ = self.outputs(params, block())
    chosen = np.array([2, 0, 3])
    found, _ = self.outputs(choose.take(params, chosen), block())
    np.testing.assert_allclose(
      found[:, 0], everyone[np.arange(3), chosen], atol=1e-5
    )

  def test_what_is_made_of_outputs_may_be_computed_on_the_way(self):
    params, whole = fit(block()).params, block()
    found = list(engine.predict(HEAD, params, whole, PLAN, then=LOSS))
    loss = np.concatenate([o for o, _ in found], axis=3)
    assert loss.shape == (NUM_CELLS, 4, 2, NUM_CLIPS)
    logits, _ = self.outputs(params, whole)
    expected = LOSS({"logits": jnp.asarray(logits[1, 2, 1])}, whole.targets)
    np.testing.assert_allclose(loss[1, 2, 1], expected, atol=1e-5)

  def test_other_cells_are_refused(self):
    params = fit(block()).params
    with pytest.raises(ValueError, match="2 cells, probes of 3"):
      list(engine.predict(HEAD, params, block(cells=2), PLAN))


class TestPoints:
  """A head by attention, with a draw: points that all move alike."""

  def fit(self, num_steps, cells=slice(None), rates=(0.02, 0.01)):
    n = 16
    rng = np.random.default_rng(0)
    start = rng.uniform(0.3, 0.6, (n, 5, 1, 2))
    xy = start + 0.05 * np.arange(clips.NUM_FRAMES)[:, None]
    targets = {
      "query": jnp.asarray(xy[:, :, 0], jnp.float32),
      "points_xy": jnp.asarray(xy, jnp.float32),
      "points_visible": jnp.ones((n, 5, clips.NUM_FRAMES), bool),
      "query_visible": jnp.ones((n, 5), bool),
    }
    features = (clips.features(n), clips.features(n, seed=1))
    what = tracking.Targets("points", 2, octaves=2, hidden=8, from_query=True)
    names = ("points_xy", "points_visible")
    plan = Plan(num_steps, 8, learning_rates=rates, steps_per_call=4)
    return fit(
      blocks.Block(features[cells], targets),
      plan,
      tracking.Track(clips.sizes(), what, clips.NUM_FRAMES),
      losses.Points(resolution=32.0),
      tracking.DrawQueries(3, names, "query_visible"),
    )

  def test_members_are_what_they_are_alone(self):
    together = self.fit(4)
    alone = self.fit(4, slice(1, 2), (0.01,))
    member = jax.tree.map(lambda x: x[1:, 1:], together.params)
    assert_close(member, alone.params)

  def test_it_learns_where_they_go(self):
    fitted = self.fit(60)
    # The first steps have points where they were.
    assert (fitted.losses[-1] < 0.4 * fitted.losses[0]).all()
