"""Which device holds which part of an array: one mesh, one list of rules.

The mesh has three axes. `data` and `fsdp` share the batch; `fsdp` also shares
the parameters (they are gathered when needed), `tensor` splits the matrix
products. No module of the model knows of it: `jax.jit` gets the shardings that
the rules below give, and XLA does the rest. Nothing here touches a device, so
all of it works on abstract topologies, too.
"""

import contextlib
import contextvars
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vdr.runtime import errors, trees

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")
_SHARED = {"windows": BATCH_AXES, "heads": ("tensor",)}  # by activations

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any
AnyMesh = Mesh | AbstractMesh

_rows_of: contextvars.ContextVar[AnyMesh | None] = contextvars.ContextVar(
  "rows_of", default=None
)

# The first pattern that is found in a leaf's path decides; the path is the
# tree's keys joined by slashes. A spec is that of the LAST axes of a leaf, so
# that stacked blocks (a leading axis of layers) need no rules of their own.
# Between the matrices of a block, heads and hidden channels are split over
# `tensor`; the residual stream never is.
RULES: tuple[tuple[str, P], ...] = (
  (r"(^|/)(qkv|kv)/kernel$", P("fsdp", None, "tensor", None)),  # [d 3 a c]
  (r"(^|/)q/kernel$", P("fsdp", "tensor", None)),  # [d a c]
  (r"(^|/)out/kernel$", P("tensor", None, "fsdp")),  # [a c d]
  (r"(^|/)mlp/up/kernel$", P("fsdp", "tensor")),
  # Gathered along its first axis: along the last, TPUs copy all of it again.
  (r"(^|/)mlp/down/kernel$", P(("tensor", "fsdp"), None)),
  (r"(^|/)adaln/kernel$", P("fsdp", None, None)),  # [d 6 d]
  (r"(^|/)final/kernel$", P("fsdp", None, None, None)),  # [d p p c]
  # Every other matrix, convolutions too, and tables with a row for each class.
  (r"(^|/)(kernel|classes)$", P("fsdp")),
  # Small leaves: the same on every device.
  (r"(^|/)(bias|\w*scale|gate|null_text)$", P()),
  (r"(^|/)(positions|relative)/\w+$", P()),
)


def make_mesh(cfg: Config, devices: Sequence[Any] | None = None) -> Mesh:
  """The mesh that `config.mesh` asks for.

  Args:
    cfg: of `configs/base.py:mesh`; one size may be -1, the rest of the devices.
    devices: to use; all by default. Those of a topology description serve.

  Raises:
    UserError: the sizes don't multiply to the number of devices, or can't be
      laid over the links between them.
  """
  devices = jax.devices() if devices is None else list(devices)
  sizes = _sizes(cfg, len(devices))
  try:
    # Explicit is the default of jax.make_mesh; vdr's code is written for Auto.
    return jax.make_mesh(
      sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
    )
  except NotImplementedError as error:
    raise errors.UserError(
      f"{_show(sizes)} can't be laid over this slice of a TPU pod; choose sizes"
      " that are products of its sides, for example 16 and 16 for 16x16"
    ) from error


def _sizes(cfg: Config, count: int) -> tuple[int, ...]:
  sizes = [int(cfg[axis]) for axis in AXES]
  shown = _show(sizes)
  if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
    raise errors.UserError(
      f"{shown}: sizes are 1 or more, and one of them may be -1, the rest"
    )
  known = math.prod(size for size in sizes if size != -1)
  if -1 in sizes and count % known == 0:
    sizes[sizes.index(-1)] = count // known
  if math.prod(sizes) != count:
    raise errors.UserError(
      f"{shown} can't be laid over {count} devices; choose sizes whose product"
      f" is {count}, or -1 for one of them"
    )
  return tuple(sizes)


def _show(sizes: Sequence[int]) -> str:
  return ", ".join(f"mesh.{a}={s}" for a, s in zip(AXES, sizes, strict=True))


def batch_sharding(mesh: AnyMesh) -> NamedSharding:
  """Of a batch: the leading axis over `data` and `fsdp`."""
  return NamedSharding(mesh, P(BATCH_AXES))


def replicated(mesh: AnyMesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, P())


@contextlib.contextmanager
def split_rows(mesh: AnyMesh) -> Iterator[None]:
  """While a function is traced in here, `rows` splits what it is given."""
  token = _rows_of.set(mesh)
  try:
    yield
  finally:
    _rows_of.reset(token)


def rows(x: jax.Array) -> jax.Array:
  """Says that the leading axis is the batch, which the devices share.

  Without it XLA guesses from the parameters how to split activations, guesses
  differently from one operation to the next, and moves them between devices.
  Outside `split_rows`, and where the devices do not divide the axis, nothing is
  said.
  """
  mesh = _rows_of.get()
  if mesh is None:
    return x
  if x.shape[0] % _shares(mesh, BATCH_AXES):
    return x
  return jax.lax.with_sharding_constraint(x, batch_sharding(mesh))


def on_own(
  function: Callable[..., PyTree],
  ins: tuple[str, ...],
  outs: str | tuple[str, ...],
  sizes: Mapping[str, int],
) -> Callable[..., PyTree]:
  """A function that every device calls on its own windows and heads.

  For kernels, which XLA can't split itself. An axis that the devices do not
  divide stays whole, and they all do the same. Outside `split_rows` nothing is
  done.

  Args:
    function: of arrays, to arrays.
    ins: names of the axes of each argument, as in "windows n heads"; those that
      `_SHARED` does not have are whole.
    outs: likewise for the result, or for each of several.
    sizes: of the axes that are shared.
  """
  mesh = _rows_of.get()
  if mesh is None:
    return function

  def over(name: str) -> tuple[str, ...] | None:
    axes = _SHARED.get(name, ())
    return axes if axes and sizes[name] % _shares(mesh, axes) == 0 else None

  def spec(names: str) -> P:
    return P(*(over(name) for name in names.split()))

  return jax.shard_map(
    function,
    mesh=mesh,
    in_specs=tuple(map(spec, ins)),
    out_specs=spec(outs) if isinstance(outs, str) else tuple(map(spec, outs)),
    check_vma=False,  # kernels do not say how their results vary
  )


