"""Truth and predictions as pictures: colours, and overlays on clips.

Pure functions on NumPy arrays; `vdr.page` lays their pictures out and
`vdr.media` writes them. Pictures are uint8 RGB `[h w 3]`, clips `[t h w 3]`;
coordinates are normalised and mean what `vdr.geometry` says. Whatever is not
finite or not in the picture is left out, so that a model's wild prediction can
be drawn like any other. An object has the same colour in every picture.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Shaped, UInt8
from PIL import Image, ImageDraw

from vdr import fonts, geometry, page

Clip = UInt8[np.ndarray, "t h w 3"]

SKY = np.array((34, 38, 46), np.uint8)  # where there is nothing to measure
GROUND = np.array((112, 120, 132), np.uint8)
# Of objects 0, 1, …: told apart on textures, and by people who see two hues.
PALETTE = np.array(
  [
    (255, 107, 74),
    (52, 190, 255),
    (255, 209, 63),
    (199, 125, 255),
    (74, 222, 128),
    (255, 143, 199),
    (45, 212, 191),
    (190, 150, 96),
  ],
  np.uint8,
)
OVERSAMPLE = 3  # Pillow draws without antialiasing: draw large, average down
Paint = Callable[[ImageDraw.ImageDraw, int], None]


def enlarge(
  frames: Shaped[np.ndarray, "*b h w 3"], scale: int
) -> Shaped[np.ndarray, "*b h_out w_out 3"]:
  """Every pixel as a square of `scale` pixels, so that pixels stay visible."""
  return frames.repeat(scale, axis=-3).repeat(scale, axis=-2)


def depth_range(
  depth_m: Float[np.ndarray, "*b"], valid: Bool[np.ndarray, "*b"]
) -> tuple[float, float]:
  """Nearest and farthest depth worth a colour, in metres.

  The outermost hundredth at each end is left out: one pixel at the horizon
  would use up the colours of everything else. (1, 1) if nothing is valid.
  """
  seen = depth_m[valid & np.isfinite(depth_m) & (depth_m > 0)]
  if not seen.size:
    return 1.0, 1.0
  near_m, far_m = np.percentile(seen, (1, 99))
  return float(near_m), float(far_m)


def colour_depth(
  depth_m: Float[np.ndarray, "*b h w"],
  valid: Bool[np.ndarray, "*b h w"] | None = None,
  range_m: tuple[float, float] | None = None,
) -> UInt8[np.ndarray, "*b h w 3"]:
  """Depth in colour, bright when near, linear in inverse depth.

  Args:
    depth_m: z-depth in metres.
    valid: where it was measured; by default where it is positive.
    range_m: nearest and farthest depth of the colour scale; by default
      `depth_range` of the whole array, so that a clip has one scale.

  Returns:
    Pictures; `SKY` where nothing is valid.
  """
  usable = np.isfinite(depth_m) & (depth_m > 0)
  valid = usable if valid is None else np.logical_and(usable, valid)
  near_m, far_m = depth_range(depth_m, valid) if range_m is None else range_m
  # In float64, as 1 over a tiny float32 is more than float32 can hold.
  inverse = 1 / np.where(valid, depth_m, far_m).astype(np.float64)
  span = max(1 / near_m - 1 / far_m, 1e-9)
  level = np.clip((inverse - 1 / far_m) / span, 0, 1)
  # The darkest tenth of the map is left to the sky.
  colours = colormap("magma")[np.round(26 + 229 * level).astype(int)]
  return np.where(valid[..., None], colours, SKY)


def colour_normals(
  normals: Float[np.ndarray, "*b h w 3"],
) -> UInt8[np.ndarray, "*b h w 3"]:
  """Unit normals in camera axes: red right, green up, blue to the viewer."""
  seen = np.all(np.isfinite(normals), axis=-1)
  seen &= np.any(np.abs(normals) > 1e-6, axis=-1)
  level = 0.5 + 0.5 * np.nan_to_num(normals) * np.array([1, -1, -1])
  colours = np.round(255 * np.clip(level, 0, 1)).astype(np.uint8)
  return np.where(seen[..., None], colours, SKY)


def colour_segments(
  segmentation: Integer[np.ndarray, "*b h w"],
) -> UInt8[np.ndarray, "*b h w 3"]:
  """The sky dark, the ground grey, object o in its colour of the palette."""
  colours = object_colours(segmentation.astype(np.int64) - 2)
  return np.where((segmentation == 0)[..., None], SKY, colours)


def object_colours(
  objects: Integer[np.ndarray, "*b"],
) -> UInt8[np.ndarray, "*b 3"]:
  """The colour of each object, by its number; below 0 is the ground."""
  colours = PALETTE[objects % len(PALETTE)]
  return np.where((objects < 0)[..., None], GROUND, colours)


def track_colours(
  points_xy: Float[np.ndarray, "n t 2"],
  objects: Int[np.ndarray, " n"] | None = None,
) -> UInt8[np.ndarray, "n 3"]:
  """A rainbow over the points as they lie in their first frame, left to right.

  So one sees where each part of a thing went. Each object has a rainbow of its
  own; points on the ground are light grey.

  Args:
    points_xy: the tracks.
    objects: which object carries each point, below 0 the ground; by default
      all points share one rainbow.
  """
  if objects is None:
    objects = np.zeros(len(points_xy), np.int32)
  x = np.where(np.isfinite(points_xy[:, 0, 0]), points_xy[:, 0, 0], 0.5)
  colours = np.full((len(points_xy), 3), 190, np.uint8)
  for o in np.unique(objects[objects >= 0]):
    mine = objects == o
    rank = x[mine].argsort(kind="stable").argsort(kind="stable")
    level = (rank + 0.5) / len(rank)  # not the map's murky ends
    colours[mine] = colormap("turbo")[(24 + 208 * level).astype(int)]
  return colours


def draw_boxes(
  frames: Clip,
  boxes_yxyx: Float[np.ndarray, "o t 4"],
  valid: Bool[np.ndarray, "o t"],
  colours: UInt8[np.ndarray, "o 3"] | None = None,
  names: Sequence[str] = (),
  width: float = 1.5,
) -> Clip:
  """Outlines of boxes, each with its name if it has one.

  Args:
    frames: the clip; not changed.
    boxes_yxyx: a box of each object in each frame, cut off at the picture.
    valid: False where the object has no box in that frame.
    colours: of the objects; by default those of the palette.
    names: of the first objects; "" for none.
    width: of the lines, in pixels of a picture 192 wide.
  """
  if colours is None:
    colours = object_colours(np.arange(len(boxes_yxyx)))
  unit = unit_px(frames)
  size = np.array(frames.shape[1:3] * 2) * OVERSAMPLE
  finite = np.isfinite(boxes_yxyx).all(axis=-1)
  clipped, inside = geometry.clip_boxes_yxyx(np.nan_to_num(boxes_yxyx))
  shown = valid & finite & inside
  labels = {o: " ".join(name.split()) for o, name in enumerate(names)}

  def paint(canvas: ImageDraw.ImageDraw, k: int) -> None:
    for o in np.flatnonzero(shown[:, k])[::-1].tolist():  # 0 on top
      # The line lies on the box's edge, or just inside that of the picture.
      margin = np.minimum(0.75 * unit, size / 2 - 1)
      edges = np.clip(clipped[o, k] * size, margin, size - margin) - 0.5
      top, left, bottom, right = edges.tolist()
      colour = tuple(colours[o].tolist())
      for line, fill in (
        ((width + 1.2) * unit, (0, 0, 0, 90)),  # a rim, seen on any texture
        (width * unit, (*colour, 255)),
      ):
        r = line / 2
        corners = (left - r, top - r, right + r, bottom + r)
        canvas.rectangle(corners, outline=fill, width=max(1, round(line)))
      if labels.get(o):
        _paint_tag(canvas, (left, top, bottom), labels[o], colour, unit)

  return overlay(frames, paint)


def draw_tracks(
  frames: Clip,
  points_xy: Float[np.ndarray, "n t 2"],
  visible: Bool[np.ndarray, "n t"],
  colours: UInt8[np.ndarray, "n 3"] | None = None,
  tail: int = 6,
  show_occluded: bool = True,
) -> Clip:
  """Points as dots that pull a fading tail behind them.

  Args:
    frames: the clip; not changed.
    points_xy: the tracks.
    visible: False where a point is occluded or out of view.
    colours: of the tracks; by default `track_colours`.
    tail: frames that the tail reaches back.
    show_occluded: whether a point in the picture that is not visible is a thin
      ring instead of nothing.
  """
  if colours is None:
    colours = track_colours(points_xy)
  unit = unit_px(frames)
  size = np.array(frames.shape[2:0:-1]) * OVERSAMPLE
  # Far outside, a line could not be told from a mistake; Pillow would overflow.
  finite = np.all(np.abs(points_xy - 0.5) < 1.5, axis=-1)
  inside = finite & np.all((points_xy >= 0) & (points_xy <= 1), axis=-1)
  places = np.where(finite[..., None], points_xy, 0) * size - 0.5
  visible = visible & finite
  joined = np.zeros_like(visible)  # to the frame before
  joined[:, 1:] = visible[:, 1:] & visible[:, :-1]

  def paint(canvas: ImageDraw.ImageDraw, k: int) -> None:
    for j in range(max(1, k - tail + 1), k + 1):  # the oldest below
      strength = 1 - (k - j) / tail
      alpha, width = round(225 * strength), unit * (0.6 + 0.6 * strength)
      for n in np.flatnonzero(joined[:, j]):
        ends = [tuple(places[n, j - 1]), tuple(places[n, j])]
        fill = (*colours[n].tolist(), alpha)
        canvas.line(ends, fill=fill, width=max(1, round(width)))
        disc(canvas, places[n, j], width / 2, fill)
    for n in np.flatnonzero(inside[:, k] & ~visible[:, k] & show_occluded):
      ring = (*colours[n].tolist(), 150)
      disc(canvas, places[n, k], 1.5 * unit, None, ring, 0.5 * unit)
    for n in np.flatnonzero(inside[:, k] & visible[:, k]):
      disc(canvas, places[n, k], 2.2 * unit, (0, 0, 0, 150))
      disc(canvas, places[n, k], 1.6 * unit, (*colours[n].tolist(), 255))

  return overlay(frames, paint)


def compare_clips(
  pairs: Sequence[tuple[np.ndarray, np.ndarray]],
  num_frames: int = 5,
  gain: int = 4,
  least_px: int = 96,
) -> UInt8[np.ndarray, "y x 3"]:
  """A sheet of clips as they are, as they came back, and their difference.

  Args:
    pairs: clips [t h w 3], the original first.
    num_frames: frames shown of each clip, spread over it.
    gain: what differences are multiplied by, as they would hardly be seen.
    least_px: width that a frame is enlarged to.
  """
  t, _, width = pairs[0][0].shape[:3]
  frames = sorted(set(np.linspace(0, t - 1, num_frames).round().astype(int)))
  scale = -(-least_px // width)
  rows, headings = [], []
  for original, other in pairs:
    error = gain * np.abs(original.astype(np.int32) - other.astype(np.int32))
    error = np.minimum(error, 255).astype(np.uint8)
    names = ("original", "reconstruction", f"error x {gain}")
    for name, clip in zip(names, (original, other, error), strict=True):
      rows.append(list(enlarge(clip[frames], scale)))
      headings.append(page.text_block(120, [(name, 14.0, page.INK)]))
  return page.contact_sheet(rows, headings, [f"frame {k}" for k in frames], 4)


def clip_grid(
  clips: UInt8[np.ndarray, "n t h w 3"], gap: int = 2
) -> UInt8[np.ndarray, "t y x 3"]:
  """Clips beside and above each other, nearly square."""
  columns = math.ceil(math.sqrt(len(clips)))
  cells = list(clips)
  rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
  return page.grid(rows, gap)


def clip_sheet(
  clips: UInt8[np.ndarray, "n t h w 3"], max_frames: int = 8, gap: int = 2
) -> UInt8[np.ndarray, "y x 3"]:
  """One picture: a row for each clip, some of its frames from left to right.

  Images, clips of one frame, lie in a grid.
  """
  t = clips.shape[1]
  if t == 1:
    return clip_grid(clips, gap)[0]
  frames = np.linspace(0, t - 1, min(t, max_frames)).round().astype(int)
  return page.grid([list(clip[frames]) for clip in clips], gap)


def overlay(frames: Clip, paint: Paint) -> Clip:
  """The clip with what `paint(canvas, frame number)` draws over it."""
  out = np.empty_like(frames)
  h, w = frames.shape[1:3]
  for k, frame in enumerate(frames):
    layer = Image.new("RGBA", (w * OVERSAMPLE, h * OVERSAMPLE))
    paint(ImageDraw.Draw(layer), k)
    picture = Image.fromarray(frame).convert("RGBA")
    picture.alpha_composite(layer.reduce(OVERSAMPLE))
    out[k] = np.array(picture.convert("RGB"))
  return out


def unit_px(frames: Clip) -> float:
  """One pixel of a picture 192 wide, on the oversampled canvas."""
  return OVERSAMPLE * float(np.clip(min(frames.shape[1:3]) / 192, 0.5, 4))


def disc(
  canvas: ImageDraw.ImageDraw,
  centre: np.ndarray,
  radius: float,
  fill: tuple | None,
  outline: tuple | None = None,
  width: float = 0.0,
) -> None:
  x, y = centre.tolist()
  box = (x - radius, y - radius, x + radius, y + radius)
  canvas.ellipse(box, fill, outline, max(1, round(width)))


def _paint_tag(
  canvas: ImageDraw.ImageDraw,
  edges: tuple[float, float, float],
  name: str,
  colour: tuple[int, ...],
  unit: float,
) -> None:
  """A box's name on its colour: above the box, below it if there's no room."""
  left, top, bottom = edges
  size = 10.5 * unit
  face = fonts.font(name, size)
  width, height = face.getlength(name) + 6 * unit, 1.35 * size
  across, down = canvas.im.size
  y = top - height if top >= height else min(bottom, down - height)
  x = max(0.0, min(left - 0.75 * unit, across - width))
  canvas.rectangle((x, y, x + width, y + height), (*colour, 255))
  place = x + 3 * unit, y + height / 2
  face.draw(canvas, place, name, (*page.INK, 255), "lm")


@functools.cache
def colormap(name: str) -> UInt8[np.ndarray, "256 3"]:
  import matplotlib

  colours = matplotlib.colormaps[name](np.arange(256))
  return np.round(255 * colours[:, :3]).astype(np.uint8)
