"""Which members are computed together, and how groups of them take turns."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import jax
import numpy as np

from vdr.runtime import processes

PyTree = Any


class Group(NamedTuple):
  """Neighbouring members, of all seeds.

  Attributes:
    cells: which.
    hypers: which.
  """

  cells: slice
  hypers: slice

  @property
  def size(self) -> tuple[int, int]:
    """Number of cells, and of hypers."""
    cells, hypers = self.cells, self.hypers
    return cells.stop - cells.start, hypers.stop - hypers.start

  def of(self, tree: PyTree) -> PyTree:
    """Their part of arrays [cells hypers …]."""
    return jax.tree.map(lambda x: x[self.cells, self.hypers], tree)


def split(
  num_cells: int, num_hypers: int, cell_bytes: int, member_bytes: int, most: int
) -> list[Group]:
  """Equal groups, as large as the budget allows, so that one program serves.

  A group has all hypers of some cells, since they share features; only where
  those of one cell are too many, some hypers of one.

  Args:
    num_cells: all cells.
    num_hypers: all hypers.
    cell_bytes: of a cell, shared by its hypers.
    member_bytes: of each hyper of a cell, with all its seeds.
    most: bytes of a group; one member is computed whatever it takes.
  """

  def largest(num: int, base: int, each: int) -> int:
    sizes = [n for n in range(1, num + 1) if num % n == 0]
    return max(n for n in sizes if n == 1 or base + n * each <= most)

  cells = largest(num_cells, 0, cell_bytes + num_hypers * member_bytes)
  hypers = num_hypers
  if cells == 1:
    hypers = largest(num_hypers, cell_bytes, member_bytes)
  starts = itertools.product(
    range(0, num_cells, cells), range(0, num_hypers, hypers)
  )
  return [Group(slice(c, c + cells), slice(h, h + hypers)) for c, h in starts]


@contextlib.contextmanager
def turns() -> Iterator[Callable[..., list[Any]]]:
  """Gives `take_turns(run, *args)`: `run` for each group, results in order.

  On a CPU every core has a group at a time: XLA shares only large matrix
  products among cores, and those of probes are small. The very first group runs
  alone, since it compiles for all.
  """
  if jax.default_backend() != "cpu":
    yield lambda run, *args: [run(*own) for own in zip(*args, strict=True)]
    return
  is_first = True
  with futures.ThreadPoolExecutor(processes.usable_cores()) as pool:

    def take_turns(run: Callable, *args: Sequence[Any]) -> list[Any]:
      nonlocal is_first

      def wait(own: tuple) -> Any:
        return jax.block_until_ready(run(*own))

      each = list(zip(*args, strict=True))
      alone = each[:1] if is_first else []
      is_first = False
      return [*map(wait, alone), *pool.map(wait, each[len(alone) :])]

    yield take_turns


def join(parts: list[PyTree], groups: list[Group]) -> PyTree:
  """Arrays [cells hypers …] of all members from those of their groups."""
  num_rows = len({group.cells.start for group in groups})
  columns = len(groups) // num_rows

  def one(*leaves: Any) -> np.ndarray:
    rows = [
      np.concatenate(leaves[i : i + columns], axis=1)
      for i in range(0, len(leaves), columns)
    ]
    return np.concatenate(rows, axis=0)

  return jax.tree.map(one, *parts)


def traced_bytes(jaxpr: Any) -> int:
  """What a program makes, in bytes: an upper bound of what it needs at once.

  The results of all its operations together, as if none were fused and nothing
  freed.
  """
  total = 0
  for equation in jaxpr.eqns:
    inner = list(_inner(equation))
    for body in inner:
      total += traced_bytes(body) * equation.params.get("length", 1)
    if not inner:
      total += sum(_size(var.aval) for var in equation.outvars)
  return total


def _inner(equation: Any) -> Iterator[Any]:
  for value in equation.params.values():
    for part in value if isinstance(value, (tuple, list)) else [value]:
      part = getattr(part, "jaxpr", part)
      if hasattr(part, "eqns"):
        yield part


def _size(aval: Any) -> int:
  dtype = getattr(aval, "dtype", None)
  itemsize = getattr(dtype, "itemsize", 8)
  return int(np.prod(getattr(aval, "shape", ()))) * itemsize