def whole(params: PyTree) -> PyTree:
  """Parameters as a computation takes them: gathered over `fsdp`.

  Left to itself XLA multiplies by one share of a matrix after another while
  they go around, and adds up the results in memory: for 1.9 B parameters on 16
  chips that is a third of all traffic through it. Gradients are scattered
  again. Outside `split_rows` nothing is done.

  Args:
    params: a tree whose paths end as those of `RULES`.
  """
  mesh = _rows_of.get()
  if mesh is None or mesh.shape["fsdp"] == 1:
    return params

  def gather(path: tuple, leaf: jax.Array) -> jax.Array:
    spec = _fit(_rule(trees.path_name(path)) or P(), leaf.shape, mesh)
    rest = P(*(tuple(a for a in _names(axes) if a != "fsdp") for axes in spec))
    if rest == spec:
      return leaf
    return _reshard(leaf, NamedSharding(mesh, spec), NamedSharding(mesh, rest))

  return jax.tree_util.tree_map_with_path(gather, params)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _reshard(
  x: jax.Array, before: NamedSharding, after: NamedSharding
) -> jax.Array:
  """`x` as `after` has it; its gradient as `before` has it."""
  del before
  return jax.lax.with_sharding_constraint(x, after)


def _reshard_forward(
  x: jax.Array, before: NamedSharding, after: NamedSharding
) -> tuple[jax.Array, None]:
  return _reshard(x, before, after), None


def _reshard_backward(
  before: NamedSharding, after: NamedSharding, _: None, gradient: jax.Array
) -> tuple[jax.Array]:
  del after
  return (jax.lax.with_sharding_constraint(gradient, before),)


_reshard.defvjp(_reshard_forward, _reshard_backward)


def check_batch_size(
  mesh: AnyMesh, batch_size: int, accumulation_steps: int = 1
) -> None:
  """Raises UserError if the devices can't share each part of a batch equally.

  Args:
    mesh: as of `make_mesh`.
    batch_size: clips of a batch, over all hosts.
    accumulation_steps: parts of a batch, one after another.
  """
  shares = _shares(mesh, BATCH_AXES)
  if batch_size % (shares * accumulation_steps):
    parts = f" in {accumulation_steps} parts" if accumulation_steps > 1 else ""
    raise errors.UserError(
      f"data.batch_size={batch_size} can't be shared equally by {shares}"
      f" devices (mesh.data x mesh.fsdp){parts}; use a multiple of"
      f" {shares * accumulation_steps}"
    )


def param_shardings(mesh: AnyMesh, tree: PyTree) -> PyTree:
  """Where each leaf of a tree of parameters lives, by `RULES`.

  Optimiser states and averages hold trees like the parameters', whose paths end
  like theirs: whole training states may be given. An axis of a leaf that the
  mesh's axis doesn't divide is not split.

  Args:
    mesh: as of `make_mesh`.
    tree: arrays, or `jax.ShapeDtypeStruct`s.

  Returns:
    A tree of NamedShardings.
  """

  def sharding(path: tuple, leaf: Any) -> NamedSharding:
    spec = _rule(trees.path_name(path)) or P()
    return NamedSharding(mesh, _fit(spec, leaf.shape, mesh))

  return jax.tree_util.tree_map_with_path(sharding, tree)


def with_shardings(mesh: AnyMesh, tree: PyTree) -> PyTree:
  """A tree of `jax.ShapeDtypeStruct`s that carry `param_shardings`."""
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    tree,
    param_shardings(mesh, tree),
  )


def unmatched(tree: PyTree) -> list[str]:
  """Paths of leaves with an axis to split that no rule knows."""
  return [
    trees.path_name(path)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    if len(leaf.shape) > 1 and _rule(trees.path_name(path)) is None
  ]


def _rule(name: str) -> P | None:
  return next((spec for rule, spec in RULES if re.search(rule, name)), None)


def _fit(spec: P, shape: tuple[int, ...], mesh: AnyMesh) -> P:
  """A spec for a shape: aligned to the right, without what doesn't divide."""
  if len(spec) > len(shape):  # Adafactor's rows and columns, for example
    return P()
  axes = (None,) * (len(shape) - len(spec)) + tuple(spec)
  fitted = [
    None if size % _shares(mesh, names) else names
    for names, size in zip(axes, shape, strict=True)
  ]
  return P(*fitted)


def _names(axes: str | tuple[str, ...] | None) -> tuple[str, ...]:
  """The mesh's axes that an axis of an array is split over."""
  if axes is None:
    return ()
  return (axes,) if isinstance(axes, str) else tuple(axes)


def _shares(mesh: AnyMesh, axes: str | tuple[str, ...] | None) -> int:
  """Parts that an axis of an array has, which is split over these."""
  return math.prod(mesh.shape[axis] for axis in _names(axes))


def bytes_per_device(tree: PyTree, mesh: AnyMesh) -> int:
  """Bytes that a tree takes on one device under `param_shardings`."""
  sizes = jax.tree.map(
    lambda leaf, sharding: (
      math.prod(sharding.shard_shape(leaf.shape))
      * np.dtype(leaf.dtype).itemsize
    ),
    tree,
    param_shardings(mesh, tree),
  )
  return sum(jax.tree.leaves(sizes))
