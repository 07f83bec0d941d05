"""Features of clips, from memory or streamed, as the engine takes them.

A batch of a loader goes through the frozen model once for all members
(`extract`). Either all of them are stored, once, or blocks of a few batches are
made again in every epoch; config.probe.store_bytes decides (`open_blocks`).
"""

import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vdr.probes.head import Inputs
from vdr.probes.plan import Plan
from vdr.runtime import errors

Batch = Any  # whatever the loader gives and `extract` takes
# Features [cells b t h w d], or what a head's `prepare` makes of them with
# axes [cells b …], and the targets of their clips.
Extract = Callable[[Batch], tuple[Array, Inputs]]
Prepare = Callable[[Float[Array, "b t h w d"]], Float[Array, " b *d"]]


@dataclasses.dataclass(frozen=True)
class Block:
  """Clips that are in memory.

  Attributes:
    features: prepared features of each cell, [n …].
    targets: entries [n …]; `clip_valid` bool [n], if there, is False for clips
      that count nowhere.
  """

  features: tuple[Array, ...]
  targets: Inputs

  @property
  def num_clips(self) -> int:
    return self.features[0].shape[0]

  @property
  def num_cells(self) -> int:
    return len(self.features)

  def __iter__(self) -> Iterator["Block"]:
    """Itself, once: the blocks of one epoch."""
    yield self


@dataclasses.dataclass(frozen=True)
class Stream:
  """Clips whose features are made anew in every epoch.

  Attributes:
    make: starts an epoch: an iterator of blocks of equal sizes.
  """

  make: Callable[[], Iterator[Block]]

  def __iter__(self) -> Iterator[Block]:
    return self.make()


Blocks = Block | Stream


def collect(
  batches: Iterable[Batch],
  extract: Extract,
  prepare: Prepare,
  store: str = "float32",
) -> Block:
  """The features and targets of some batches, in memory.

  In float16 they take half the memory and keep three digits, one more than in
  bfloat16, whose conversion is also ten times slower on a CPU. Tokens of mean 0
  and variance 1 are at most √d, far from float16's end; vectors of a clip are
  few and always kept in float32.

  Args:
    batches: what `extract` takes.
    extract: features [cells b t h w d] and targets [b …] of a batch.
    prepare: a head's `prepare`.
    store: the type they are kept in.

  Raises:
    UserError: there are no batches.
  """
  features: list[list[np.ndarray]] = []
  targets: list[dict[str, np.ndarray]] = []
  for batch in batches:
    raw, own = extract(batch)
    prepared = _prepare(raw, prepare, store)
    features.append([np.asarray(cell) for cell in prepared])
    targets.append({k: np.asarray(v) for k, v in own.items()})
  if not features:
    raise errors.UserError("there are no clips to fit probes on")
  cells = []
  for number in range(len(features[0])):
    parts = [one[number] for one in features]
    for one in features:  # each cell's parts are freed when it is joined
      one[number] = np.empty(0)
    cells.append(jnp.asarray(np.concatenate(parts)))
  joined = {
    k: jnp.asarray(np.concatenate([one[k] for one in targets]))
    for k in targets[0]
  }
  return Block(tuple(cells), joined)


@functools.partial(jax.jit, static_argnames=("prepare", "store"))
def _prepare(raw: Array, prepare: Prepare, store: str) -> tuple[Array, ...]:
  """Each cell's prepared features, in the type they are kept in."""
  cells = [prepare(cell) for cell in raw]
  dtype = jnp.dtype(store) if cells[0].ndim > 2 else jnp.float32
  return tuple(cell.astype(dtype) for cell in cells)


def open_blocks(
  make_batches: Callable[[], Iterable[Batch]],
  extract: Extract,
  prepare: Prepare,
  plan: Plan,
  num_clips: int,
) -> Blocks:
  """Clips in memory if the plan's budget allows it, else streamed.

  Args:
    make_batches: starts an epoch: batches of equal sizes.
    extract: features and targets of a batch.
    prepare: a head's `prepare`.
    plan: its `store`, `store_bytes` and `stream_batches` count.
    num_clips: of an epoch.
  """
  batches = iter(make_batches())
  first = next(batches, None)
  if first is None:
    raise errors.UserError("there are no clips to fit probes on")
  one = collect([first], extract, prepare, plan.store)
  size = sum(cell.nbytes for cell in one.features) / one.num_clips * num_clips
  if size <= plan.store_bytes:
    return collect(
      itertools.chain([first], batches), extract, prepare, plan.store
    )
  logging.info(
    "probes: features of %d clips would take %.1f GB; %.1f GB are allowed, so"
    " they are streamed",
    num_clips,
    size / 1e9,
    plan.store_bytes / 1e9,
  )

  def epoch() -> Iterator[Block]:
    for part in _parts(make_batches(), plan.stream_batches):
      yield collect(part, extract, prepare, plan.store)

  return Stream(epoch)


def _parts(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
  iterator = iter(batches)
  while part := list(itertools.islice(iterator, size)):
    yield part
