"""The programs of a config, lowered for devices that need not be there.

They are those that the verbs run: the training step on the whole mesh, feature
extraction and sampling on one chip, since there every host reads clips of its
own and every call runs on one device.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vdr import features, generation, tokenizers, train_step, trained
from vdr.models import attention, dit, flops, sizes, tokenizer
from vdr.runtime import errors
from vdr.runtime import mesh as mesh_lib

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any

STEPS = ("train", "extract", "sample")


@dataclasses.dataclass(frozen=True)
class Program:
  """A program that can be compiled.

  Attributes:
    name: one of `STEPS`.
    lower: traces it and gives what `compile()` takes it from.
    chips: that share it.
    clips: clips and images that one call has, over all chips.
    tokens: latent tokens of one call.
    params: the model's parameters, with shardings.
    optimizer: the optimiser's state and the averages, likewise; empty if there
      are none.
    flops: of the model in one call, over all chips; nothing twice.
    extra_flops: computed again for the backward pass.
  """

  name: str
  lower: Callable[[], Any]
  chips: int
  clips: int
  tokens: int
  params: PyTree
  optimizer: PyTree
  flops: float
  extra_flops: float


def make(name: str, config: Config, devices: Sequence[Any]) -> Program:
  """A program of a config for TPUs.

  Args:
    name: one of `STEPS`.
    config: of a training run.
    devices: as of `vdr.runtime.chips.devices`.

  Raises:
    UserError: the parts of the config do not go together.
  """
  if name not in STEPS:
    raise errors.UserError(
      f"compile.steps={name!r} is unknown; choose from {', '.join(STEPS)}"
    )
  tokenizer_cfg = tokenizers.config_of(config)
  if name == "train":
    return _training(config, devices, tokenizer_cfg)
  one = mesh_lib.make_mesh(_one_chip(config.mesh), devices[:1])
  make_one = _extraction if name == "extract" else _sampling
  return make_one(config, one, tokenizer_cfg)


def _one_chip(cfg: Config) -> Config:
  cfg = cfg.copy_and_resolve_references().unlock()
  cfg.update(dict.fromkeys(mesh_lib.AXES, 1))
  return cfg


def _on_tpu(lower: Callable[[], Any]) -> Callable[[], Any]:
  """Lowers as on a TPU: what depends on the backend is chosen for it."""

  def lowered():
    with attention.chosen_for("tpu"):
      return lower()

  return lowered


def _training(
  config: Config, devices: Sequence[Any], tokenizer_cfg: Config
) -> Program:
  mesh = mesh_lib.make_mesh(config.mesh, devices)
  step = train_step.make_step(config, mesh, tokenizer_cfg)
  model_cfg = train_step.resolve_model(config, tokenizer_cfg)
  groups = train_step.groups(config)
  batch = {
    name: _batch(config, cfg, tokenizer_cfg) for name, cfg in groups.items()
  }
  shapes = {
    name: tokenizer.latent_shape(tokenizer_cfg, *train_step.video_shape(cfg))
    for name, cfg in groups.items()
  }
  with attention.chosen_for("tpu"):
    again = sum(
      cfg.batch_size
      * flops.training(model_cfg, shapes[name][:3], recomputed=True)
      for name, cfg in groups.items()
    )
  return Program(
    name="train",
    lower=_on_tpu(
      lambda: step.update.lower(
        step.state, _tokenizer_params(tokenizer_cfg), batch, _key()
      )
    ),
    chips=len(devices),
    clips=sum(cfg.batch_size for cfg in groups.values()),
    tokens=step.tokens,
    params=step.state["params"],
    optimizer={k: step.state[k] for k in ("ema", "optimizer")},
    flops=step.flops,
    extra_flops=again - step.flops,
  )


def _batch(config: Config, cfg: Config, tokenizer_cfg: Config) -> PyTree:
  """Shapes of a group's fields, as the loader gives them."""
  num = cfg.batch_size
  fields = {"clip_valid": _shape((num,), bool)}
  if any(source.kind == "latents" for source in cfg.sources.values()):
    shape = tokenizer.latent_shape(tokenizer_cfg, *train_step.video_shape(cfg))
    fields["latents"] = _shape((num, *shape), np.float32)
  else:
    shape = (num, *train_step.video_shape(cfg), 3)
    fields["video"] = _shape(shape, np.uint8)
  if config.model.num_classes:
    fields["label"] = _shape((num,), np.int32)
  if config.model.text_dim:
    length = config.compile.text_tokens
    fields["text"] = _shape((num, length, config.model.text_dim), np.float32)
    fields["text_mask"] = _shape((num, length), bool)
  return fields


