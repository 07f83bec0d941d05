"""Text, grids and sheets: how pictures are laid out on a white page."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from vdr import fonts

Picture = UInt8[np.ndarray, "_ _ 3"]

PAGE = (255, 255, 255)
INK = (31, 35, 40)
FAINT_INK = (101, 109, 118)
HEADING_PX = 18.0


def text_block(
  width: int,
  lines: Sequence[tuple[str, float, tuple[int, int, int]]],
  padding: int = 4,
  max_lines: int = 8,
  height: int | None = None,
) -> Picture:
  """Text on the page's white, wrapped.

  Args:
    width: of the picture, in pixels.
    lines: paragraphs: text, size in pixels and colour.
    padding: empty pixels on every side.
    max_lines: of each paragraph; what is over ends in an ellipsis.
    height: of the picture, in pixels, at the bottom of which the text stands;
      by default what it needs.
  """
  placed, y = [], float(padding)
  for text, size, colour in lines:
    face = fonts.font(text, size)
    for line in wrap(text, face, width - 2 * padding, max_lines):
      placed.append((y, line, face, colour))
      y += round(1.3 * size)
  needed = round(y) + padding
  height = needed if height is None else height
  picture = Image.new("RGB", (width, height), PAGE)
  canvas = ImageDraw.Draw(picture)
  for y, line, face, colour in placed:
    place = (padding, y + max(0, height - needed))
    face.draw(canvas, place, line, colour)
  return np.array(picture)


def wrap(text: str, face: fonts.Font, width: int, max_lines: int) -> list[str]:
  """The lines of `text`, none wider than `width` pixels.

  Words that are too long are broken; text that needs more than `max_lines`
  ends in an ellipsis. Where not even that fits, lines are cut by the picture.
  """
  lines, line = [], ""
  for word in text.split():
    longer = f"{line} {word}".lstrip()
    if face.getlength(longer) <= width:
      line = longer
      continue
    if line:
      lines.append(line)
    while len(word) > 1 and face.getlength(word) > width:
      n = _fitting(word, face, width)
      lines.append(word[:n])
      word = word[n:]
    line = word
  lines.append(line)
  if len(lines) > max_lines:
    last = lines[max_lines - 1]
    n = _fitting(last, face, width - face.getlength("..."))
    lines = [*lines[: max_lines - 1], last[:n].rstrip() + "..."]
  return [line for line in lines if line]


def grid(
  rows: Sequence[Sequence[np.ndarray | None]], gap: int = 8
) -> UInt8[np.ndarray, "*t h w 3"]:
  """Pictures, or clips of equal length, in rows and columns on the page.

  A column is as wide as its widest cell, a row as tall as its tallest one;
  None leaves a place empty, a picture among clips stands still. There is a gap
  around everything.
  """
  shapes = [[(0, 0) if x is None else x.shape[-3:-1] for x in r] for r in rows]
  heights = [max(h for h, _ in row) for row in shapes]
  num_columns = max(map(len, shapes))
  widths = [
    max(row[j][1] for row in shapes if j < len(row)) for j in range(num_columns)
  ]
  leading = max(x.shape[:-3] for r in rows for x in r if x is not None)
  size = (sum(s) + gap * (len(s) + 1) for s in (heights, widths))
  sheet = np.full((*leading, *size, 3), PAGE, np.uint8)
  for i, row in enumerate(rows):
    for j, cell in enumerate(row):
      if cell is not None:
        y = sum(heights[:i]) + gap * (i + 1)
        x = sum(widths[:j]) + gap * (j + 1)
        h, w = cell.shape[-3:-1]
        sheet[..., y : y + h, x : x + w, :] = cell
  return sheet


def contact_sheet(
  rows: Sequence[Sequence[np.ndarray | None]],
  row_headings: Sequence[Picture | None],
  column_headings: Sequence[str],
  gap: int = 8,
) -> UInt8[np.ndarray, "*t h w 3"]:
  """Rows of pictures with a heading before each and one over each column.

  Args:
    rows: the pictures, or clips; None leaves a place empty.
    row_headings: of the rows, for instance `text_block`s.
    column_headings: of the columns, "" for none.
    gap: pixels between everything.
  """
  heads = []
  for j, text in enumerate(column_headings):
    cells = [row[j] for row in rows if j < len(row)]
    widths = [cell.shape[-2] for cell in cells if cell is not None]
    width = max(widths, default=1)
    heads.append(text_block(width, [(text, HEADING_PX, FAINT_INK)], 2, 1))
  body = zip(row_headings, rows, strict=True)
  return grid([[None, *heads], *([head, *row] for head, row in body)], gap)


def titled(
  sheet: UInt8[np.ndarray, "*t h w 3"], title: str, note: str = "", gap: int = 8
) -> UInt8[np.ndarray, "*t h2 w 3"]:
  """A picture or a clip under a title and a line that says how to read it."""
  lines = [(title, 22.0, INK)] + ([(note, 15.0, FAINT_INK)] if note else [])
  return grid([[text_block(sheet.shape[-2], lines, gap)], [sheet]], gap=0)


def _fitting(text: str, face: fonts.Font, width: float | int) -> int:
  """How many characters of `text` fit in `width` pixels; at least one."""
  n = len(text)
  while n > 1 and face.getlength(text[:n]) > width:
    n -= 1
  return n
