"""Intervals of clips that come in groups, such as the clips of a video."""

import numpy as np
import pytest

from vdr.metrics import statistics
from vdr.metrics.accumulators import Ratio

CLIPS = 8  # of a video
CORRELATION = 1 / 3  # of two clips of one


def each_alone(values):
  return Ratio(values, np.ones(len(values)))


def simulated(num_videos, seed, between):
  """Scores of clips, which groups they are in, and the true number.

  `between` "none" is of one backbone, "difference" of two on the same clips,
  "gain" of one over the other.
  """
  video = np.arange(num_videos).repeat(CLIPS)
  rng = np.random.default_rng([num_videos, seed])
  shared = rng.normal(size=num_videos)[video] * np.sqrt(CORRELATION)
  scores = shared + rng.normal(size=len(video)) * np.sqrt(1 - CORRELATION)
  if between == "none":
    return {"a": [each_alone(scores)]}, video, 0.0
  level, gain = {"difference": (0.0, 0.0), "gain": (4.0, 0.25)}[between]
  base = level + rng.normal(size=num_videos)[video]
  new = base + gain * level + scores
  runs = {"a": [each_alone(new)], "b": [each_alone(base)]}
  return runs, video, gain


def coverage(num_videos, num_runs, num_draws, between="none", grouped=True):
  """How often 95 % intervals hold the truth."""
  hits = 0
  for seed in range(num_runs):
    runs, video, truth = simulated(num_videos, seed, between)
    groups = video if grouped else None
    drawn = statistics.bootstrap(runs, num_draws, groups=groups)
    if between == "none":
      found = drawn.score("a")
    elif between == "difference":
      found = drawn.difference("a", "b")
    else:
      found = drawn.gain("a", "b", statistics.Goal())
    hits += found.low <= truth <= found.high
  return hits / num_runs


def test_clips_of_a_video_are_not_independent():
  assert coverage(50, 400, 400) == pytest.approx(0.95, abs=0.03)
  assert coverage(50, 400, 400, grouped=False) < 0.8


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("num_videos", [40, 80, 160])
def test_grouped_intervals_hold_the_truth_and_others_do_not(num_videos):
  assert 0.93 <= coverage(num_videos, 4000, 1000) <= 0.97
  each = coverage(num_videos, 4000, 400, grouped=False)
  assert 0.70 <= each <= 0.74


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("between", ["difference", "gain"])
@pytest.mark.parametrize("num_videos", [40, 160])
def test_comparisons_of_groups_hold_the_truth(num_videos, between):
  assert 0.93 <= coverage(num_videos, 4000, 1000, between) <= 0.97


def test_few_videos_have_intervals_that_are_too_narrow():
  """What `LEAST_GROUPS` warns of."""
  assert coverage(5, 400, 400) < 0.9


def test_groups_are_drawn_whole():
  """As if each group were one clip with the sums of its clips."""
  rng = np.random.default_rng(0)
  groups = np.array([*"bbacbdadbeeec"])
  run = Ratio(rng.random((13, 2)), 1.0 * rng.integers(0, 5, (13, 2)))
  order = [*"bacde"]
  whole = Ratio(
    *(
      np.stack([x[groups == name].sum(axis=0) for name in order])
      for x in (run.numerator, run.denominator)
    )
  )
  ours = statistics.bootstrap({"a": [run, run]}, 200, groups=groups)
  theirs = statistics.bootstrap({"a": [whole, whole]}, 200)
  for name in ("scores", "draws", "without_group"):
    np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name))
  assert len(ours.without_group) == 5 == statistics.count_groups(groups)


def test_groups_of_one_clip_change_no_bit():
  rng = np.random.default_rng(0)
  runs = {n: [each_alone(rng.normal(size=40)) for _ in range(3)] for n in "ab"}
  names = rng.permutation(40).astype(str)
  plain = statistics.bootstrap(runs, 500)
  grouped = statistics.bootstrap(runs, 500, groups=names)
  for name in ("scores", "draws", "without_group"):
    np.testing.assert_array_equal(getattr(grouped, name), getattr(plain, name))
  assert grouped.difference("a", "b") == plain.difference("a", "b")


def test_one_group_has_a_value_and_no_interval():
  run = each_alone(np.arange(5.0))
  found = statistics.bootstrap({"a": [run]}, 100, groups=np.zeros(5, int))
  estimate = found.score("a")
  assert estimate.value == 2.0
  assert np.isnan([estimate.low, estimate.high, estimate.p_value]).all()


def test_groups_of_other_clips_are_refused():
  with pytest.raises(ValueError, match="3 groups of 5 clips"):
    statistics.bootstrap(
      {"a": [each_alone(np.arange(5.0))]}, 10, groups=np.arange(3)
    )
