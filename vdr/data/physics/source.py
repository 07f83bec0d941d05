"""The simulated data set as a source of clips."""

import functools
import json
import pathlib

import ml_collections
import numpy as np
from array_record.python import array_record_data_source

from vdr.data import clips, schema, transforms
from vdr.data import source as source_lib
from vdr.data.physics import clip, records, scenes
from vdr.runtime import errors, plain_configs, workdir

# Without a directory, clips are simulated as they are read, from this seed.
LIVE_SEED, LIVE_CLIPS = 0, 1 << 20


class PhysicsSource:
  """Clips of a data set that the `physics` verb made, or simulated live.

  Attributes:
    settings: what all clips have in common.
  """

  def __init__(self, cfg: ml_collections.ConfigDict):
    """Opens split `cfg.split` of the data set in `cfg.path`.

    An empty path simulates clips of `cfg.height` × `cfg.width` as they are
    read: slower, but nothing has to be on disk.

    Raises:
      UserError: no such data set or split, or it is not finished.
    """
    self._stored = tuple(
      name
      for name in schema.resolve_fields(cfg.fields)
      if name in records.FIELDS
    )
    clips.check(cfg)
    transforms.check(cfg)
    self._cfg, self._split = cfg, cfg.split
    self._path = pathlib.Path(cfg.path) if cfg.path else None
    if self._path is None:
      _check_split(cfg.split, scenes.SPLITS, "the simulated world")
      self.settings = clip.Settings(
        "default", cfg.num_frames, cfg.height, cfg.width, 12.0, 64, 3
      )
      self.settings.check()
      self._length = LIVE_CLIPS
    else:
      stored, lengths = _read_metadata(self._path)
      _check_split(cfg.split, tuple(lengths), str(self._path))
      self.settings = clip.Settings.from_config(stored.physics)
      self._shard_lengths = lengths[cfg.split]
      self._length = sum(self._shard_lengths)
    self._shapes = records.shapes(self.settings)

  def __len__(self) -> int:
    return self._length * self._views

  @property
  def _views(self) -> int:
    """Items made of one clip, beside each other: times, then crops."""
    return self._cfg.clips_per_video * transforms.num_crops(self._cfg)

  @property
  def class_names(self) -> dict[str, tuple[str, ...]]:
    return dict(clip.CLASS_NAMES)

  def clip_id(self, index: int) -> str:
    name, view = self.video_of(index), index % self._views
    return f"{name}#{view}" if self._views > 1 else name

  def video_of(self, index: int) -> str:
    return f"{records.NAME}/{self._split}/{index // self._views}"

  def group_of(self, index: int) -> str:
    return self.video_of(index)

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    """Item `index`; see `vdr.data.source.Source.read`.

    Raises:
      BadClipError: the file's record can't be read.
    """
    clip_index, view = divmod(index, self._views)
    time, crop = divmod(view, transforms.num_crops(self._cfg))
    example = self._choose_frames(self._load(clip_index), rng, time)
    height, width = example["video"].shape[1:3]
    affine = transforms.sample_affine(self._cfg, rng, height, width, crop)
    return transforms.apply(example, affine, self._cfg.height, self._cfg.width)

  def _load(self, index: int) -> schema.Example:
    if self._path is None:
      known = clip.simulate(self.settings, self._split, LIVE_SEED, index)
      return {name: known[name] for name in self._stored}
    try:
      record = self._reader[index]
      return records.decode(record, self._stored, self._shapes)
    except Exception as error:  # whatever a damaged file makes readers raise
      raise source_lib.BadClipError(
        f"{self.clip_id(index)} in {self._path}: {error}"
      ) from error

  def _choose_frames(
    self, example: schema.Example, rng: np.random.Generator, time: int
  ) -> schema.Example:
    times_s = np.arange(self.settings.num_frames) / self.settings.fps
    frames = clips.choose_frames(self._cfg, rng, times_s, time)
    if np.array_equal(frames, np.arange(self.settings.num_frames)):
      return example
    return {
      name: np.take(value, frames, axis=axes.index("t"))
      if "t" in (axes := schema.FIELDS[name].axes.split())
      else value
      for name, value in example.items()
    }

  @functools.cached_property
  def _reader(self) -> array_record_data_source.ArrayRecordDataSource:
    """Opened where it is first used: each worker process has its own."""
    assert self._path is not None
    num_shards = len(self._shard_lengths)
    # With its number of records, no shard is opened before it is needed: a
    # damaged one spoils no clips but its own.
    return array_record_data_source.ArrayRecordDataSource(
      [
        str(self._path / records.shard_name(self._split, i, num_shards))
        + f"[0:{length}]"
        for i, length in enumerate(self._shard_lengths)
      ]
    )

  def __getstate__(self) -> dict:
    return {k: v for k, v in self.__dict__.items() if k != "_reader"}


def _read_metadata(
  path: pathlib.Path,
) -> tuple[ml_collections.ConfigDict, dict[str, list[int]]]:
  """The config that made a data set, and the lengths of each split's shards."""
  try:
    info = json.loads((path / "dataset_info.json").read_text())
    config = json.loads((path / workdir.CONFIG_NAME).read_text())
  except OSError as error:
    raise errors.UserError(
      f"no finished simulated data set in {path} ({error.strerror}:"
      f" {error.filename}); make it with python -m vdr.main"
      f" --config=configs/physics.py --workdir={path}"
    ) from error
  lengths = {
    split["name"]: [int(length) for length in split["shardLengths"]]
    for split in info["splits"]
  }
  return plain_configs.from_json(config, path), lengths


def _check_split(split: str, splits: tuple[str, ...], place: str) -> None:
  if split not in splits:
    raise errors.UserError(
      f"{place} has no split {split!r}; it has {', '.join(splits)}"
    )
