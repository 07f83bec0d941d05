"""Distances of sets against matrix roots and loops, and sets that are alike."""

import hypothesis
import numpy as np
import pytest
import scipy.linalg
from hypothesis import strategies as st

from tests import needs
from vdr.metrics import accumulators, distribution


def sets(seed, n=30, m=40, d=6, shift=0.5):
  rng = np.random.default_rng(seed)
  mix = rng.normal(size=(d, d))
  return rng.normal(size=(n, d)) @ mix, rng.normal(shift, 1.5, (m, d))


def slow_frechet(a, b, ddof):
  root = scipy.linalg.sqrtm(np.cov(a.T, ddof=ddof) @ np.cov(b.T, ddof=ddof))
  spread = np.trace(np.cov(a.T, ddof=ddof) + np.cov(b.T, ddof=ddof) - 2 * root)
  return np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + spread.real


@hypothesis.given(
  st.integers(0, 999), st.sampled_from([0, 1]), st.integers(8, 50)
)
def test_the_frechet_distance_is_that_of_matrix_roots(seed, ddof, n):
  a, b = sets(seed, n=n)
  found = distribution.frechet_distance(a, b, ddof)
  assert found == pytest.approx(slow_frechet(a, b, ddof), rel=1e-6)
  assert found == pytest.approx(distribution.frechet_distance(b, a, ddof))


@pytest.mark.parametrize(("n", "m"), [(5, 4), (5, 200), (40, 50), (200, 300)])
def test_every_way_gives_the_same_distance(n, m):
  a, b = sets(0, n, m, d=40)
  direct = distribution.frechet_distance(a, b)
  parts = [
    accumulators.merge_moments(
      [accumulators.moments(x[:3]), accumulators.moments(x[3:])]
    )
    for x in (a, b)
  ]
  gathered = distribution.frechet_of_moments(*parts)
  assert gathered == pytest.approx(direct, rel=1e-6)
  # Another form: roots of the eigenvalues of a symmetric product.
  roots = scipy.linalg.eigh(np.cov(a.T))
  half = (roots[1] * np.sqrt(np.maximum(roots[0], 0))) @ roots[1].T
  inner = np.linalg.eigvalsh(half @ np.cov(b.T) @ half)
  expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(
    np.cov(a.T) + np.cov(b.T)
  )
  expected -= 2 * np.sqrt(np.maximum(inner, 0)).sum()
  assert direct == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("n", [3, 100])
def test_equal_sets_are_at_no_distance(n):
  a, _ = sets(1, n=n, d=20)
  distance = distribution.frechet_distance(a, a[::-1])
  assert 0 <= distance < 1e-10
  moments = accumulators.moments(a)
  assert 0 <= distribution.frechet_of_moments(moments, moments) < 1e-6


def test_a_shift_is_a_distance_by_hand():
  a, _ = sets(2)
  shifted = a + np.array([3, 4, 0, 0, 0, 0])
  assert distribution.frechet_distance(a, shifted) == pytest.approx(25)
  wider = 3 * (a - a.mean(axis=0)) + a.mean(axis=0)
  expected = 4 * np.trace(np.cov(a.T))
  assert distribution.frechet_distance(a, wider) == pytest.approx(expected)


def test_two_gaussians_have_a_known_distance():
  rng = np.random.default_rng(0)
  a = rng.normal(0, 1, (20_000, 2))
  b = rng.normal(1, 2, (20_000, 2))
  found = distribution.frechet_distance(a, b)
  assert found == pytest.approx(2 + 2, rel=0.03)  # Σ (μ₁-μ₂)² + (σ₁-σ₂)²


def slow_mmd(x, y):
  def mean(a, b, same):
    values = [
      (p @ q / len(p) + 1) ** 3
      for i, p in enumerate(a)
      for j, q in enumerate(b)
      if not (same and i == j)
    ]
    return np.mean(values)

  return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


