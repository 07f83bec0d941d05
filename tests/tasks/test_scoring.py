"""Scores of parts, and of several views of a video."""

import numpy as np
import pytest

from tests.tasks import batches
from tests.tasks.batches import NAMES, make, perfect
from vdr.runtime import errors
from vdr.tasks import classes, scoring


def split_of(one, num_videos=None):
  """A split: targets of all rows, which of them count, what is answered."""
  whole, valid = batches.split()
  targets = one.targets(whole)
  rng = np.random.default_rng(1)
  answers = {
    k: np.asarray(v) + rng.normal(0, 0.3, np.shape(v))
    for k, v in perfect(one, targets).items()
  }
  index = np.arange(len(valid)) + 100
  video = np.arange(len(valid)) if num_videos is None else index % num_videos
  groups = np.array([f"video {v}" for v in video])
  clips = scoring.Clips(index[valid], video[valid], groups[valid])
  return targets, valid, index, answers, clips


def in_batches(targets, valid, index, answers, size, order=None):
  """The same in batches, filled up with rows that are none."""
  order = np.arange(len(valid)) if order is None else order
  for start in range(0, len(order), size):
    rows = order[start : start + size]
    fill = size - len(rows)

    def cut(x, rows=rows, fill=fill):
      return np.concatenate([x[rows], np.zeros_like(x[:1]).repeat(fill, 0)])

    own = {k: cut(v) for k, v in targets.items()}
    own[scoring.VALID], own[scoring.INDEX] = cut(valid), cut(index)
    own[scoring.INDEX][len(rows) :] = -1
    yield {k: cut(v) for k, v in answers.items()}, own


def keep(arrays, valid):
  return {k: v[valid] for k, v in arrays.items()}


@pytest.mark.parametrize("size", [1, 2, 6, 24])
@pytest.mark.parametrize("name", NAMES)
def test_scores_of_parts_joined_are_the_score_of_the_whole(name, size):
  one = make(name)
  targets, valid, index, answers, clips = split_of(one)
  known = keep(targets, valid)
  whole = one.score(keep(answers, valid), known, one.reference(known))
  scorer = scoring.Scorer(one, known, clips)
  assert scorer.num_rows == valid.sum()
  # What is said of clips that can't be read is never looked at.
  answers = {
    k: np.where(_wide(valid, v), v, np.nan) for k, v in answers.items()
  }
  parts = list(in_batches(targets, valid, index, answers, size))
  for batches_of_it in (parts, reversed(parts)):
    found = scorer.score(batches_of_it)
    assert found.keys() == whole.keys()
    for metric, ratio in whole.items():
      joined = found[metric][()]
      np.testing.assert_array_equal(joined.numerator, ratio.numerator, metric)
      np.testing.assert_array_equal(joined.denominator, ratio.denominator)
      np.testing.assert_equal(joined.score(), ratio.score(), metric)


@pytest.mark.parametrize("name", NAMES)
def test_parts_without_a_clip_that_counts_change_nothing(name):
  one = make(name)
  targets, valid, index, answers, clips = split_of(one)
  scorer = scoring.Scorer(one, keep(targets, valid), clips)
  some = list(in_batches(targets, valid, index, answers, 1))
  assert not some[1][1][scoring.VALID].any()
  without = [part for part in some if part[1][scoring.VALID].any()]
  for metric, found in scorer.score(some).items():
    np.testing.assert_equal(
      found[()].score(), scorer.score(without)[metric][()].score()
    )


@pytest.mark.parametrize("size", [1, 2, 6])
def test_the_exact_mean_explains_nothing_in_parts_of_any_size(size):
  """And the control without input is on the same scale."""
  one = make("pose")
  targets, valid, index, _, clips = split_of(one)
  known = keep(targets, valid)
  mean = known["pose"].mean(axis=0, dtype=np.float64)
  answers = {"pose": np.broadcast_to(mean, (len(valid), 3, 4))}
  scorer = scoring.Scorer(one, known, clips)
  parts = in_batches(targets, valid, index, answers, size)
  assert scorer.score(parts)["r_squared"][()].score() == 0
  blind = scorer.whole(keep(answers, valid))
  assert blind["r_squared"].score() == 0


def test_r_squared_by_hand():
  """Two numbers that are right, two that are off by half the distance."""
  one = make("pose")
  pose = np.zeros((4, 3, 4), np.float32)
  pose[:, 0, 3] = (0, 2, 4, 6)
  said = pose.copy()
  said[:2, 0, 3] = (1, 3)
  clips = scoring.Clips(np.arange(4), np.arange(4), np.array([*"abcd"]))
  scorer = scoring.Scorer(one, {"pose": pose}, clips)
  found = scorer.whole({"pose": said})["r_squared"]
  np.testing.assert_array_equal(found.denominator, [9, 1, 1, 9])
  assert found.score() == 1 - 2 / 20


def _wide(valid, value):
  return valid.reshape(-1, *(1,) * (value.ndim - 1))


@pytest.fixture
def animals():
  names = ("cat", "dog", "fox")
  return classes.make_task("label", "animals", "label", names, False)


def views(video, index=None):
  video = np.asarray(video)
  index = np.arange(len(video)) if index is None else np.asarray(index)
  return scoring.Clips(index, video, np.array([f"v{v}" for v in video]))


