"""How sure a score is, and whether two backbones differ.

Backbones are compared on the same clips, so clips are drawn again with
replacement, the same ones for all of them, and every score is computed anew
from the rows of its `Ratio`. Clips of one group, such as a video, are no
independent samples: a group is drawn as a whole (cluster bootstrap; Davison &
Hinkley, "Bootstrap methods", 1997, §3.8). Probes fitted from several seeds are
drawn, too.

    runs = {"image": image_ratios, "video": video_ratios}
    drawn = statistics.bootstrap(runs, groups=groups)
    drawn.score("video")  # value, low, high
    drawn.difference("video", "image")  # and a p-value
    drawn.gain("video", "image", Goal(lower_is_better=True))
    statistics.holm(p_values)  # of all that is claimed
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped, UInt16
from scipy import special

from vdr.metrics import accumulators

# Draws are made in pieces of so many numbers, to bound memory.
PIECE = 2_000_000
# Up to so many numbers are kept: all scores of a test set have the same draws.
KEPT = 30_000_000

# Intervals of fewer groups are too narrow: their spread is hardly known.
LEAST_GROUPS = 20

# One seed's: a score, or several whose mean counts.
Run = accumulators.Ratio | Sequence[accumulators.Ratio]


@dataclasses.dataclass(frozen=True)
class Goal:
  """Which way a metric is better, and from where on it says anything.

  Attributes:
    lower_is_better: whether it is an error.
    chance: what knowing nothing scores (1 / classes; 0 for R²; the error of a
      constant prediction). None: 0 for a score, and for an error unknown.
  """

  lower_is_better: bool = False
  chance: float | None = None

  def room(
    self, base: Float[np.ndarray, "..."] | float
  ) -> Float[np.ndarray, "..."] | float:
    """What a gain over `base` is measured by.

    How much better than chance it is; for an error without a known chance
    level, the error itself.
    """
    if not self.lower_is_better:
      return base - (self.chance or 0.0)
    return base if self.chance is None else self.chance - base

  def gain(
    self,
    new: Float[np.ndarray, "..."] | float,
    base: Float[np.ndarray, "..."] | float,
  ) -> Float[np.ndarray, "..."]:
    """Relative gain of one score over another: 0.6 is 60 % better.

    NaN where `base` is no better than chance.
    """
    better = base - new if self.lower_is_better else new - base
    room = np.asarray(self.room(base), np.float64)
    usable = room > 0
    return np.where(usable, better / np.where(usable, room, 1.0), np.nan)


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number and how sure it is; all NaN where it has no value.

  Attributes:
    value: from all clips and seeds.
    low: lower end of its confidence interval.
    high: upper end.
    error: its standard error.
    p_value: two-sided, of the true value being 0.
  """

  value: float
  low: float
  high: float
  error: float
  p_value: float


NOTHING = Estimate(*[float("nan")] * 5)


