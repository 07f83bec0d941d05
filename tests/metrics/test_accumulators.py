"""Sums by clip: digits, order, merging, skipping, and their dicts."""

import fractions
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from vdr.metrics import accumulators
from vdr.metrics.accumulators import Final, Ratio

FINITE = st.floats(-1e12, 1e12)


def ratio(numerator, denominator, final=Final.MEAN):
  return Ratio(np.array(numerator, float), np.array(denominator, float), final)


@hypothesis.given(
  st.lists(st.tuples(FINITE, st.integers(0, 9)), min_size=1, max_size=40),
  st.integers(0, 40),
)
def test_a_score_is_the_quotient_of_exact_sums(rows, cut):
  x = ratio(*zip(*rows, strict=True))
  whole = math.fsum(x.denominator)
  exact = sum(map(fractions.Fraction, x.numerator), fractions.Fraction(0))
  if not whole:
    assert math.isnan(x.score())
    return
  assert x.score() == pytest.approx(float(exact) / whole, rel=1e-15, abs=1e-300)
  parts = [
    x.keep(np.arange(len(rows)) < cut),
    x.keep(np.arange(len(rows)) >= cut),
  ]
  for several in (parts, parts[::-1]):
    assert accumulators.concatenate(several).score() == x.score()
    merged = accumulators.merge([part.sums() for part in several])
    assert merged.score() == x.score()
    assert merged.num_clips == x.num_clips
    assert merged.num_skipped == x.num_skipped


def test_sums_keep_what_float64_drops():
  assert ratio([1e16, 1, -1e16], [1, 1, 1]).score() == pytest.approx(1 / 3)
  many = [ratio([0.1], [1]).sums()] * 1000
  assert accumulators.merge(many).total[0].sum() == math.fsum([0.1] * 1000)


def test_clips_with_nothing_to_score_are_skipped_and_counted():
  x = ratio([1, 0, 3], [1, 0, 1])
  assert x.score() == 2
  assert (x.num_clips, x.num_skipped) == (3, 1)
  np.testing.assert_array_equal(x.values(), [1, np.nan, 3])
  nothing = ratio([0, 0], [0, 0])
  assert math.isnan(nothing.score())
  assert nothing.num_skipped == 2


def test_an_error_without_a_weight_is_not_skipped():
  # A clip on the mean: no part of the variance, but of the error.
  x = ratio([1, 1], [0, 4], Final.EXPLAINED)
  assert x.score() == 0.5
  assert x.num_skipped == 0


def test_what_is_done_with_the_quotient():
  assert ratio([9, 7], [1, 3]).score() == 4
  assert ratio([9, 7], [1, 3], Final.ROOT).score() == 2
  assert ratio([9, 7], [1, 3], Final.EXPLAINED).score() == -3


def test_parts_are_averaged_where_they_have_a_weight():
  x = ratio([[1, 0, 0], [0, 2, 0]], [[1, 0, 0], [1, 4, 0]])
  assert x.score() == (0.5 + 0.5) / 2
  assert x.num_skipped == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_goes_on(value):
  x = ratio([1, value, 1, 2], [1, 1, 1, 1])
  np.testing.assert_equal(x.score(), value)
  merged = accumulators.merge([x.sums(), ratio([1], [1]).sums()])
  np.testing.assert_equal(merged.score(), value)


def test_rows_can_be_taken_in_another_order():
  x = ratio([1, 2, 3], [1, 1, 2]).take(np.array([2, 0]))
  np.testing.assert_array_equal(x.numerator, [3, 1])
  np.testing.assert_array_equal(x.denominator, [2, 1])


@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_a_bad_weight_is_refused(bad):
  with pytest.raises(ValueError, match="denominator"):
    ratio([1], [bad])


def test_different_scores_are_not_merged():
  several = [ratio([1], [1]), ratio([1], [1], Final.ROOT)]
  with pytest.raises(ValueError, match="one kind"):
    accumulators.concatenate(several)
  with pytest.raises(ValueError, match="one kind"):
    accumulators.merge([x.sums() for x in several])
  for empty in (accumulators.concatenate, accumulators.merge):
    with pytest.raises(ValueError, match="one kind"):
      empty([])
  with pytest.raises(ValueError, match="nothing"):
    accumulators.merge_moments([])


@pytest.mark.parametrize("columns", [(), (3,)])
def test_dicts_hold_everything(columns):
  rng = np.random.default_rng(0)
  x = Ratio(rng.random((5, *columns)), rng.random((5, *columns)), Final.ROOT)
  again = accumulators.ratio_from_dict(x.to_dict())
  assert again.score() == x.score()
  sums = accumulators.sums_from_dict(x.sums().to_dict())
  assert sums.score() == x.score()
  assert (sums.num_clips, sums.num_skipped) == (5, 0)
  for array in [*x.to_dict().values(), *x.sums().to_dict().values()]:
    assert isinstance(array, np.ndarray)
    assert array.dtype.kind in "fi"  # what hosts can send each other


@hypothesis.given(st.integers(0, 99), st.integers(0, 12), st.integers(0, 12))
def test_moments_in_parts_are_those_of_all(seed, first, second):
  rng = np.random.default_rng(seed)
  # Far from 0: Σx² - n·mean² would have no digit left.
  x = 1e6 + rng.normal(size=(12, 4)).astype(np.float32).astype(np.float64)
  first, second = sorted((first, second))
  parts = [accumulators.moments(y) for y in np.split(x, [first, second])]
  merged = accumulators.merge_moments(parts)
  assert merged.count == 12
  np.testing.assert_allclose(merged.mean, x.mean(axis=0), rtol=1e-14)
  for ddof in (0, 1):
    np.testing.assert_allclose(
      merged.covariance(ddof), np.cov(x.T, ddof=ddof), rtol=1e-6, atol=1e-8
    )
  again = accumulators.moments_from_dict(merged.to_dict())
  np.testing.assert_array_equal(again.covariance(), merged.covariance())


def test_moments_leave_out_padding():
  x = np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, 5.0]])
  kept = accumulators.moments(x, np.array([True, False, True]))
  np.testing.assert_array_equal(kept.mean, [2, 3.5])
  with pytest.raises(ValueError, match="1 vectors"):
    accumulators.moments(x[:1]).covariance()
