"""PCK against a loop, at the edge of its reach, and with nothing visible."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.metrics import rows
from vdr.metrics import keypoints


def batch(seed):
  rng = np.random.default_rng(seed)
  valid = rng.random((5, 6)) < 0.7
  valid[0] = False
  target = rng.uniform(0, 100, (5, 6, 2))
  return {
    "pred_xy_px": target + rng.normal(0, 8, target.shape),
    "target_xy_px": np.where(valid[..., None], target, np.nan),
    "valid": valid,
    "size_px": rng.uniform(50, 150, 5),
  }


@hypothesis.given(st.integers(0, 999), st.floats(0.01, 0.5))
def test_both_poolings_are_the_slow_ones(seed, alpha):
  x = batch(seed)
  found = [
    [
      np.hypot(*(p - d)) <= alpha * size
      for p, d, v in zip(pred, target, valid, strict=True)
      if v
    ]
    for pred, target, valid, size in zip(*x.values(), strict=True)
  ]
  by_image = [np.mean(image) for image in found if image]
  images = keypoints.pck(**x, alpha=alpha)
  assert images.score() == pytest.approx(np.mean(by_image))
  assert images.num_skipped == 5 - len(by_image)
  pooled = keypoints.pck(**x, alpha=alpha, pool="points")
  assert pooled.score() == pytest.approx(np.mean(sum(found, [])))


@pytest.mark.parametrize("pool", ["images", "points"])
def test_rows(pool):
  rows.check(lambda **x: keypoints.pck(**x, pool=pool), batch(0))


def one(offset_px):
  target = np.full((1, 1, 2), 50.0)
  size = np.array([100.0])
  return target + [offset_px, 0], target, np.ones((1, 1), bool), size


@pytest.mark.parametrize(
  ("offset_px", "expected"), [(0, 1), (10, 1), (10.001, 0), (np.nan, 0)]
)
def test_the_edge_is_within_reach_and_nan_is_not(offset_px, expected):
  assert keypoints.pck(*one(offset_px)).score() == expected


def test_the_size_of_a_person_is_that_of_visible_joints():
  joints = np.array([[[0.0, 0], [30, 40], [999, 999]], [[5, 5]] * 3])
  valid = np.array([[True, True, False], [False] * 3])
  np.testing.assert_allclose(keypoints.visible_size_px(joints, valid), [30, 0])
