"""How a set of probes is fitted: members, steps, and what may be in memory."""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Float

from vdr.runtime import errors

STORES = ("float16", "float32")


@dataclasses.dataclass(frozen=True)
class Plan:
  """Numbers of a fit; `make.plan` reads them from config.probe.

  Members are cells × hypers × seeds. A cell is a layer at a noise level, or
  whatever else has features of its own; a hyper is a learning rate with a
  weight decay; a seed draws the initial parameters, the order of the clips and
  what is drawn in a step.

  Attributes:
    num_steps: optimiser steps.
    batch_size: clips of a step.
    learning_rates: highest ones to choose from.
    weight_decays: to choose from; times the learning rate, of matrices only.
    seeds: numbers of the seeds.
    root_seed: config.seed.
    warmup_steps: linear, from 1 / warmup_steps of the learning rate.
    final_share: of the learning rate after the last step, by a cosine.
    betas: decays of Adam's moments.
    epsilon: added to the root of the second moment.
    clip_norm: largest norm of a member's gradient; 0: do not clip.
    steps_per_call: steps of one compiled call.
    store: type of features in memory, one of `STORES`.
    store_bytes: of features in memory; more are streamed.
    step_bytes: of what a step computes; members in excess wait their turn.
    stream_batches: batches of a block, where features are streamed.
  """

  num_steps: int
  batch_size: int
  learning_rates: tuple[float, ...]
  weight_decays: tuple[float, ...] = (0.0,)
  seeds: tuple[int, ...] = (0,)
  root_seed: int = 0
  warmup_steps: int = 0
  final_share: float = 0.0
  betas: tuple[float, float] = (0.9, 0.999)
  epsilon: float = 1e-8
  clip_norm: float = 0.0
  steps_per_call: int = 50
  store: str = "float16"
  store_bytes: int = 2**33
  step_bytes: int = 2**30
  stream_batches: int = 8

  @property
  def hypers(self) -> tuple[tuple[float, float], ...]:
    """(learning rate, weight decay) of each hyper, in the members' order."""
    return tuple(itertools.product(self.learning_rates, self.weight_decays))

  def schedule(self) -> Float[np.ndarray, " n"]:
    """Each step's share of the learning rate: linear warm-up, then cosine."""
    step = np.arange(self.num_steps, dtype=np.float64)
    ramp = np.minimum((step + 1) / max(self.warmup_steps, 1), 1.0)
    rest = max(self.num_steps - self.warmup_steps, 1)
    done = np.clip((step - self.warmup_steps) / rest, 0.0, 1.0)
    cosine = 0.5 * (1 + np.cos(np.pi * done))
    falling = self.final_share + (1 - self.final_share) * cosine
    return (ramp * falling).astype(np.float32)

  def check(self) -> None:
    """Verifies the numbers.

    Raises:
      UserError: one of them means nothing.
    """
    least = dict(
      num_steps=1, batch_size=1, steps_per_call=1, stream_batches=1
    ) | dict(warmup_steps=0, clip_norm=0, final_share=0, store_bytes=0)
    for name, low in least.items():
      if getattr(self, name) < low:
        raise errors.UserError(
          f"config.probe.{name} is {getattr(self, name)}; set it to {low} or"
          " more"
        )
    for name in ("learning_rates", "weight_decays", "seeds"):
      values = getattr(self, name)
      if not values or min(values) < 0 or len(set(values)) < len(values):
        raise errors.UserError(
          f"config.probe.{name} {values}: give one or more different numbers,"
          " none negative"
        )
    if self.store not in STORES:
      raise errors.UserError(
        f"config.probe.store {self.store!r} is unknown; choose from"
        f" {', '.join(STORES)}"
      )
