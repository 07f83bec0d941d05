"""A hash of arrays that is the same on every mesh."""

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, UInt32

from vdr.runtime import trees

PyTree = Any

_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}
_SEEDS = (0x9E3779B9, 0x7F4A7C15, 0xF39CC060, 0x5CEDC834)


def of(tree: PyTree) -> str:
  """16 hexadecimal digits that stand for paths, shapes, types and every bit.

  Each element's bits are mixed with its place and summed modulo 2^32, on the
  devices where they are: the order of a sum of integers does not matter, so the
  hash depends neither on the mesh nor on the number of hosts. It is to tell
  checkpoints apart and to notice damage, not to withstand an adversary.
  """
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  sums = jax.device_get([_on_its_mesh(leaf)(leaf) for _, leaf in leaves])
  digest = hashlib.sha256()
  for (path, leaf), value in zip(leaves, sums, strict=True):
    name = trees.path_name(path)
    digest.update(f"{name} {leaf.dtype} {leaf.shape} ".encode())
    digest.update(np.asarray(value, "<u4").tobytes())
  return digest.hexdigest()[:16]


def _on_its_mesh(x: Array | np.ndarray) -> Callable[[Array], Array]:
  """`_sums`, with a result that every host of the array's mesh has."""
  sharding = getattr(x, "sharding", None)
  if isinstance(sharding, NamedSharding):
    return _sums_over(sharding.mesh)
  return _sums_over(None)


@functools.cache
def _sums_over(mesh: Any) -> Callable[[Array], Array]:
  if mesh is None:
    return jax.jit(_sums)
  return jax.jit(_sums, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _sums(x: Array) -> UInt32[Array, " k"]:
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  bits = jax.lax.bitcast_convert_type(x, _WORDS[x.dtype.itemsize])
  bits = bits.astype(jnp.uint32)
  place = jnp.zeros(x.shape, jnp.uint32)
  for axis, size in enumerate(x.shape):
    index = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    place = place * jnp.uint32(size) + index
  sums = [
    _mix(bits ^ _mix(place ^ jnp.uint32(seed))).sum(dtype=jnp.uint32)
    for seed in _SEEDS
  ]
  return jnp.stack(sums)


def _mix(x: UInt32[Array, "*s"]) -> UInt32[Array, "*s"]:
  """MurmurHash3's finaliser: every bit of x reaches every bit of the result."""
  x = (x ^ (x >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
  x = (x ^ (x >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
  return x ^ (x >> jnp.uint32(16))
