"""Numbers, files and videos that a caller gives, in one form each.

Arrays of NumPy, JAX and other libraries, lists, generators, and one number in
place of several are all taken. Anything else is refused in one line that says
what to give instead.
"""

import operator
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax import core
from jaxtyping import UInt8
from PIL import Image

from vdr.data import image_folder, source
from vdr.runtime import errors

Number = int | float | np.number
Numbers = Number | Iterable[Number] | np.ndarray | jax.Array
# A file; or pixels: an array, or an iterable of frames or of clips.
Video = str | os.PathLike[str] | np.ndarray | jax.Array | Iterable[Any]

_GIVE = (
  "give a file, or RGB pixels [t h w 3], a list of frames [h w 3], or [b t h w"
  " 3] for several videos"
)
# A GIF may move: it is read as a video.
PICTURES = tuple(s for s in image_folder.SUFFIXES if s != ".gif")
_EXACT_MODES = ("RGB", "L")  # of Pillow, which lose nothing as 8-bit RGB


def whole(name: str, value: object) -> int:
  """A whole number.

  Raises:
    UserError: it is none; also True, "2" and 2.0.
  """
  try:
    if isinstance(value, bool | np.bool_):
      raise TypeError
    return operator.index(value)  # pyright: ignore[reportArgumentType]
  except (TypeError, IndexError) as error:
    raise errors.UserError(
      f"{name}={shown(value)} is no whole number"
    ) from error


def number(name: str, value: object) -> float:
  """A number, maybe infinite, but not NaN.

  Raises:
    UserError: it is none; also True and "0.2".
  """
  try:
    if isinstance(value, bool | np.bool_ | str | bytes):
      raise TypeError
    found = float(value)  # pyright: ignore[reportArgumentType]
  except (TypeError, ValueError, OverflowError) as error:
    raise errors.UserError(f"{name}={shown(value)} is no number") from error
  if found != found:
    raise errors.UserError(f"{name}={shown(value)}: NaN is no number")
  return found


def seed(value: object) -> int:
  """A seed that JAX takes: a whole number of 64 bits.

  Raises:
    UserError: it is none.
  """
  found = whole("seed", value)
  if not -(2**63) <= found < 2**63:
    raise errors.UserError(f"seed={found}: use a number of 64 bits")
  return found


def rate(fps: object) -> float:
  """Frames per second.

  Raises:
    UserError: it is no positive, finite number.
  """
  found = number("fps", fps)
  if not 0 < found < float("inf"):
    raise errors.UserError(f"fps={fps}: use more than 0 frames per second")
  return found


def numbers(name: str, values: object, is_whole: bool) -> tuple[Any, ...]:
  """Numbers as a tuple, each once; one alone is a tuple of one, None is empty.

  Args:
    name: of the argument, for the message.
    values: one number, or an iterable of numbers.
    is_whole: whether they are ints; else floats.

  Raises:
    UserError: something in it is no number.
  """
  if values is None:
    return ()
  convert = whole if is_whole else number
  try:
    if isinstance(values, str | bytes):
      raise TypeError
    items = list(values)  # pyright: ignore[reportArgumentType]
  except TypeError:
    return (convert(name, values),)
  return tuple(dict.fromkeys(convert(name, item) for item in items))


def file(path: str | os.PathLike[str]) -> pathlib.Path:
  """A video file, absolute: so it stays the same after `os.chdir`.

  FFmpeg takes "name:rest" for a protocol, unless a slash stands before it.

  Raises:
    UserError: it can't be a file.
  """
  text = os.fspath(path)
  if not isinstance(text, str):
    raise errors.UserError(f"{text!r} is of type bytes; give a name as str")
  if not text.strip() or "\0" in text:
    raise errors.UserError(f"{text!r} names no file; {_GIVE}")
  if "://" in text:
    raise errors.UserError(
      f"{text} is an address; download the video, and give its file"
    )
  found = pathlib.Path(os.path.expanduser(text)).absolute()
  if found.is_dir():
    raise errors.UserError(
      f"{found} is a folder; name a video file, one at a time"
    )
  return found


def picture(path: pathlib.Path) -> UInt8[np.ndarray, "h w 3"] | None:
  """The pixels of an image file; None if the name is not that of an image.

  Raises:
    UserError: it can't be read.
  """
  if path.suffix.lower() not in PICTURES:
    return None
  try:
    return image_folder.decode(path.read_bytes())
  except (OSError, source.BadClipError) as error:
    why = error.strerror if isinstance(error, OSError) else error
    raise errors.UserError(f"{path} can't be read: {why}") from error


def pixels(video: object) -> tuple[UInt8[np.ndarray, "b t h w 3"], bool]:
  """Videos as uint8, and whether there may be several.

  Floats are in [0, 1]; they are rounded to 8 bits, like all that models are
  trained on. One picture `[h w 3]` is a video of one frame.

  Args:
    video: an array, or an iterable of frames or of clips; `[h w 3]`,
      `[t h w 3]` or `[b t h w 3]` in all.

  Raises:
    UserError: it is no video, or its values may mean several things.
  """
  found = _array(video)
  _check_shape(found)
  found = _to_uint8(found)
  if found.ndim == 3:
    found = found[None]
  return (found, True) if found.ndim == 5 else (found[None], False)