def _extraction(config: Config, mesh: Mesh, tokenizer_cfg: Config) -> Program:
  cfg, num = config.extract, config.compile.clips
  model_cfg = train_step.resolve_model(config, tokenizer_cfg)
  tokenizer_params = _tokenizer_params(tokenizer_cfg)
  backbone = features.build(
    "checkpoint",
    trained.Trained(
      config,
      model_cfg,
      _params(model_cfg, mesh),
      tokenizer_cfg,
      tokenizer_params,
      {"hash": "", "step": 0, "which": cfg.which},
    ),
  )
  spec = features.FeatureSpec(
    layers=cfg.layers or (backbone.two_thirds,),
    noise_levels=() if cfg.log_snrs else cfg.noise_levels,
    log_snrs=cfg.log_snrs,
    draws=cfg.draws,
    latent=cfg.latent,
    frames=cfg.frames,
    still_frames=cfg.still_frames,
  )
  spec = backbone.resolve(spec)
  video = _shape((num, *_clip_shape(config), 3), np.uint8)

  def extract(params, video, index):
    return backbone.apply(params, video, index, spec)

  passes = spec.draws * len(spec.levels(backbone.schedule).noise_levels)
  shape = tokenizer.latent_shape(tokenizer_cfg, *_clip_shape(config))[:3]
  layout = None
  if spec.frames != "clip":
    frames = _clip_shape(config)[0] if spec.frames == "every" else shape[0]
    shape, layout = (frames, *shape[1:]), "isolated"
  return Program(
    name="extract",
    lower=_on_tpu(
      lambda: _on_mesh(extract, mesh).lower(
        backbone.params, video, _shape((num,), np.int32)
      )
    ),
    chips=1,
    clips=num,
    tokens=num * passes * _tokens(shape, model_cfg.patch),
    params=backbone.params["model"],
    optimizer={},
    flops=float(
      num
      * passes
      * flops.forward(model_cfg, shape, layer=max(spec.layers), layout=layout)
    ),
    extra_flops=0.0,
  )


def _sampling(config: Config, mesh: Mesh, tokenizer_cfg: Config) -> Program:
  num = config.sample.batch_size
  model_cfg = train_step.resolve_model(config, tokenizer_cfg)
  params = dit.rounded(model_cfg, _params(model_cfg, mesh))
  generator = generation.Generator(
    model_cfg, config.diffusion, config.sampler, tokenizer_cfg
  )
  video_shape = _clip_shape(config)
  labels = _shape((num,), np.int32) if model_cfg.num_classes else None

  def draw(params, tokenizer_params, keys, labels):
    return generator(params, tokenizer_params, keys, video_shape, labels)

  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), num))
  shape = tokenizer.latent_shape(tokenizer_cfg, *video_shape)[:3]
  guided = config.sampler.guidance != 1 and bool(
    model_cfg.num_classes or model_cfg.text_dim
  )
  calls = config.sampler.num_steps * (2 if guided else 1)
  one = flops.forward(
    model_cfg, shape, self_condition=model_cfg.self_conditioning
  )
  return Program(
    name="sample",
    lower=_on_tpu(
      lambda: _on_mesh(draw, mesh).lower(
        params, _tokenizer_params(tokenizer_cfg), keys, labels
      )
    ),
    chips=1,
    clips=num,
    tokens=num * calls * _tokens(shape, model_cfg.patch),
    params=params,
    optimizer={},
    flops=float(num * calls * one),
    extra_flops=0.0,
  )


def _on_mesh(function: Callable, mesh: Mesh) -> Any:
  same = mesh_lib.replicated(mesh)
  return jax.jit(function, in_shardings=same, out_shardings=same)


def _clip_shape(config: Config) -> tuple[int, int, int]:
  """Frames, height and width of what the model was trained on."""
  found = train_step.groups(config)
  cfg = found["clips"] if "clips" in found else found["images"]
  return train_step.video_shape(cfg)


def _tokens(shape: tuple[int, ...], patch: int) -> int:
  t, h, w = shape
  return t * (h // patch) * (w // patch)


def _params(model_cfg: Config, mesh: Mesh) -> PyTree:
  sizes.size_of(model_cfg.size)
  return mesh_lib.with_shardings(
    mesh,
    jax.eval_shape(lambda key: dit.init(model_cfg, key), jax.random.key(0)),
  )


def _tokenizer_params(tokenizer_cfg: Config) -> PyTree:
  return jax.eval_shape(
    lambda key: tokenizer.init(tokenizer_cfg, key), jax.random.key(0)
  )


def _key() -> Any:
  return jax.eval_shape(lambda: jax.random.key(0))


def _shape(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
