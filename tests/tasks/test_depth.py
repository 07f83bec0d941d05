"""Depth: which pixels count, and what the blind say of them."""

import numpy as np
import pytest

from vdr.tasks import depth


def test_the_sky_is_not_scored():
  one = depth.make_task(5)
  assert one.frames == (0, 4)
  depth_m = np.full((2, 5, 4, 4), 2.0, np.float32)
  depth_m[:, :, 0] = 0.0  # sky
  targets = one.targets({"depth_m": depth_m})
  pred = np.full((2, 2, 4, 4, 1), 3.0, np.float32)
  pred[:, :, 0] = 77.0
  scores = one.score({"map": pred}, targets)
  assert scores["abs_rel"].score() == pytest.approx(0.5, rel=1e-5)
  assert scores["rmse_m"].score() == pytest.approx(1.0)
  assert scores["delta_1"].score() == 0 and scores["delta_2"].score() == 1


def test_the_blind_say_the_mean_of_each_pixel():
  one = depth.make_task(1)
  train = np.array([[[[1.0, 0.0]]], [[[3.0, 0.0]]]], np.float32)
  train = {"depth_m": train}
  blind = one.blind(train, {"depth_m": train["depth_m"][:1]})
  # Of a pixel that was always sky, the mean of all others.
  np.testing.assert_allclose(blind["map"][..., 0], [[[[2.0, 2.0]]]])
