"""The tokenizer that a config means: read from its file, or fitted once.

The image model and the video model of one config get the same tokenizer: where
none is named, one is fitted to the clips of `config.data`, also for a model
that is trained on images alone.
"""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from vdr.data import held_out, loader
from vdr.data import latents as latents_lib
from vdr.models import tokenizer
from vdr.runtime import errors, fingerprint, progress

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Params = dict[str, Any]

# Clips at a time; the same in every config, so that two models whose batches
# differ get the same tokenizer to the last bit.
FIT_BATCH = 16


def config_of(config: Config) -> Config:
  """The tokenizer's config; reads no clips.

  Raises:
    UserError: it has to be trained first, or its file can't be read.
  """
  path = _path(config)
  if path is not None:
    return tokenizer.load(path)[0]
  if config.tokenizer.kind != "patch":
    raise errors.UserError(
      f"tokenizer.path is empty and tokenizer.kind={config.tokenizer.kind!r}"
      " has to be trained; do that with --config=configs/tokenizer.py and give"
      " the path of its file, or set tokenizer.kind=patch"
    )
  tokenizer.check(config.tokenizer)
  return config.tokenizer


def make(config: Config, workdir: pathlib.Path) -> None:
  """Makes `tokenizer.FILE_NAME` in the work directory, unless it is there.

  Raises:
    UserError: no clips can be read, a file is damaged, or the work directory
      was started with another tokenizer than the named one is now.
  """
  file, path = workdir / tokenizer.FILE_NAME, _path(config)
  named = None if path is None else tokenizer.load(path)
  if not file.exists():
    cfg, params = named or (config.tokenizer, fit(config))
    tokenizer.save(file, cfg, params)
  elif named is not None:
    kept = tokenizer.load(file)[1]
    if fingerprint.of(kept) != fingerprint.of(named[1]):
      raise errors.UserError(
        f"{path} is another tokenizer now than {workdir} was"
        " started with; choose another --workdir, or delete that directory to"
        " start again"
      )


def read(config: Config, workdir: pathlib.Path) -> Params:
  """The parameters that `make` left; checked against stored latents.

  Raises:
    UserError: a source has latents of another tokenizer.
  """
  file = workdir / tokenizer.FILE_NAME
  params = tokenizer.load(file)[1]
  for source in _stored_latents(config):
    made_with = latents_lib.read_metadata(source.path)["tokenizer"]
    if made_with != fingerprint.of(params):
      raise errors.UserError(
        f"the latents in {source.path} were made with another tokenizer than"
        f" {file}; set tokenizer.path={source.path}/{tokenizer.FILE_NAME}"
      )
  return params


def fit(config: Config) -> Params:
  """A patch tokenizer from `tokenizer.fit_clips` of the clips."""
  cfg = config.tokenizer
  with (
    open_loader(config, num_epochs=1, batch_size=FIT_BATCH) as batches,
    progress.bar(cfg.fit_clips, unit="clip", label="fitting") as bar,
  ):

    def shown() -> Iterator[np.ndarray]:
      for video in clips(batches, cfg.fit_clips):
        yield video
        bar.advance(len(video))

    return tokenizer.fit_patch(cfg, shown())


def open_loader(
  config: Config,
  failures: str | os.PathLike | None = None,
  split: str = "",
  **overrides: Any,
) -> loader.Loader:
  """The loader of config.data for pixels alone, all of them on this host.

  Args:
    config: the whole config.
    failures: where clips that can't be read are listed.
    split: of every source, instead of its own.
    **overrides: other fields of config.data.
  """
  cfg = config.data.copy_and_resolve_references()
  if split:
    cfg = held_out.of_split(cfg, split)
  with cfg.unlocked():
    cfg.update(overrides)
    for source in cfg.sources.values():
      source.fields = ("video",)
  return loader.Loader(
    cfg,
    seed=config.seed,
    num_workers=config.runtime.num_workers,
    failures_path=failures,
  )


def clips(batches: loader.Loader, num_clips: int) -> Iterator[np.ndarray]:
  """Clips that could be read, in batches, until there are `num_clips`.

  Raises:
    UserError: not one clip could be read.
  """
  seen = 0
  for batch in batches:
    video = batch["video"][batch["clip_valid"]][: num_clips - seen]
    seen += len(video)
    if len(video):
      yield video
    if seen >= num_clips:
      break
  if not seen:
    raise errors.UserError("no clip of data.sources can be read; mend its path")


def _path(config: Config) -> pathlib.Path | None:
  """The file that a config names; that of its latents if it has some."""
  if config.tokenizer.path:
    return pathlib.Path(config.tokenizer.path)
  for source in _stored_latents(config):
    return pathlib.Path(source.path) / tokenizer.FILE_NAME
  return None


def _stored_latents(config: Config) -> list[Config]:
  """The sources of a training step that are latents."""
  return [
    group.sources[name]
    for group in (config.data, config.images)
    if group.batch_size > 0
    for name in sorted(group.sources)
    if group.sources[name].kind == "latents"
  ]
