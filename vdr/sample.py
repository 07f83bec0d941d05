"""The `sample` verb: clips or images from a trained diffusion model.

A work directory gets `sheet.png`, for clips `samples.gif`, a file for each
sample under `samples/`, and `result.json`. Sample i is the same whatever the
number of samples and of those drawn at a time (within rounding).
"""

import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vdr import draw, generation, media, trained
from vdr.data import text as text_lib
from vdr.models import dit, tokenizer
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

SECTIONS = ("sample", "sampler", "checkpoint")  # they decide the result
KINDS = {"clips": "data", "images": "images"}
WIDE_PX = 128  # of a sample, where the enlargement is left to us


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Draws the samples.

  Raises:
    UserError: the config can't be carried out.
  """
  cfg = config.sample
  model = trained.load(config.checkpoint, cfg.which)
  shape = _video_shape(cfg, model)
  tokenizer.latent_shape(model.tokenizer, *shape)  # refuses what does not fit
  labels = _labels(cfg, model.model.num_classes)
  text = _text(cfg, model.model.text_dim)
  path = pathlib.Path(workdir).expanduser()
  hosts.first_does(lambda: made_of.claim(path, config, SECTIONS, model.made_of))
  samples = _draw(config, model, shape, labels, text)
  hosts.first_does(lambda: _write(config, path, model, samples, labels))


def _video_shape(cfg: Config, model: trained.Trained) -> tuple[int, int, int]:
  """Frames, height and width: those asked for, or those of training."""
  section = model.config[KINDS[cfg.kind]]
  source = section.sources[sorted(section.sources)[0]]
  frames = 1 if cfg.kind == "images" else cfg.num_frames or source.num_frames
  return frames, cfg.height or source.height, cfg.width or source.width


def _labels(cfg: Config, num_classes: int) -> np.ndarray | None:
  """The class of each sample; None for a model without classes."""
  if not num_classes:
    if cfg.label >= 0:
      raise errors.UserError(
        f"sample.label={cfg.label}, but the model was trained without classes;"
        " set it to -1"
      )
    return None
  if cfg.label >= num_classes:
    raise errors.UserError(
      f"sample.label={cfg.label}: the model knows classes 0 to"
      f" {num_classes - 1}"
    )
  if cfg.label >= 0:
    return np.full(cfg.num, cfg.label, np.int32)
  return np.arange(cfg.num, dtype=np.int32) % num_classes


def _names(model: trained.Trained, labels: np.ndarray | None) -> list[str]:
  """The class of each sample by name, as far as the checkpoint knows names."""
  names = model.meta.get("class_names", [])
  return [names[i] for i in labels] if names and labels is not None else []


def _text(cfg: Config, text_dim: int) -> tuple[np.ndarray, np.ndarray] | None:
  """Embedded texts and their mask; None for none."""
  if not cfg.text:
    return None
  text, mask = text_lib.load(cfg.text)
  if text.shape[-1] != text_dim:
    raise errors.UserError(
      f"sample.text={cfg.text} has {text.shape[-1]} channels; the model was"
      f" trained with {text_dim}"
    )
  return text, mask


def _draw(
  config: Config,
  model: trained.Trained,
  shape: tuple[int, int, int],
  labels: np.ndarray | None,
  text: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
  cfg = config.sample
  generator = generation.Generator(
    model.model, model.config.diffusion, config.sampler, model.tokenizer
  )
  params = dit.rounded(model.model, model.params)
  root = jax.random.key(config.seed)
  batches = []
  with progress.bar(cfg.num, unit="sample", quiet=not hosts.is_first()) as bar:
    for start in range(0, cfg.num, cfg.batch_size):
      # The last batch is filled up: one shape, one compilation.
      index = np.arange(start, start + cfg.batch_size)
      chosen = None if labels is None else jnp.asarray(labels[index % cfg.num])
      texts = None
      if text is not None:
        row = index % len(text[0])
        texts = jnp.asarray(text[0][row]), jnp.asarray(text[1][row])
      keys = jax.vmap(jax.random.fold_in, (None, 0))(root, index)
      batch = generator(
        params, model.tokenizer_params, keys, shape, chosen, texts
      )
      batches.append(np.asarray(batch))
      bar.advance(min(cfg.batch_size, cfg.num - start))
  return np.concatenate(batches)[: cfg.num]


def _write(
  config: Config,
  path: pathlib.Path,
  model: trained.Trained,
  samples: np.ndarray,
  labels: np.ndarray | None,
) -> None:
  cfg = config.sample
  scale = cfg.scale or max(1, WIDE_PX // samples.shape[3])
  large = draw.enlarge(samples, scale)
  media.write_png(path / "sheet.png", draw.clip_sheet(large))
  if samples.shape[1] > 1:
    media.write_gif(path / "samples.gif", draw.clip_grid(large), cfg.fps)
  _write_each(cfg, path / "samples", samples, large)
  result = {
    "checkpoint": {
      key: model.meta[key] for key in ("step", "which", "hash", "versions")
    },
    "labels": None if labels is None else labels.tolist(),
    "classes": _names(model, labels),
    "shape": samples.shape,
    "config": plain_configs.to_json(config),
    "versions": versions.collect(
      jax.devices()[0].device_kind, jax.device_count(), jax.process_count()
    ),
  }
  text = json.dumps(result, indent=2) + "\n"
  workdirs.write_text(path / "result.json", text)
  print(f"{path}: {len(samples)} {cfg.kind} of {samples.shape[1:4]} pixels")


def _write_each(
  cfg: Config, folder: pathlib.Path, samples: np.ndarray, large: np.ndarray
) -> None:
  """A file for each sample: pictures for people, or pixels for programs."""
  if cfg.files == "none":
    return
  folder.mkdir(exist_ok=True)
  for i, (clip, shown) in enumerate(zip(samples, large, strict=True)):
    file = folder / f"{i:05}"
    if cfg.files == "npy":
      with workdirs.atomic_path(file.with_suffix(".npy")) as temporary:
        np.save(temporary, clip)
    elif len(clip) == 1:
      media.write_png(file.with_suffix(".png"), shown[0])
    else:
      media.write_mp4(file.with_suffix(".mp4"), shown, cfg.fps)
