"""Parameters as one vector, and back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PyTree = Any


def ravel(tree: PyTree, lead: int) -> Float[Array, "*lead p"]:
  """All leaves of a tree in one array, leaf by leaf.

  Args:
    tree: of arrays whose first `lead` axes are the same.
    lead: axes that stay.
  """
  leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree)]
  return jnp.concatenate(
    [leaf.reshape(*leaf.shape[:lead], -1) for leaf in leaves], axis=-1
  )


def unravel(vector: Float[Array, "*lead p"], shapes: PyTree) -> PyTree:
  """The tree that `ravel` was given; axes in front stay.

  Args:
    vector: of `ravel`.
    shapes: of the tree's leaves, without the axes in front.
  """
  leaves, tree = jax.tree.flatten(shapes)
  ends = np.cumsum([int(np.prod(leaf.shape)) for leaf in leaves])
  parts = jnp.split(vector, ends[:-1].tolist(), axis=-1)
  return jax.tree.unflatten(
    tree,
    [
      part.reshape(*vector.shape[:-1], *leaf.shape)
      for part, leaf in zip(parts, leaves, strict=True)
    ],
  )
