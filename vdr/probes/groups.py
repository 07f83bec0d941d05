"""Which members are computed together, by the memory that a step may take."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

PyTree = Any


class Group(NamedTuple):
  """Neighbouring members, of all seeds.

  Attributes:
    cells: which.
    hypers: which.
  """

  cells: slice
  hypers: slice

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
