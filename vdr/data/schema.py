"""The batch schema: every field that any source may yield.

A source yields examples (no leading axis), the loader stacks them into batches
(leading axis b). Both are plain dicts of NumPy arrays with the names, dtypes,
units and axes of `FIELDS`; a source yields `video` (or `latents`) and whichever
of the others it knows and was asked for. Conventions of cameras, rasters and
boxes are those of `vdr.geometry`.

Axes: t frames, h and w pixels, o objects (0 is the main one), n points; k i j c
frames, rows, columns and channels of latents, l tokens and e channels of text.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from vdr.runtime import errors

Example = dict[str, np.ndarray]

# Longer clip ids and error messages are cut: every field has a fixed size, so
# that batches travel between processes without pickling.
MAX_TEXT_BYTES = 512
MAX_JSON_BYTES = 16384


@dataclasses.dataclass(frozen=True)
class Field:
  """What one entry of an example means.

  Attributes:
    axes: its axes without the batch axis, separated by spaces; "" is a scalar.
    dtype: its NumPy dtype; "S" is bytes, kept on the host.
    doc: meaning, unit and range.
  """

  axes: str
  dtype: str
  doc: str

  @property
  def is_text(self) -> bool:
    """Text stays on the host: devices hold no strings."""
    return self.dtype == "S"


FIELDS: dict[str, Field] = {
  # Always there.
  "video": Field("t h w 3", "uint8", "RGB, 0 to 255; an image has t = 1."),
  "clip_valid": Field(
    "", "bool", "False for padding and for a clip that could not be read."
  ),
  "clip_index": Field("", "int64", "Which item of its source; -1 is padding."),
  "clip_id": Field("", "S", "The source's own name of the clip."),
  "error": Field("", "S", "Why the clip could not be read; empty if it could."),
  # Labels: class indices; -1 is unknown.
  "label": Field("", "int32", "Class of a labelled folder or data set."),
  "shape": Field("", "int32", "Shape of the main object."),
  "action": Field("", "int32", "Motion of the main object."),
  "camera_motion": Field("", "int32", "Motion of the camera."),
  # Dense, for each frame.
  "depth_m": Field(
    "t h w", "float32", "z-depth in metres; 0 where nothing was hit."
  ),
  "segmentation": Field(
    "t h w", "uint8", "0 sky, 1 ground, 2 + o for object o."
  ),
  "normals": Field(
    "t h w 3", "float32", "Unit surface normal, camera axes; 0 in the sky."
  ),
  # Geometry.
  "camera_to_world": Field("t 4 4", "float32", "Camera pose, metres."),
  "intrinsics": Field("3 3", "float32", "Normalised intrinsics."),
  "object_to_world": Field("o t 4 4", "float32", "Object poses, metres."),
  "object_size_m": Field("o 3", "float32", "Full extents along object axes."),
  "object_valid": Field("o", "bool", "False pads the object axis."),
  "boxes_yxyx": Field(
    "o t 4", "float32", "Tight box of the visible part, normalised."
  ),
  "boxes_valid": Field("o t", "bool", "True where any of the object shows."),
  "points_xy": Field("n t 2", "float32", "Tracks (x, y), normalised raster."),
  "points_visible": Field(
    "n t", "bool", "True where the point is in view and not occluded."
  ),
  "points_world_m": Field("n t 3", "float32", "The same points in 3-D."),
  "points_object": Field(
    "n", "int32", "Object that carries the point; -1 is the ground."
  ),
  # Embedded text, for models that are conditioned on it.
  "text": Field("l e", "float32", "Of a text encoder; anything where masked."),
  "text_mask": Field("l", "bool", "True where there is text."),
  # What a tokenizer made of the pixels, for sources of kind latents.
  "latents": Field("k i j c", "float32", "Posterior mean, not normalised."),
  "latents_std": Field("k i j c", "float32", "Posterior standard deviation."),
  # Text.
  "caption": Field("", "S", "One English sentence about the clip."),
  "factors": Field("", "S", "All random factors of the scene, as JSON."),
  # Where and when the pixels come from.
  "frame_times_s": Field("t", "float32", "Presentation time of each frame."),
  "crop_affine": Field(
    "2 2", "float32", "From the source picture to this crop."
  ),
}

# Read along with their partner: one without the other can't be used.
COMPANIONS = {
  "boxes_yxyx": ("boxes_valid",),
  "points_xy": ("points_visible", "points_object"),
  "object_to_world": ("object_valid",),
  "camera_to_world": ("intrinsics",),
}


def resolve_fields(names: Iterable[str]) -> tuple[str, ...]:
  """The asked-for fields with their companions, in the order of `FIELDS`.

  Raises:
    UserError: a name is not in the schema.
  """
  wanted = {"video"}
  for name in names:
    if name not in FIELDS:
      raise errors.UserError(
        f"field {name!r} is not in the batch schema; it has {', '.join(FIELDS)}"
      )
    wanted |= {name, *COMPANIONS.get(name, ())}
  return tuple(name for name in FIELDS if name in wanted)


def text(value: str, max_bytes: int = MAX_TEXT_BYTES) -> np.ndarray:
  """A string as a fixed-size bytes scalar; `untext` reads it back."""
  return np.array(value.encode()[:max_bytes], dtype=f"S{max_bytes}")


def untext(value: np.ndarray | bytes) -> str:
  """The string of one text entry."""
  return bytes(value).rstrip(b"\0").decode(errors="ignore")


def check(example: Mapping[str, np.ndarray], batched: bool = False) -> None:
  """Verifies names, dtypes, ranks and that equal axes have equal lengths.

  Args:
    example: an example, or a batch if `batched`.
    batched: whether every entry has a leading batch axis.

  Raises:
    ValueError: the first entry that does not fit, by name.
  """
  sizes: dict[str, int] = {}
  for name, value in example.items():
    if name not in FIELDS:
      raise ValueError(f"{name!r} is not in the batch schema")
    field = FIELDS[name]
    kind = value.dtype.kind if field.is_text else value.dtype.name
    if kind != field.dtype:
      raise ValueError(f"{name} is {value.dtype}, not {field.dtype}")
    axes = ("b " * batched + field.axes).split()
    if len(axes) != value.ndim:
      raise ValueError(f"{name} has shape {value.shape}, not {axes}")
    for axis, size in zip(axes, value.shape, strict=True):
      expected = int(axis) if axis.isdigit() else sizes.setdefault(axis, size)
      if size != expected:
        raise ValueError(f"{name} has {axis} = {size}, others {expected}")
