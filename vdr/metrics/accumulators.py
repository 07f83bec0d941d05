"""Sums that are kept by clip, merged across batches and hosts, and divided.

    ratio = depth.abs_rel(pred_m, depth_m, valid)  # a row for each clip
    ratio = ratio.keep(batch["clip_valid"])
    whole = accumulators.concatenate(ratios)  # what a bootstrap resamples
    whole.score()

Where rows are not needed, their sums do: `ratio.sums()` has a fixed size, and
`merge` adds those of other batches. Both ways give the same score, in any
order: sums carry twice the digits of a float64.

What travels between processes or into a file is a dict of arrays.
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped

Arrays = dict[str, np.ndarray]


class Final(enum.IntEnum):
  """What is done with a quotient of sums; it travels as a number."""

  MEAN = 0  # x
  ROOT = 1  # √x, of a mean square
  EXPLAINED = 2  # 1 - x, of an unexplained share


@dataclasses.dataclass(frozen=True)
class Ratio:
  """One score, as the part that each clip has in it.

  The score is `final(Σ numerator / Σ denominator)`: with denominators of 1 a
  mean over clips, with a clip's number of pixels or objects a pooled one. With
  a second axis, k, the score is the mean over those k that have a denominator,
  for instance over classes.

  A clip in which there is nothing to score has 0 in both, and is skipped.

  Attributes:
    numerator: a sum over whatever the clip has of the score.
    denominator: the weight of that sum, at least 0.
    final: what is done with the quotient.
  """

  numerator: Shaped[np.ndarray, " n *k"]
  denominator: Shaped[np.ndarray, " n *k"]
  final: Final = Final.MEAN

  def __post_init__(self):
    """Makes float64 of both.

    Raises:
      ValueError: a denominator is negative or not a number.
    """
    denominator = np.asarray(self.denominator, np.float64)
    numerator = np.asarray(self.numerator, np.float64)
    if not np.all(denominator >= 0):
      raise ValueError("a denominator is negative or NaN")
    object.__setattr__(self, "numerator", numerator)
    object.__setattr__(self, "denominator", denominator)

  @property
  def num_clips(self) -> int:
    """All clips, skipped ones included."""
    return self.numerator.shape[0]

  @property
  def num_skipped(self) -> int:
    """Clips in which there was nothing to score."""
    nothing = (self.denominator == 0) & (self.numerator == 0)
    return int(nothing.all(axis=tuple(range(1, nothing.ndim))).sum())

  def keep(self, clip_valid: Bool[np.ndarray, " n"]) -> "Ratio":
    """The rows of these clips alone."""
    return dataclasses.replace(
      self,
      numerator=self.numerator[clip_valid],
      denominator=self.denominator[clip_valid],
    )

  def take(self, order: Int[np.ndarray, " m"]) -> "Ratio":
    """The rows with these numbers, for instance sorted by clip."""
    return dataclasses.replace(
      self,
      numerator=self.numerator[order],
      denominator=self.denominator[order],
    )

  def values(self) -> Float64[np.ndarray, " n *k"]:
    """Each clip's own score; NaN where it was skipped."""
    return finish(self.numerator, self.denominator, self.final)

  def sums(self) -> "Sums":
    """The same score without the rows."""
    rows = np.stack([self.numerator, self.denominator], axis=1)
    return Sums(
      total=_double_sum(_widen(rows)),
      num_clips=np.int64(self.num_clips),
      num_skipped=np.int64(self.num_skipped),
      final=self.final,
    )

  def score(self) -> float:
    """The score of all clips together; NaN if there is nothing to score."""
    return self.sums().score()

  def to_dict(self) -> Arrays:
    """Everything, as arrays."""
    return {
      "numerator": self.numerator,
      "denominator": self.denominator,
      "final": np.array(self.final, np.int32),
    }


@dataclasses.dataclass(frozen=True)
class Sums:
  """What a score needs of any number of clips, in a fixed size.

  Attributes:
    total: sums of the numerators and the denominators (first axis), each as a
      rounded sum and what rounding left over (second axis).
    num_clips: how many rows went in.
    num_skipped: how many of them had nothing to score.
    final: what is done with the quotient.
  """

  total: Float64[np.ndarray, "2 2 *k"]
  num_clips: np.int64
  num_skipped: np.int64
  final: Final

  def score(self) -> float:
    """The score of all clips together; NaN if there is nothing to score."""
    numerator, denominator = self.total.sum(axis=1)
    parts = np.atleast_1d(finish(numerator, denominator, self.final)).ravel()
    weighed = np.atleast_1d(denominator).ravel() > 0
    return float(parts[weighed].mean()) if weighed.any() else float("nan")

  def to_dict(self) -> Arrays:
    """Everything, as arrays of a fixed size."""
    return {
      "total": self.total,
      "num_clips": np.array(self.num_clips),
      "num_skipped": np.array(self.num_skipped),
      "final": np.array(self.final, np.int32),
    }


@dataclasses.dataclass(frozen=True)
class Moments:
  """Mean and spread of feature vectors, gathered without keeping them.

  Merged around their own means (Chan, Golub & LeVeque 1979): Σx² - n·mean²
  loses the digits that a covariance is made of.

  Attributes:
    count: number of vectors.
    mean: their mean.
    scatter: Σ (x - mean)(x - mean)ᵀ.
  """

  count: np.int64
  mean: Float64[np.ndarray, " d"]
  scatter: Float64[np.ndarray, "d d"]

  def covariance(self, ddof: int = 1) -> Float64[np.ndarray, "d d"]:
    """The covariance; `ddof` 1 divides by n - 1, 0 by n.

    Raises:
      ValueError: there are too few vectors.
    """
    if self.count <= ddof:
      raise ValueError(f"a covariance of {self.count} vectors, ddof = {ddof}")
    return self.scatter / float(self.count - ddof)

  def to_dict(self) -> Arrays:
    """Everything, as arrays of a fixed size."""
    return {
      "count": np.array(self.count),
      "mean": self.mean,
      "scatter": self.scatter,
    }


