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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vdr.probes.head import Inputs
from vdr.probes.plan import Plan
from vdr.runtime import errors, hosts

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


class Part(NamedTuple):
  """Clips of one batch: prepared features of each cell [b …], and targets."""

  cells: list[np.ndarray]
  targets: dict[str, np.ndarray]


def read(
  batches: Iterable[Batch],
  extract: Extract,
  prepare: Prepare,
  store: str,
  num_clips: int,
) -> Iterator[Part]:
  """The features and targets of all batches, in their order.

  Several hosts take turns at the batches: each is given its own, equally many
  as the others, and gets those of all. Whoever goes on, goes on with all hosts.

  In float16 features take half the memory and keep three digits, one more than
  in bfloat16, whose conversion is also ten times slower on a CPU. Tokens of
  mean 0 and variance 1 are at most √d, far from float16's end; vectors of a
  clip are few and always kept in float32.

  Args:
    batches: what `extract` takes.
    extract: features [cells b t h w d] and targets [b …] of a batch.
    prepare: a head's `prepare`.
    store: the type they are kept in.
    num_clips: of all hosts; batches beyond them are none.
  """
  left = num_clips
  for batch in batches:
    raw, own = extract(batch)
    cells = [np.asarray(cell) for cell in _prepare(raw, prepare, store)]
    mine = Part(cells, {k: np.asarray(v) for k, v in own.items()})
    for part in hosts.gather(mine):
      is_one, left = left > 0, left - len(part.cells[0])
      if is_one:
        yield part


def collect(parts: Iterable[Part]) -> Block:
  """Batches in memory, as one block.

  Raises:
    UserError: there are none.
  """
  parts = list(parts)
  if not parts:
    raise errors.UserError("there are no clips to fit probes on")
  cells = []
  for number in range(len(parts[0].cells)):
    joined = np.concatenate([part.cells[number] for part in parts])
    for part in parts:  # each cell's parts are freed when it is joined
      part.cells[number] = np.empty(0)
    cells.append(jnp.asarray(joined))
  targets = {
    k: jnp.asarray(np.concatenate([part.targets[k] for part in parts]))
    for k in parts[0].targets
  }
  return Block(tuple(cells), targets)


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
    num_clips: of an epoch, over all hosts.

  Raises:
    UserError: there are none.
  """

  def parts() -> Iterator[Part]:
    return read(make_batches(), extract, prepare, plan.store, num_clips)

  first_epoch = parts()
  first = next(first_epoch, None)
  if first is None:
    raise errors.UserError("there are no clips to fit probes on")
  num_bytes = sum(cell.nbytes for cell in first.cells)
  size = num_bytes / len(first.cells[0]) * num_clips
  if size <= plan.store_bytes:
    return collect(itertools.chain([first], first_epoch))
  logging.info(
    "probes: features of %d clips would take %.1f GB; %.1f GB are allowed, so"
    " they are streamed",
    num_clips,
    size / 1e9,
    plan.store_bytes / 1e9,
  )

  def epoch() -> Iterator[Block]:
    left = parts()
    while found := list(itertools.islice(left, plan.stream_batches)):
      yield collect(found)

  return Stream(epoch)
