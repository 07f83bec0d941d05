"""Any image set of TensorFlow Datasets, read without TensorFlow.

The set has to be prepared in ArrayRecord files beforehand (`file_format` of
`download_and_prepare`); they are read through `as_data_source`, and images are
decoded here. The image is the set's first image feature, the label its first
class label; both are found by type. An image is a clip of one frame.
"""

import threading
from typing import Any

import numpy as np

from vdr.data import image_folder, schema, transforms
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
    self._image, self._label, names = _find_features(builder)
    self.class_names: dict[str, tuple[str, ...]] = names
    self._data = self._open(builder)
    self._num_images = len(self._data)

  def __getstate__(self) -> dict[str, Any]:
    # Open files and locks stay behind; `_read_raw` opens the set again.
    return self.__dict__ | {"_data": None, "_lock": None}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return self._num_images * self.items_per_image

  def clip_id(self, index: int) -> str:
    name, crop = self.video_of(index), index % self.items_per_image
    return f"{name}#0.{crop}" if self.items_per_image > 1 else name

  def video_of(self, index: int) -> str:
    number = index // self.items_per_image
    return f"{self._cfg.tfds_name}/{self._cfg.split}/{number}"

  def group_of(self, index: int) -> str:
    return self.video_of(index)

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


def _find_features(
  builder: Any,
) -> tuple[str, str, dict[str, tuple[str, ...]]]:
  """Names of the image and label features ("": no label), and class names."""
  import tensorflow_datasets as tfds

  images, labels = [], []
  for name, feature in builder.info.features.items():
    if isinstance(feature, tfds.features.Image):
      images.append(name)
    elif isinstance(feature, tfds.features.ClassLabel):
      labels.append(name)
  if not images:
    raise errors.UserError(
      f"tfds_name {builder.name!r} has no image among its features"
      f" ({', '.join(builder.info.features)}); choose an image data set"
    )
  if not labels:
    return images[0], "", {}
  names = tuple(builder.info.features[labels[0]].names)
  return images[0], labels[0], {"label": names}


def _first_line(error: Exception) -> str:
  lines = str(error).strip().splitlines()
  return lines[0] if lines else type(error).__name__
