"""The `extract` verb: features of every clip of `config.data`, as files.

A work directory gets `clips/NUMBER.npz`, one for each clip, and `index.json`,
which says what the arrays in them are and what they come from. A file has an
array for each layer and noise level; `frames`, the first and the last pixel
frame that each feature frame covers, and `times_s`, when these are shown;
`clip_id`; and the labels that the source was asked for. Files that are there
are whole and are kept, as long as the checkpoint is the same. Clips that can't
be read are skipped and listed in `skipped.jsonl`. Several hosts share the
clips.
"""

import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vdr import features, trained
from vdr.data import loader, prefetch, schema
from vdr.features import videos
from vdr.runtime import (
  errors,
  hosts,
  made_of,
  plain_configs,
  progress,
  versions,
)
from vdr.runtime import workdir as workdirs

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

SECTIONS = ("extract", "checkpoint", "data")  # of the config: they decide
FOLDER, INDEX_NAME, SKIPPED_NAME = "clips", "index.json", "skipped.jsonl"
AXES = ("t", "h", "w", "d")
LABELS = ("label", "shape", "action", "camera_motion")


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Writes the files that are not there yet.

  Raises:
    UserError: the config can't be carried out.
  """
  spec = _spec(config)
  model = trained.load(config.checkpoint, config.extract.which)
  backbone = features.build(config.extract.backbone, model, config.seed)
  if not spec.layers:
    spec = dataclasses.replace(spec, layers=(backbone.two_thirds,))
  spec = backbone.resolve(spec)
  data = _clips_of(config, videos.training_source(model.config))
  path = pathlib.Path(workdir).expanduser()
  hosts.first_does(lambda: _prepare(config, path, model, backbone))
  with loader.Loader(
    data,
    seed=config.seed,
    num_workers=config.runtime.num_workers,
    failures_path=_of_this_host(path / SKIPPED_NAME),
  ) as batches:
    ids = _clip_ids(batches, config.extract.max_clips)
    _write_missing(config, path / FOLDER, batches, len(ids), backbone, spec)
  hosts.first_does(lambda: None)  # every host has written its files
  hosts.first_does(lambda: _write_index(config, path, ids, backbone, spec))


def _spec(config: Config) -> features.FeatureSpec:
  cfg = config.extract
  names = {field.name for field in dataclasses.fields(features.FeatureSpec)}
  given = {name: cfg[name] for name in names & set(cfg)}
  try:
    return features.FeatureSpec(seed=config.seed, **given)
  except errors.UserError as error:
    raise errors.UserError(f"extract.{error}") from error


def _clips_of(config: Config, source_of_training: Config) -> Config:
  """config.data, each clip once, and of the size of training if it has none."""
  data = config.data.copy_and_resolve_references()
  with data.unlocked():
    data.update(shuffle=False, num_epochs=1)
    for name, source in data.sources.items():
      if source.kind == "latents":
        raise errors.UserError(
          f"data.sources.{name}.kind=latents: features are made of pixels; name"
          " the source that was encoded"
        )
      source.fields = (*source.fields, "frame_times_s")
      for field in ("num_frames", "height", "width"):
        source[field] = source[field] or source_of_training[field]
  return data


def _prepare(
  config: Config,
  path: pathlib.Path,
  model: trained.Trained,
  backbone: features.Backbone,
) -> None:
  parts = model.made_of
  if backbone.about["hash"] != parts["checkpoint"]["hash"]:
    del parts["checkpoint"]  # a control, which more training does not change
    parts["backbone"] = {"hash": backbone.about["hash"]}
  made_of.claim(path, config, SECTIONS, parts)
  (path / FOLDER).mkdir(exist_ok=True)
  workdirs.remove_leftovers(path / FOLDER)


def _of_this_host(path: pathlib.Path) -> pathlib.Path:
  """A file for this host alone: appends of several hosts may tear lines."""
  if jax.process_count() == 1:
    return path
  return path.with_stem(f"{path.stem}-{jax.process_index()}")


def _clip_ids(batches: loader.Loader, max_clips: int) -> list[str]:
  """The sources' names of all clips, in the order of the batches."""
  ids = (
    source.clip_id(index)
    for source in batches.sources.values()
    for index in range(len(source))
  )
  return list(itertools.islice(ids, max_clips or None))


def _file(folder: pathlib.Path, number: int) -> pathlib.Path:
  return folder / f"{number:07}.npz"


def array_names(
  spec: features.FeatureSpec, backbone: features.Backbone
) -> dict[tuple[int, float], str]:
  """The name in a file of each layer and noise level."""
  levels = spec.levels(backbone.schedule).noise_levels
  return {
    (layer, level): f"layer{layer}_noise{level:.6g}"
    for layer in spec.layers
    for level in levels
  }


