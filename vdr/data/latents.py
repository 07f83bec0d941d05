"""Latents that the `latents` verb made, as a source of clips and of images.

A data set is ArrayRecord files of tf.Example records, `latents.json` beside
them, and the tokenizer. Item i of a split is item i of the source that it was
made from, so training sees the same clips in the same order as on pixels. The
videos and groups of a split's items are in a file of their own: asking for them
reads no latents.
"""

import functools
import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np
from array_record.python import array_record_data_source
from tensorflow_datasets.proto import tf_example_pb2

from vdr.data import clips, folders, schema
from vdr.data import source as source_lib
from vdr.runtime import errors, plain_configs, workdir

METADATA_NAME = "latents.json"
# Arrays of a record, float32: of the clip, and of each frame by itself.
CLIP, FRAMES = "latents", "frame_latents"
ALWAYS = ("video", "latents", "latents_std")  # fields, asked for or not
LABELS = ("label", "shape", "action", "camera_motion")


def shard_name(split: str, shard: int, num_shards: int) -> str:
  """The name of a shard's file."""
  return f"latents-{split}.array_record-{shard:05d}-of-{num_shards:05d}"


def items_name(split: str) -> str:
  """The name of the file that says which video and group each item is of."""
  return f"items-{split}.npz"


def encode(example: Mapping[str, Any]) -> bytes:
  """A record; the same example gives the same bytes.

  Args:
    example: arrays under `CLIP`, `FRAMES` and the same with `_std`, labels,
      `frame_times_s`, `clip_id`; and `error` alone where a clip is unreadable.
  """
  proto = tf_example_pb2.Example()
  feature = proto.features.feature
  for name, value in example.items():
    if name in LABELS:
      feature[name].int64_list.value.append(int(value))
    else:
      array = np.asarray(value)
      data = bytes(array) if array.dtype.kind == "S" else array.tobytes()
      feature[name].bytes_list.value.append(data)
  return proto.SerializeToString(deterministic=True)


def read_metadata(path: str | pathlib.Path) -> dict[str, Any]:
  """What `latents.json` of a directory says.

  Raises:
    UserError: there is no finished data set of latents.
  """
  file = pathlib.Path(path) / METADATA_NAME
  try:
    return json.loads(file.read_text())
  except (OSError, ValueError) as error:
    raise errors.UserError(
      f"no finished latents in {path} ({error}); make them with python -m"
      f" vdr.main --config=configs/latents.py --workdir={path}"
    ) from error


