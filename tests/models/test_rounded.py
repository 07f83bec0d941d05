"""Parameters that are rounded once and not at every pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import networks
from vdr.models import dit
from vdr.runtime import trees


@pytest.fixture
def cfg():
  """With every parameter that there is."""
  conditions = dict(num_classes=4, text_dim=6, self_conditioning=True)
  return networks.config(
    dtype="bfloat16", scan=True, positions="learned", **conditions
  )


@pytest.mark.parametrize("layers", [(), (0, 1, 2)], ids=str)
def test_results_are_the_same_to_the_bit(layers, cfg):
  params, z = networks.alive(cfg), networks.latents()
  call = dict(labels=jnp.arange(2), text=jnp.ones((2, 5, 6)), self_condition=z)
  expected = networks.run(cfg, params, z, layers=layers, **call)
  rounded = dit.rounded(cfg, params)
  found = networks.run(cfg, rounded, z, layers=layers, **call)
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_what_blocks_multiply_tokens_with_is_rounded(cfg):
  found = trees.shapes(dit.rounded(cfg, networks.alive(cfg)))
  whole = {name for name, what in found.items() if what.startswith("float32")}
  assert not any(part in name for name in whole for part in ("mlp", "qkv"))
  # Modulation and conditions are computed in float32.
  assert {"blocks/adaln/up/kernel", "noise/first/kernel"} <= whole
  assert {"adaln/bias", "blocks/attention/q_scale"} <= whole


def test_shapes_are_rounded_as_arrays_are(cfg):
  params = networks.alive(cfg)
  shapes = jax.eval_shape(lambda: params)
  found = trees.shapes(dit.rounded(cfg, shapes))
  assert found == trees.shapes(dit.rounded(cfg, params))


def test_in_float32_nothing_changes():
  cfg = networks.config()
  params = networks.alive(cfg)
  jax.tree.map(np.testing.assert_array_equal, dit.rounded(cfg, params), params)