def ratio_from_dict(arrays: Mapping[str, np.ndarray]) -> Ratio:
  """The inverse of `Ratio.to_dict`."""
  return Ratio(
    arrays["numerator"], arrays["denominator"], Final(int(arrays["final"]))
  )


def sums_from_dict(arrays: Mapping[str, np.ndarray]) -> Sums:
  """The inverse of `Sums.to_dict`."""
  return Sums(
    total=arrays["total"],
    num_clips=np.int64(arrays["num_clips"]),
    num_skipped=np.int64(arrays["num_skipped"]),
    final=Final(int(arrays["final"])),
  )


def moments_from_dict(arrays: Mapping[str, np.ndarray]) -> Moments:
  """The inverse of `Moments.to_dict`."""
  return Moments(np.int64(arrays["count"]), arrays["mean"], arrays["scatter"])


def concatenate(ratios: Sequence[Ratio]) -> Ratio:
  """The clips of several batches or hosts, in this order.

  Raises:
    ValueError: none are given, or they are not of one score.
  """
  final = _only(ratios)
  return Ratio(
    np.concatenate([ratio.numerator for ratio in ratios]),
    np.concatenate([ratio.denominator for ratio in ratios]),
    final,
  )


def merge(parts: Sequence[Sums]) -> Sums:
  """The sums of several batches or hosts, in any order.

  Raises:
    ValueError: none are given, or they are not of one score.
  """
  final = _only(parts)
  rows = np.stack([part.total for part in parts])
  return Sums(
    total=_double_sum(rows),
    num_clips=np.sum([part.num_clips for part in parts], dtype=np.int64),
    num_skipped=np.sum([part.num_skipped for part in parts], dtype=np.int64),
    final=final,
  )


def moments(
  features: Float[np.ndarray, "n d"],
  valid: Bool[np.ndarray, " n"] | None = None,
) -> Moments:
  """Moments of one batch of feature vectors, those of padding left out."""
  kept = np.asarray(features if valid is None else features[valid], np.float64)
  if not kept.shape[0]:
    empty = np.zeros(kept.shape[1])
    return Moments(np.int64(0), empty, np.zeros((kept.shape[1],) * 2))
  mean = kept.mean(axis=0)
  centred = kept - mean
  return Moments(np.int64(kept.shape[0]), mean, centred.T @ centred)


def merge_moments(parts: Sequence[Moments]) -> Moments:
  """Moments of all batches or hosts together.

  Raises:
    ValueError: none are given.
  """
  if not parts:
    raise ValueError("nothing to merge")
  whole = parts[0]
  for part in parts[1:]:
    count = whole.count + part.count
    if not count:
      continue
    apart = part.mean - whole.mean
    whole = Moments(
      count,
      whole.mean + apart * (part.count / count),
      whole.scatter
      + part.scatter
      + np.outer(apart, apart) * (whole.count * (part.count / count)),
    )
  return whole


def finish(
  numerator: Float64[np.ndarray, "..."] | np.float64,
  denominator: Float64[np.ndarray, "..."] | np.float64,
  final: Final,
) -> Float64[np.ndarray, "..."]:
  """Quotients made into scores; NaN where the denominator is 0."""
  with np.errstate(divide="ignore", invalid="ignore"):
    x = np.where(denominator > 0, np.divide(numerator, denominator), np.nan)
    if final is Final.ROOT:
      x = np.sqrt(x)
    elif final is Final.EXPLAINED:
      x = 1.0 - x
  return np.asarray(x)


def _only(parts: Sequence[Ratio] | Sequence[Sums]) -> Final:
  """The `final` that all parts share."""
  if len(kinds := {part.final for part in parts}) != 1:
    raise ValueError(f"one kind of score is needed, not {sorted(kinds)}")
  return kinds.pop()


def _widen(rows: Float64[np.ndarray, "n 2 *k"]) -> np.ndarray:
  """Numbers as pairs of themselves and nothing left over."""
  return np.stack([rows, np.zeros_like(rows)], axis=2)


def _double_sum(rows: Float64[np.ndarray, "n 2 2 *k"]) -> np.ndarray:
  """Sums over n of pairs, error-free but for the last of some 100 bits.

  Halves are added to each other until one row is left. Knuth's two-sum (The Art
  of Computer Programming 2, §4.2.2) gives what each addition rounds away.
  """
  with np.errstate(invalid="ignore"):
    plain = rows.sum(axis=(0, 2))
    while len(rows) > 1:
      if len(rows) % 2:
        rows = np.concatenate([rows, np.zeros_like(rows[:1])])
      half = len(rows) // 2
      (a, a_low), (b, b_low) = (
        (part[:, :, 0], part[:, :, 1]) for part in (rows[:half], rows[half:])
      )
      high, low = _two_sum(a, b)
      rows = np.stack(_two_sum(high, low + (a_low + b_low)), axis=2)
    if not len(rows):
      return np.zeros(rows.shape[1:])
    high, low = rows[0, :, 0], rows[0, :, 1]
  # Infinity less infinity is no remainder: there the plain sum has it right.
  finite = np.isfinite(high) & np.isfinite(low)
  return np.stack(
    [np.where(finite, high, plain), np.where(finite, low, 0.0)], axis=1
  )


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The rounded sum, and the error of rounding it."""
  high = a + b
  shadow = high - a
  return high, (a - (high - shadow)) + (b - shadow)