@dataclasses.dataclass(frozen=True)
class Resampled:
  """Scores of all backbones, again and again.

  Attributes:
    names: the backbones.
    scores: from all clips, a mean over seeds.
    draws: the same from groups and seeds drawn with replacement.
    without_group: the same, each group left out once.
    without_seed: the same, each seed left out once: for each number of seeds
      that backbones have, with the others as they are.
  """

  names: tuple[str, ...]
  scores: Float64[np.ndarray, " b"]
  draws: Float64[np.ndarray, "r b"]
  without_group: Float64[np.ndarray, "g b"]
  without_seed: tuple[Float64[np.ndarray, "_s b"], ...]

  def score(self, name: str, level: float = 0.95) -> Estimate:
    """The score of one backbone."""
    index = self.names.index(name)
    return self.estimate(lambda scores: scores[..., index], level)

  def difference(self, new: str, base: str, level: float = 0.95) -> Estimate:
    """The score of one backbone less that of another, on the same clips."""
    i, j = self.names.index(new), self.names.index(base)
    return self.estimate(lambda scores: scores[..., i] - scores[..., j], level)

  def gain(
    self, new: str, base: str, goal: Goal, level: float = 0.95
  ) -> Estimate:
    """Relative gain of one backbone over another.

    It has no value where what it is divided by is within its own error of 0: a
    backbone at chance level can be beaten by any percentage.
    """
    i, j = self.names.index(new), self.names.index(base)
    room = self.estimate(lambda s: np.asarray(goal.room(s[..., j])), level)
    if not room.low > 0:
      return NOTHING
    return self.estimate(lambda s: goal.gain(s[..., i], s[..., j]), level)

  def estimate(
    self, of: Callable[[np.ndarray], np.ndarray], level: float = 0.95
  ) -> Estimate:
    """Anything that follows from the scores, with a BCa interval.

    Efron, "Better bootstrap confidence intervals" (1987): percentiles of the
    draws, corrected for bias and for an error that changes with the value. The
    p-value is 1 - the level at which the interval begins to hold 0.

    Args:
      of: from scores of all backbones (last axis) to the number.
      level: how often the interval should hold the true value.

    Returns:
      The number with its interval. If all clips score alike the interval has no
      width: resampling can't know of clips that were never seen.
    """
    value = float(of(self.scores))
    draws = of(self.draws)
    draws = draws[np.isfinite(draws)]  # draws of nothing but skipped clips
    if not np.isfinite(value) or not len(draws) or len(self.without_group) < 2:
      return dataclasses.replace(NOTHING, value=value)
    # 0.7 - 0.6 is not 0.8 - 0.7: draws this close are equal but for rounding.
    near = 1e-12 * np.abs(self.scores).max()
    bias = _normal_score(draws, value, near)
    left_out = (self.without_group, *self.without_seed)
    curve = _acceleration(near, *map(of, left_out))
    shifted = bias + special.ndtri([(1 - level) / 2, (1 + level) / 2])
    ends = special.ndtr(bias + shifted / np.maximum(1 - curve * shifted, 1e-9))
    low, high = np.quantile(draws, ends)
    # The same formula solved for the level that ends at 0.
    at_zero = _normal_score(draws, 0.0, near) - bias
    tail = special.ndtr(at_zero / max(1 + curve * at_zero, 1e-9) - bias)
    p_value = max(2 * min(tail, 1 - tail), 2 / (len(draws) + 1))
    return Estimate(
      value, float(low), float(high), float(draws.std()), float(p_value)
    )


def bootstrap(
  runs: Mapping[str, Sequence[Run]],
  num_draws: int = 10_000,
  seed: int = 0,
  groups: Shaped[np.ndarray, " n"] | None = None,
) -> Resampled:
  """Scores of backbones on groups of clips and seeds drawn with replacement.

  Groups and seeds are drawn independently of each other, the same for all
  backbones, and the same seeds for those with as many; with crossed data that
  errs on the safe side (Owen, "The pigeonhole bootstrap", 2007). Of s seeds
  s - 1 are drawn, which makes their variance unbiased (Rao & Wu 1988); still,
  two or three seeds say little about seeds.

  Args:
    runs: for each backbone the same score of its runs, one for each seed; all
      have the same clips in the same order. Several runs in place of one, as of
      probes on one pretrained network, are drawn together: their mean counts.
    num_draws: how many times.
    seed: of the draws.
    groups: of each clip, by name or number; None: every clip is its own.

  Returns:
    What intervals and p-values are computed from.

  Raises:
    ValueError: the runs don't fit each other.
  """
  tables, final = _tables(runs)
  tables = _by_group(tables, groups)
  n, sizes = len(tables[0]), sorted({table.shape[2] for table in tables})
  score = functools.partial(_scores, final=final)
  make = _kept_pieces if n * num_draws <= KEPT else _pieces
  draws = []
  with np.errstate(invalid="ignore"):
    for counts, seeds in make(n, tuple(sizes), num_draws, seed):
      times = counts.astype(np.float64)
      drawn = [
        (times @ table.reshape(n, -1)).reshape(-1, *table.shape[1:])
        for table in tables
      ]
      draws.append([(score(d) * seeds[d.shape[2]]).sum(axis=-1) for d in drawn])
    by_seed = [score(table.sum(axis=0)) for table in tables]
    without_group = [
      score(_left(table.sum(axis=0) - table)).mean(axis=-1) for table in tables
    ]
  scores = np.array([s.mean() for s in by_seed])
  return Resampled(
    names=tuple(runs),
    scores=scores,
    draws=np.concatenate(draws, axis=1).T,
    without_group=np.stack(without_group, axis=1),
    without_seed=tuple(_without(by_seed, s) for s in sizes if s > 1),
  )


