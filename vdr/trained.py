"""A trained diffusion model, from a checkpoint: all that it takes to use it."""

import json
import os
import pathlib
from typing import Any, NamedTuple

import jax

from vdr.models import dit, tokenizer
from vdr.runtime import (
  checkpoints,
  errors,
  fingerprint,
  plain_configs,
  workdir,
)

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any

_GIVE = "name a work directory of the verb train, or one of its checkpoints"


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

  @property
  def made_of(self) -> dict[str, dict[str, Any]]:
    """The hashes of the model, for `vdr.runtime.made_of`."""
    checkpoint = {key: self.meta[key] for key in ("hash", "step", "which")}
    tokenizer_ = {"hash": self.meta["tokenizer_hash"]}
    return {"checkpoint": checkpoint, "tokenizer": tokenizer_}


def load(
  path: str | os.PathLike[str], which: str = "ema", step: int | None = None
) -> Trained:
  """Reads a checkpoint of the verb `train`, and the tokenizer beside it.

  Args:
    path: a work directory, or one of its checkpoints.
    which: "ema", "params" or "ema/DECAY".
    step: which checkpoint, if `path` is not one itself; the last by default.

  Raises:
    UserError: there is none, it is damaged, or its tokenizer is missing.
  """
  path = _find(path)
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


def _find(path: object) -> pathlib.Path:
  """The directory of a trained model, absolute.

  Raises:
    UserError: no model lies there; the message says what does.
  """
  text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
  if not isinstance(text, str):
    raise errors.UserError(
      f"a path of type {type(path).__name__} names no model; {_GIVE}, as str"
    )
  if not text:
    raise errors.UserError(
      "no checkpoint is named; set --config.checkpoint to the work directory of"
      " a training run"
    )
  if "://" in text:
    raise errors.UserError(
      f"{text} is not on a mounted file system; copy that run to one"
    )
  found = pathlib.Path(os.path.expanduser(text)).absolute()
  try:
    problem = workdir.name_problem(found) or _problem(found)
  except OSError as error:
    problem = f"can't be read ({error.strerror})"
  if problem:
    raise errors.UserError(f"{found} {problem}")
  return found


def _problem(path: pathlib.Path) -> str | None:
  """What lies there instead of a model, and what to give; None: a model may."""
  if not path.exists():
    return f"does not exist; {_GIVE}"
  if not path.is_dir():
    kind = "tokenizer" if path.name == tokenizer.FILE_NAME else "file"
    return f"is a {kind}, and has no checkpoints; {_GIVE}"
  folders = (path, path / checkpoints.FOLDER)
  inside = [x for y in folders if y.is_dir() for x in y.iterdir()]
  if any(map(_is_checkpoint, (path, *inside))):
    return None
  if _is_checkpoint(path.parent):
    return f"is a part of a checkpoint; name {path.parent}"
  try:
    config = json.loads((path / workdir.CONFIG_NAME).read_text())
    job, model = config["job"], ""
    if "checkpoint" in config:
      model = config["checkpoint"]
  except (OSError, ValueError, KeyError, TypeError):
    if not inside:
      return f"is empty; {_GIVE}"
    return f"has no checkpoints; {_GIVE}"
  if job == "train":
    return "has no whole checkpoint; train first"
  if job == "study":
    models = sorted(
      str(folder.parent) for folder in path.glob(f"*/*/{checkpoints.FOLDER}")
    )
    if not models:
      return f"is a study without a trained model; {_GIVE}"
    return f"is a study; name a model of it: {', '.join(models[:4])}"
  there = f"is a work directory of the verb {job}, which trains no model"
  return (
    f"{there}; name its checkpoint, {model}" if model else f"{there}; {_GIVE}"
  )


def _is_checkpoint(path: pathlib.Path) -> bool:
  """Whether it looks like one; a folder of class 7 is also called 7."""
  return path.name.isdigit() and (path / "meta").is_dir()
