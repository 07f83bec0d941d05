"""Any image set of TensorFlow Datasets, read without TensorFlow.

The set has to be prepared in ArrayRecord files beforehand (`file_format` of
`download_and_prepare`); they are read through `as_data_source`, and images are
decoded here. The set's `supervised_keys` say which feature is the image and
which the label; without them the first image and the first class label are
taken. A label may be any whole number. An image is a clip of one frame.
"""

import functools
import threading
from typing import Any

import numpy as np

from vdr.data import classes, image_folder, schema, source, transforms
from vdr.runtime import errors


class TfdsImages:
  """Images of one split of a data set (a `vdr.data.source.Source`).

  Attributes:
    items_per_image: crops of each image.
  """

  def __init__(self, cfg: Any):
    """Opens the data set.

    Args:
      cfg: a source config of `configs/base.py`; `path` is TFDS's `data_dir`,
        where "" stands for its usual place.

    Raises:
      UserError: the set is unknown, not prepared, or holds no images.
    """
    transforms.check(cfg)
    self._cfg = cfg
    self._fields = schema.resolve_fields(cfg.fields)
    self.items_per_image = transforms.num_crops(cfg)
    self._lock = threading.Lock()
    builder = _builder(cfg)
    self._image, self._label = _find_features(builder)
    self._data = self._open(builder)
    self._num_images = len(self._data)
    self._instructions = _instructions(builder, cfg.split)

  def __getstate__(self) -> dict[str, Any]:
    # Open files and locks stay behind; `_read_raw` opens the set again.
    return self.__dict__ | {"_data": None, "_lock": None}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return self._num_images * self.items_per_image

  @property
  def class_names(self) -> dict[str, tuple[str, ...]]:
    return {"label": self._names} if self._names else {}

  @functools.cached_property
  def _names(self) -> tuple[str, ...]:
    return _class_names(_builder(self._cfg), self._label)

  def clip_id(self, index: int) -> str:
    name, crop = self.video_of(index), index % self.items_per_image
    return f"{name}#0.{crop}" if self.items_per_image > 1 else name

  def video_of(self, index: int) -> str:
    number = index // self.items_per_image
    return f"{self._cfg.tfds_name}/{self._cfg.split}/{number}"

  def group_of(self, index: int) -> str:
    return self.video_of(index)

  def contents(self, most: int | None = None) -> source.Contents:
    """Ranges of images in each file of the set."""
    left = self._num_images
    if most is not None:
      left = min(left, -(-most // self.items_per_image))
    names: dict[str, tuple[range, ...]] = {}
    for file, skip, take in self._instructions:
      part = range(skip, skip + min(take, left))
      names[file] = (*names.get(file, ()), part)
      left -= len(part)
    return source.Contents(names, {})

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    """See `vdr.data.source.Source.read`."""
    number, crop = divmod(index, self.items_per_image)
    with self._lock:
      if self._data is None:
        self._data = self._open(_builder(self._cfg))
    record = self._data[number]
    picture = image_folder.decode(record[self._image])
    example = image_folder.example_of(self._cfg, rng, picture, crop)
    label = record[self._label] if self._label else -1
    example["label"] = np.asarray(label, np.int32)
    return {k: v for k, v in example.items() if k in self._fields}

  def _open(self, builder: Any) -> Any:
    import tensorflow_datasets as tfds

    # Decoded here, so that a damaged image is a bad clip like any other.
    decoders: Any = {self._image: tfds.decode.SkipDecoding()}
    try:
      return builder.as_data_source(self._cfg.split, decoders=decoders)
    except Exception as error:  # TFDS raises nearly anything here
      splits = ", ".join(builder.info.splits) or "none"
      raise errors.UserError(
        f"split {self._cfg.split!r} of {self._cfg.tfds_name} can't be opened in"
        f" {builder.data_dir} ({_first_line(error)}); it has: {splits}; prepare"
        " the set with download_and_prepare(file_format='array_record')"
      ) from error


def _builder(cfg: Any) -> Any:
  import tensorflow_datasets as tfds

  if not cfg.tfds_name:
    raise errors.UserError(
      "tfds_name of the source is empty; set it to the name of a data set of"
      " TFDS, e.g. imagenet2012"
    )
  try:
    return tfds.builder(cfg.tfds_name, data_dir=cfg.path or None)
  except Exception as error:  # TFDS raises nearly anything here
    place = cfg.path or "the usual place of TFDS"
    raise errors.UserError(
      f"tfds_name {cfg.tfds_name!r} can't be opened in {place}"
      f" ({_first_line(error)}); check the name, and that path is the data_dir"
      " it was prepared in"
    ) from error


def _find_features(builder: Any) -> tuple[str, str]:
  """Names of the image and label features; "": no label."""
  import tensorflow_datasets as tfds

  features = dict(builder.info.features.items())
  images = [
    k for k, f in features.items() if isinstance(f, tfds.features.Image)
  ]
  labels = [
    k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel)
  ]
  if not images:
    raise errors.UserError(
      f"tfds_name {builder.name!r} has no image among its features"
      f" ({', '.join(features)}); choose an image data set"
    )
  image, label, *_ = (*(builder.info.supervised_keys or ()), "", "")
  if not isinstance(label, str) or not _is_whole_number(features.get(label)):
    label = labels[0] if labels else ""
  return image if image in images else images[0], label


def _is_whole_number(feature: Any) -> bool:
  return (
    feature is not None
    and getattr(feature, "shape", None) == ()
    and np.issubdtype(feature.np_dtype, np.integer)
  )


def _class_names(builder: Any, label: str) -> tuple[str, ...]:
  """Names of the classes; numbers, where the set has no names.

  Numbers are those of all splits, so that every split has the same classes.
  """
  import tensorflow_datasets as tfds

  if not label:
    return ()
  features = builder.info.features
  if isinstance(features[label], tfds.features.ClassLabel):
    return tuple(features[label].names)
  undecoded: Any = {
    name: tfds.decode.SkipDecoding()
    for name, feature in features.items()
    if isinstance(feature, tfds.features.Image)
  }
  data = builder.as_data_source("all", decoders=undecoded)
  most = max((int(record[label]) for record in data), default=-1)
  if most >= classes.MAX_CLASSES:
    return ()
  return tuple(map(str, range(most + 1)))


def _instructions(builder: Any, split: str) -> tuple[tuple[str, int, int], ...]:
  """Files of a split, records to skip in each, and records to take."""
  return tuple(
    (str(x.filename), x.skip, x.take)
    for x in builder.info.splits[split].file_instructions
  )


def _first_line(error: Exception) -> str:
  lines = str(error).strip().splitlines()
  return lines[0] if lines else type(error).__name__
