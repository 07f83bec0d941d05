"""Blocks in a loop, and the layers that are kept on the way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import networks

LAYERS = [(0,), (1,), (4,), (0, 1), (3, 2), (0, 1, 4), (0, 1, 2, 3, 4)]
TEXT = dict(num_classes=4, text_dim=6)


@pytest.fixture(scope="module", params=[{}, TEXT], ids=str)
def unrolled(request):
  """A config's fields, and all layers of its blocks one by one."""
  fields = dict(size="mini", **request.param)
  return fields, read(fields, range(5), scan=False)


def read(fields, layers, scan):
  cfg = networks.config(**fields, scan=scan)
  call = {}
  if cfg.text_dim:
    text = jax.random.normal(jax.random.key(3), (2, 5, 6))
    mask = jnp.arange(5)[None] < jnp.array([5, 2])[:, None]
    call = dict(labels=jnp.arange(2), text=text, text_mask=mask)
  nothing, found = networks.run(
    cfg, networks.alive(cfg), networks.latents(), layers=layers, **call
  )
  assert nothing is None
  return found


@pytest.mark.parametrize("layers", LAYERS, ids=str)
def test_scanned_layers_are_unrolled_ones(layers, unrolled):
  fields, expected = unrolled
  found = read(fields, layers, scan=True)
  assert list(found) == sorted(layers)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4),
    found,
    {layer: expected[layer] for layer in found},
  )
