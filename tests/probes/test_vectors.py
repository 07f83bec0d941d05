"""Trees as vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdr.probes import vectors

TREE = {
  "a": jnp.arange(12.0).reshape(2, 3, 2),
  "b": {"c": jnp.arange(2.0), "d": jnp.arange(20.0).reshape(2, 1, 10)},
}


@pytest.mark.parametrize("lead", [0, 1])
def test_there_and_back(lead):
  vector = vectors.ravel(TREE, lead)
  assert vector.shape == ((34,) if lead == 0 else (2, 17))
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[lead:], x.dtype), TREE
  )
  back = vectors.unravel(vector, shapes)
  jax.tree.map(np.testing.assert_array_equal, back, TREE)


def test_leaves_lie_one_after_another():
  vector = vectors.ravel(TREE, 1)
  np.testing.assert_array_equal(vector[1, :6], TREE["a"][1].ravel())
  assert vector[1, 6] == TREE["b"]["c"][1]