def _array(video: object) -> np.ndarray:
  """An array of whatever holds pixels; not checked yet."""
  if isinstance(video, Image.Image):
    if video.mode not in _EXACT_MODES:
      raise errors.UserError(
        f"a picture of mode {video.mode} is not RGB; give"
        ' picture.convert("RGB")'
      )
    video = video.convert("RGB")
  if isinstance(video, core.Tracer):
    raise errors.UserError(
      "a video inside of a jitted function has no pixels yet; call features"
      " outside of it, or use Backbone.apply"
    )
  if isinstance(video, np.ndarray | jax.Array):
    return np.asarray(video)
  if hasattr(video, "__array__") or hasattr(video, "__array_interface__"):
    try:
      return np.asarray(video)
    except Exception as error:  # whatever other libraries raise
      raise errors.UserError(
        f"a video of type {_type(video)} can't be made a NumPy array"
        f" ({_line(error)}); make it one"
      ) from error
  if isinstance(video, str | os.PathLike):
    raise errors.UserError(
      f"{os.fspath(video)!r} is in a list; give one file at a time"
    )
  # Bytes and mappings are iterable, and so are open files: of lines.
  no_pixels = isinstance(video, bytes | bytearray | memoryview | dict)
  if no_pixels or hasattr(video, "read") or not isinstance(video, Iterable):
    raise errors.UserError(f"a video of type {_type(video)} is none; {_GIVE}")
  return _stack(list(video))


def _stack(items: list[Any]) -> np.ndarray:
  """One array of frames or clips that are alike."""
  leaf: Any = items
  while isinstance(leaf, list | tuple) and leaf:
    leaf = leaf[0]
  if isinstance(leaf, int | float):  # nested lists down to single numbers
    try:
      return np.asarray(items)
    except (TypeError, ValueError) as error:
      raise errors.UserError(
        f"a list of numbers is no array ({_line(error)}); {_GIVE}"
      ) from error
  arrays = [_array(item) for item in items]
  for k, other in enumerate(arrays):
    first = arrays[0]
    if (other.shape, other.dtype) != (first.shape, first.dtype):
      raise errors.UserError(
        f"item {k} of the list is {other.dtype} of shape"
        f" {_shape(other)}, and item 0 {first.dtype} of {_shape(first)}; make"
        " all alike, or give one video at a time"
      )
  return np.stack(arrays) if arrays else np.zeros((0, 0, 0, 3), np.uint8)


def _check_shape(video: np.ndarray) -> None:
  shape = video.shape
  if video.ndim not in (3, 4, 5):
    problem = _GIVE
  elif not video.size:
    problem = f"it is empty; {_GIVE}"
  elif shape[-1] == 3:
    return
  elif shape[-1] == 1:
    problem = "it is grey; give np.repeat(video, 3, axis=-1)"
  elif shape[-3] == 3:
    problem = "channels come last; give np.moveaxis(video, -3, -1)"
  elif shape[-1] == 4:
    problem = "it has a fourth channel; give video[..., :3]"
  elif video.ndim == 3:
    problem = "it has no channels; give np.repeat(video[..., None], 3, axis=-1)"
  else:
    problem = f"it is not RGB; {_GIVE}"
  raise errors.UserError(f"a video of shape {_shape(video)}: {problem}")


def _to_uint8(video: np.ndarray) -> UInt8[np.ndarray, "*b h w 3"]:
  kind = video.dtype
  if kind == np.uint8:
    return video
  is_whole = np.issubdtype(kind, np.integer)
  # JAX knows more floats than NumPy: bfloat16 is none to the latter.
  if not is_whole and not jax.numpy.issubdtype(kind, np.floating):
    raise errors.UserError(
      f"a video of type {kind} is none; give uint8, or floats in [0, 1]"
    )
  if not is_whole:
    video = video.astype(np.float32)
  low, high = video.min().item(), video.max().item()
  if not (0 <= low and high <= (255 if is_whole else 1)):  # also NaN
    rule = "floats are in [0, 1]"
    if is_whole:
      rule = "whole numbers are 0 to 255"
    elif 0 <= low and high <= 255:
      rule += ": give video / 255"
    elif low >= -1 and high <= 1:
      rule += ": give (video + 1) / 2"
    raise errors.UserError(
      f"a video of type {kind} has values from {low:g} to {high:g}; {rule}"
    )
  if is_whole:
    return video.astype(np.uint8)
  return np.rint(255 * video).astype(np.uint8)


def shown(value: object, most: int = 80) -> str:
  """A value in one short line."""
  text = " ".join(repr(value).split())
  return text if len(text) <= most else f"{text[:most]}…"


def _shape(array: np.ndarray) -> str:
  return f"[{' '.join(map(str, array.shape))}]"


def _type(value: object) -> str:
  return type(value).__name__


def _line(error: Exception) -> str:
  return " ".join(str(error).split())[:120]
