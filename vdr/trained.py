"""A trained diffusion model, from a checkpoint: all that it takes to use it."""

import pathlib
from typing import Any, NamedTuple

import jax

from vdr.models import dit, tokenizer
from vdr.runtime import checkpoints, errors, fingerprint, plain_configs

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any


class Trained(NamedTuple):
  """A model with its tokenizer.

  Attributes:
    config: the whole config that it was trained with; see
      `plain_configs.from_json` for one of another version of vdr.
    model: its `config.model`, latent channels and all.
    params: of the model.
    tokenizer: the tokenizer's config.
    tokenizer_params: its parameters.
    meta: what the checkpoint says about itself; `hash` is that of `params`.
  """

  config: Config
  model: Config
  params: PyTree
  tokenizer: Config
  tokenizer_params: PyTree
  meta: dict[str, Any]


def load(
  path: str | pathlib.Path, which: str = "ema", step: int | None = None
) -> Trained:
  """Reads a checkpoint of the verb `train`, and the tokenizer beside it.

  Args:
    path: a work directory, or one of its checkpoints.
    which: "ema", "params" or "ema/DECAY".
    step: which checkpoint, if `path` is not one itself; the last by default.

  Raises:
    UserError: there is none, it is damaged, or its tokenizer is missing.
  """
  if not str(path):
    raise errors.UserError(
      "no checkpoint is named; set --config.checkpoint to the work directory of"
      " a training run"
    )
  path = pathlib.Path(path).expanduser()
  meta = checkpoints.read_meta(path, step)
  step = meta["step"]  # a run that is going on may save another meanwhile
  config = plain_configs.from_json(meta["config"], path)
  model = plain_configs.from_json(meta["model"], section="model")
  abstract = jax.eval_shape(lambda key: dit.init(model, key), jax.random.key(0))
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), abstract
  )
  params, meta = checkpoints.restore_params(path, which, step, abstract)
  file = checkpoints.locate(path)[0].parent / tokenizer.FILE_NAME
  tokenizer_cfg, tokenizer_params = tokenizer.load(file)
  if fingerprint.of(tokenizer_params) != meta["tokenizer_hash"]:
    raise errors.UserError(
      f"{file} is not the tokenizer that {path} was trained with; put that one"
      " in its place"
    )
  return Trained(config, model, params, tokenizer_cfg, tokenizer_params, meta)
