"""Classes: what is not known is not scored."""

import numpy as np
import pytest

from vdr.runtime import errors
from vdr.tasks import classes


@pytest.fixture
def animals():
  names = ("cat", "dog", "fox")
  return classes.make_task("label", "animals", "label", names, False)


def test_scores_by_hand(animals):
  logits = np.array([[3, 1, 0], [0, 1, 2], [5, 0, 0], [9, 0, 0]], np.float32)
  label = np.array([0, 2, 1, -1], np.int32)
  scores = animals.score({"logits": logits}, {"label": label}, {})
  assert scores["top_1"].score() == pytest.approx(2 / 3)
  assert scores["top_5"].score() == 1
  assert scores["per_class"].score() == pytest.approx((1 + 0 + 1) / 3)
  assert scores["top_1"].num_skipped == 1
  assert animals.goal.chance == pytest.approx(1 / 3)


def test_the_prior_leaves_unknown_labels_out(animals):
  train = {"label": np.array([1, 1, 0, -1, -1, -1], np.int32)}
  blind = animals.blind(train, {"label": np.zeros(2, np.int32)})
  np.testing.assert_array_equal(blind["logits"], [[1, 2, 0]] * 2)


def test_one_class_is_no_task():
  with pytest.raises(errors.UserError, match="two classes or more"):
    classes.make_task("label", "animals", "label", ("cat",), False)
