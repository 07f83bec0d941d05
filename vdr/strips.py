"""Clips beside what is known or said of them: a sheet, and what moves."""

import functools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from vdr import draw, media, page

SIDE_PX = 192  # a frame is enlarged to that
FAST_FPS, SLOW_FPS = 6.0, 1.5  # of whole clips, and of a few of their frames
HOLD_S = 0.8  # the last frame stays, so that an animation has an end


class Row(NamedTuple):
  """One clip, ready to be laid out.

  Attributes:
    heading: what there is to say of it.
    strips: clips of equal length by what they show.
    frames: their numbers.
  """

  heading: page.Picture
  strips: dict[str, draw.Clip]
  frames: tuple[int, ...]


def enlarge(clip: draw.Clip) -> UInt8[np.ndarray, "t h2 w2 3"]:
  """A clip whose frames are about `SIDE_PX` wide, or as they are if wider."""
  return draw.enlarge(clip, -(-SIDE_PX // clip.shape[2]))


def heading(title: str, lines: Sequence[str], width: int = 0) -> page.Picture:
  """What there is to say of a clip, `SIDE_PX` wide by default."""
  rest = [(line, 13.0, page.FAINT_INK) for line in lines]
  return page.text_block(width or SIDE_PX, [(title, 15.0, page.INK), *rest], 0)


def write(
  folder: pathlib.Path, name: str, title: str, note: str, rows: list[Row]
) -> None:
  """Writes `NAME.png`, a sheet of some frames, and `NAME.gif`, all of them.

  Clips of one frame have no animation.

  Args:
    folder: where.
    name: of the files.
    title: of the pictures.
    note: how to read them.
    rows: the clips, all of as many frames.
  """
  num_frames = len(rows[0].frames)
  # Frame by frame: layouts of whole clips would copy hundreds of megabytes.
  moving = np.stack([_tiles(rows, k) for k in range(num_frames)])
  moving = page.titled(moving, title, note)
  if num_frames == 1:
    media.write_png(folder / f"{name}.png", moving[0])
    return
  fps = FAST_FPS if num_frames > 8 else SLOW_FPS
  media.write_gif(folder / f"{name}.gif", moving, fps, HOLD_S)
  sheet = page.titled(_sheet(rows), title, note)
  media.write_png(folder / f"{name}.png", sheet)


def _tiles(rows: list[Row], k: int) -> page.Picture:
  """One frame of all clips, each over what there is to say."""
  tiles = []
  for row in rows:
    names = [_name(name, SIDE_PX) for name in row.strips]
    shown = [strip[k] for strip in row.strips.values()]
    heading = page.grid([[row.heading]], 4)
    tiles.append(page.grid([[page.grid([names, shown], 4)], [heading]], 0))
  columns = min(4, max(1, 8 // max(len(row.strips) for row in rows)))
  return page.grid(
    [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
  )


@functools.cache
def _name(text: str, width: int) -> page.Picture:
  return page.text_block(width, [(text, 15.0, page.FAINT_INK)], 2, 1)


def _sheet(rows: list[Row]) -> page.Picture:
  """A row for each clip: what there is to say, then some of its frames."""
  most = max(len(row.strips) for row in rows)
  frames = rows[0].frames
  count = {1: 6, 2: 4}.get(most, 2)
  shown = np.linspace(0, len(frames) - 1, min(count, len(frames)))
  shown = sorted(set(shown.round().astype(int).tolist()))
  names = max((list(row.strips) for row in rows), key=len)
  columns = [
    f"{name}, frame {frames[k]}".removeprefix(", ")
    for k in shown
    for name in names
  ]
  pictures = []
  for row in rows:
    strips = [*row.strips.values(), *[None] * (most - len(row.strips))]
    pictures.append([x if x is None else x[k] for k in shown for x in strips])
  headings = [row.heading for row in rows]
  return page.contact_sheet(pictures, headings, columns, 4)