class Latents:
  """Stored latents of one split.

  Clips have `cfg.num_frames` pixel frames, those that were encoded; with
  `cfg.num_frames` 1 an item is one frame of a clip, encoded by itself and
  chosen by `cfg.sampling` as it would be from pixels.
  """

  def __init__(self, cfg: ml_collections.ConfigDict):
    """Opens split `cfg.split` of the data set in `cfg.path`.

    Raises:
      UserError: no such data set or split, or other clips than asked for.
    """
    schema.resolve_fields(cfg.fields)  # refuses what no source has
    self._path, self._cfg = pathlib.Path(cfg.path), cfg
    meta = read_metadata(self._path)
    if cfg.split not in meta["shard_lengths"]:
      raise errors.UserError(
        f"{self._path} has no split {cfg.split!r}; it has"
        f" {', '.join(meta['shard_lengths'])}"
      )
    clips.check(cfg)
    self._lengths: list[int] = meta["shard_lengths"][cfg.split]
    self._class_names = {k: tuple(v) for k, v in meta["class_names"].items()}
    self._is_frame = cfg.num_frames == 1 and meta["num_frames"] > 1
    stored = FRAMES if self._is_frame else CLIP
    self._shape = tuple(meta["shapes"].get(stored, ()))
    self._wanted = [n for n in cfg.fields if n not in ALWAYS]
    self._check(cfg, meta)

  def _check(self, cfg: ml_collections.ConfigDict, meta: dict) -> None:
    problem = None
    for name in ("num_frames", "height", "width"):
      if cfg[name] != meta[name] and not (
        name == "num_frames" and self._is_frame
      ):
        problem = f"clips of {name} {meta[name]}, and {cfg[name]} was asked for"
    for name in self._wanted:
      if name not in meta["labels"]:
        known = ", ".join(meta["labels"]) or "no labels"
        problem = f"no field {name!r}, but {known}"
    if not self._shape:
      problem = "no single frames; make them with latents.frames=True"
    if cfg.crop == "random" or cfg.flip:
      problem = (
        "one crop of each clip; set crop=center and flip=False, or train on"
        " pixels"
      )
    if problem:
      raise errors.UserError(f"the latents in {cfg.path} have {problem}")

  def __len__(self) -> int:
    return sum(self._lengths)

  @property
  def class_names(self) -> dict[str, tuple[str, ...]]:
    return self._class_names

  def clip_id(self, index: int) -> str:
    return f"{self._path}/{self._cfg.split}/{index}"

  def video_of(self, index: int) -> str:
    """That of the item that was encoded; see `vdr.data.source.Source`."""
    return self._item("videos", index)

  def group_of(self, index: int) -> str:
    """That of the item that was encoded; see `vdr.data.source.Source`."""
    return self._item("groups", index)

  def contents(self, most: int | None = None) -> source_lib.Contents:
    """The numbers of items, and what the source that was encoded holds.

    That source is left out where it can't be opened any more.
    """
    count = len(self) if most is None else min(most, len(self))
    place = f"{self._path.resolve()}/{self._cfg.split}"
    own = source_lib.Contents({place: (range(count),)}, {})
    try:
      tree = json.loads((self._path / workdir.CONFIG_NAME).read_text())
      (encoded,) = plain_configs.from_json(tree).data.sources.values()
      encoded = encoded.copy_and_resolve_references().unlock()
      if encoded.split != folders.ALL:
        encoded.split = self._cfg.split
      found = source_lib.open_source(encoded).contents(count)
    except (OSError, ValueError, errors.UserError):
      return own
    return own._replace(names={**found.names, **own.names})

  def _item(self, what: str, index: int) -> str:
    known = self._items.get(what)
    return self.clip_id(index) if known is None else str(known[index])

  @functools.cached_property
  def _items(self) -> dict[str, np.ndarray]:
    """Videos and groups by item; empty for latents made before they were kept.

    Raises:
      UserError: the file is damaged, or is not that of these latents.
    """
    path = self._path / items_name(self._cfg.split)
    if not path.exists():
      return {}
    try:
      with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        found = {name: file[name] for name in ("videos", "groups")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
      raise errors.UserError(
        f"{path} can't be read ({error}); encode the latents again, or remove"
        " the file to treat every item as a video of its own"
      ) from error
    if any(len(names) != len(self) for names in found.values()):
      raise errors.UserError(
        f"{path} names {len(found['groups'])} items, and the split has"
        f" {len(self)}; encode the latents again"
      )
    return found

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    """Item `index`; see `vdr.data.source.Source.read`.

    Raises:
      BadClipError: the record can't be read, or its clip could not.
    """
    try:
      record = tf_example_pb2.Example.FromString(self._reader[index])
      feature = record.features.feature
      if "error" in feature:
        reason = feature["error"].bytes_list.value[0].decode(errors="replace")
        raise source_lib.BadClipError(reason)
      return self._decode(feature, rng)
    except source_lib.BadClipError:
      raise
    except Exception as error:  # whatever a damaged file makes readers raise
      raise source_lib.BadClipError(
        f"{self.clip_id(index)}: {error}"
      ) from error

  def _decode(self, feature: Any, rng: np.random.Generator) -> schema.Example:
    def array(name: str) -> np.ndarray:
      return np.frombuffer(feature[name].bytes_list.value[0], np.float32)

    stored, frame = CLIP, slice(None)
    if self._is_frame:
      chosen = clips.choose_frames(self._cfg, rng, array("frame_times_s"))
      stored, frame = FRAMES, slice(chosen[0], chosen[0] + 1)
    example = {CLIP: array(stored).reshape(self._shape)[frame]}
    if "latents_std" in self._cfg.fields:
      std = array(f"{stored}_std").reshape(self._shape)
      example["latents_std"] = std[frame]
    for name in self._wanted:
      example[name] = np.array(feature[name].int64_list.value[0], np.int32)
    return example

  @functools.cached_property
  def _reader(self) -> array_record_data_source.ArrayRecordDataSource:
    """Opened where it is first used: each worker process has its own."""
    split, num_shards = self._cfg.split, len(self._lengths)
    return array_record_data_source.ArrayRecordDataSource(
      [
        str(self._path / shard_name(split, i, num_shards)) + f"[0:{length}]"
        for i, length in enumerate(self._lengths)
      ]
    )

  def __getstate__(self) -> dict:
    return {k: v for k, v in self.__dict__.items() if k != "_reader"}
