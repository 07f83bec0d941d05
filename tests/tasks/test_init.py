"""Every task: targets of a synthetic batch, a perfect and a blind answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from tests.tasks import batches
from tests.tasks.batches import CLASSES, NAMES, NUM_FRAMES, SIDE, make, perfect
from vdr import tasks
from vdr.runtime import errors
from vdr.tasks import task


@pytest.fixture(scope="module")
def batch():
  return batches.batch()


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_answer_scores_perfectly(name, batch):
  one = make(name)
  targets = one.targets(batch)
  assert all(len(v) == 6 for v in targets.values())
  scores = batches.score(one, perfect(one, targets), targets)
  best = 0.0 if one.goal.lower_is_better else 1.0
  assert scores[one.primary].score() == pytest.approx(best, abs=1e-6)
  assert all(ratio.num_clips == 6 for ratio in scores.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_blind_answer_is_no_better_and_has_its_shape(name, batch):
  one = make(name)
  targets = one.targets(batch)
  blind, known = one.blind(targets, targets), perfect(one, targets)
  assert {k: np.shape(v) for k, v in blind.items()} == {
    k: np.shape(v) for k, v in known.items()
  }
  scores = [
    batches.score(one, x, targets)[one.primary].score() for x in (blind, known)
  ]
  worse = scores[0] - scores[1]
  assert (worse if one.goal.lower_is_better else -worse) > 0


def test_blind_answers_have_known_scores(batch):
  pose = make("pose")
  targets = pose.targets(batch)
  scores = batches.score(pose, pose.blind(targets, targets), targets)
  assert scores["r_squared"].score() == pytest.approx(0.0, abs=1e-6)
  still = {k: v.copy() for k, v in batch.items()}
  still["points_xy"][:] = still["points_xy"][:, :, :1]
  still["boxes_yxyx"][:] = still["boxes_yxyx"][:, :, :1]
  for name in ("points", "boxes"):  # where nothing moves, to stay is right
    one = make(name)
    targets = one.targets(still)
    blind = one.blind(targets, targets)
    score = batches.score(one, blind, targets)[one.primary].score()
    assert score == pytest.approx(0.0 if name == "points" else 1.0, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_its_head_answers_in_the_same_form(name, batch):
  one = make(name)
  targets = one.targets(batch)
  frames = 1 if one.is_image else NUM_FRAMES
  times = (0,) if one.is_image else (0, 4, 8, 12, 16)
  cfg = base.default().probe
  shape = task.Shape(frames, SIDE, SIDE, times)
  readout = one.readout(cfg, shape, targets)
  features = np.random.default_rng(0).normal(size=(6, len(times), 4, 4, 8))
  prepared = readout.head.prepare(jnp.asarray(features, jnp.float32))
  params = readout.head.init(jax.random.key(0), prepared.shape[1:])
  inputs = {k: jnp.asarray(v) for k, v in targets.items()}
  outputs = readout.head.apply(params, prepared, inputs)
  known = perfect(one, targets)
  for key, value in known.items():
    assert outputs[key].shape == np.shape(value), key
  losses = readout.loss(outputs, inputs)
  assert losses.shape == (6,) and np.isfinite(losses).all()
  found = {k: np.asarray(v) for k, v in outputs.items()}
  assert np.isfinite(batches.score(one, found, targets)[one.primary].score())


def test_unknown_tasks_and_missing_labels_are_refused():
  with pytest.raises(errors.UserError, match="choose from shape, action"):
    tasks.make("flow", CLASSES, NUM_FRAMES)
  with pytest.raises(errors.UserError, match="the data have 0 .no labels"):
    tasks.make("action", {}, NUM_FRAMES)
