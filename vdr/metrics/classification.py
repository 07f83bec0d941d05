"""Right or wrong: top-k accuracy and its mean over classes."""

import numpy as np
from jaxtyping import Bool, Float, Int

from vdr.metrics import accumulators


def top_k(
  scores: Float[np.ndarray, "n classes"], label: Int[np.ndarray, " n"], k: int
) -> accumulators.Ratio:
  """Share of clips whose class is among the k highest scores.

  Args:
    scores: logits or probabilities. Among equal ones the lowest index comes
      first; a clip with a NaN is wrong.
    label: the true class; -1 is unknown and not scored.
    k: how many classes may be named, 1 or 5 as a rule.

  Returns:
    Accuracy from 0 to 1.

  Raises:
    ValueError: a label names no class.
  """
  known = _known(label, scores.shape[1])
  right = known & (_rank(scores, np.where(known, label, 0)) < k)
  return accumulators.Ratio(right, known)


def mean_per_class(
  scores: Float[np.ndarray, "n classes"], label: Int[np.ndarray, " n"]
) -> accumulators.Ratio:
  """Top-1 accuracy of each class, of which the score is the plain mean.

  Args:
    scores: as for `top_k`.
    label: as for `top_k`; classes that no clip has are left out.

  Returns:
    Accuracy from 0 to 1, with a column for each class.

  Raises:
    ValueError: a label names no class.
  """
  classes = scores.shape[1]
  known = _known(label, classes)
  one_hot = known[:, None] & (label[:, None] == np.arange(classes))
  right = _rank(scores, np.where(known, label, 0)) < 1
  return accumulators.Ratio(one_hot & right[:, None], one_hot)


def _known(
  label: Int[np.ndarray, " n"], classes: int
) -> Bool[np.ndarray, " n"]:
  """Which labels are known."""
  if np.any(label >= classes):
    raise ValueError(f"label {label.max()} among {classes} classes")
  return label >= 0


def _rank(
  scores: Float[np.ndarray, "n classes"], label: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
  """How many classes come before the true one."""
  own = np.take_along_axis(scores, label[:, None], axis=1)
  earlier = np.arange(scores.shape[1]) < label[:, None]
  rank = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
  return np.where(np.isnan(scores).any(axis=1), scores.shape[1], rank)
