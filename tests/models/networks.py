"""Small configs of the diffusion transformer, and parameters that all act."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import base
from vdr.models import dit, functional

CHANNELS = 3
WIDTH = 64


Config = ml_collections.FrozenConfigDict


def config(**fields) -> Config:
  """Two blocks on 3-channel latents, with windows smaller than a clip."""
  cfg = base.model()
  cfg.update(
    dict(
      size="micro",
      latent_channels=CHANNELS,
      window_spatial=(4, 2),
      window_spatiotemporal=(3, 2, 2),
      positions_grid=(3, 4, 4),
      scan=False,  # so few blocks compile faster one by one
      attention="plain",
    )
  )
  cfg.update(fields)
  return Config(cfg)  # can be hashed


@functools.cache
def fresh(cfg: Config, gate_scale: float = 0.0):
  """New parameters."""
  make = functools.partial(dit.init, cfg, gate_scale=gate_scale)
  return jax.jit(make)(jax.random.key(0))


def alive(cfg: Config, seed: int = 0):
  """Parameters none of which is at a special value, such as a zero gate."""
  _, shapes = functional.skeleton(lambda rngs: dit.VideoDiT(cfg, rngs))
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    values = rng.normal(size=leaf.shape)
    if name.endswith("kernel"):
      values *= 0.7 * leaf.size**-0.25
    elif name.endswith("_scale"):
      values = 1 + 0.2 * values
    else:
      values = 0.3 + 0.2 * values
    return jnp.asarray(values, jnp.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def latents(b=2, t=3, h=4, w=4, channels=CHANNELS, seed=1):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=(b, t, h, w, channels)), jnp.float32)


def levels(b=2):
  return jnp.linspace(0.1, 0.9, b)


def run(cfg, params, z, *, layers=(), layout=None, **call):
  """`dit.apply`, jitted, on fixed noise levels."""
  forward = _forward(cfg, tuple(layers), layout)
  return forward(params, z, levels(z.shape[0]), call)


def predict(cfg, params, z, **call):
  """The prediction alone."""
  return run(cfg, params, z, **call)[0]


@functools.cache
def _forward(cfg: Config, layers, layout):
  def forward(params, z, level, call):
    fixed = dict(layers=layers, layout=layout)
    return dit.apply(cfg, params, z, level, **call, **fixed)

  return jax.jit(forward)
