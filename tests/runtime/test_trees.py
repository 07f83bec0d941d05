"""Paths, shapes and the first difference, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vdr.runtime import trees

TREE = {"b": {"c": np.zeros((2, 3), np.float32)}, "a": jnp.ones((), jnp.int32)}


def test_types_and_shapes_by_path():
  expected = {"a": "int32[]", "b/c": "float32[2, 3]"}
  assert trees.shapes(TREE) == expected
  assert trees.shapes(jax.eval_shape(lambda: TREE)) == expected


def test_states_of_optax_have_paths_too():
  state = optax.adam(1.0).init({"w": jnp.zeros(2, jnp.bfloat16)})
  assert trees.shapes(state) == {
    "0/count": "int32[]",
    "0/mu/w": "bfloat16[2]",
    "0/nu/w": "bfloat16[2]",
  }


def test_a_part_of_a_tree():
  assert trees.subtree(TREE, "b") is TREE["b"]
  assert trees.subtree(TREE, "b/c") is TREE["b"]["c"]


@pytest.mark.parametrize(
  ("there", "here", "expected"),
  [
    ({"a": "1"}, {"a": "1"}, None),
    ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, None),
    ({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, ("b", "2", "3")),
    ({"a": "1"}, {"a": "1", "b": "3"}, ("b", "absent", "3")),
    ({"a": "1", "b": "2"}, {"a": "1"}, ("b", "2", "absent")),
  ],
)
def test_the_first_difference(there, here, expected):
  assert trees.difference(there, here) == expected
