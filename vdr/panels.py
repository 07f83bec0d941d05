"""What is drawn on and beside clips of what a model said of them.

Pure functions like those of `vdr.draw`, which has the colours and the overlays
of the truth.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from vdr import draw, fonts, page

RIGHT = (38, 140, 78)
WRONG = (200, 62, 48)
OTHER = (176, 182, 190)
TRUTH = (60, 66, 74)
SAID = (226, 106, 28)
START = (168, 174, 182)
BAR_PX = 20
MARGIN = 1.5  # reach of a map of cameras over that of the cameras
VIEW_RAD = math.radians(50)  # of a camera that is drawn, whatever the real one
Colour = tuple[int, int, int]


def heat(
  frames: draw.Clip,
  level: Float[np.ndarray, "t h2 w2"],
) -> draw.Clip:
  """A clip under a map of heat: grey where it is cold, up to bright yellow.

  Args:
    frames: the clip, not enlarged; its sides are multiples of those of the map.
    level: of each place, 0 to 1; what is not finite counts as 0.
  """
  level = np.clip(np.nan_to_num(level), 0, 1)
  rows, columns = (
    -(-n // m) for n, m in zip(frames.shape[1:3], level.shape[1:], strict=True)
  )
  level = level.repeat(rows, axis=1).repeat(columns, axis=2)
  level = level[:, : frames.shape[1], : frames.shape[2], None]
  colours = draw.colormap("inferno")[np.round(255 * level[..., 0]).astype(int)]
  share = 0.25 + 0.55 * level
  grey = 0.8 * frames.mean(axis=-1, keepdims=True)
  return np.round((1 - share) * grey + share * colours).astype(np.uint8)


def draw_answers(
  frames: draw.Clip,
  true_xy: Float[np.ndarray, "n t 2"],
  true_visible: Bool[np.ndarray, "n t"],
  pred_xy: Float[np.ndarray, "n t 2"],
  pred_visible: Bool[np.ndarray, "n t"],
) -> draw.Clip:
  """Where points are, as rings, and where they were said to be, as dots.

  A line joins the two. What is occluded, or said to be, is faint.
  """
  unit = draw.unit_px(frames)
  size = np.array(frames.shape[2:0:-1]) * draw.OVERSAMPLE
  colours = draw.track_colours(true_xy)
  both = np.stack([true_xy, pred_xy])
  # Far outside Pillow would overflow.
  drawable = np.all(np.abs(both - 0.5) < 1.5, axis=-1)
  places = np.where(drawable[..., None], both, 0) * size - 0.5
  seen = np.stack([true_visible, pred_visible])

  def paint(canvas: ImageDraw.ImageDraw, k: int) -> None:
    for n in np.flatnonzero(drawable[:, :, k].all(axis=0)):
      strength = 170 if seen[0, n, k] else 70
      ends = [tuple(places[i, n, k].tolist()) for i in (0, 1)]
      fill = (*colours[n].tolist(), strength)
      canvas.line(ends, fill=fill, width=max(1, round(0.7 * unit)))
    for n in np.flatnonzero(drawable[1, :, k]):
      alpha = 255 if seen[1, n, k] else 90
      draw.disc(canvas, places[1, n, k], 2.4 * unit, (0, 0, 0, alpha // 2))
      fill = (*colours[n].tolist(), alpha)
      draw.disc(canvas, places[1, n, k], 1.9 * unit, fill)
    for n in np.flatnonzero(drawable[0, :, k]):
      alpha = 255 if seen[0, n, k] else 90
      ring = (255, 255, 255, alpha)
      draw.disc(canvas, places[0, n, k], 3.6 * unit, None, ring, unit)

  return draw.overlay(frames, paint)


def bars(
  width: int,
  names: Sequence[str],
  shares: Float[np.ndarray, " k"],
  true: int | None,
  most: int = 3,
) -> page.Picture:
  """The likeliest classes as bars, and the true one if it is not among them.

  The true class is green; the likeliest one is red if it is another.

  Args:
    width: of the picture, in pixels.
    names: of the classes.
    shares: probabilities; what is not finite counts as 0.
    true: the true class; None if nobody knows.
    most: classes that are shown, the true one apart.
  """
  shares = np.nan_to_num(shares)
  order: list[int] = np.argsort(-shares, kind="stable").tolist()[:most]
  if true is not None and true not in order:
    order.append(true)
  picture = Image.new("RGB", (width, (most + 1) * BAR_PX), page.PAGE)
  canvas = ImageDraw.Draw(picture)
  for row, k in enumerate(order):
    colour = RIGHT if k == true else WRONG if row == 0 else OTHER
    colour = OTHER if true is None else colour
    y, share = row * BAR_PX, float(np.clip(shares[k], 0, 1))
    end = max(1, round((width - 1) * share))
    canvas.rectangle((0, y + 15, width - 1, y + 17), fill=(236, 238, 241))
    canvas.rectangle((0, y + 15, end, y + 17), fill=colour)
    text = f"{100 * share:.0f} %"
    face = fonts.font(text, 12.0)
    left = width - face.getlength(text) - 1
    face.draw(canvas, (left, y), text, page.FAINT_INK)
    name = fonts.label(names[k], k)
    face = fonts.font(name, 12.0)
    name = "".join(page.wrap(name, face, int(left) - 6, 1))
    ink = colour if colour != OTHER else page.INK
    face.draw(canvas, (0, y), name, ink)
  return np.array(picture)


def camera_map(
  width: int,
  poses: Sequence[tuple[Float[np.ndarray, "3 4"], Colour]],
  reach: float,
) -> page.Picture:
  """From above: where a camera went, and where it looks then.

  A wedge is a camera and what it looks at, up the page is ahead; the grey one
  in the middle is where all started.

  Args:
    width: of the square picture, in pixels.
    poses: [R | t] of the last camera in the first one's axes, and a colour;
      what is not finite is left out.
    reach: what lies near the edge, in the translation's unit.
  """
  canvas, picture, side = _plane(width)
  middle, scale = side / 2, side / 2 / (MARGIN * reach)
  for pose, colour in [(np.eye(3, 4), START), *poses]:
    if not np.isfinite(pose).all():
      continue
    look = pose[[0, 2], 2] * [1, -1]
    at = np.clip(middle + scale * pose[[0, 2], 3] * [1, -1], 0, side - 1)
    angle = math.atan2(look[1], look[0])
    # Foreshortened where it looks up or down.
    length = 0.24 * side * float(np.hypot(*look))
    wedge = [at]
    for turn in (-0.4, 0.4):
      along = np.array([math.cos(angle + turn), math.sin(angle + turn)])
      wedge.append(at + along * length)
    corners = [tuple(x.tolist()) for x in wedge]
    canvas.polygon(corners, fill=(*colour, 70), outline=(*colour, 255))
    line = [(middle, middle), corners[0]]
    canvas.line(line, fill=(*colour, 255), width=2 * draw.OVERSAMPLE)
    draw.disc(canvas, at, 4.0 * draw.OVERSAMPLE, (*colour, 255))
  return np.array(picture.reduce(draw.OVERSAMPLE))


def camera_view(
  width: int,
  poses: Sequence[tuple[Float[np.ndarray, "3 4"], Colour]],
  distance: float,
) -> page.Picture:
  """Through the first camera: the outlines of what the last one sees.

  The grey square is the first camera's picture. An outline that is shifted has
  turned or gone aside, a smaller one has gone ahead, a tilted one has rolled;
  the tick is its upper edge.

  Args:
    width: of the square picture, in pixels.
    poses: as in `camera_map`.
    distance: of the plane that the outlines lie in, in the translation's unit.
  """
  canvas, picture, side = _plane(width)
  # Corners, then the ends of the tick, in the picture of a camera.
  marks = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (0, -1), (0, -0.7)])
  half = math.tan(VIEW_RAD / 2)
  marks = np.concatenate([half * marks, np.ones((6, 1))], axis=1) * distance
  for pose, colour in [(np.eye(3, 4), START), *poses]:
    if not np.isfinite(pose).all():
      continue
    moved = marks @ pose[:, :3].T + pose[:, 3]
    if moved[:, 2].min() <= 1e-3 * distance:
      continue  # it looks back
    seen = moved[:, :2] / moved[:, 2:] / half
    seen = np.clip(side / 2 + side / 4 * seen, -side, 2 * side)
    points = [tuple(x.tolist()) for x in seen]
    fill, line = (*colour, 255), 2 * draw.OVERSAMPLE
    canvas.line([*points[:4], points[0]], fill=fill, width=line)
    canvas.line(points[4:], fill=fill, width=line)
  return np.array(picture.reduce(draw.OVERSAMPLE))


def _plane(width: int) -> tuple[ImageDraw.ImageDraw, Image.Image, int]:
  """A canvas that blends, its picture with a cross, and their side."""
  side = width * draw.OVERSAMPLE
  picture = Image.new("RGB", (side, side), (246, 247, 249))
  canvas = ImageDraw.Draw(picture, "RGBA")
  middle = side / 2
  for a, b in (((0, middle), (side, middle)), ((middle, 0), (middle, side))):
    canvas.line([a, b], fill=(226, 229, 233, 255), width=draw.OVERSAMPLE)
  return canvas, picture, side


def colour_features(
  features: Float[np.ndarray, "t h w d"],
) -> UInt8[np.ndarray, "t h w 3"]:
  """Features in colour: their first three principal components.

  They are found on all tokens of the clip together; each component fills its
  channel from its least to its largest value in the clip. So colours mean the
  same all through a clip, but something else in another one. One component more
  or less is no colour at all where the features vary no further.
  """
  rows = features.reshape(-1, features.shape[-1]).astype(np.float64)
  rows = rows - rows.mean(axis=0)
  _, size, axes = np.linalg.svd(rows.T @ rows)
  axes = axes[:3]
  # A component's sign is arbitrary: its largest weight is positive.
  largest = np.abs(axes).argmax(axis=1)
  axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
  axes = axes[size[: len(axes)] > 1e-9 * max(size[0], 1e-30)]
  found = rows @ axes.T
  span = np.ptp(found, axis=0)
  level = (found - found.min(axis=0)) / np.maximum(span, 1e-30)
  level = np.pad(level, [(0, 0), (0, 3 - level.shape[1])], constant_values=0.5)
  colours = np.round(255 * level).astype(np.uint8)
  return colours.reshape(*features.shape[:3], 3)
