"""A frozen network with random weights, and fits of probes on it."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from configs import base
from vdr.models import dit, sizes
from vdr.probes import blocks, engine, head, losses, make
from vdr.probes.plan import Plan

FRAME_TIMES, NUM_FRAMES = (0, 4, 8, 12, 16), 17
GRID = (5, 8, 8)
BATCH, NOISE_LEVEL = 8, 0.3


class Separate:
  """The frozen network, its clips, and fits on it."""

  def __init__(
    self,
    size: str,
    num_layers: int = 8,
    num_steps: int = 2,
    **plan: Any,
  ):
    """Draws network and clips.

    Args:
      size: of the network.
      num_layers: that are read, spread over its depth; 1: at two thirds.
      num_steps: of a fit.
      **plan: fields of the plan: `learning_rates` and so on.
    """
    cfg = base.model()
    cfg.size = size
    depth = sizes.size_of(cfg.size).depth
    places = np.linspace(1, depth, min(num_layers, depth))
    if num_layers == 1:
      places = np.array([2 / 3 * depth])
    self.layers = tuple(int(k) for k in places.round())
    self.cfg = cfg
    self.params = dit.init(cfg, jax.random.key(0), gate_scale=0.5)
    rng = np.random.default_rng(0)
    shape = (num_steps, BATCH, *GRID, cfg.latent_channels)
    self.latents = jnp.asarray(rng.normal(size=shape), jnp.float32)
    self.labels = jnp.asarray(rng.integers(8, size=shape[:2]), jnp.int32)

    @functools.partial(jax.jit, static_argnums=2)
    def forward(params: Any, z: jax.Array, layers: tuple[int, ...]) -> tuple:
      level = jnp.full((BATCH,), NOISE_LEVEL)
      _, features = dit.apply(cfg, params, z, level, layers=layers)
      return tuple(head.tokens(features[k]) for k in layers)

    self.forward = functools.partial(forward, self.params)
    self.head = make.attentive(base.probe(), 8, FRAME_TIMES, NUM_FRAMES)
    self.plan = Plan(
      num_steps=num_steps,
      batch_size=BATCH,
      steps_per_call=1,
      step_bytes=int(base.probe().step_mb * 1e6),
      **plan,
    )

  def fit(
    self, plan: Plan, layers: tuple[int, ...], cells: slice
  ) -> engine.Fitted:
    """One fit, streamed: the forward pass of every batch, then its step."""

    def stream() -> Iterator[blocks.Block]:
      for z, label in zip(self.latents, self.labels, strict=True):
        features = self.forward(z, layers)[cells]
        yield blocks.Block(features, {"label": label})

    loss = losses.CrossEntropy("label")
    fitted = engine.fit(
      self.head, loss, blocks.Stream(stream), plan, quiet=True
    )
    return fitted

  def together(self) -> engine.Fitted:
    """All probes in one fit."""
    return self.fit(self.plan, self.layers, slice(None))

  def apart(self, own_depth: bool) -> None:
    """Each probe in a fit of its own.

    Args:
      own_depth: the network is run to the probe's layer only.
    """
    for cell, (rate, decay), seed in self.members():
      plan = dataclasses.replace(
        self.plan,
        learning_rates=(rate,),
        weight_decays=(decay,),
        seeds=(seed,),
      )
      if own_depth:
        self.fit(plan, self.layers[cell : cell + 1], slice(None))
      else:
        self.fit(plan, self.layers, slice(cell, cell + 1))

  def shape(self, layer: int) -> tuple[int, ...]:
    """Of the features of a clip."""
    z = self.latents[0]
    found = jax.eval_shape(lambda z: self.forward(z, (layer,)), z)
    return found[0].shape[1:]

  def members(self) -> list[tuple[int, tuple[float, float], int]]:
    """Cell, learning rate and weight decay, and seed of every probe."""
    return [
      (cell, hyper, seed)
      for cell in range(len(self.layers))
      for hyper in self.plan.hypers
      for seed in self.plan.seeds
    ]
