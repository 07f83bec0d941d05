"""Accuracy against counting one by one, ties, unknown labels, NaN."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests import needs
from tests.metrics import rows
from vdr.metrics import classification


def batch(seed, n=20, classes=6, ties=True):
  rng = np.random.default_rng(seed)
  scores = rng.normal(size=(n, classes)).astype(np.float32)
  if ties:
    scores = np.round(scores)
  return {"scores": scores, "label": rng.integers(-1, classes, n)}


def slow_top_k(scores, label, k):
  hits = []
  for row, true in zip(scores, label, strict=True):
    if true >= 0:
      first = sorted(range(len(row)), key=lambda c: (-row[c], c))[:k]
      hits.append(true in first)
  return np.mean(hits)


@hypothesis.given(st.integers(0, 999), st.integers(1, 6), st.booleans())
def test_top_k_is_the_slow_one(seed, k, ties):
  x = batch(seed, ties=ties)
  hypothesis.assume((x["label"] >= 0).any())
  assert classification.top_k(**x, k=k).score() == pytest.approx(
    slow_top_k(**x, k=k)
  )


@hypothesis.given(st.integers(0, 999))
def test_top_k_grows_to_one(seed):
  x = batch(seed)
  scores = [classification.top_k(**x, k=k).score() for k in range(1, 7)]
  assert scores == sorted(scores)
  assert scores[-1] == 1


@hypothesis.given(st.integers(0, 999))
def test_the_mean_over_classes_is_the_slow_one(seed):
  x = batch(seed)
  label = x["label"]
  by_class = [
    slow_top_k(x["scores"][label == c], label[label == c], 1)
    for c in np.unique(label[label >= 0])
  ]
  ratio = classification.mean_per_class(**x)
  assert ratio.score() == pytest.approx(np.mean(by_class))
  assert ratio.num_skipped == (label < 0).sum()


def test_rows():
  rows.check(lambda **x: classification.top_k(**x, k=2), batch(0))
  rows.check(classification.mean_per_class, batch(1))


def test_ties_go_to_the_lowest_index():
  scores, label = np.zeros((3, 3)), np.arange(3)
  hits = classification.top_k(scores, label, 1).numerator
  np.testing.assert_array_equal(hits, [1, 0, 0])


def test_nan_is_wrong_and_infinity_is_a_number():
  scores = np.array([[9, np.nan, 0], [np.inf, 0, 1], [-np.inf, -np.inf, 0]])
  right = classification.top_k(scores, np.array([0, 0, 2]), 1).numerator
  np.testing.assert_array_equal(right, [0, 1, 1])
  assert classification.top_k(scores, np.array([0, 0, 2]), 3).score() == 2 / 3


def test_unknown_labels_are_skipped():
  x = classification.top_k(np.eye(3), np.array([0, -1, -1]), 1)
  assert (x.score(), x.num_skipped) == (1.0, 2)
  nothing = classification.top_k(np.eye(2), np.array([-1, -1]), 1)
  assert np.isnan(nothing.score())


def test_a_label_beyond_the_classes_is_refused():
  with pytest.raises(ValueError, match="label 3 among 3"):
    classification.top_k(np.eye(3), np.array([0, 3, 1]), 1)


def test_scikit_learn_agrees():
  metrics = needs.reference("sklearn.metrics")
  x = batch(2, n=200, ties=False)
  x["label"] = np.abs(x["label"])
  for k in (1, 2, 5):
    assert classification.top_k(**x, k=k).score() == pytest.approx(
      metrics.top_k_accuracy_score(x["label"], x["scores"], k=k)
    )
  assert classification.mean_per_class(**x).score() == pytest.approx(
    metrics.balanced_accuracy_score(x["label"], x["scores"].argmax(1))
  )


def test_torchmetrics_agrees():
  torch = needs.reference("torch")
  functional = needs.reference("torchmetrics.functional.classification")
  x = batch(3, n=200, ties=False)
  x["label"] = np.abs(x["label"])
  scores, label = torch.tensor(x["scores"]), torch.tensor(x["label"])
  for k in (1, 5):
    other = functional.multiclass_accuracy(
      scores, label, num_classes=6, top_k=k, average="micro"
    )
    assert classification.top_k(**x, k=k).score() == pytest.approx(float(other))
  other = functional.multiclass_accuracy(scores, label, 6, average="macro")
  assert classification.mean_per_class(**x).score() == pytest.approx(
    float(other)
  )
