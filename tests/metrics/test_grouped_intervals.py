"""Intervals of clips that come in groups, such as the clips of a video."""

import numpy as np
import pytest

from vdr.metrics import statistics
from vdr.metrics.accumulators import Ratio

CLIPS = 8  # of a video
CORRELATION = 1 / 3  # of two clips of one


def each_alone(values):
  return Ratio(values, np.ones(len(values)))


def grouped_coverage(num_videos, num_runs, num_draws, between):
  """How often 95 % intervals hold the truth: by videos, and by clips.

  `between` "none" scores one backbone, "difference" two on the same clips and
  "gain" one over the other, as an accuracy above chance.
  """
  video = np.arange(num_videos).repeat(CLIPS)
  goal, truth = statistics.Goal(), {"gain": 0.25}.get(between, 0.0)
  hits = np.zeros(2)
  for seed in range(num_runs):
    rng = np.random.default_rng([num_videos, seed])
    shared = rng.normal(size=num_videos)[video] * np.sqrt(CORRELATION)
    alone = rng.normal(size=len(video)) * np.sqrt(1 - CORRELATION)
    base = rng.normal(size=num_videos)[video]
    runs = {"a": [each_alone(shared + alone)]}
    if between != "none":
      level = 4.0 if between == "gain" else 0.0
      runs = {
        "a": [each_alone(level * (1 + truth) + base + shared + alone)],
        "b": [each_alone(level + base)],
      }
    for way, groups in enumerate((video, None)):
      drawn = statistics.bootstrap(runs, num_draws, groups=groups)
      found = {
        "none": lambda d=drawn: d.score("a"),
        "difference": lambda d=drawn: d.difference("a", "b"),
        "gain": lambda d=drawn: d.gain("a", "b", goal),
      }[between]()
      hits[way] += found.low <= truth <= found.high
  return hits / num_runs


def test_clips_of_a_video_are_not_independent():
  grouped, each = grouped_coverage(50, 400, 400, "none")
  assert grouped == pytest.approx(0.95, abs=0.03)
  assert each < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("between", ["none", "difference", "gain"])
@pytest.mark.parametrize("num_videos", [40, 80, 160])
def test_grouped_intervals_hold_the_truth_and_others_do_not(
  num_videos, between
):
  grouped, each = grouped_coverage(num_videos, 4000, 1000, between)
  assert 0.93 <= grouped <= 0.97
  assert 0.7 <= each <= 0.74


def test_few_videos_have_intervals_that_are_too_narrow():
  """What `LEAST_GROUPS` warns of."""
  grouped, _ = grouped_coverage(5, 400, 400, "none")
  assert grouped < 0.9


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
