"""Intervals that hold the truth as often as they say, p-values, gains, Holm."""

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st

from vdr.metrics import accumulators, statistics
from vdr.metrics.accumulators import Final, Ratio

SIMULATIONS = 200


def means(values):
  return Ratio(np.asarray(values, float), np.ones(len(values)))


def coverage(simulate, truth, num_draws=400):
  """How often a 95 % interval holds the truth, with 4 standard errors."""
  hits = []
  for seed in range(SIMULATIONS):
    estimate = simulate(np.random.default_rng(seed), num_draws)
    hits.append(estimate.low <= truth <= estimate.high)
  return np.mean(hits), 4 * np.sqrt(0.95 * 0.05 / SIMULATIONS)


def simulated_accuracy(rng, num_draws):
  hits = means(rng.random(120) < 0.7)
  return statistics.bootstrap({"a": [hits]}, num_draws).score("a")


def simulated_pooled_error(rng, num_draws):
  pixels = rng.integers(1, 100, 160).astype(float)
  error = pixels * rng.gamma(8.0, 0.0125, 160)
  drawn = statistics.bootstrap({"a": [Ratio(error, pixels)]}, num_draws)
  return drawn.score("a")


def simulated_explained(rng, num_draws):
  target = rng.normal(size=150)
  error = np.square(0.5 * rng.normal(size=150))
  ratio = Ratio(error, np.square(target), Final.EXPLAINED)
  return statistics.bootstrap({"a": [ratio]}, num_draws).score("a")


def simulated_difference(rng, num_draws):
  shared = rng.normal(size=60)
  runs = {
    "a": [means(shared + 0.3 * rng.normal(size=60) + 0.1)],
    "b": [means(shared + 0.3 * rng.normal(size=60))],
  }
  return statistics.bootstrap(runs, num_draws).difference("a", "b")


def simulated_seeds(rng, num_draws, num_seeds=8):
  """Clips, seeds, and what is special about each clip in each seed."""
  clips, luck = rng.normal(size=60), 0.2 * rng.normal(size=(num_seeds, 1))
  values = clips + luck + 0.3 * rng.normal(size=(num_seeds, 60))
  runs = {"a": [means(row) for row in values]}
  return statistics.bootstrap(runs, num_draws).score("a")


