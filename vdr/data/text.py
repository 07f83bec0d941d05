"""Text embeddings from a file, beside the clips of any source.

vdr has no text encoder: whoever wants a text-conditioned model embeds captions
with theirs once, and saves one row for each item of the source.
"""

import pathlib

import numpy as np

from vdr.data import schema
from vdr.data import source as source_lib
from vdr.runtime import errors


def load(path: str | pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  """Embeddings `[n l e]` float32 and mask `[n l]`, True where text is.

  Args:
    path: .npz with `text` and, if texts differ in length, `mask`.

  Raises:
    UserError: there is no such file, or it holds something else.
  """
  try:
    with np.load(path, allow_pickle=False) as file:
      text = np.asarray(file["text"], np.float32)
      mask = file["mask"] if "mask" in file.files else None
  except (OSError, ValueError, KeyError) as error:
    raise errors.UserError(
      f"{path} has no text embeddings ({error}); save text [n l e] and mask [n"
      " l] with numpy.savez"
    ) from error
  mask = np.ones(text.shape[:2], bool) if mask is None else mask.astype(bool)
  if text.ndim != 3 or mask.shape != text.shape[:2]:
    raise errors.UserError(
      f"{path}: text is {text.shape} and mask {mask.shape}; they must be [n l"
      " e] and [n l]"
    )
  return text, mask


class WithText:
  """A source whose items have text embeddings, too."""

  def __init__(
    self,
    source: source_lib.Source,
    path: str,
    rows: source_lib.Rows | None = None,
  ):
    """Reads the file; `source` keeps everything else.

    Args:
      source: the clips.
      path: of the file.
      rows: which rows belong to the items, if the file is for more than them.

    Raises:
      UserError: the file has not one row for each item.
    """
    self._source = source
    self._text, self._mask = load(path)
    count = len(source) if rows is None else rows.total
    if len(self._text) != count:
      raise errors.UserError(
        f"{path} has {len(self._text)} texts, and the source {count} items"
        f"{' in all splits' if rows is not None else ''}; give one for each, in"
        " their order"
      )
    if rows is not None:
      self._text = self._text[rows.numbers]
      self._mask = self._mask[rows.numbers]

  def __len__(self) -> int:
    return len(self._source)

  @property
  def class_names(self) -> dict[str, tuple[str, ...]]:
    return self._source.class_names

  def clip_id(self, index: int) -> str:
    return self._source.clip_id(index)

  def video_of(self, index: int) -> str:
    return self._source.video_of(index)

  def group_of(self, index: int) -> str:
    return self._source.group_of(index)

  def contents(self, most: int | None = None) -> source_lib.Contents:
    return self._source.contents(most)

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    """Item `index`; see `vdr.data.source.Source.read`."""
    example = self._source.read(index, rng)
    return example | {"text": self._text[index], "text_mask": self._mask[index]}
