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


def two_objects():
  """Two objects that stay where they are, in three frames."""
  given = np.zeros((1, 2, 3, 4), np.float32)
  given[0, 0], given[0, 1] = (0.0, 0.0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)
  return boxes.make_task().targets(
    {"boxes_yxyx": given, "boxes_valid": np.ones((1, 2, 3), bool)}
  )


def test_objects_that_are_taken_for_one_another_score_nothing():
  """They are never matched: every box belongs to the object asked for."""
  one, targets = boxes.make_task(), two_objects()
  right = targets["boxes_yxyx"]
  swapped = right.copy()
  swapped[:, :, 2] = right[:, ::-1, 2]  # in one of two frames
  for found, score in ((right, 1.0), (right[:, ::-1], 0.0), (swapped, 0.5)):
    scores = one.score({"boxes_yxyx": found}, targets, {})
    assert {k: v.score() for k, v in scores.items()} == pytest.approx(
      dict.fromkeys(scores, score)
    )


@pytest.mark.parametrize("axes", [[2, 1, 0, 3], [0, 3, 2, 1], [2, 3, 0, 1]])
def test_boxes_the_wrong_way_round_score_nothing(axes):
  one, targets = boxes.make_task(), two_objects()
  scores = one.score(
    {"boxes_yxyx": targets["boxes_yxyx"][..., axes]}, targets, {}
  )
  assert [float(v.score()) for v in scores.values()] == [0.0] * len(scores)