def test_probabilities_of_views_are_averaged(animals):
  """By hand: the surer view decides, where a vote or mean logits do not."""
  p = np.array([[0.98, 0.01, 0.01], [0.3, 0.4, 0.3], [0.3, 0.4, 0.3]])
  other = np.array([[0.2, 0.2, 0.6]])
  logits = np.log(np.concatenate([p, other])) + [[5.0], [-1.0], [0.0], [3.0]]
  label = {"label": np.array([0, 0, 0, 2], np.int32)}
  scorer = scoring.Scorer(animals, label, views([7, 7, 7, 3]))
  assert scorer.num_rows == 2
  assert scorer.groups.tolist() == ["v7", "v3"]
  (found,) = [
    animals.average({"logits": logits}, np.array([0, 3]), 0)["logits"]
  ]
  np.testing.assert_allclose(np.exp(found[0]), p.mean(axis=0))
  np.testing.assert_allclose(np.exp(found[1]), other[0])
  scores = scorer.whole({"logits": logits})
  np.testing.assert_array_equal(scores["top_1"].numerator, [1, 1])
  assert scores["top_1"].num_clips == 2


def test_identical_views_score_as_one(animals):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(9, 3)).astype(np.float32)
  label = rng.integers(3, size=9).astype(np.int32)
  one = scoring.Scorer(animals, {"label": label}, views(np.arange(9)))
  many = scoring.Scorer(
    animals, {"label": label.repeat(4)}, views(np.arange(9).repeat(4))
  )
  single = one.whole({"logits": logits})
  for name, ratio in many.whole({"logits": logits.repeat(4, axis=0)}).items():
    np.testing.assert_array_equal(ratio.numerator, single[name].numerator)
    np.testing.assert_array_equal(ratio.denominator, single[name].denominator)


@pytest.mark.parametrize("size", [1, 2, 5, 24])
def test_order_and_parts_of_views_do_not_matter(size):
  """With members in front, and views that can't be read left out."""
  one = make("label")
  targets, valid, index, _, clips = split_of(one, num_videos=5)
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(len(valid), 2, 3, 3))  # clips, then members
  scorer = scoring.Scorer(one, keep(targets, valid), clips)

  def members(parts):
    return [
      ({"logits": np.moveaxis(out["logits"], 0, 2)}, own) for out, own in parts
    ]

  straight = {"logits": logits}
  whole = scorer.score(
    members(in_batches(targets, valid, index, straight, 24)), num_axes=2
  )
  order = rng.permutation(len(valid))
  parts = in_batches(targets, valid, index, straight, size, order)
  found = scorer.score(members(parts), num_axes=2)
  assert whole["top_1"].keys() == {(i, j) for i in range(2) for j in range(3)}
  for name, places in whole.items():
    for place, ratio in places.items():
      np.testing.assert_array_equal(
        found[name][place].numerator, ratio.numerator
      )
  # By hand for one member, from the views that count alone.
  shares = np.exp(logits[:, 1, 2])
  shares /= shares.sum(axis=-1, keepdims=True)
  for row, group in enumerate(scorer.groups):
    own = valid & (index % 5 == int(group.split()[1]))
    labels = targets["label"][own]
    mean = shares[own & (targets["label"] == labels[0])].mean(axis=0)
    first = whole["top_1"][1, 2]
    if labels[0] >= 0 and (labels == labels[0]).all():
      assert first.numerator[row] == (mean.argmax() == labels[0])


def test_a_file_under_two_labels_is_asked_for_both(animals):
  label = {"label": np.array([0, 0, 1, 1], np.int32)}
  scorer = scoring.Scorer(animals, label, views([4, 4, 4, 4]))
  logits = np.array([[3.0, 0, 0], [3, 0, 0], [3, 0, 0], [0, 3.5, 0]])
  top_1 = scorer.whole({"logits": logits})["top_1"]
  np.testing.assert_array_equal(top_1.numerator, [1, 1])


@pytest.mark.parametrize("name", ["depth", "pose", "points", "boxes"])
def test_what_differs_between_views_is_scored_view_by_view(name):
  one = make(name)
  targets, valid, _, answers, clips = split_of(one, num_videos=5)
  scorer = scoring.Scorer(one, keep(targets, valid), clips)
  assert scorer.num_rows == valid.sum()
  np.testing.assert_array_equal(scorer.groups, clips.group)
  found = scorer.whole(keep(answers, valid))
  assert found[one.primary].num_clips == valid.sum()


def test_the_blind_know_the_prior(animals):
  train = {"label": np.array([2, 2, 1], np.int32)}
  test = {"label": np.array([2, 1, 2], np.int32)}
  scorer = scoring.Scorer(animals, test, views(np.arange(3)))
  scores = scorer.whole(animals.blind(train, test))
  assert scores["top_1"].score() == pytest.approx(2 / 3)


def test_clips_that_are_missing_or_foreign_are_told(animals):
  label = {"label": np.array([0, 0, 2], np.int32)}
  scorer = scoring.Scorer(animals, label, views([0, 0, 1]))
  logits = {"logits": np.eye(3)}
  own = label | {scoring.VALID: np.ones(3, bool), scoring.INDEX: np.arange(3)}
  lost = own | {scoring.VALID: np.array([True, False, True])}
  with pytest.raises(errors.UserError, match="of 2 answers only 1 can be"):
    scorer.score([(logits, lost)])
  foreign = own | {scoring.INDEX: np.array([0, 1, 7])}
  with pytest.raises(ValueError, match="not one of the split"):
    scorer.score([(logits, foreign)])
