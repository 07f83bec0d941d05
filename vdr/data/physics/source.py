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
    """Opens split `cfg.split` of the data set in `cfg.path`; "all": every one.

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
    self._cfg = cfg
    self._path = pathlib.Path(cfg.path) if cfg.path else None
    if self._path is None:
      splits = _choose(cfg.split, scenes.SPLITS, "the simulated world")
      self.settings = clip.Settings(
        "default", cfg.num_frames, cfg.height, cfg.width, 12.0, 64, 3
      )
      self.settings.check()
      self._lengths = {split: [LIVE_CLIPS] for split in splits}
    else:
      stored, lengths = _read_metadata(self._path)
      splits = _choose(cfg.split, tuple(lengths), str(self._path))
      self.settings = clip.Settings.from_config(stored.physics)
      self._lengths = {split: lengths[split] for split in splits}
    self._shapes = records.shapes(self.settings)

  def __len__(self) -> int:
    return sum(map(sum, self._lengths.values())) * self._views

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
    split, number = self._locate(index // self._views)
    return f"{records.NAME}/{split}/{number}"

  def group_of(self, index: int) -> str:
    return self.video_of(index)

  def contents(self, most: int | None = None) -> source_lib.Contents:
    """Clips by their numbers in each split."""
    place = str(self._path.resolve()) if self._path else "simulated"
    left = sum(map(sum, self._lengths.values()))
    if most is not None:
      left = min(left, -(-most // self._views))
    names = {}
    for split, lengths in self._lengths.items():
      names[f"{place}/{split}"] = (range(min(left, sum(lengths))),)
      left = max(0, left - sum(lengths))
    return source_lib.Contents(names, {})

  def _locate(self, index: int) -> tuple[str, int]:
    """The split of a clip, and its number there."""
    for split, lengths in self._lengths.items():
      if index < sum(lengths):
        return split, index
      index -= sum(lengths)
    raise IndexError(index)

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
      split, number = self._locate(index)
      known = clip.simulate(self.settings, split, LIVE_SEED, number)
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
    # With its number of records, no shard is opened before it is needed: a
    # damaged one spoils no clips but its own.
    return array_record_data_source.ArrayRecordDataSource(
      [
        str(self._path / records.shard_name(split, i, len(lengths)))
        + f"[0:{length}]"
        for split, lengths in self._lengths.items()
        for i, length in enumerate(lengths)
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


def _choose(split: str, splits: tuple[str, ...], place: str) -> tuple[str, ...]:
  """The splits that a name stands for."""
  if split == "all":
    return splits
  if split not in splits:
    raise errors.UserError(
      f"{place} has no split {split!r}; it has {', '.join(splits)}"
    )
  return (split,)
