"""Points: which are asked for, and what it costs to stay."""

import numpy as np
import pytest

from vdr.tasks import points


def test_only_points_seen_in_frame_0_are_asked_for():
  points_xy = np.full((1, 4, 3, 2), 0.5, np.float32)
  points_xy[0, 1, 0] = (1.2, 0.5)  # outside at first
  points_xy[0, 2, 2] = (0.5, -0.1)  # leaves
  points_xy[0, 3, 1] = np.nan
  visible = np.ones((1, 4, 3), bool)
  visible[0, 0, 0] = False
  targets = points.make_task().targets(
    {"points_xy": points_xy, "points_visible": visible}
  )
  assert targets["query_visible"].tolist() == [[False, False, True, True]]
  assert targets["points_visible"][0, 2].tolist() == [True, True, False]
  assert targets["points_visible"][0, 3].tolist() == [True, False, True]
  assert np.isfinite(targets["query"]).all()


def test_the_error_of_staying_is_the_distance_gone():
  points_xy = np.full((1, 1, 3, 2), 0.25, np.float32)
  points_xy[0, 0, 2] = (0.25 + 3 / 256, 0.25 + 4 / 256)
  one = points.make_task()
  targets = one.targets(
    {"points_xy": points_xy, "points_visible": np.ones((1, 1, 3), bool)}
  )
  scores = one.score(one.blind(targets, targets), targets, {})
  assert scores["error_px"].score() == pytest.approx((0 + 5) / 2, rel=1e-5)
  assert scores["occlusion_accuracy"].score() == 1


def test_points_that_are_taken_for_one_another_are_wrong():
  """They are never matched: every track belongs to the point asked for."""
  points_xy = np.full((1, 2, 3, 2), 0.25, np.float32)
  points_xy[0, 1] = 0.25 + 30 / 256
  one = points.make_task()
  targets = one.targets(
    {"points_xy": points_xy, "points_visible": np.ones((1, 2, 3), bool)}
  )
  sure = np.full((1, 2, 3), 20.0)
  answers = {"points_xy": points_xy, "visible": sure, "certain": sure}
  right = one.score(answers, targets, {})
  swapped = one.score(answers | {"points_xy": points_xy[:, ::-1]}, targets, {})
  assert right["error_px"].score() == pytest.approx(0, abs=1e-5)
  assert swapped["error_px"].score() == pytest.approx(30 * 2**0.5, rel=1e-5)
  assert right["average_jaccard"].score() == 1
  assert swapped["average_jaccard"].score() == 0
