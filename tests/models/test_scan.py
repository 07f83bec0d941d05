"""Blocks in a loop, and the layers that are kept on the way."""

import jax
import numpy as np
import pytest

from tests.models import networks

LAYERS = [(0,), (1,), (4,), (0, 1), (3, 2), (0, 1, 2, 3, 4)]


@pytest.fixture(scope="module", params=[{}, dict(text_dim=6)], ids=str)
def unrolled(request):
  """A config's fields, and all layers of its blocks one by one."""
  fields = dict(size="mini", **request.param)
  return fields, read(fields, range(5), scan=False)


def read(fields, layers, scan):
  cfg = networks.config(**fields, scan=scan)
  nothing, found = networks.run(
    cfg, networks.alive(cfg), networks.latents(), layers=layers
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