@pytest.mark.parametrize(
  ("simulate", "truth"),
  [
    (simulated_accuracy, 0.7),
    (simulated_pooled_error, 0.1),
    (simulated_explained, 0.75),
    (simulated_difference, 0.1),
    (simulated_seeds, 0.0),
  ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(simulate, truth):
  share, error = coverage(simulate, truth)
  assert abs(share - 0.95) < error


def test_p_values_below_five_percent_are_rare_where_nothing_differs():
  p_values = []
  for seed in range(SIMULATIONS):
    rng = np.random.default_rng(seed)
    runs = {name: [means(rng.normal(size=60))] for name in "ab"}
    drawn = statistics.bootstrap(runs, 400)
    p_values.append(drawn.difference("a", "b").p_value)
  assert np.mean(np.array(p_values) < 0.05) < 0.05 + 0.05
  assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("skew", [0, 1])
def test_scipy_has_the_same_interval(skew):
  rng = np.random.default_rng(3)
  values = rng.normal(size=50) if not skew else rng.lognormal(size=50)
  other = scipy.stats.bootstrap(
    (values,), np.mean, n_resamples=20_000, method="BCa", rng=rng
  )
  ours = statistics.bootstrap({"a": [means(values)]}, 20_000).score("a")
  width = ours.high - ours.low
  assert ours.low == pytest.approx(
    other.confidence_interval.low, abs=0.03 * width
  )
  assert ours.high == pytest.approx(
    other.confidence_interval.high, abs=0.03 * width
  )
  assert ours.error == pytest.approx(other.standard_error, rel=0.05)


@hypothesis.settings(max_examples=25)
@hypothesis.given(st.integers(0, 999), st.floats(-0.5, 0.5))
def test_the_p_value_is_where_the_interval_begins_to_hold_zero(seed, apart):
  rng = np.random.default_rng(seed)
  runs = {
    "a": [means(rng.exponential(size=40) + apart)],
    "b": [means(rng.exponential(size=40))],
  }
  drawn = statistics.bootstrap(runs, 2000)
  p_value = drawn.difference("a", "b").p_value
  hypothesis.assume(0.01 < p_value < 0.9)
  wide = drawn.difference("a", "b", 1 - p_value / 1.1)
  narrow = drawn.difference("a", "b", 1 - min(p_value * 1.1, 0.999))
  assert wide.low <= 0 <= wide.high
  assert not narrow.low <= 0 <= narrow.high


def slow_bootstrap(runs, num_draws, rng):
  """Clips drawn one after another, scored by concatenation."""
  scores = []
  for _ in range(num_draws):
    n = runs[0].num_clips
    order = rng.integers(0, n, n)
    scores.append(np.mean([run.take(order).score() for run in runs]))
  return np.array(scores)


@pytest.mark.parametrize("final", list(Final))
def test_draws_are_spread_as_slow_ones(final):
  rng = np.random.default_rng(0)
  run = Ratio(rng.random((40, 3)), rng.random((40, 3)) + 1, final)
  fast = statistics.bootstrap({"a": [run]}, 4000)
  slow = slow_bootstrap([run], 1000, rng)
  assert fast.scores[0] == pytest.approx(run.score())
  assert fast.draws.mean() == pytest.approx(slow.mean(), abs=0.2 * slow.std())
  assert fast.draws.std() == pytest.approx(slow.std(), rel=0.1)
  left_out = [run.keep(np.arange(40) != i).score() for i in range(40)]
  np.testing.assert_allclose(fast.without_group[:, 0], left_out)


def test_the_same_clips_are_drawn_for_all():
  values = np.random.default_rng(0).normal(size=50)
  runs = {"a": [means(values)], "b": [means(values + 0.25)]}
  shift = statistics.bootstrap(runs, 100).difference("b", "a")
  assert (shift.value, shift.low, shift.high) == pytest.approx((0.25,) * 3)
  assert shift.p_value == 2 / 101  # the least that 100 draws can say


def test_equal_backbones_do_not_differ():
  values = np.random.default_rng(0).normal(size=50)
  drawn = statistics.bootstrap({n: [means(values)] for n in "ab"}, 100)
  same = drawn.difference("a", "b")
  assert (same.low, same.high, same.p_value) == (0, 0, 1)
  perfect = statistics.bootstrap({"a": [means(np.ones(9))]}, 100).score("a")
  assert (perfect.low, perfect.high) == (1, 1)


def test_seeds_add_the_variance_of_their_mean():
  rng = np.random.default_rng(0)
  for num_seeds in (2, 3, 8):
    luck = rng.normal(size=num_seeds)
    runs = {"a": [means(np.full(30, x)) for x in luck]}
    error = statistics.bootstrap(runs, 20_000).score("a").error
    expected = luck.std(ddof=1) / np.sqrt(num_seeds)
    assert error == pytest.approx(expected, rel=0.05)


def test_runs_of_one_seed_are_drawn_together():
  rng = np.random.default_rng(0)
  values = rng.normal(size=(3, 2, 40)) + rng.normal(size=(3, 1, 1))
  nested = [[means(row) for row in several] for several in values]
  averaged = [means(several.mean(axis=0)) for several in values]
  together = statistics.bootstrap({"a": nested}, 500)
  mean = statistics.bootstrap({"a": averaged}, 500)
  for name in ("scores", "draws", "without_group", "without_seed"):
    np.testing.assert_allclose(getattr(together, name), getattr(mean, name))


def test_backbones_may_have_different_numbers_of_seeds():
  rng = np.random.default_rng(0)
  clips = rng.normal(size=40)
  few, many = rng.normal(size=2), rng.normal(size=5)
  runs = {
    "few": [means(clips + luck) for luck in few],
    "many": [means(clips + luck) for luck in many],
  }
  drawn = statistics.bootstrap(runs, 20_000)
  apart = drawn.difference("few", "many")
  assert apart.value == pytest.approx(few.mean() - many.mean())
  # Clips cancel out; seeds of both add up, drawn independently.
  expected = np.sqrt(few.var(ddof=1) / 2 + many.var(ddof=1) / 5)
  assert apart.error == pytest.approx(expected, rel=0.05)
  assert [x.shape for x in drawn.without_seed] == [(2, 2), (5, 2)]
  without = statistics.bootstrap({"few": runs["few"]}, 20_000)
  np.testing.assert_array_equal(drawn.draws[:, :1], without.draws)
  alone = statistics.bootstrap({"few": runs["few"]}, 20_000).score("few")
  assert drawn.score("few").error == pytest.approx(alone.error, rel=0.05)


def test_skipped_clips_change_nothing_but_the_draws():
  rng = np.random.default_rng(0)
  values = rng.normal(size=30)
  skipped = Ratio(np.append(values, 0.0), np.append(np.ones(30), 0.0))
  drawn = statistics.bootstrap({"a": [skipped]}, 2000)
  plain = statistics.bootstrap({"a": [means(values)]}, 2000).score("a")
  assert drawn.score("a").value == pytest.approx(plain.value)
  assert drawn.score("a").error == pytest.approx(plain.error, rel=0.1)
  # So few that some draws have none at all: those are left out.
  few = Ratio(np.array([1.0, 3.0, 0, 0]), np.array([1.0, 1.0, 0, 0]))
  estimate = statistics.bootstrap({"a": [few]}, 2000).score("a")
  assert 1 <= estimate.low < 2 < estimate.high <= 3


@pytest.mark.parametrize(
  "run",
  [means([1.0]), means([1.0, np.nan, 2.0]), Ratio(np.zeros(5), np.zeros(5))],
  ids=["one clip", "NaN", "nothing to score"],
)
def test_what_can_not_be_known_is_nan(run):
  estimate = statistics.bootstrap({"a": [run]}, 100).score("a")
  np.testing.assert_equal(estimate.value, run.score())
  unknown = (estimate.low, estimate.high, estimate.error, estimate.p_value)
  assert np.isnan(unknown).all()


def test_the_same_seed_draws_the_same_in_any_pieces(monkeypatch):
  rng = np.random.default_rng(0)
  runs = {"a": [means(rng.normal(size=40)), means(rng.normal(size=40))]}
  whole = statistics.bootstrap(runs, 500, seed=1)
  again = statistics.bootstrap(runs, 500, seed=1)
  np.testing.assert_array_equal(whole.draws, again.draws)
  assert (statistics.bootstrap(runs, 500, seed=2).draws != whole.draws).any()
  monkeypatch.setattr(statistics, "PIECE", 90)
  pieces = statistics.bootstrap(runs, 501, seed=1)
  assert pieces.draws.shape == (501, 1)
  assert pieces.draws.std() == pytest.approx(whole.draws.std(), rel=0.15)


def test_runs_that_do_not_fit_are_refused():
  one, two = means([1.0, 2.0]), means([1.0, 2.0, 3.0])
  root = Ratio(one.numerator, one.denominator, Final.ROOT)
  for runs in (
    {"a": [one], "b": [two]},
    {"a": [[one, one], [one]]},
    {"a": [[]]},
    {"a": [one], "b": [root]},
    {"a": []},
    {},
  ):
    with pytest.raises(ValueError, match="runs must be"):
      statistics.bootstrap(runs, 10)
  with pytest.raises(ValueError, match="no clips"):
    statistics.bootstrap({"a": [means([])]}, 10)


def test_many_clips_are_drawn_at_once_and_once_for_all_scores(monkeypatch):
  statistics._kept_pieces.cache_clear()
  rows = []
  draw = statistics._draw

  def drawn(rng, num_rows, *sizes):
    rows.append(num_rows)
    return draw(rng, num_rows, *sizes)

  monkeypatch.setattr(statistics, "_draw", drawn)
  rng = np.random.default_rng(0)
  for _ in range(3):
    runs = {name: [means(rng.normal(size=512))] for name in "ab"}
    statistics.bootstrap(runs, 10_000).difference("a", "b")
  assert sum(rows) == 2 * 10_000  # of clips, and of seeds
  assert len(rows) < 10


@pytest.mark.parametrize(
  ("goal", "new", "base", "expected"),
  [
    (statistics.Goal(), 0.6, 0.4, 0.5),
    (statistics.Goal(chance=0.2), 0.6, 0.4, 1.0),
    (statistics.Goal(chance=0.4), 0.6, 0.4, np.nan),
    (statistics.Goal(chance=0.5), 0.6, 0.4, np.nan),
    (statistics.Goal(lower_is_better=True), 0.3, 0.4, 0.25),
    (statistics.Goal(lower_is_better=True), 0.5, 0.4, -0.25),
    (statistics.Goal(lower_is_better=True, chance=0.5), 0.3, 0.4, 1.0),
    (statistics.Goal(lower_is_better=True, chance=0.3), 0.2, 0.4, np.nan),
  ],
)
def test_gains_by_hand(goal, new, base, expected):
  np.testing.assert_allclose(goal.gain(new, base), expected)
  rng = np.random.default_rng(0)
  noise = 1e-3 * rng.normal(size=200)
  noise -= noise.mean()
  runs = {"new": [means(new + noise)], "base": [means(base + noise)]}
  estimate = statistics.bootstrap(runs, 500).gain("new", "base", goal)
  np.testing.assert_allclose(estimate.value, expected)
  if not np.isnan(expected):
    assert estimate.low <= expected <= estimate.high


def test_a_gain_over_what_may_be_chance_has_no_value():
  rng = np.random.default_rng(0)
  runs = {
    "new": [means(rng.random(100) < 0.6)],
    "base": [means(np.arange(100) % 100 < 28)],
  }
  drawn = statistics.bootstrap(runs, 500)
  chance = statistics.Goal(chance=0.25)  # 0.28 ± 0.045 is no better
  assert chance.gain(0.6, 0.28) > 0
  assert np.isnan(drawn.gain("new", "base", chance).value)
  assert drawn.gain("new", "base", statistics.Goal()).value > 0


def test_holm_by_hand():
  p_values = np.array([0.04, 0.01, np.nan, 0.03, 0.5])
  np.testing.assert_allclose(
    statistics.holm(p_values), [0.09, 0.04, np.nan, 0.09, 0.5]
  )
  np.testing.assert_array_equal(statistics.holm(np.array([0.9, 0.8])), 1)
  assert statistics.holm(np.array([])).shape == (0,)


@hypothesis.given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.data())
def test_holm_rejects_step_by_step(several, data):
  p_values = np.array(several)
  level = data.draw(st.floats(0.001, 0.999))
  # The procedure as it is told: go on until one claim is not significant.
  rejected = np.zeros(len(p_values), bool)
  for step, i in enumerate(np.argsort(p_values, kind="stable")):
    if (len(p_values) - step) * p_values[i] > level:
      break
    rejected[i] = True
  np.testing.assert_array_equal(statistics.holm(p_values) <= level, rejected)


def test_rows_of_hosts_can_be_put_together():
  rng = np.random.default_rng(0)
  run = means(rng.normal(size=30))
  parts = [run.keep(np.arange(30) % 2 == i) for i in range(2)]
  merged = accumulators.concatenate(parts)
  order = np.argsort(np.concatenate([np.arange(0, 30, 2), np.arange(1, 30, 2)]))
  again = statistics.bootstrap({"a": [merged.take(order)]}, 100)
  whole = statistics.bootstrap({"a": [run]}, 100)
  np.testing.assert_array_equal(again.draws, whole.draws)
