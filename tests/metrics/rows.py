"""What every score must do, whatever it scores."""

import numpy as np

from vdr.metrics import accumulators


def check(score, batch):
  """Order, parts and padding of a batch change nothing.

  Args:
    score: from arrays to a Ratio, or a dict of them.
    batch: the arrays by argument name, with a leading axis of at least 3 clips.
  """
  whole, n = _named(score(**batch)), len(next(iter(batch.values())))
  order = np.random.default_rng(n).permutation(n)
  shuffled = _named(score(**{k: x[order] for k, x in batch.items()}))
  parts = [
    _named(score(**{k: x[rows] for k, x in batch.items()}))
    for rows in (slice(0, 1), slice(1, n))
  ]
  # Padding is made of what would hurt most.
  padded = _named(score(**{k: _padded(x) for k, x in batch.items()}))
  clip_valid = np.arange(n + 2) < n
  empty = _named(score(**{k: x[:0] for k, x in batch.items()}))
  for name, ratio in whole.items():
    np.testing.assert_array_equal(
      shuffled[name].values(), ratio.values()[order], name
    )
    joined = accumulators.concatenate([part[name] for part in parts])
    np.testing.assert_array_equal(joined.numerator, ratio.numerator, name)
    np.testing.assert_array_equal(joined.denominator, ratio.denominator, name)
    kept = padded[name].keep(clip_valid)
    np.testing.assert_array_equal(kept.numerator, ratio.numerator, name)
    assert kept.num_skipped == ratio.num_skipped
    sums = accumulators.merge([part[name].sums() for part in parts])
    for other in (shuffled[name], joined, kept, sums):
      np.testing.assert_equal(other.score(), ratio.score(), name)
    assert empty[name].num_clips == 0
    assert np.isnan(empty[name].score())


def _named(scores):
  return scores if isinstance(scores, dict) else {"": scores}


def _padded(x):
  fill = np.nan if x.dtype.kind == "f" else x.dtype.type(0)
  return np.concatenate([x, np.full_like(x[:1], fill), np.ones_like(x[:1])])
