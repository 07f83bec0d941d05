"""A hash of arrays that is the same on every mesh."""

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped, UInt32

from vdr.runtime import trees

PyTree = Any
Words = UInt32[Array | np.ndarray, "*s"]

_WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32}
# Elements up to which an array is summed by NumPy: XLA would need a program for
# every shape, .2 s of a CPU each, and has no advantage yet.
_ON_HOST = 2**20
_SEEDS = (0x9E3779B9, 0x7F4A7C15, 0xF39CC060, 0x5CEDC834)


def of(tree: PyTree) -> str:
  """16 hexadecimal digits that stand for paths, shapes, types and every bit.

  Each element's bits are mixed with its place and summed modulo 2^32, those of
  large arrays on the devices where they are: the order of a sum of integers
  does not matter, so the hash depends neither on the mesh nor on the number of
  hosts. It is to tell checkpoints apart and to notice damage, not to withstand
  an adversary.
  """
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  sums = jax.device_get([_sums(leaf) for _, leaf in leaves])
  digest = hashlib.sha256()
  for (path, leaf), value in zip(leaves, sums, strict=True):
    name = trees.path_name(path)
    digest.update(f"{name} {leaf.dtype} {leaf.shape} ".encode())
    digest.update(np.asarray(value, "<u4").tobytes())
  return digest.hexdigest()[:16]


def _sums(x: Array | np.ndarray) -> Array | np.ndarray:
  """Four sums that stand for an array; every host of its mesh has them."""
  if x.size <= _ON_HOST and getattr(x, "is_fully_addressable", True):
    return _sums_on_host(np.asarray(x))
  sharding = getattr(x, "sharding", None)
  mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
  return _summing_on(mesh)(x)


@functools.cache
def _summing_on(mesh: Any) -> Callable[[Array | np.ndarray], Array]:
  if mesh is None:
    return jax.jit(_sums_on_device)
  return jax.jit(
    _sums_on_device, out_shardings=NamedSharding(mesh, PartitionSpec())
  )


def _sums_on_host(x: Shaped[np.ndarray, "*s"]) -> UInt32[np.ndarray, " k"]:
  # NumPy's types of 8 bytes as JAX takes them.
  x = x.astype(jax.dtypes.canonicalize_dtype(x.dtype), copy=False)
  bits = x.reshape(-1).view(_WORDS[x.dtype.itemsize]).astype(np.uint32)
  place = np.arange(x.size, dtype=np.uint32)
  return np.stack(_mixed_sums(bits, place))


def _sums_on_device(x: Shaped[Array, "*s"]) -> UInt32[Array, " k"]:
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  bits = jax.lax.bitcast_convert_type(x, _WORDS[x.dtype.itemsize])
  bits = bits.astype(jnp.uint32)
  place = jnp.zeros(x.shape, jnp.uint32)
  for axis, size in enumerate(x.shape):
    index = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    place = place * jnp.uint32(size) + index
  return jnp.stack(_mixed_sums(bits, place))


def _mixed_sums(bits: Words, place: Words) -> list[Any]:
  """Of an array's bits and its elements' places, one sum for each seed."""
  return [
    _mix(bits ^ _mix(place ^ np.uint32(seed))).sum(dtype=np.uint32)
    for seed in _SEEDS
  ]


def _mix(x: Words) -> Words:
  """MurmurHash3's finaliser: every bit of x reaches every bit of the result."""
  x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
  x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
  return x ^ (x >> np.uint32(16))
