"""Small trained models that nobody trained, for the tests of features."""

import functools
import pathlib

import jax
import numpy as np

from tests import training
from vdr import train_step, trained
from vdr.features import backbone, networks
from vdr.models import tokenizer
from vdr.runtime import checkpoints, fingerprint, plain_configs

SIDE = 32  # pixels of a clip, 4 tokens


@functools.cache
def trained_model(seed: int = 0, **fields) -> trained.Trained:
  """A model with random weights that all act; image: on single frames."""
  cfg = config(**fields)
  model = train_step.resolve_model(cfg, cfg.tokenizer)
  tokenizer_params = tokenizer.init(cfg.tokenizer, jax.random.key(3))
  tokenizer_params = tokenizer.with_statistics(
    tokenizer_params,
    np.linspace(-1, 1, 2 * cfg.tokenizer.channels).reshape(2, -1),
    np.linspace(0.5, 1, 2 * cfg.tokenizer.channels).reshape(2, -1),
  )
  params = backbone.random_params(networks.freeze(model), jax.random.key(seed))
  meta = {"hash": "0" * 16, "tokenizer_hash": "1" * 16, "step": 1}
  meta["which"] = "ema"
  return trained.Trained(
    cfg, model, params, cfg.tokenizer, tokenizer_params, meta
  )


def config(**fields):
  """The config of such a model; image=True: that of an image model."""
  if fields.pop("image", False):
    fields |= {"model__spatiotemporal_blocks": "spatial"}
  return training.config(model__attention="plain", **fields)


def save(path: pathlib.Path, model: trained.Trained) -> None:
  """A work directory as training leaves it."""
  state = {"params": model.params, "ema": {"0.9": model.params}}
  meta = {
    "config": plain_configs.to_json(model.config),
    "model": plain_configs.to_json(model.model),
    "tokenizer_hash": fingerprint.of(model.tokenizer_params),
    "versions": {},
  }
  path.mkdir(parents=True, exist_ok=True)
  tokenizer.save(
    path / tokenizer.FILE_NAME, model.tokenizer, model.tokenizer_params
  )
  with checkpoints.Checkpoints(
    path / checkpoints.FOLDER, model.config.saving, 1, meta
  ) as opened:
    opened.save(1, state, {}, force=True)


def clips(b: int = 2, t: int = 5, seed: int = 0) -> np.ndarray:
  """Random pixels."""
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (b, t, SIDE, SIDE, 3), dtype=np.uint8)
