"""A folder of images, labelled by an index or by sub-folders.

An image is a clip of one frame at time 0. With crop "three" each image has
three items in a row, named `path#0.crop`.
"""

import io
import os
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from vdr.data import folders, schema, source, transforms

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class ImageFolder:
  """Images of a folder as clips (a `vdr.data.source.Source`).

  Attributes:
    items_per_image: crops of each image.
  """

  def __init__(self, cfg: Any):
    """Lists the folder.

    Args:
      cfg: a source config of `configs/base.py`.

    Raises:
      UserError: a field of the config, the folder or its index is wrong.
    """
    transforms.check(cfg)
    self._cfg = cfg
    self._listing = folders.list_files(cfg, SUFFIXES)
    self._fields = schema.resolve_fields(cfg.fields)
    self.items_per_image = transforms.num_crops(cfg)

  def __len__(self) -> int:
    return len(self._listing.paths) * self.items_per_image

  @property
  def class_names(self) -> dict[str, tuple[str, ...]]:
    names = self._listing.class_names
    return {"label": names} if names else {}

  def clip_id(self, index: int) -> str:
    path, crop = self.video_of(index), index % self.items_per_image
    return f"{path}#0.{crop}" if self.items_per_image > 1 else path

  def video_of(self, index: int) -> str:
    return self._listing.paths[index // self.items_per_image]

  def group_of(self, index: int) -> str:
    return self._listing.groups[index // self.items_per_image]

  @property
  def rows(self) -> source.Rows:
    """The place of each item among those of all splits."""
    return self._listing.rows(self.items_per_image)

  def contents(self, most: int | None = None) -> source.Contents:
    return self._listing.contents(self.items_per_image, most)

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    """See `vdr.data.source.Source.read`."""
    number, crop = divmod(index, self.items_per_image)
    path = os.path.join(self._listing.root, self._listing.paths[number])
    try:
      with open(path, "rb") as file:
        raw = file.read()
    except OSError as error:
      raise source.BadClipError(error.strerror or str(error)) from error
    example = example_of(self._cfg, rng, decode(raw), crop)
    example["label"] = np.asarray(self._listing.labels[number])
    return {k: v for k, v in example.items() if k in self._fields}


def decode(raw: bytes) -> UInt8[np.ndarray, "h w 3"]:
  """RGB pixels of an encoded image as viewers show it.

  It is turned as its EXIF flag says, and lies on white where it is transparent.

  Raises:
    BadClipError: it is no whole image, or nothing says which value is white.
  """
  if not raw:
    raise source.BadClipError("the file is empty")
  try:
    with Image.open(io.BytesIO(raw)) as image:
      return _rgb(ImageOps.exif_transpose(image))
  except source.BadClipError:
    raise
  except Image.UnidentifiedImageError as error:
    raise source.BadClipError("the file is no known image format") from error
  # Pillow's decoders raise nearly anything on damaged data: OSError,
  # SyntaxError, ValueError, EOFError, struct.error, DecompressionBombError …
  except Exception as error:
    raise source.BadClipError(f"the image can't be read: {error}") from error


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
  """Pillow's own conversion cuts wide pixels off at 255 instead of scaling."""
  if image.mode in ("I", "F") or image.mode.startswith("I;16"):
    grey = _eight_bits(np.asarray(image), image.mode)
    return np.repeat(grey[..., None], 3, axis=-1)
  if image.has_transparency_data:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image)
  return np.asarray(image.convert("RGB"))


def _eight_bits(pixels: np.ndarray, mode: str) -> UInt8[np.ndarray, "h w"]:
  """Scales the grey values of wide pixels, whose white is 65,535 or 1."""
  white = 1.0 if mode == "F" else 65535.0
  pixels = pixels.astype(np.float64)
  if not np.all((pixels >= 0) & (pixels <= white)):  # false for NaN, too
    low, high = float(np.min(pixels)), float(np.max(pixels))
    raise source.BadClipError(
      f"its pixels go from {low:g} to {high:g}, and nothing says which value is"
      f" white; store them from 0 to {white:g}"
    )
  return np.round(pixels * (255 / white)).astype(np.uint8)


def example_of(
  cfg: Any,
  rng: np.random.Generator,
  picture: UInt8[np.ndarray, "h w 3"],
  crop: int,
) -> schema.Example:
  """One picture, cropped as the config says, as a clip without a label."""
  height, width = picture.shape[:2]
  affine = transforms.sample_affine(cfg, rng, height, width, crop)
  example = {
    "video": picture[None],
    "frame_times_s": np.zeros(1, np.float32),
  }
  return transforms.apply(example, affine, cfg.height, cfg.width)