def _write_missing(
  config: Config,
  folder: pathlib.Path,
  batches: loader.Loader,
  num_clips: int,
  backbone: features.Backbone,
  spec: features.FeatureSpec,
) -> None:
  """Writes this host's share of the files."""
  size = config.data.batch_size
  clips_of = [
    range(start, min(start + size, num_clips))
    for start in range(0, num_clips, size)
  ]
  # Neighbours stay together, so that every host reads in one go.
  first, last = (
    len(clips_of) * (jax.process_index() + i) // jax.process_count()
    for i in (0, 1)
  )
  mine = range(first, last)
  missing = [
    i for i in mine if not all(_file(folder, k).exists() for k in clips_of[i])
  ]
  with progress.bar(
    sum(len(clips_of[i]) for i in mine),
    unit="clip",
    done=sum(len(clips_of[i]) for i in mine if i not in set(missing)),
    quiet=not hosts.is_first(),
  ) as bar:
    for i, batch in _read(batches, missing):
      _write(config, folder, clips_of[i], batch, backbone, spec)
      bar.advance(len(clips_of[i]))


def _read(
  batches: loader.Loader, wanted: list[int]
) -> Iterator[tuple[int, prefetch.DeviceBatch]]:
  """The batches of these numbers, each run of them in one go."""
  runs: list[list[int]] = []
  for i in wanted:
    if runs and runs[-1][-1] == i - 1:
      runs[-1].append(i)
    else:
      runs.append([i])
  for run_ in runs:
    batches.restore({"position": run_[0]})
    ahead = itertools.islice(batches, len(run_))
    with prefetch.prefetch_to_device(ahead) as ready:
      yield from zip(run_, ready, strict=True)


def _write(
  config: Config,
  folder: pathlib.Path,
  numbers: range,
  batch: prefetch.DeviceBatch,
  backbone: features.Backbone,
  spec: features.FeatureSpec,
) -> None:
  """Writes the clips of one batch; rows behind the last clip are padding."""
  video = batch.arrays["video"]
  index = np.arange(numbers.start, numbers.start + len(video), dtype=np.int32)
  found = backbone.features(video, spec, index)
  dtype = np.dtype(config.extract.dtype)
  names = array_names(spec, backbone)
  rows = {names[k]: np.asarray(x).astype(dtype) for k, x in found.items()}
  rows |= {k: np.asarray(batch.arrays[k]) for k in LABELS if k in batch.arrays}
  spans = backbone.frame_times(video.shape[1], spec=spec)
  if "frame_times_s" in batch.arrays:
    rows["times_s"] = np.asarray(batch.arrays["frame_times_s"])[:, spans]
  valid = np.asarray(batch.arrays["clip_valid"])
  for row, number in enumerate(numbers):
    if valid[row]:
      clip: dict[str, Any] = {name: x[row] for name, x in rows.items()}
      clip["frames"] = spans
      clip["clip_id"] = np.array(schema.untext(batch.texts["clip_id"][row]))
      with workdirs.atomic_path(_file(folder, number)) as temporary:
        with temporary.open("wb") as file:
          np.savez(file, **clip)


def _write_index(
  config: Config,
  path: pathlib.Path,
  ids: list[str],
  backbone: features.Backbone,
  spec: features.FeatureSpec,
) -> None:
  """Says what there is; the last thing to be written."""
  files = [_file(path / FOLDER, number) for number in range(len(ids))]
  there = [file.exists() for file in files]
  levels = spec.levels(backbone.schedule)
  log_snrs = dict(zip(*levels, strict=True))
  index = {
    "arrays": {
      name: {"layer": layer, "noise_level": s, "log_snr": log_snrs[s]}
      for (layer, s), name in array_names(spec, backbone).items()
    },
    "axes": AXES,
    "spec": dataclasses.asdict(spec),
    "backbone": backbone.about,
    "clips": [
      {"file": f"{FOLDER}/{file.name}", "clip_id": clip_id}
      for file, clip_id, is_there in zip(files, ids, there, strict=True)
      if is_there
    ],
    "skipped": [
      clip_id
      for clip_id, is_there in zip(ids, there, strict=True)
      if not is_there
    ],
    "config": plain_configs.to_json(config),
    "versions": versions.collect(
      jax.devices()[0].device_kind, jax.device_count(), jax.process_count()
    ),
  }
  workdirs.write_text(path / INDEX_NAME, json.dumps(index, indent=2) + "\n")
  size = sum(file.stat().st_size for file in files if file.exists())
  skipped = f", {there.count(False)} skipped" if not all(there) else ""
  print(f"{path}: {sum(there)} clips, {size / 1e6:.1f} MB{skipped}")
