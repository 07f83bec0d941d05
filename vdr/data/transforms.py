"""Space transforms: which part of the picture, at which size.

A clip has **one** affine (see `vdr.geometry`) from its source picture to its
crop; it is drawn by `sample_affine` and applied to everything that has a place
in the picture: pixels, points, boxes, intrinsics and dense maps. Pixels are
resized with half-pixel centres and antialiasing (a triangle filter that widens
when shrinking), depth and other maps with nearest only, since their values
can't be averaged.

Decoders cut whole pixels: `snap` rounds an affine so that its crop begins and
ends between pixels, and the rounded one is what a clip carries.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Num, Shaped, UInt8
from PIL import Image

from vdr import geometry
from vdr.data import schema
from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

CROPS = ("none", "random", "center", "three")

# Tries of a random crop before the largest one that is allowed is taken.
_TRIES = 10

Affine = Float[np.ndarray, "2 2"]


def check(cfg: Config) -> None:
  """Verifies the fields of a source config that this module reads.

  Raises:
    UserError: a field has a value that means nothing.
  """
  if cfg.crop not in CROPS:
    raise errors.UserError(
      f"crop {cfg.crop!r} is unknown; choose from {', '.join(CROPS)}"
    )
  if min(cfg.height, cfg.width) < 1:
    raise errors.UserError(
      f"a picture of {cfg.height}x{cfg.width} pixels is empty; set height and"
      " width of the source to 1 or more"
    )
  ranges = {"crop_area": cfg.crop_area, "crop_aspect": cfg.crop_aspect}
  for name, (least, most) in ranges.items():
    if not 0 < least <= most or (name == "crop_area" and most > 1):
      raise errors.UserError(
        f"{name} {(least, most)} is no range: set 0 < least <= most"
        + ", most <= 1" * (name == "crop_area")
      )


def num_crops(cfg: Config) -> int:
  """Crops that are taken of every clip."""
  return 3 if cfg.crop == "three" else 1


def sample_affine(
  cfg: Config,
  rng: np.random.Generator,
  height: int,
  width: int,
  crop: int = 0,
) -> Affine:
  """Draws the affine of one clip.

  Args:
    cfg: a source config; read are height, width, crop, crop_area, crop_aspect
      and flip.
    rng: drawn from only if the crop is random.
    height: of the source picture, pixels.
    width: of the source picture, pixels.
    crop: 0, 1 or 2 of the three crops (left or top, centre, right or bottom).

  Returns:
    The affine, exact: `snap` rounds it to whole pixels.
  """
  if cfg.crop == "none":
    return affine_of_box((0.0, 0.0, 1.0, 1.0))
  if cfg.crop == "random":
    box = _random_box(cfg, rng, height, width)
    return affine_of_box(box, mirrored=bool(cfg.flip and rng.random() < 0.5))
  # The largest box of the target's aspect; it leaves room along one axis.
  scale = min(height / cfg.height, width / cfg.width)
  size_y, size_x = cfg.height * scale / height, cfg.width * scale / width
  place = crop / 2 if cfg.crop == "three" else 0.5
  y, x = place * (1 - size_y), place * (1 - size_x)
  return affine_of_box((y, x, y + size_y, x + size_x))


def affine_of_box(
  box_yxyx: tuple[float, float, float, float], mirrored: bool = False
) -> Affine:
  """The affine whose crop is this normalised box of the source picture."""
  y0, x0, y1, x1 = box_yxyx
  if mirrored:
    x0, x1 = x1, x0
  return np.array(
    [[1 / (y1 - y0), y0 / (y0 - y1)], [1 / (x1 - x0), x0 / (x0 - x1)]]
  )


def box_of_affine(
  affine: Affine,
) -> tuple[tuple[float, float, float, float], bool, bool]:
  """The part of the source picture that a crop shows.

  Returns:
    Its normalised box `(y_min, x_min, y_max, x_max)`, and whether the crop is
    mirrored in y and in x.
  """
  (scale_y, offset_y), (scale_x, offset_x) = np.asarray(affine, np.float64)
  ys = sorted((-offset_y / scale_y, (1 - offset_y) / scale_y))
  xs = sorted((-offset_x / scale_x, (1 - offset_x) / scale_x))
  box = (float(ys[0]), float(xs[0]), float(ys[1]), float(xs[1]))
  return box, bool(scale_y < 0), bool(scale_x < 0)


def snap(
  affine: Affine, height: int, width: int, steps: tuple[int, int] = (1, 1)
) -> Affine:
  """The nearest affine whose crop begins and ends between source pixels.

  Args:
    affine: any affine whose crop lies in the picture; not mirrored in y.
    height: of the source picture, pixels.
    width: of the source picture, pixels.
    steps: edges fall on multiples of these in y and in x, or on the picture's
      edge: (2, 2) keeps the chroma of 4:2:0 in its place.
  """
  box, _, mirrored = box_of_affine(affine)
  y0, y1 = _snap_edges(box[0], box[2], height, steps[0])
  x0, x1 = _snap_edges(box[1], box[3], width, steps[1])
  return affine_of_box(
    (y0 / height, x0 / width, y1 / height, x1 / width), mirrored
  )


def box_px(
  affine: Affine, height: int, width: int
) -> tuple[int, int, int, int]:
  """The crop of a snapped affine as `(y_min, x_min, y_max, x_max)`, pixels."""
  (y0, x0, y1, x1), _, _ = box_of_affine(affine)
  return (
    round(y0 * height),
    round(x0 * width),
    round(y1 * height),
    round(x1 * width),
  )


def apply(
  example: schema.Example, affine: Affine, height: int, width: int
) -> schema.Example:
  """The crop of a whole example; everything in it keeps its meaning.

  Args:
    example: fields of `schema.FIELDS` of the source picture, unbatched.
    affine: from the source picture to the crop, which lies inside it.
    height: of the crop, pixels.
    width: of the crop, pixels.

  Returns:
    A new example; `crop_affine` is always in it, and also counts what an
    earlier crop did. Fields that have no place in the picture, and all of them
    if there is nothing to do, are the same arrays.
  """
  out = dict(example)
  affine = np.asarray(affine, np.float64)
  before = np.asarray(example.get("crop_affine", [[1, 0], [1, 0]]), np.float64)
  scale = affine[:, 0] * before[:, 0]
  offset = affine[:, 0] * before[:, 1] + affine[:, 1]
  out["crop_affine"] = np.stack([scale, offset], axis=-1).astype(np.float32)
  if np.array_equal(affine, [[1, 0], [1, 0]]) and all(
    value.shape[1:3] == (height, width)
    for name, value in example.items()
    if schema.FIELDS[name].axes.startswith("t h w")
  ):
    return out
  for name, value in example.items():
    if name == "video":
      out[name] = resize(value, affine, height, width)
    elif schema.FIELDS[name].axes.startswith("t h w"):
      out[name] = resize_nearest(value, affine, height, width)
  if "intrinsics" in example:
    intrinsics = example["intrinsics"]
    out["intrinsics"] = geometry.affine_intrinsics(affine, intrinsics).astype(
      intrinsics.dtype
    )
  if "points_xy" in example:
    _apply_to_points(out, affine)
  if "boxes_yxyx" in example:
    _apply_to_boxes(out, affine)
  return out


def resize(
  video: UInt8[np.ndarray, "t h w 3"], affine: Affine, height: int, width: int
) -> UInt8[np.ndarray, "t {height} {width} 3"]:
  """Pixels of a crop: triangle filter, antialiased, half-pixel centres."""
  (y0, x0, y1, x1), flip_y, flip_x = box_of_affine(affine)
  in_height, in_width = video.shape[1:3]
  # Rounding must not push the box out of the picture by 1e-17.
  box = (
    max(x0 * in_width, 0.0),
    max(y0 * in_height, 0.0),
    min(x1 * in_width, in_width),
    min(y1 * in_height, in_height),
  )
  out = np.empty((len(video), height, width, 3), np.uint8)
  for frame, target in zip(video, out, strict=True):
    image = Image.fromarray(np.ascontiguousarray(frame))
    image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    target[:] = np.asarray(image)[
      :: -1 if flip_y else 1, :: -1 if flip_x else 1
    ]
  return out


def resize_nearest(
  maps: Shaped[np.ndarray, "t h w *c"], affine: Affine, height: int, width: int
) -> Shaped[np.ndarray, "t {height} {width} *c"]:
  """Values of a crop, each that of the source pixel under its centre."""
  rows = _nearest(affine[0], height, maps.shape[1])
  columns = _nearest(affine[1], width, maps.shape[2])
  return maps[:, rows[:, None], columns]


def _nearest(
  line: Float[np.ndarray, "2"], size: int, in_size: int
) -> Num[np.ndarray, " size"]:
  scale, offset = np.asarray(line, np.float64)
  centres = ((np.arange(size) + 0.5) / size - offset) / scale
  # A centre on an edge between two pixels belongs to the second one, whichever
  # way its last bit was rounded.
  indices = np.floor(centres * in_size + 1e-9).astype(np.int64)
  return np.clip(indices, 0, in_size - 1)


def _apply_to_points(out: schema.Example, affine: Affine) -> None:
  points = out["points_xy"]
  moved = geometry.affine_points_xy(affine, points.reshape(-1, 2))
  moved = moved.reshape(points.shape)
  out["points_xy"] = moved.astype(points.dtype)
  if "points_visible" in out:
    inside = np.all((moved >= 0) & (moved <= 1), axis=-1)
    out["points_visible"] = out["points_visible"] & inside


def _apply_to_boxes(out: schema.Example, affine: Affine) -> None:
  boxes = out["boxes_yxyx"]
  moved = geometry.affine_boxes_yxyx(affine, boxes.reshape(-1, 4))
  moved, left = geometry.clip_boxes_yxyx(moved.reshape(boxes.shape))
  if "boxes_valid" in out:
    left = left & out["boxes_valid"]
    out["boxes_valid"] = left
  out["boxes_yxyx"] = np.where(left[..., None], moved, 0).astype(boxes.dtype)


def _random_box(
  cfg: Config,
  rng: np.random.Generator,
  height: int,
  width: int,
) -> tuple[float, float, float, float]:
  """A box of random area, aspect (log-uniform) and place."""
  log_aspect = np.log(np.asarray(cfg.crop_aspect, np.float64))
  for _ in range(_TRIES):
    area = rng.uniform(*cfg.crop_area)
    # Aspects are those of the pixels, boxes are shares of the picture.
    aspect = math.exp(rng.uniform(*log_aspect)) * height / width
    size_y, size_x = math.sqrt(area / aspect), math.sqrt(area * aspect)
    if size_y <= 1 and size_x <= 1:
      y, x = rng.uniform(0, 1 - size_y), rng.uniform(0, 1 - size_x)
      return y, x, y + size_y, x + size_x
  aspect = np.clip(width / height, *cfg.crop_aspect) * height / width
  size_y, size_x = min(1.0, 1 / aspect), min(1.0, aspect)
  y, x = (1 - size_y) / 2, (1 - size_x) / 2
  return y, x, y + size_y, x + size_x


def _snap_edges(
  first: float, last: float, size: int, multiple: int
) -> tuple[int, int]:
  """Both ends of a crop, given as shares of `size`, on whole pixels."""

  def nearest(edge: float) -> int:
    rounded = round(edge / multiple) * multiple
    # The picture's own edge counts also where it is no multiple.
    is_outer = abs(size - edge) <= abs(rounded - edge) or rounded > size
    return size if is_outer else rounded

  start = min(nearest(first * size), (size - 1) // multiple * multiple)
  return start, min(max(nearest(last * size), start + multiple), size)
