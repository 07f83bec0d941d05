"""How clips lie on disk: tf.Example records in ArrayRecord files, as TFDS has.

`tfds.builder_from_directory(DIR).as_data_source("train")` reads them. Pixels
are stored as they are, for reading at full speed; the dense truth is rounded
and compressed, each field by itself, so that who reads pixels alone pays
nothing for it:

* `depth_mm`: uint16 millimetres, 0 in the sky (as ScanNet's depth);
* `normals_127`: int8, 127 times the unit normal.
"""

import pathlib
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
from array_record.python import array_record_module
from etils import epath
from tensorflow_datasets.proto import tf_example_pb2

from vdr.data import schema
from vdr.data.physics import clip
from vdr.runtime import workdir

NAME, VERSION = "physics", "1.0.0"

# Fields stored under another name: stored name, dtype, and how much one unit of
# the stored integer is worth.
ROUNDED = {
  "depth_m": ("depth_mm", np.dtype(np.uint16), 1e-3),
  "normals": ("normals_127", np.dtype(np.int8), 1 / 127),
}
COMPRESSED = ("depth_mm", "normals_127", "segmentation")
# A faster level than zlib's default loses little on such smooth maps.
ZLIB_LEVEL = 1

_LABELS = tuple(clip.CLASS_NAMES)
# What the loader, a folder's labels, a crop, a tokenizer or a text encoder add.
_NOT_STORED = (
  "clip_valid",
  "clip_index",
  "clip_id",
  "error",
  "label",
  "crop_affine",
  "latents",
  "latents_std",
  "text",
  "text_mask",
)
FIELDS = tuple(name for name in schema.FIELDS if name not in _NOT_STORED)


def encode(example: Mapping[str, np.ndarray]) -> bytes:
  """A clip as a serialised tf.Example; the same clip gives the same bytes."""
  proto = tf_example_pb2.Example()
  feature = proto.features.feature
  for name, value in example.items():
    if name in _LABELS:
      feature[name].int64_list.value.append(int(value))
    elif schema.FIELDS[name].is_text:
      feature[name].bytes_list.value.append(schema.untext(value).encode())
    else:
      name, value = _rounded(name, value)
      data = value.tobytes()
      if name in COMPRESSED:
        data = zlib.compress(data, ZLIB_LEVEL)
      feature[name].bytes_list.value.append(data)
  return proto.SerializeToString(deterministic=True)


def decode(
  record: bytes, fields: Iterable[str], shapes: Mapping[str, tuple[int, ...]]
) -> schema.Example:
  """The asked-for fields of a record.

  Args:
    record: what `encode` returned.
    fields: names of the schema; the others are not touched.
    shapes: the shape of each array field, by its name in the schema.
  """
  feature = tf_example_pb2.Example.FromString(record).features.feature
  example = {}
  for name in fields:
    field = schema.FIELDS[name]
    if name in _LABELS:
      example[name] = np.array(feature[name].int64_list.value[0], np.int32)
    elif field.is_text:
      value = feature[name].bytes_list.value[0].decode()
      size = schema.MAX_JSON_BYTES if name == "factors" else None
      example[name] = schema.text(value, *([size] if size else []))
    else:
      stored, dtype, unit = ROUNDED.get(name, (name, field.dtype, None))
      data = feature[stored].bytes_list.value[0]
      if stored in COMPRESSED:
        data = zlib.decompress(data)
      value = np.frombuffer(data, dtype).reshape(shapes[name])
      example[name] = value if unit is None else value * np.float32(unit)
  return example


def _rounded(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
  if name not in ROUNDED:
    return name, value
  stored, dtype, unit = ROUNDED[name]
  return stored, np.rint(value * np.float32(1 / unit)).astype(dtype)


MAX_SHARDS = 99_999  # of a split: their numbers have five digits


def shard_name(split: str, shard: int, num_shards: int) -> str:
  """TFDS's name of a shard's file."""
  return f"{NAME}-{split}.array_record-{shard:05d}-of-{num_shards:05d}"


def write_shard(path: pathlib.Path, records: Iterable[bytes]) -> None:
  """Writes a shard, whole or not at all."""
  with workdir.atomic_path(path) as temporary:
    # One record a chunk, for random access; fast compression for the pixels.
    writer = array_record_module.ArrayRecordWriter(
      str(temporary), "group_size:1,zstd:1"
    )
    for record in records:
      writer.write(record)
    writer.close()


def shapes(settings: clip.Settings) -> dict[str, tuple[int, ...]]:
  """The shape of every stored array field."""
  sizes = {
    "t": settings.num_frames,
    "h": settings.height,
    "w": settings.width,
    "o": 1 + settings.max_distractors,
    "n": settings.num_points,
  }
  return {
    name: tuple(
      int(axis) if axis.isdigit() else sizes[axis]
      for axis in schema.FIELDS[name].axes.split()
    )
    for name in FIELDS
    if name not in _LABELS and not schema.FIELDS[name].is_text
  }


def write_metadata(
  directory: pathlib.Path,
  settings: clip.Settings,
  shard_lengths: Mapping[str, list[int]],
) -> None:
  """Writes what TFDS needs to read the shards (features.json and so on)."""
  import tensorflow_datasets as tfds  # heavy, and only needed here

  template = tfds.core.ShardedFileTemplate(
    data_dir=epath.Path(directory),
    dataset_name=NAME,
    filetype_suffix="array_record",
    template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
  )
  tfds.folder_dataset.write_metadata(
    data_dir=epath.Path(directory),
    features=_features(settings),
    version=VERSION,
    filename_template=template,
    split_infos=[
      tfds.core.SplitInfo(
        name=split,
        shard_lengths=lengths,
        num_bytes=sum(
          (directory / shard_name(split, i, len(lengths))).stat().st_size
          for i in range(len(lengths))
        ),
        filename_template=template.replace(split=split),
      )
      for split, lengths in shard_lengths.items()
    ],
    check_data=False,  # it would import TensorFlow
    description="Rigid bodies under simulated physics, with exact truth.",
  )


def _features(settings: clip.Settings) -> dict:
  """TFDS's description of what `encode` writes."""
  import tensorflow_datasets as tfds

  features = {}
  all_shapes = shapes(settings)
  for name in FIELDS:
    field = schema.FIELDS[name]
    if name in _LABELS:
      features[name] = tfds.features.ClassLabel(names=clip.CLASS_NAMES[name])
    elif field.is_text:
      features[name] = tfds.features.Text(doc=field.doc)
    else:
      stored, dtype, _ = ROUNDED.get(name, (name, np.dtype(field.dtype), None))
      features[stored] = tfds.features.Tensor(
        shape=all_shapes[name],
        dtype=dtype,
        encoding="zlib" if stored in COMPRESSED else "bytes",
        doc=field.doc,
      )
  return features
