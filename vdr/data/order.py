"""Which clip stands at which position of the stream: arithmetic, no state.

A stream is endless and has positions 0, 1, 2, …; what stands at a position
depends on the seed and the position alone. That is what makes a batch the same
for every number of hosts and workers, and after every resume.
"""

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Sequence

import grain
import numpy as np

# Independent random streams of one seed.
_ORDER, _CLIPS = 0, 1

# Up to this many clips an epoch's order is a table in memory. Grain's
# `index_shuffle` needs none, but takes milliseconds where clips are few.
_MAX_TABLE = 2**14


@dataclasses.dataclass(frozen=True)
class Order:
  """The stream of one source, or of a mixture.

  Grain's `shuffle` and `mix` datasets are not used for this: `mix` rounds the
  weights to hundredths of the least one, and `shuffle` seeds epoch e with
  seed + e, so that runs with neighbouring seeds would repeat each other.

  Attributes:
    lengths: clips of each source, all at least 1.
    weights: share of each source, by `whole_weights`; None puts the sources one
      behind the other, so that a pass has every clip of every source once.
    seed: 0 to 2³² - 1.
    shuffle: whether every pass over a source has an order of its own.
  """

  lengths: tuple[int, ...]
  weights: tuple[int, ...] | None
  seed: int
  shuffle: bool

  def locate(self, position: int) -> tuple[int, int]:
    """The source's number and the index in it at a position of the stream."""
    if self.weights is not None:
      number, place = interleave(position, self.weights)
      return number, self._index(place, self.lengths[number], 1 + number)
    ends = list(itertools.accumulate(self.lengths))
    index = self._index(position, ends[-1], 0)
    number = bisect.bisect_right(ends, index)
    return number, index - (ends[number] - self.lengths[number])

  def rng(self, position: int) -> np.random.Generator:
    """What is random about the clip at `position`."""
    sequence = np.random.SeedSequence(self.seed, spawn_key=(_CLIPS, position))
    return np.random.default_rng(sequence)

  def _index(self, place: int, length: int, stream: int) -> int:
    """Where the `place`-th clip of a stream lies among its `length` clips."""
    epoch, index = divmod(place, length)
    if not self.shuffle:
      return index
    if length <= _MAX_TABLE:
      return int(_permutation(self.seed, stream, epoch, length)[index])
    return grain.experimental.index_shuffle(
      index,
      max_index=length - 1,
      seed=int(_order_key(self.seed, stream, epoch).generate_state(1)[0]),
      rounds=4,
    )


def _order_key(seed: int, stream: int, epoch: int) -> np.random.SeedSequence:
  return np.random.SeedSequence(seed, spawn_key=(_ORDER, stream, epoch))


@functools.lru_cache(maxsize=64)
def _permutation(seed: int, stream: int, epoch: int, length: int) -> np.ndarray:
  rng = np.random.default_rng(_order_key(seed, stream, epoch))
  return rng.permutation(length)


def interleave(position: int, weights: Sequence[int]) -> tuple[int, int]:
  """Spreads sources evenly over a stream, in proportion to their weights.

  The stream is split into the first source and all others, the others again
  into the second source and the rest, and so on. At each split the first k
  places hold ⌊k · rest / total⌋ of the rest, so every prefix has each source's
  share to within one clip for each split.

  Returns:
    The source's number and how many of its clips stand before `position`.
  """
  total = sum(weights)
  for number, weight in enumerate(weights[:-1]):
    rest = total - weight
    others, others_after = (
      position * rest // total,
      (position + 1) * rest // total,
    )
    if others == others_after:
      return number, position - others
    position, total = others, rest
  return len(weights) - 1, position


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
  """Shares of a source each, in millionths and at least one.

  Args:
    weights: all above 0, on any scale.
  """
  total = sum(weights)
  return tuple(max(1, round(weight / total * 10**6)) for weight in weights)
