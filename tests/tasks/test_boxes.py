"""Boxes: which are asked for; the one that is given is not scored."""

import numpy as np
import pytest

from vdr.tasks import boxes


def test_small_and_late_boxes_are_not_asked_for():
  given = np.zeros((1, 3, 2, 4), np.float32)
  given[0, 0] = (0.1, 0.1, 0.5, 0.5)
  given[0, 1] = (0.1, 0.1, 0.15, 0.15)  # a quarter of a percent
  given[0, 2] = (0.1, 0.1, 0.5, 0.5)
  valid = np.ones((1, 3, 2), bool)
  valid[0, 2, 0] = False
  targets = boxes.make_task().targets(
    {"boxes_yxyx": given, "boxes_valid": valid}
  )
  assert targets["asked"].tolist() == [[True, False, False]]
  assert targets["boxes_valid"].sum() == 2


def test_only_later_frames_are_scored():
  given = np.zeros((1, 1, 3, 4), np.float32)
  given[0, 0] = (0.0, 0.0, 0.4, 0.4)
  given[0, 0, 2] = (0.0, 0.2, 0.4, 0.6)  # half of it is elsewhere
  one = boxes.make_task()
  targets = one.targets(
    {"boxes_yxyx": given, "boxes_valid": np.ones((1, 1, 3), bool)}
  )
  scores = one.score(one.blind(targets, targets), targets, {})
  assert scores["iou"].score() == pytest.approx((1 + 1 / 3) / 2, rel=1e-5)
  wrong_start = {"boxes_yxyx": targets["boxes_yxyx"].copy()}
  wrong_start["boxes_yxyx"][:, :, 0] = 0
  assert one.score(wrong_start, targets, {})["iou"].score() == pytest.approx(
    1.0
  )