@hypothesis.settings(max_examples=10)
@hypothesis.given(st.integers(0, 999))
def test_mmd_is_the_slow_one(seed):
  x, y = sets(seed, 7, 9)
  assert distribution.squared_mmd(x, y) == pytest.approx(slow_mmd(x, y))


def test_the_kernel_distance_is_unbiased_and_drawn_from_the_generator():
  x, y = sets(3, 400, 300, shift=0.0)
  whole = distribution.kernel_distance(x, y, np.random.default_rng(0), 1)
  assert whole.std == 0

  def drawn(seed):
    rng = np.random.default_rng(seed)
    return distribution.kernel_distance(x, y, rng, 100, 50)

  assert drawn(1) == drawn(1)
  assert drawn(1) != drawn(2)
  error = drawn(1).std / np.sqrt(100)
  expected = distribution.squared_mmd(x, y)
  assert abs(drawn(1).mean - expected) < 4 * error


def slow_inception(logits, splits):
  scores = []
  for part in np.array_split(logits.astype(float), splits):
    p = np.exp(part) / np.exp(part).sum(axis=1, keepdims=True)
    mean = p.mean(axis=0)
    scores.append(np.exp(np.mean([(q * np.log(q / mean)).sum() for q in p])))
  return np.mean(scores), np.std(scores)


@hypothesis.given(st.integers(0, 999), st.integers(1, 10))
def test_the_inception_score_is_the_slow_one(seed, splits):
  logits = np.random.default_rng(seed).normal(0, 2, (43, 5))
  np.testing.assert_allclose(
    distribution.inception_score(logits, splits), slow_inception(logits, splits)
  )


def test_the_inception_score_at_its_ends():
  sure = 1e4 * np.eye(5)[np.arange(50) % 5]
  assert distribution.inception_score(sure, 5).mean == pytest.approx(5)
  same = np.tile(np.arange(5.0), (50, 1))
  assert distribution.inception_score(same, 5).mean == pytest.approx(1)


def test_what_can_not_be_compared_is_refused():
  x, y = sets(4)
  bad = np.where(np.arange(30)[:, None] == 3, np.nan, x)
  moments = accumulators.moments
  rng = np.random.default_rng(0)
  for refused in (
    lambda: distribution.frechet_distance(bad, y),
    lambda: distribution.frechet_of_moments(moments(bad), moments(y)),
    lambda: distribution.kernel_distance(bad, y, rng),
    lambda: distribution.inception_score(bad),
  ):
    with pytest.raises(ValueError, match="finite"):
      refused()
  with pytest.raises(ValueError, match="1 vectors"):
    distribution.frechet_distance(x[:1], y)
  with pytest.raises(ValueError, match="two rows"):
    distribution.squared_mmd(x[:1], y)
  with pytest.raises(ValueError, match="9 rows"):
    distribution.inception_score(x[:9])


def test_torchmetrics_agrees():
  torch = needs.reference("torch")
  fid = needs.reference("torchmetrics.image.fid")
  kid = needs.reference("torchmetrics.image.kid")
  a, b = (torch.tensor(x) for x in sets(5, 60, 60))
  other = fid._compute_fid(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T))
  found = distribution.frechet_distance(a.numpy(), b.numpy())
  assert found == pytest.approx(float(other), rel=1e-6)
  found = distribution.squared_mmd(a.numpy(), b.numpy())
  assert found == pytest.approx(float(kid.poly_mmd(a, b)), rel=1e-9)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore`:UserWarning")
@pytest.mark.filterwarnings(r"ignore:std\(\):UserWarning")  # of one split
def test_torchmetrics_agrees_on_the_inception_score():
  torch = needs.reference("torch")
  inception = needs.reference("torchmetrics.image.inception")
  logits = np.random.default_rng(0).normal(0, 2, (40, 7)).astype(np.float32)
  metric = inception.InceptionScore(feature=torch.nn.Identity(), splits=1)
  metric.update(torch.tensor(logits))
  mean, _ = metric.compute()
  found = distribution.inception_score(logits, num_splits=1)
  assert found.mean == pytest.approx(float(mean), rel=1e-5)
