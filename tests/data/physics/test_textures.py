"""Texture fields stay between the two colours, and fade with distance."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.physics import handmade
from vdr.data.physics import scenes, textures

NAMES = tuple(textures.FIELDS)
# Whose two colours cover equal shares, and which repeat or have no scale.
BALANCED = ("checker", "stripes", "noise", "rings")
DARK, LIGHT = (0.1, 0.2, 0.3), (0.9, 0.6, 0.4)


def _look(name, **changes):
  return dataclasses.replace(
    handmade.PLAIN,
    texture=name,
    frequency=2.0,
    phase=(0.3, 0.7, 0.2),
    direction=(0.6, 0.0, 0.8),
    colours=(DARK, LIGHT),
    **changes,
  )


def _points(n, scale_m=2.0, seed=0):
  rng = np.random.default_rng(seed)
  return rng.uniform(-scale_m, scale_m, size=(3, n)).astype(np.float32)


def _colours(look, points, width_m):
  widths = np.full(points.shape[1], width_m, np.float32)
  return textures.colours(look, points, widths)


@pytest.mark.parametrize("name", NAMES)
def test_sharp_textures_have_both_colours_and_little_between(name):
  colours = _colours(_look(name), _points(4000), 1e-5)
  first = np.isclose(colours.T, DARK, atol=1e-5).all(axis=1)
  second = np.isclose(colours.T, LIGHT, atol=1e-5).all(axis=1)
  assert min(first.mean(), second.mean()) > 0.08
  assert (first | second).mean() > 0.99


@given(
  name=st.sampled_from(NAMES),
  x=st.floats(-100, 100, width=32),
  y=st.floats(-100, 100, width=32),
  z=st.floats(-100, 100, width=32),
  width_m=st.floats(2**-20, 1000, width=32),
)
def test_colours_are_blends_of_the_two(name, x, y, z, width_m):
  points = np.array([[x], [y], [z]], np.float32)
  colour = _colours(_look(name), points, width_m)
  assert colour.dtype == np.float32
  low, high = np.minimum(DARK, LIGHT), np.maximum(DARK, LIGHT)
  assert (colour[:, 0] >= low - 1e-5).all()
  assert (colour[:, 0] <= high + 1e-5).all()
  # On the straight line between the two.
  share = (colour[:, 0] - LIGHT) / (np.array(DARK) - LIGHT)
  assert np.ptp(share) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_fields_are_at_most_a_half(name):
  look, cells = _look(name), _points(4000, 20.0)
  for width in (1e-5, 0.1, 1.0, 30.0):
    field = textures.FIELDS[name](look, cells, np.full(4000, width, np.float32))
    assert np.abs(field).max() <= 0.5
  # The full range is used where a pixel is far smaller than a cell.
  sharp = textures.FIELDS[name](look, cells, np.full(4000, 1e-5, np.float32))
  assert (sharp.min(), sharp.max()) == (-0.5, 0.5)


@pytest.mark.parametrize("name", BALANCED)
def test_far_patterns_fade_to_the_mean(name):
  colours = _colours(_look(name), _points(2000), 100.0)
  mean = (np.array(DARK) + LIGHT) / 2
  np.testing.assert_allclose(colours.T, np.tile(mean, (2000, 1)), atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_wider_pixels_have_less_contrast(name):
  points = _points(4000)
  contrasts = [
    _colours(_look(name), points, width).std(axis=1).max()
    for width in (0.001, 0.2, 0.6, 3.0)
  ]
  assert contrasts == sorted(contrasts, reverse=True)
  assert contrasts[0] > 1.4 * contrasts[-1]


@pytest.mark.parametrize("name", NAMES)
def test_edges_are_as_wide_as_a_pixel(name):
  """Nothing jumps: a step of a tenth of a pixel changes a tenth at most."""
  width, n = 0.05, 3000
  start = _points(1, seed=3)
  axis = np.linspace(0, 15, n, dtype=np.float32)  # steps of a tenth of a pixel
  for direction in np.eye(3, dtype=np.float32):
    cells = start + direction[:, None] * axis
    field = textures.FIELDS[name](
      _look(name), cells, np.full(n, width, np.float32)
    )
    jumps = np.abs(np.diff(field))
    # Slopes are about 1 a cell; the checker's cells, the bricks' rows and the
    # dots' cells meet where another edge lies, and noise has steeper places.
    assert np.quantile(jumps, 0.99) < 0.25


def test_a_plain_look_is_its_first_colour():
  colours = _colours(_look("plain"), _points(5), 0.1)
  np.testing.assert_allclose(colours.T, np.tile(DARK, (5, 1)), rtol=1e-6)


def test_an_unknown_texture_is_no_texture():
  with pytest.raises(KeyError, match="marble"):
    _colours(_look("marble"), _points(5), 0.1)


def test_a_checker_alternates():
  look = dataclasses.replace(
    _look("checker"), frequency=1.0, phase=(0.0, 0.0, 0.0)
  )
  # Cells have their middles at whole numbers.
  points = np.array([[0, 1, 1, 2], [0, 0, 1, 0], [0, 0, 0, 0]], np.float32)
  colours = _colours(look, points, 0.01).T
  for colour, expected in zip(colours, (DARK, LIGHT, DARK, DARK), strict=True):
    np.testing.assert_allclose(colour, expected, atol=1e-6)


def test_stripes_run_across_their_direction():
  look = _look("stripes")
  points = _points(200)
  direction = np.array(look.direction, np.float32)[:, None]
  along = points - direction * (direction.T @ points)
  flat = _colours(look, along, 0.01)
  assert np.ptp(flat, axis=1).max() < 1e-3
  # One stripe further the colour is the other, two further it is the same.
  one = _colours(look, points + direction / look.frequency, 0.01)
  two = _colours(look, points + 2 * direction / look.frequency, 0.01)
  here = _colours(look, points, 0.01)
  np.testing.assert_allclose(two, here, atol=2e-3)
  mean = (np.array(DARK) + LIGHT)[:, None]
  np.testing.assert_allclose(one + here, np.tile(mean, 200), atol=2e-3)


@pytest.mark.parametrize("name", scenes.TEXTURES + scenes.OOD_TEXTURES)
def test_a_turn_about_the_vertical_shows(name):
  points = _points(2000, 0.4)
  turned = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32) @ points
  here, there = (_colours(_look(name), p, 0.05) for p in (points, turned))
  if name == "rings":  # about its own middle a ring texture is round
    assert np.abs(here - there).max() < 1e-5
  else:
    assert np.abs(here - there).mean() > 0.05
