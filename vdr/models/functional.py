"""From NNX modules to plain nested dicts of arrays, and back.

Modules hold `nnx.Param` and static values only. Their parameters then are a
nested dict that every plain JAX transform takes, and the module is a way to
write down a function of that dict.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import PyTree

from vdr.runtime import errors

Params = dict[str, Any]  # nested, with arrays (or their shapes) as leaves
Module = TypeVar("Module", bound=nnx.Module)
Make = Callable[[nnx.Rngs], Module]


def params_of(module: nnx.Module) -> Params:
  """The parameters of a module as a plain nested dict."""
  return nnx.to_pure_dict(nnx.state(module, nnx.Param))


def init(make: Make, key: jax.Array) -> Params:
  """The parameters of a new module; works under jit, vmap and eval_shape."""
  return params_of(make(nnx.Rngs(key)))


def skeleton(make: Make) -> tuple[Any, Params]:
  """A module without its numbers: its graph and its parameters' shapes."""
  graphs = []

  def build(key):
    module = make(nnx.Rngs(key))
    graphs.append(nnx.graphdef(module))
    return params_of(module)

  shapes = jax.eval_shape(build, jax.eval_shape(lambda: jax.random.key(0)))
  return graphs[0], shapes


def bind(make: Make[Module], params: Params) -> Module:
  """The module that `make` builds, with these parameters in it.

  Raises:
    UserError: the parameters are those of another architecture.
  """
  return fill(skeleton(make), params)


def fill(bones: tuple[Any, Params], params: Params) -> Any:
  """The module of a skeleton with these parameters in it.

  Raises:
    UserError: the parameters are those of another architecture.
  """
  graph, shapes = bones
  expected, found = _shapes(shapes), _shapes(params)
  for path in sorted(expected.keys() | found.keys()):
    if expected.get(path) != found.get(path):
      raise errors.UserError(
        f"parameters do not fit the model: {path} is"
        f" {found.get(path, 'missing')} where config.model makes it"
        f" {expected.get(path, 'nothing')}; use the config that they were"
        " trained with"
      )
  return nnx.merge(graph, params)


def _shapes(params: Params) -> dict[str, tuple[int, ...]]:
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
    for path, leaf in leaves
  }


def stack(make: Make[Module], num: int, rngs: nnx.Rngs) -> Module:
  """`num` modules in one, whose parameters have a leading axis of `num`.

  It can't be called: `unstack` and `slices` give the modules that can.
  """
  graph, _ = skeleton(make)
  keys = jax.random.split(rngs.params(), num)
  return nnx.merge(graph, jax.vmap(lambda key: init(make, key))(keys))


def unstack(module: Module) -> tuple[Callable[[Params], Module], Params]:
  """A stacked module as its parameters and the way back from one slice."""
  graph, params = nnx.graphdef(module), params_of(module)
  return lambda one: nnx.merge(graph, one), params


def slices(params: Params, start: int, stop: int) -> Iterator[Params]:
  """The parameters of modules start … stop − 1 of a stack, one by one."""
  # Unstacked once and not indexed: its gradient is one stack, where that of an
  # index is a sum over the whole stack for every module.
  leaves, tree = jax.tree.flatten(params)
  parts = [jax.lax.unstack(leaf[start:stop]) for leaf in leaves]
  for part in zip(*parts, strict=True):
    yield jax.tree.unflatten(tree, part)


def pairs(params: Params) -> Params:
  """A stack by twos: axes of half and of 2 for its leading one."""
  return jax.tree.map(lambda p: p.reshape(-1, 2, *p.shape[1:]), params)


def fold(
  step: Callable[[Any, Any], Any], x: PyTree, params: PyTree, num: int
) -> PyTree:
  """`x = step(x, own)` for the first `num` modules of a stack, in one loop."""
  if num == jax.tree.leaves(params)[0].shape[0]:
    return jax.lax.scan(lambda x, own: (step(x, own), None), x, params)[0]

  # A slice of the stack would be a copy of it. The gradient of an index, a sum
  # over the stack for every module, is why it isn't always done so.
  def one(x, number):
    own = jax.tree.map(
      lambda p: jax.lax.dynamic_index_in_dim(p, number, keepdims=False), params
    )
    return step(x, own), None

  return jax.lax.scan(one, x, jnp.arange(num))[0] if num else x


def count(params: Params) -> int:
  """Number of parameters, of arrays or of their shapes."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
