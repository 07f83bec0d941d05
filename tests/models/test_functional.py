"""Modules and plain dicts of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vdr.models import functional, layers
from vdr.runtime import errors


def make(rngs: nnx.Rngs) -> layers.Linear:
  return layers.Linear((2,), (3,), rngs)


def test_parameters_are_a_plain_dict_of_arrays():
  params = functional.init(make, jax.random.key(0))
  assert type(params) is dict
  assert params.keys() == {"kernel", "bias"}
  assert all(isinstance(leaf, jax.Array) for leaf in params.values())


def test_binding_gives_the_module_back():
  params = functional.init(make, jax.random.key(0))
  module = functional.bind(make, params)
  x = jnp.ones((4, 2))
  expected = np.ones((4, 2)) @ np.asarray(params["kernel"])
  np.testing.assert_allclose(module(x), expected, rtol=1e-6)


def test_the_skeleton_is_what_init_makes():
  _, shapes = functional.skeleton(make)
  params = functional.init(make, jax.random.key(0))
  assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, params)
  assert functional.count(shapes) == functional.count(params) == 9


@pytest.mark.parametrize(
  ("params", "words"),
  [
    ({"kernel": jnp.ones((2, 3))}, "bias is missing where .* makes it .3,"),
    ({"kernel": jnp.ones((2, 4)), "bias": jnp.ones(3)}, r"kernel is \(2, 4\)"),
    (
      {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3), "more": jnp.ones(1)},
      "more is .* makes it nothing",
    ),
  ],
)
def test_other_parameters_are_refused(params, words):
  with pytest.raises(errors.UserError, match=words):
    functional.bind(make, params)


class TestStack:
  def test_every_module_has_its_own_values(self):
    stack = functional.stack(make, 3, nnx.Rngs(0))
    to_module, params = functional.unstack(stack)
    assert params["kernel"].shape == (3, 2, 3)
    assert len({float(kernel[0, 0]) for kernel in params["kernel"]}) == 3
    modules = [to_module(own) for own in functional.slices(params, 1, 3)]
    for module, kernel in zip(modules, params["kernel"][1:], strict=True):
      np.testing.assert_array_equal(module(jnp.eye(2)), kernel)

  def test_pairs_are_slices_by_twos(self):
    pairs = functional.pairs({"a": jnp.arange(4)})
    np.testing.assert_array_equal(pairs["a"], [[0, 1], [2, 3]])

  @pytest.mark.parametrize("num", range(4))
  def test_folded_are_the_first_of_them_one_by_one(self, num):
    params = {"a": jnp.asarray([2.0, 3.0, 5.0]), "b": jnp.arange(3.0)}

    def step(x, own):
      return own["a"] * x + own["b"]

    def folded(x, params):
      return functional.fold(step, x, params, num)

    def expected(x, params):
      for own in functional.slices(params, 0, num):
        x = step(x, own)
      return x

    both = [jax.value_and_grad(f, (0, 1)) for f in (folded, expected)]
    jax.tree.map(np.testing.assert_array_equal, *(f(7.0, params) for f in both))

  def test_slices_have_the_gradient_of_an_index(self):
    params = {"a": jnp.arange(3.0)}

    def loss(params):
      first, second = functional.slices(params, 1, 3)
      return first["a"] * second["a"]

    np.testing.assert_array_equal(jax.grad(loss)(params)["a"], [0, 2, 1])