def holm(p_values: Float[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
  """p-values of several claims, corrected so that none is made by chance.

  Holm, "A simple sequentially rejective multiple test procedure" (1979).

  Args:
    p_values: of each claim; NaN is no claim, and stays NaN.

  Returns:
    Corrected p-values, in the same order.
  """
  corrected = np.full(len(p_values), np.nan)
  claims = np.flatnonzero(~np.isnan(p_values))
  order = claims[np.argsort(p_values[claims], kind="stable")]
  factors = np.arange(len(order), 0, -1)
  steps = np.maximum.accumulate(factors * p_values[order].astype(np.float64))
  corrected[order] = np.minimum(steps, 1.0)
  return corrected


def _tables(
  runs: Mapping[str, Sequence[Run]],
) -> tuple[list[Float64[np.ndarray, "n 2 _s _i _k"]], accumulators.Final]:
  """Of each backbone [clips, numerator and denominator, seeds, runs, parts]."""
  nested = [
    [[run] if isinstance(run, accumulators.Ratio) else list(run) for run in one]
    for one in runs.values()
  ]
  ratios = [ratio for one in nested for several in one for ratio in several]
  shapes = {ratio.numerator.shape for ratio in ratios}
  finals = {ratio.final for ratio in ratios}
  counts = [{len(several) for several in one} for one in nested]
  even = all(len(c) == 1 and 0 not in c for c in counts)
  if max(len(shapes), len(finals)) != 1 or not even:
    raise ValueError(
      "runs must be of one score on the same clips, as many for each seed, not"
      f" of shapes {sorted(shapes)} and {[[len(s) for s in o] for o in nested]}"
      " runs"
    )
  n = ratios[0].num_clips
  if not n:
    raise ValueError("there are no clips")
  tables = [
    np.stack(
      [[[r.numerator, r.denominator] for r in several] for several in one]
    ).reshape(len(one), len(one[0]), 2, n, -1)
    for one in nested
  ]
  ordered = [np.moveaxis(t, (3, 2), (0, 1)) for t in tables]
  return [np.ascontiguousarray(t) for t in ordered], finals.pop()


def count_groups(groups: Shaped[np.ndarray, " n"]) -> int:
  """How many groups there are."""
  return len(np.unique(groups))


def _by_group(
  tables: list[Float64[np.ndarray, "n 2 _s _i _k"]],
  groups: Shaped[np.ndarray, " m"] | None,
) -> list[Float64[np.ndarray, "_g 2 _s _i _k"]]:
  """Sums over the clips of each group, in the order of their first clips."""
  if groups is None:
    return tables
  if len(groups) != len(tables[0]):
    raise ValueError(f"{len(groups)} groups of {len(tables[0])} clips")
  _, first, numbers = np.unique(groups, return_index=True, return_inverse=True)
  if len(first) == len(groups):
    return tables
  numbers = np.argsort(np.argsort(first))[numbers.reshape(-1)]
  order = np.argsort(numbers, kind="stable")
  starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
  return [np.add.reduceat(table[order], starts, axis=0) for table in tables]


def _left(parts: np.ndarray) -> np.ndarray:
  """Sums without one group: no weight is less than 0, but for rounding."""
  return np.stack([parts[:, 0], np.maximum(parts[:, 1], 0.0)], axis=1)


def _without(
  by_seed: Sequence[Float64[np.ndarray, " _s"]], size: int
) -> Float64[np.ndarray, "_r b"]:
  """Scores with each seed left out once, of the backbones with `size` seeds."""
  rows = np.tile([s.mean() for s in by_seed], (size if size > 1 else 0, 1))
  for index, scores in enumerate(by_seed):
    if len(rows) and len(scores) == size:
      rows[:, index] = (scores.sum() - scores) / (size - 1)
  return rows


def _scores(
  sums: Float64[np.ndarray, "r 2 s i k"] | Float64[np.ndarray, "2 s i k"],
  final: accumulators.Final,
) -> Float64[np.ndarray, "*r"]:
  """Scores by seed from sums: means over parts with a weight, and over runs."""
  numerator, denominator = np.moveaxis(sums, -4, 0)
  weighed = denominator > 0
  parts = accumulators.finish(numerator, denominator, final)
  total = np.where(weighed, parts, 0.0).sum(axis=-1)
  count = weighed.sum(axis=-1)
  scores = np.where(count > 0, total / np.maximum(count, 1), np.nan)
  return scores.mean(axis=-1)


def _pieces(
  n: int, sizes: tuple[int, ...], num_draws: int, seed: int
) -> Iterator[tuple[UInt16[np.ndarray, "r n"], dict[int, np.ndarray]]]:
  """How often groups are drawn, and what seeds weigh by their number."""
  # Streams of their own: who else is compared changes nobody's draws.
  rng = np.random.default_rng(seed)
  streams = {s: np.random.default_rng([seed, s]) for s in sizes}
  for start in range(0, num_draws, max(PIECE // n, 1)):
    rows = min(max(PIECE // n, 1), num_draws - start)
    groups = _draw(rng, rows, n, n).astype(np.uint16)
    seeds = {
      s: _draw(stream, rows, s, max(s - 1, 1)) / max(s - 1, 1)
      for s, stream in streams.items()
    }
    yield groups, seeds


@functools.lru_cache(maxsize=2)
def _kept_pieces(
  n: int, sizes: tuple[int, ...], num_draws: int, seed: int
) -> tuple:
  return tuple(_pieces(n, sizes, num_draws, seed))


def _draw(
  rng: np.random.Generator, rows: int, n: int, size: int
) -> Int64[np.ndarray, "rows n"]:
  """How often each of n was drawn, `size` times with replacement, per row."""
  drawn = rng.integers(0, n, (rows, size)) + n * np.arange(rows)[:, None]
  return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)


def _normal_score(draws: np.ndarray, value: float, near: float) -> float:
  """Where a value stands among the draws, in standard deviations."""
  equal = np.abs(draws - value) <= near
  below = ((draws < value) & ~equal).mean() + 0.5 * equal.mean()
  edge = 1 / (len(draws) + 1)
  return float(special.ndtri(np.clip(below, edge, 1 - edge)))


def _acceleration(near: float, *left_out: np.ndarray) -> float:
  """How the standard error changes with the value, from jackknifes.

  Influences of several factors, here groups and seeds, are pooled as for
  independent samples (Davison & Hinkley, "Bootstrap methods", 1997, eq. 5.28).
  """
  cubes = squares = 0.0
  for scores in left_out:
    scores = scores[np.isfinite(scores)]
    if len(scores) > 1:
      moved = scores.mean() - scores
      moved = np.where(np.abs(moved) <= near, 0.0, moved)  # rounding
      influence = (len(scores) - 1) * moved / len(scores)
      cubes += float((influence**3).sum())
      squares += float((influence**2).sum())
  return cubes / (6 * squares**1.5) if squares > 0 else 0.0
