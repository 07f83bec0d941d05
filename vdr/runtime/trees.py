"""Nested dicts of arrays: paths in them, and where two of them differ."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

PyTree = Any


def path_name(path: tuple) -> str:
  """A leaf's path as text: "blocks/attention/qkv/kernel"."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def subtree(tree: PyTree, name: str) -> PyTree:
  """What is below a path of nested dicts."""
  for key in name.split("/"):
    tree = tree[key]
  return tree


def shapes(tree: PyTree) -> dict[str, str]:
  """Type and shape of each leaf by path: "float32[2, 3]".

  Args:
    tree: of anything with a shape and a dtype.
  """
  return {
    path_name(path): f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def difference(
  there: Mapping[str, str], here: Mapping[str, str]
) -> tuple[str, str, str] | None:
  """The first path at which two `shapes` differ, and what they have there.

  Returns:
    (path, there, here), with "absent" where there is none; None if all agree.
  """
  for name in [*here, *(name for name in there if name not in here)]:
    found = there.get(name, "absent"), here.get(name, "absent")
    if found[0] != found[1]:
      return name, *found
  return None
