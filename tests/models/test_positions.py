"""Positions: shifts, other grids, and what tables say where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from vdr.models import positions

grids = st.tuples(*[st.integers(1, 6)] * 3)


def test_a_quarter_of_the_channels_is_for_time():
  assert positions.split_channels(16) == (4, 6, 6)
  assert positions.split_channels(64) == (16, 24, 24)


class TestSines:
  @given(grids)
  def test_every_place_of_any_grid_has_its_own(self, grid):
    table = positions.sines(grid, 32)
    assert table.shape == (*grid, 32)
    rows = table.reshape(-1, 32)
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    np.fill_diagonal(distance, 1)
    assert distance.min() > 0.1

  def test_a_finer_grid_lies_in_the_same_picture(self):
    coarse, fine = (positions.sines((1, n, n), 32) for n in (4, 12))
    # The middle one of three fine tokens lies where the coarse token does.
    np.testing.assert_allclose(fine[:, 1::3, 1::3], coarse, atol=1e-5)

  def test_an_image_is_a_clip_s_first_frame(self):
    clip, image = (positions.sines((t, 3, 3), 32) for t in (5, 1))
    np.testing.assert_array_equal(clip[:1], image)

  def test_axes_are_factors(self):
    table = positions.sines((2, 3, 4), 32)
    changed = np.ptp(table, axis=0).reshape(-1, 32).max(axis=0) > 0
    assert changed.sum() == 2 * positions.split_channels(16)[0]


class TestRotations:
  window = (3, 4, 5)

  def logits(self, q, k):
    """Of a query and a key that are the same at every place of a window."""
    n = int(np.prod(self.window))
    angles = positions.rotations(self.window, 16)
    rows = [
      positions.rotate(jnp.broadcast_to(x, (1, n, 1, 16)), angles)
      for x in (q, k)
    ]
    return np.einsum("bqac,bnac->qn", *rows).reshape(self.window * 2)

  def test_only_differences_matter(self):
    q, k = jax.random.normal(jax.random.key(0), (2, 16))
    logits = self.logits(q, k)
    shifted = logits[1:, 2:, 1:, 1:, 2:, 1:]
    kept = logits[:-1, :-2, :-1, :-1, :-2, :-1]
    np.testing.assert_allclose(shifted, kept, atol=1e-4)

  def test_differences_along_every_axis_do(self):
    q, k = jax.random.normal(jax.random.key(0), (2, 16))
    from_first = self.logits(q, k)[0, 0, 0]
    for axis in range(3):
      assert np.ptp(from_first, axis=axis).min() > 0.01

  def test_a_rotation_keeps_lengths_and_types(self):
    x = jax.random.normal(jax.random.key(0), (2, 60, 1, 16))
    angles = positions.rotations(self.window, 16)
    y = positions.rotate(x, angles)
    np.testing.assert_allclose(
      jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1), rtol=1e-5
    )
    assert positions.rotate(x.astype(jnp.bfloat16), angles).dtype == "bfloat16"


class TestReadTable:
  table = jnp.array([[0.0], [10.0], [40.0]])

  @pytest.mark.parametrize(
    ("place", "value"), [(0, 0), (2, 40), (0.5, 5), (1.1, 13), (-1, 0), (9, 40)]
  )
  def test_it_is_linear_between_rows(self, place, value):
    row = positions.read_table(self.table, np.array([float(place)]))
    assert row[0, 0] == pytest.approx(value)


class TestAbsolute:
  def make(self):
    return positions.Absolute((3, 4, 4), 8, nnx.Rngs(0))

  def test_its_own_grid_has_its_rows(self):
    table = self.make()
    expected = table.time[...][:, None, None] + table.space[...][None]
    np.testing.assert_allclose(table((3, 4, 4)), expected, atol=1e-7)

  def test_fewer_frames_are_the_first_ones(self):
    table = self.make()
    np.testing.assert_allclose(table((1, 4, 4)), table((3, 4, 4))[:1])

  def test_more_frames_reach_from_the_first_row_to_the_last(self):
    table = self.make()
    long, short = table((7, 4, 4)), table((3, 4, 4))
    np.testing.assert_allclose(long[::3], short, atol=1e-7)

  def test_space_is_resized_as_a_picture(self):
    table = self.make()
    expected = jax.image.resize(
      table.space[...], (8, 6, 8), "linear", antialias=False
    )
    found = table((1, 8, 6))[0] - table.time[...][0][None, None]
    np.testing.assert_allclose(found, expected, atol=1e-6)


class TestRelativeBias:
  def make(self, window=(2, 3, 3)):
    return positions.RelativeBias(window, 2, nnx.Rngs(0))

  def test_it_is_a_sum_over_axes_of_rows_by_difference(self):
    bias, window = self.make(), (2, 3, 2)
    found = np.asarray(bias(window)).reshape(2, *window, *window)
    tables = [
      np.asarray(x[...]) for x in (bias.frames, bias.rows, bias.columns)
    ]
    for place in np.ndindex(*window, *window):
      differences = np.subtract(place[:3], place[3:])
      expected = sum(
        table[len(table) // 2 + d]
        for table, d in zip(tables, differences, strict=True)
      )
      np.testing.assert_allclose(found[:, *place], expected, atol=1e-6)

  def test_larger_windows_have_the_table_stretched(self):
    bias = self.make()
    small = bias((2, 3, 3)).reshape(2, 2, 3, 3, 2, 3, 3)
    large = bias((2, 5, 3)).reshape(2, 2, 5, 3, 2, 5, 3)
    np.testing.assert_allclose(large[:, :, ::2, :, :, ::2], small, atol=1e-6)
