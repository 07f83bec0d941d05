"""One bit, one place, one name: everything changes the hash, but no mesh."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vdr.runtime import fingerprint

TREE = {
  "a": jnp.arange(6, dtype=jnp.float32).reshape(2, 3),
  "b": {"c": jnp.ones((4,), jnp.bfloat16), "d": jnp.int32(7)},
  "e": jnp.array([True, False]),
}


def mix(x):
  x = (x ^ (x >> 16)) * 0x85EBCA6B % 2**32
  x = (x ^ (x >> 13)) * 0xC2B2AE35 % 2**32
  return x ^ (x >> 16)


def test_against_a_slow_version():
  value = np.array([[1.5, -2.0], [0.0, np.nan]], np.float32)
  words = []
  for seed in fingerprint._SEEDS:
    total = 0
    for place, element in enumerate(value.ravel()):
      bits = int(element.view(np.uint32))
      total += mix(bits ^ mix(place ^ seed))
    words.append(total % 2**32)
  digest = hashlib.sha256(b"x/y float32 (2, 2) ")
  digest.update(np.array(words, "<u4").tobytes())
  tree = {"x": {"y": jnp.asarray(value)}}
  assert fingerprint.of(tree) == digest.hexdigest()[:16]
  assert fingerprint.of(jax.device_get(tree)) == fingerprint.of(tree)


@pytest.mark.parametrize(
  "other",
  [
    TREE | {"a": TREE["a"].at[1, 2].add(1e-6)},
    TREE | {"a": TREE["a"].at[0, 0].set(-0.0)},
    TREE | {"a": TREE["a"][::-1]},
    TREE | {"a": TREE["a"].reshape(3, 2)},
    TREE | {"a": TREE["a"].astype(jnp.int32)},
    TREE | {"b": {"c": TREE["b"]["c"], "d": jnp.int32(8)}},
    TREE | {"e": jnp.array([False, True])},
    {"A" if k == "a" else k: v for k, v in TREE.items()},
    {k: v for k, v in TREE.items() if k != "e"},
  ],
)
def test_every_change_shows(other):
  assert fingerprint.of(other) != fingerprint.of(TREE)


def test_it_is_the_same_every_time():
  assert fingerprint.of(TREE) == fingerprint.of(dict(reversed(TREE.items())))
  assert len(fingerprint.of(TREE)) == 16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 1, 4, 3)])
def test_small_arrays_are_summed_as_large_ones_are(monkeypatch, dtype, shape):
  bits = np.random.default_rng(0).integers(0, 2, (4, *shape))
  tree = {"x": jnp.asarray(bits[0], dtype), "y": jnp.asarray(bits[1], dtype)}
  here = fingerprint.of(tree)
  monkeypatch.setattr(fingerprint, "_ON_HOST", -1)
  assert fingerprint.of(tree) == here
  mesh = jax.make_mesh((1,), ("data",))
  whole = NamedSharding(mesh, PartitionSpec())
  assert fingerprint.of(jax.device_put(tree, whole)) == here


def test_so_are_views_that_are_not_contiguous(monkeypatch):
  x = np.arange(24, dtype=np.float32).reshape(4, 6)
  tree = {"a": x.T, "b": x[::2, 1::2], "c": x[:, 0]}
  here = fingerprint.of(tree)
  monkeypatch.setattr(fingerprint, "_ON_HOST", -1)
  assert fingerprint.of(tree) == here


def test_so_are_types_that_jax_has_not(monkeypatch):
  x = np.random.default_rng(0).normal(size=(3, 5))
  tree = {"a": x, "b": (1e9 * x).astype(np.int64)}
  here = fingerprint.of(tree)
  monkeypatch.setattr(fingerprint, "_ON_HOST", -1)
  assert fingerprint.of(tree) == here


def test_small_arrays_need_no_program(monkeypatch):
  monkeypatch.setattr(fingerprint, "_summing_on", None)
  assert len(fingerprint.of(TREE)) == 16
