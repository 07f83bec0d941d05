"""Windows by reshape, and which block has which."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import networks
from vdr.models import windows
from vdr.runtime import errors

CLIP, IMAGE = (3, 4, 4), (1, 4, 4)


def tokens(grid):
  """Tokens that know their place: [1 t h w 3]."""
  return jnp.stack(jnp.indices(grid), axis=-1)[None].astype(jnp.float32)


@pytest.mark.parametrize("window", [(1, 4, 2), (3, 2, 2), (3, 4, 4), (1, 1, 1)])
def test_a_window_is_a_box_of_neighbours(window):
  parts = np.asarray(windows.partition(tokens(CLIP), window))
  num = np.prod(CLIP) // np.prod(window)
  assert parts.shape == (num, np.prod(window), 3)
  for part in parts:
    corner = part[0]
    np.testing.assert_array_equal(corner % window, 0)
    expected = corner + np.asarray(tokens(window)).reshape(-1, 3)
    np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("window", [(1, 4, 2), (3, 2, 2)])
def test_merging_undoes_it(window):
  x = jax.random.normal(jax.random.key(0), (2, *CLIP, 5))
  parts = windows.partition(x, window)
  np.testing.assert_array_equal(windows.merge(parts, window, CLIP), x)


@pytest.mark.parametrize(
  ("fields", "grid", "layout", "expected"),
  [
    ({}, CLIP, "window", ((1, 4, 2), (3, 2, 2))),
    ({}, IMAGE, "window", ((1, 4, 2), None)),
    (
      {"image_in_spatiotemporal": "spatial"},
      IMAGE,
      "window",
      ((1, 4, 2), (1, 4, 2)),
    ),
    (
      {"spatiotemporal_blocks": "spatial"},
      CLIP,
      "window",
      ((1, 4, 2), (1, 4, 2)),
    ),
    (
      {"spatiotemporal_blocks": "spatial"},
      IMAGE,
      "window",
      ((1, 4, 2), (1, 4, 2)),
    ),
    ({}, CLIP, "full", (CLIP, CLIP)),
    ({}, IMAGE, "full", (IMAGE, IMAGE)),
    ({"spatiotemporal_blocks": "spatial"}, CLIP, "full", (IMAGE, IMAGE)),
  ],
)
def test_the_plan(fields, grid, layout, expected):
  assert windows.plan(networks.config(**fields), grid, layout) == expected


def test_a_window_ends_with_a_short_grid():
  assert windows.fit((5, 8, 8), (3, 4, 16), "x") == (3, 4, 8)


def test_a_window_that_does_not_divide_names_those_that_do():
  with pytest.raises(errors.UserError, match="window_x has 4 .* h, .* the 6 "):
    windows.fit((1, 4, 4), (1, 6, 4), "window_x")
  with pytest.raises(errors.UserError, match="sizes that do: 1, 2, 3, 6$"):
    windows.fit((1, 4, 4), (1, 6, 4), "window_x")
