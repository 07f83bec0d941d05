"""Procedural textures, smoothed by the footprint of a pixel.

A texture is a signed field over 3-D points: one colour where it is positive,
the other where it is negative, and the distance to the edge in between. A pixel
that covers `footprint` cells blends the two colours over that distance, so
edges are antialiased without extra rays and fine patterns fade, not flicker.
"""

import numpy as np
from jaxtyping import Float

from vdr.data.physics import scenes

Points = Float[np.ndarray, "3 n"]
PerPoint = Float[np.ndarray, " n"]


def colours(
  look: scenes.Look, points_m: Points, footprint_m: PerPoint
) -> Points:
  """Linear RGB of a look.

  Args:
    look: the texture and its colours.
    points_m: points in the coordinates of what carries the texture.
    footprint_m: width of a pixel's view at each point, in metres.

  Returns:
    Linear RGB in [0, 1].
  """
  first, second = np.asarray(look.colours, np.float32)[..., None]
  if look.texture == "plain":
    return np.tile(first, points_m.shape[1])
  frequency = np.float32(look.frequency)
  cells = points_m * frequency
  cells += np.asarray(look.phase, np.float32)[:, None]
  share = FIELDS[look.texture](look, cells, footprint_m * frequency)
  share += np.float32(0.5)
  return second + share * (first - second)


def _edge(distance: PerPoint, width: PerPoint) -> PerPoint:
  """From -0.5 to 0.5 across an edge, over the width of a pixel."""
  return np.clip(distance / width, -0.5, 0.5)


def _wave(x: PerPoint) -> PerPoint:
  """Triangle wave of period 2: distance to the edge of a unit cell.

  In [-0.5, 0.5], zero at half-integers, of slope ±1.
  """
  half = x * np.float32(0.5)
  half -= np.floor(half)
  return np.abs(half * 2 - 1) - np.float32(0.5)


def _along(look: scenes.Look, cells: Points, centred: bool) -> PerPoint:
  direction = np.asarray(look.direction, np.float32)
  moved = np.float32(direction @ np.asarray(look.phase)) if centred else 0
  return direction @ cells - moved


def _checker(look: scenes.Look, cells: Points, width: PerPoint) -> PerPoint:
  # Each axis is softened by itself: a flat face near a cell's border keeps its
  # pattern.
  x, y, z = (_edge(_wave(axis), width) for axis in cells)
  return x * y * z * np.float32(4)


def _stripes(look: scenes.Look, cells: Points, width: PerPoint) -> PerPoint:
  return _edge(_wave(_along(look, cells, centred=False)), width)


def _two_tone(look: scenes.Look, cells: Points, width: PerPoint) -> PerPoint:
  return _edge(_along(look, cells, centred=True), width)


# Directions of the waves that make up `noise`; any incommensurate ones will do.
_WAVES = np.array(
  [[1.9, 0.7, 1.3], [-1.1, 2.1, 0.5], [0.6, -1.4, 2.0], [2.6, 1.7, -2.2]],
  np.float32,
)


def _noise(look: scenes.Look, cells: Points, width: PerPoint) -> PerPoint:
  # The factor makes the field's slope about one at its edges.
  return _edge(np.sin(_WAVES @ cells).sum(axis=0) * np.float32(0.3), width)


def _dots(look: scenes.Look, cells: Points, width: PerPoint) -> PerPoint:
  within = cells - np.floor(cells) - np.float32(0.5)
  radius = np.sqrt(np.einsum("dn,dn->n", within, within))
  return _edge(np.float32(0.42) - radius, width)


def _rings(look: scenes.Look, cells: Points, width: PerPoint) -> PerPoint:
  centred = cells - np.asarray(look.phase, np.float32)[:, None]
  radius = np.sqrt(np.einsum("dn,dn->n", centred, centred))
  return _edge(_wave(radius * 2), width * 2)


def _bricks(look: scenes.Look, cells: Points, width: PerPoint) -> PerPoint:
  """Bricks twice as wide as high, every other row moved by half a brick."""
  row = cells[1] * np.float32(2)
  along = cells[0] + np.float32(0.5) * (np.floor(row) % 2)
  mortar = np.float32(0.03)
  to_side = np.float32(0.5) - np.abs(along - np.floor(along) - np.float32(0.5))
  to_bed = np.float32(0.5) - np.abs(row - np.floor(row) - np.float32(0.5))
  return _edge(np.minimum(to_side, to_bed / 2) - mortar, width)


FIELDS = {
  "checker": _checker,
  "stripes": _stripes,
  "two_tone": _two_tone,
  "noise": _noise,
  "dots": _dots,
  "rings": _rings,
  "bricks": _bricks,
}
