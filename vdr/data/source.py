"""What a source of clips is, and which kinds there are."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import ml_collections
import numpy as np
from jaxtyping import Int

from vdr.data import schema
from vdr.runtime import errors


class BadClipError(Exception):
  """A clip can't be read (corrupt, empty, truncated, too slow to decode).

  The loader masks such a clip in its batch, counts it and reports it; it never
  ends a run by itself.
  """


class Contents(NamedTuple):
  """What a source holds, to compare it with another one.

  Attributes:
    names: of its videos and groups, or ranges of numbers, by the place where
      they are unique. Two sources share what both have in the same place.
    counts: items of each class, by the field of the label; labels that only
      reading would tell are left out.
  """

  names: Mapping[str, frozenset[str] | tuple[range, ...]]
  counts: Mapping[str, Int[np.ndarray, " classes"]]


class Rows(NamedTuple):
  """Places of items among those of all splits, and how many these are."""

  numbers: Int[np.ndarray, " items"]
  total: int


@runtime_checkable
class Source(Protocol):
  """Random access to clips; picklable, so that worker processes can have it.

  `read` is a pure function of its arguments: whatever is random about a clip
  (which frames, which crop) is drawn from `rng`.
  """

  def __len__(self) -> int: ...

  def clip_id(self, index: int) -> str:
    """The name of item `index`: a path, or a place in a data set."""
    ...

  def video_of(self, index: int) -> str:
    """The video, or image, that item `index` shows.

    Items of one video are views of it, clips and crops. A class is predicted
    from all views together: their probabilities are averaged.
    """
    ...

  def group_of(self, index: int) -> str:
    """The group of item `index`.

    Items of one group (a video, a scene) are not independent: they are
    resampled together and never divided between splits. Views of one video are
    in one group.
    """
    ...

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    """Item `index` as fields of `schema.FIELDS`, all but the `clip_*` ones.

    Raises:
      BadClipError: the clip can't be read.
    """
    ...

  def contents(self, most: int | None = None) -> Contents:
    """What the first `most` items hold, or all of them; nothing is decoded."""
    ...

  @property
  def class_names(self) -> dict[str, tuple[str, ...]]:
    """Names of the classes of each label field, by field."""
    ...


@runtime_checkable
class Part(Protocol):
  """A source that is divided into splits when it is opened."""

  @property
  def rows(self) -> Rows: ...


def open_source(cfg: ml_collections.ConfigDict) -> Source:
  """Opens the source that a `configs/fields/data.py:source` config describes.

  Raises:
    UserError: the kind is unknown, or the source can't be opened.
  """
  match cfg.kind:
    case "physics":
      from vdr.data.physics.source import PhysicsSource as Kind
    case "video_folder":
      from vdr.data.video_folder import VideoFolder as Kind
    case "image_folder":
      from vdr.data.image_folder import ImageFolder as Kind
    case "tfds":
      from vdr.data.tfds_images import TfdsImages as Kind
    case "latents":
      from vdr.data.latents import Latents as Kind
    case _:
      raise errors.UserError(
        f"source kind {cfg.kind!r} is unknown; choose from physics,"
        " video_folder, image_folder, tfds, latents"
      )
  opened = Kind(cfg)
  if cfg.text:
    from vdr.data.text import WithText

    rows = None
    if isinstance(opened, Part) and "{split}" not in cfg.text:
      rows = opened.rows
    opened = WithText(opened, cfg.text.replace("{split}", cfg.split), rows)
  return opened
