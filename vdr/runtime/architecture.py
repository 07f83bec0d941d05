"""What a checkpoint's network is, read from disk without loading it."""

import logging
import math
import pathlib
from typing import NamedTuple

import jax
import orbax.checkpoint as ocp

from vdr.runtime import checkpoints, trees


class Architecture(NamedTuple):
  """Every parameter of a network.

  Attributes:
    shapes: type and shape of each by path, "float32[2, 3]".
    num_params: numbers in all of them.
  """

  shapes: dict[str, str]
  num_params: int


def read(path: pathlib.Path, step: int | None = None) -> Architecture:
  """Reads names and shapes of the parameters of a checkpoint.

  Args:
    path: a work directory, its folder of checkpoints, or one checkpoint.
    step: which checkpoint, if `path` is not one itself; the last by default.

  Raises:
    UserError: there is no such checkpoint.
  """
  directory, found = checkpoints.locate(path)
  step = checkpoints.read_meta(path, found if step is None else step)["step"]
  folder = directory.absolute() / str(step) / "state"
  absl = logging.getLogger("absl")
  level = absl.level
  absl.setLevel(logging.ERROR)  # Orbax misses a file of metadata that is above
  try:
    with ocp.PyTreeCheckpointer() as reader:
      tree = reader.metadata(folder).item_metadata.tree
  finally:
    absl.setLevel(level)
  params = trees.subtree(tree, "params")
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  return Architecture(trees.shapes(params), count)
