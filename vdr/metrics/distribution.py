"""Distances between sets of features, for generated images and videos.

On features of Inception these are FID and KID, on logits of I3D FVD and KVD;
which network, which resizing and which `ddof` belong to the name of a score.
Scores of sets of different size can't be compared: the bias of the Fréchet
distance falls with 1 / n.

Sets with a value that is not finite are refused.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from vdr.metrics import accumulators


class Spread(NamedTuple):
  """A mean over parts of a set, and how far the parts differ."""

  mean: float
  std: float


def frechet_distance(
  real: Float[np.ndarray, "n d"],
  fake: Float[np.ndarray, "m d"],
  ddof: int = 1,
) -> float:
  """Fréchet distance of the Gaussians fitted to two sets of features.

  With centred features A and B, Tr (Σ₁Σ₂)^½ is the nuclear norm of A·Bᵀ: no
  matrix root is needed, and sets smaller than d do no harm.

  Args:
    real: features of one set.
    fake: features of the other; which is which does not matter.
    ddof: covariances divide by n - ddof: 1 in most programs for images, 0 in
      StyleGAN-V's and those that follow it.

  Returns:
    At least 0, which equal sets reach up to rounding.

  Raises:
    ValueError: a set is too small, or has a value that is not finite.
  """
  (mean_r, root_r), (mean_f, root_f) = (
    _mean_and_root(features, ddof) for features in (real, fake)
  )
  return _frechet(mean_r, root_r, mean_f, root_f)


def frechet_of_moments(
  real: accumulators.Moments, fake: accumulators.Moments, ddof: int = 1
) -> float:
  """The same distance from moments that were gathered batch by batch.

  Raises:
    ValueError: a set is too small, or has a value that is not finite.
  """
  roots = []
  for part in (real, fake):
    covariance = part.covariance(ddof)
    _refuse_nan(covariance)
    values, vectors = np.linalg.eigh(covariance)
    # Rounding makes small eigenvalues negative.
    roots.append(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)
  return _frechet(real.mean, roots[0], fake.mean, roots[1])


def kernel_distance(
  real: Float[np.ndarray, "n d"],
  fake: Float[np.ndarray, "m d"],
  rng: np.random.Generator,
  num_subsets: int = 100,
  subset_size: int = 1000,
) -> Spread:
  """KID, or KVD: unbiased squared MMD, a mean over random subsets.

  Bińkowski et al., "Demystifying MMD GANs" (2018), §4.

  Args:
    real: features of one set.
    fake: features of the other.
    rng: draws the subsets, without replacement.
    num_subsets: how many.
    subset_size: of each; the size of the smaller set if that is less.

  Returns:
    Mean over the subsets, which may be below 0, and their standard deviation
    (ddof 0).

  Raises:
    ValueError: a set has fewer than two rows, or a value that is not finite.
  """
  size = min(subset_size, len(real), len(fake))
  values = []
  for _ in range(num_subsets):
    of_real, of_fake = _draw(rng, len(real), size), _draw(rng, len(fake), size)
    values.append(squared_mmd(real[of_real], fake[of_fake]))
  return Spread(float(np.mean(values)), float(np.std(values)))


def squared_mmd(
  real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"]
) -> float:
  """Unbiased squared MMD under the kernel (x·y / d + 1)³.

  Raises:
    ValueError: a set has fewer than two rows, or a value that is not finite.
  """
  real, fake = real.astype(np.float64), fake.astype(np.float64)
  if min(len(real), len(fake)) < 2:
    raise ValueError("MMD needs two rows in each set")
  _refuse_nan(real, fake)
  total = -2 * _kernel(real, fake).mean()
  for x in (real, fake):
    kernel = _kernel(x, x)
    # Without the diagonal: pairs of a point with itself are the bias.
    total += (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))
  return float(total)


def inception_score(
  logits: Float[np.ndarray, "n classes"], num_splits: int = 10, ddof: int = 0
) -> Spread:
  """exp E KL(p(y|x) ‖ p(y)), a mean over parts of the set in their order.

  Args:
    logits: of a classifier; what it knows, and so the score, differs between
      1008 and 1000 classes.
    num_splits: how many parts; each has a p(y) of its own.
    ddof: of the standard deviation, 0 in most programs.

  Returns:
    Mean and standard deviation over the parts; 1 is worst, the number of
    classes best.

  Raises:
    ValueError: there are fewer rows than parts, or a value is not finite.
  """
  if len(logits) < num_splits:
    raise ValueError(f"{len(logits)} rows can't be split in {num_splits}")
  _refuse_nan(logits)
  log_p = logits.astype(np.float64)
  log_p = log_p - log_p.max(axis=1, keepdims=True)
  log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
  scores = []
  for part in np.array_split(log_p, num_splits):
    p = np.exp(part)
    # In logarithms: a class that nothing is in has p log p = 0, not NaN.
    highest = part.max(axis=0)
    log_mean = highest + np.log(np.exp(part - highest).mean(axis=0))
    scores.append(np.exp((p * (part - log_mean)).sum(axis=1).mean()))
  return Spread(float(np.mean(scores)), float(np.std(scores, ddof=ddof)))


def _mean_and_root(
  features: np.ndarray, ddof: int
) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, "r d"]]:
  """The mean, and a matrix F for which FᵀF is the covariance."""
  if len(features) <= ddof:
    raise ValueError(f"a covariance of {len(features)} vectors, ddof = {ddof}")
  _refuse_nan(features)
  features = features.astype(np.float64)
  mean = features.mean(axis=0)
  root = (features - mean) / np.sqrt(len(features) - ddof)
  # More rows than columns: as many as columns say the same.
  if len(root) > root.shape[1]:
    root = np.asarray(np.linalg.qr(root, "r"))
  return mean, root


def _frechet(
  mean_r: Float64[np.ndarray, " d"],
  root_r: Float64[np.ndarray, "r d"],
  mean_f: Float64[np.ndarray, " d"],
  root_f: Float64[np.ndarray, "s d"],
) -> float:
  """The distance, from means and roots of covariances."""
  cross = np.linalg.svd(root_r @ root_f.T, compute_uv=False).sum()
  spread = np.square(root_r).sum() + np.square(root_f).sum() - 2 * cross
  # No distance is negative; rounding may be.
  return max(float(np.square(mean_r - mean_f).sum() + spread), 0.0)


def _kernel(
  x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]
) -> Float64[np.ndarray, "n m"]:
  """Every row of one with every row of the other."""
  return (x @ y.T / x.shape[1] + 1) ** 3


def _draw(rng: np.random.Generator, n: int, size: int) -> Int[np.ndarray, " m"]:
  """Some of n rows, none twice."""
  return rng.permutation(n)[:size]


def _refuse_nan(*sets: np.ndarray) -> None:
  """Raises ValueError if any value is not finite."""
  for x in sets:
    if not np.isfinite(x).all():
      raise ValueError("features must be finite")
