"""A training run that takes seconds, for the tests of training's modules."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from configs import base, video_dit
from vdr import train_step
from vdr.models import tokenizer
from vdr.runtime import mesh as mesh_lib


def config(**fields):
  """The debug config of the video model; `__` in names stands for the dot."""
  return base.override(
    video_dit.get_config("debug"),
    {"model.scan": False, "log.samples_every_steps": 0}
    | {name.replace("__", "."): value for name, value in fields.items()},
  )


def batch(cfg, seed=0):
  """Random pixels in the shapes of a config's groups."""
  rng = np.random.default_rng(seed)
  groups = {}
  for name, loader_cfg in train_step.groups(cfg).items():
    shape = (loader_cfg.batch_size, *train_step.video_shape(loader_cfg), 3)
    groups[name] = {
      "video": rng.integers(0, 256, shape, dtype=np.uint8),
      "clip_valid": np.ones(shape[0], bool),
    }
  return groups


def built(cfg, devices=1):
  """The step of a config, and parameters of a tokenizer."""
  mesh = mesh_lib.make_mesh(cfg.mesh, jax.devices()[:devices])
  params = tokenizer.init(cfg.tokenizer, jax.random.key(1))
  return train_step.make_step(cfg, mesh, cfg.tokenizer), params


def losses(cfg, num_steps, devices=1):
  """The loss of each of some steps on random pixels."""
  step, tokenizer_params = built(cfg, devices)
  state = step.init(jax.random.key(0))
  found = []
  for i in range(num_steps):
    state, metrics = step.update(
      state, tokenizer_params, batch(cfg, i), jax.random.key(i)
    )
    found.append(float(metrics["loss"]))
  return found


def perturbed(params):
  """Parameters whose gates and outputs are not zero any more."""
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(7), len(leaves))
  return jax.tree.unflatten(
    tree,
    [
      leaf + 0.05 * jax.random.normal(key, leaf.shape, jnp.float32)
      for key, leaf in zip(keys, leaves, strict=True)
    ],
  )


def metrics(workdir: pathlib.Path) -> list[dict]:
  """The lines of a run's metrics.jsonl."""
  text = (workdir / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]
