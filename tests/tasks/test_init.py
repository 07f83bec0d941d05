"""Every task: targets of a synthetic batch, a perfect and a blind answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vdr import tasks
from vdr.data.physics import clip
from vdr.runtime import errors
from vdr.tasks import task

NUM_FRAMES, SIDE = 17, 32
NAMES = tuple(tasks.TASKS)
CLASSES = {**clip.CLASS_NAMES, "label": ("cat", "dog", "fox")}


@pytest.fixture(scope="module")
def batch():
  """Six simulated clips, with a label as a user's folder has it."""
  settings = clip.Settings("default", NUM_FRAMES, SIDE, SIDE, 12.0, 16, 3)
  clips = [clip.simulate(settings, "train", 0, i) for i in range(6)]
  stacked = {
    name: np.stack([c[name] for c in clips])
    for name in clips[0]
    if name not in ("caption", "factors")
  }
  return stacked | {"label": np.array([0, 1, 2, 0, 1, -1], np.int32)}


def make(name):
  return tasks.make(name, CLASSES, NUM_FRAMES)


def perfect(one, targets):
  """The outputs of who knows the truth, in the form that heads have."""
  if hasattr(one, "label"):
    label = targets[one.label]
    return {
      "logits": np.eye(len(one.class_names))[label] * (label >= 0)[:, None]
    }
  if one.name == "depth":
    return {"map": targets["depth_m"][..., None]}
  if one.name == "points":
    sure = np.where(targets["points_visible"], 20.0, -20.0)
    xy = targets["points_xy"]
    return {"points_xy": xy, "visible": sure, "certain": np.full_like(sure, 20)}
  name = {"pose": "pose", "boxes": "boxes_yxyx"}[one.name]
  return {name: targets[name]}


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_answer_scores_perfectly(name, batch):
  one = make(name)
  targets = one.targets(batch)
  assert all(len(v) == 6 for v in targets.values())
  scores = one.score(perfect(one, targets), targets)
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
  scores = [one.score(x, targets)[one.primary].score() for x in (blind, known)]
  worse = scores[0] - scores[1]
  assert (worse if one.goal.lower_is_better else -worse) > 0


def test_blind_answers_have_known_scores(batch):
  pose = make("pose")
  targets = pose.targets(batch)
  scores = pose.score(pose.blind(targets, targets), targets)
  assert scores["r_squared"].score() == pytest.approx(0.0, abs=1e-6)
  still = {k: v.copy() for k, v in batch.items()}
  still["points_xy"][:] = still["points_xy"][:, :, :1]
  still["boxes_yxyx"][:] = still["boxes_yxyx"][:, :, :1]
  for name in ("points", "boxes"):  # where nothing moves, to stay is right
    one = make(name)
    targets = one.targets(still)
    score = one.score(one.blind(targets, targets), targets)[one.primary].score()
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
  assert np.isfinite(one.score(found, targets)[one.primary].score())


def test_unknown_tasks_and_missing_labels_are_refused():
  with pytest.raises(errors.UserError, match="choose from shape, action"):
    tasks.make("flow", CLASSES, NUM_FRAMES)
  with pytest.raises(errors.UserError, match="the data have 0 .no labels"):
    tasks.make("action", {}, NUM_FRAMES)
