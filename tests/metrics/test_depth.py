"""Depth errors against loops over pixels, by hand, and what they never read."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.metrics import rows
from vdr.metrics import depth

SCORES = {
  "abs_rel": depth.abs_rel,
  "delta": depth.delta,
  "rmse": depth.rmse,
  "log10": depth.log10_error,
}


def batch(seed, shape=(4, 2, 3, 5)):
  rng = np.random.default_rng(seed)
  target = rng.uniform(0.5, 8, shape).astype(np.float32)
  noise = rng.lognormal(0, 0.3, shape).astype(np.float32)
  valid = rng.random(shape) < 0.7
  valid[0, 0] = False  # a picture without a valid pixel
  return {
    "pred_m": target * noise,
    "target_m": np.where(valid, target, np.nan),
    "valid": valid,
  }


def slow_errors(p, d):
  """Of the pixels of one picture or of all of them, in float64."""
  pairs = list(zip(p.astype(float), d.astype(float), strict=True))
  return {
    "abs_rel": np.mean([abs(a - b) / (b + 1e-6) for a, b in pairs]),
    "delta": np.mean([max(a / b, b / a) < 1.25 for a, b in pairs]),
    "rmse": np.mean([(a - b) ** 2 for a, b in pairs]) ** 0.5,
    "log10": np.mean([abs(np.log10(a / b)) for a, b in pairs]),
  }


@pytest.mark.parametrize("name", SCORES)
@hypothesis.settings(max_examples=10)
@hypothesis.given(seed=st.integers(0, 999))
def test_all_are_the_slow_ones(name, seed):
  x = batch(seed)
  pooled = slow_errors(x["pred_m"][x["valid"]], x["target_m"][x["valid"]])
  assert SCORES[name](**x).score() == pytest.approx(pooled[name], rel=1e-9)
  by_image = [
    slow_errors(p[v], d[v])[name]
    for clip in zip(*x.values(), strict=True)
    for p, d, v in zip(*clip, strict=True)
    if v.any()
  ]
  images = SCORES[name](**x, pool="images").score()
  assert images == pytest.approx(np.mean(by_image), rel=1e-9)


@pytest.mark.parametrize("pool", ["pixels", "images"])
@pytest.mark.parametrize("name", SCORES)
def test_rows(name, pool):
  rows.check(lambda **x: SCORES[name](**x, pool=pool), batch(0))


@pytest.mark.parametrize("pool", ["pixels", "images"])
@pytest.mark.parametrize("name", SCORES)
def test_the_truth_scores_perfectly(name, pool):
  x = batch(1)
  x["pred_m"] = x["target_m"]
  perfect = 1.0 if name == "delta" else 0.0
  assert SCORES[name](**x, pool=pool).score() == perfect


@pytest.mark.parametrize("name", SCORES)
def test_pictures_without_time_or_pixels(name):
  x = {k: v[:, 1] for k, v in batch(2).items()}
  assert SCORES[name](**x).numerator.shape == (4,)
  x["valid"] = np.zeros_like(x["valid"])
  nothing = SCORES[name](**x)
  assert np.isnan(nothing.score())
  assert nothing.num_skipped == 4


def one(p, d):
  shape = (1, 1, 1)
  return np.full(shape, p), np.full(shape, d), np.ones(shape, bool)


@pytest.mark.parametrize(
  ("factor", "power", "expected"),
  [(1.24, 1, 1), (1.26, 1, 0), (1 / 1.24, 1, 1), (1 / 1.26, 1, 0)]
  + [(1.26, 2, 1), (1.57, 2, 0), (1.57, 3, 1), (1.96, 3, 0), (1.25, 1, 0)],
)
def test_delta_counts_both_ways(factor, power, expected):
  assert depth.delta(*one(4 * factor, 4.0), power=power).score() == expected


@pytest.mark.parametrize("bad", [0.0, -1.0, -0.9, np.nan, np.inf, -np.inf])
def test_what_is_no_depth_is_wrong(bad):
  assert depth.delta(*one(bad, 1.0)).score() == 0


def test_nan_where_it_counts_is_not_left_out():
  x = batch(3)
  x["pred_m"][1][x["valid"][1]] = np.nan
  for name in ("abs_rel", "rmse", "log10"):
    for pool in ("pixels", "images"):
      assert np.isnan(SCORES[name](**x, pool=pool).score())


def test_a_logarithm_of_nothing_is_one_of_a_millimetre():
  for p in (0.0, -3.0, 1e-9):
    assert depth.log10_error(*one(p, 1.0)).score() == pytest.approx(3)


@hypothesis.given(
  st.integers(0, 999), st.floats(0.1, 9), st.floats(-3, 3), st.booleans()
)
def test_alignment_finds_the_line(seed, scale, shift, with_shift):
  x = batch(seed)
  line = (x["target_m"] - shift * with_shift) / scale
  how = "scale_shift" if with_shift else "scale"
  aligned = depth.align(line, x["target_m"], x["valid"], how)
  np.testing.assert_allclose(
    aligned[x["valid"]], x["target_m"][x["valid"]], rtol=1e-4
  )


@pytest.mark.parametrize("how", ["scale", "scale_shift"])
def test_alignment_is_least_squares(how):
  x = batch(4)
  aligned = depth.align(**x, how=how)
  for p, d, v, a in zip(
    *(y.reshape(-1, 3, 5) for y in (*x.values(), aligned)), strict=True
  ):
    if v.any():
      columns = [p[v].astype(float), np.ones(v.sum())]
      columns = np.stack(columns[: 1 + (how == "scale_shift")], axis=1)
      fit = np.linalg.lstsq(columns, d[v].astype(float))[0]
      np.testing.assert_allclose(a[v], columns @ fit, rtol=1e-6)
    else:
      np.testing.assert_allclose(a, p)


def test_a_flat_prediction_is_moved_only():
  target = np.array([[1.0, 2.0, 6.0]])
  flat, valid = np.full((1, 3), 0.1), np.ones((1, 3), bool)
  aligned = depth.align(flat, target, valid, "scale_shift")
  np.testing.assert_allclose(aligned, 3.0)
  zero = depth.align(0 * flat, target, valid, "scale")
  np.testing.assert_array_equal(zero, 0)
