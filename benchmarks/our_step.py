"""Our training step on given latents and noise, for what times it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from configs import base, video_dit
from vdr import train_step
from vdr.diffusion import objective as objectives
from vdr.models import dit, flops
from vdr.runtime import compilation, optimizer

Config = Any  # an `ml_collections.ConfigDict`
Rows = Mapping[str, Mapping[str, np.ndarray]]  # group → field → array
Grid = tuple[int, int, int]  # frames, rows and columns of latents


@dataclasses.dataclass(frozen=True)
class _GivenRows(train_step._Task):
  """The task of `vdr.train_step`, with latents and noise as its batch."""

  def draw(self, tokenizer_params, batch, key):
    del tokenizer_params, key
    # Which conditions are dropped; there are none.
    ones = {name: jnp.ones_like(x["noise_level"]) for name, x in batch.items()}
    return {name: {**rows, "drop": ones[name]} for name, rows in batch.items()}


@dataclasses.dataclass(frozen=True)
class Work:
  """What a step computes on.

  Attributes:
    size: of `vdr/models/sizes.py`.
    grid: of a clip's latents.
    clips: of a step.
    images: of a step; 0: none.
    channels: of a latent.
  """

  size: str
  grid: Grid
  clips: int
  images: int
  channels: int

  def config(self, dtype: str, scan: bool, remat: str = "none") -> Config:
    """That of a run; AdamW at a constant rate, as PyTorch's side has."""
    return base.override(
      video_dit.get_config("local"),
      {
        "model.size": self.size,
        "model.latent_channels": self.channels,
        "model.dtype": dtype,
        "model.scan": scan,
        "model.remat": remat,
        "optimizer.name": "adamw",
        "optimizer.learning_rate": 1e-3,
        "optimizer.schedule": "constant",
        "optimizer.warmup_steps": 0,
      },
    )

  def flops(self) -> float:
    """Of a step, what is computed twice counted once."""
    cfg, image = self.config("float32", True).model, (1, *self.grid[1:])
    work = self.clips * flops.training(cfg, self.grid)
    return float(work + self.images * flops.training(cfg, image))

  def rows(self) -> Rows:
    """Latents, noise, levels and weights of clips and images."""
    objective = objectives.Objective.from_config(base.diffusion())
    t, *side = self.grid
    rng, rows = np.random.default_rng(0), {}
    total = self.clips * t + self.images
    for name, count, frames in (
      ("clips", self.clips, t),
      ("images", self.images, 1),
    ):
      if not count:
        continue
      shape = (count, frames, *side, self.channels)
      level = (np.arange(count, dtype=np.float32) + 0.5) / count
      alpha, sigma = objective.schedule.coefficients(level)
      rows[name] = {
        "latents": rng.standard_normal(shape, np.float32),
        "eps": rng.standard_normal(shape, np.float32),
        "noise_level": level,
        "alpha": np.asarray(alpha),
        "sigma": np.asarray(sigma),
        "weight": np.full(count, frames / total, np.float32),
      }
    return rows


def scanned() -> bool:
  """Whether the blocks should be in a loop where this runs: on TPUs."""
  return jax.default_backend() == "tpu"


def params(cfg: Config) -> Any:
  """Parameters whose gates and outputs are not zero, as if trained."""
  leaves, tree = jax.tree.flatten(jax.device_get(dit.init(cfg, key())))
  rng = np.random.default_rng(1)
  noise = [rng.standard_normal(x.shape, np.float32) for x in leaves]
  moved = [x + 0.05 * n for x, n in zip(leaves, noise, strict=True)]
  return jax.tree.unflatten(tree, moved)


def key() -> jax.Array:
  """The one that nothing depends on."""
  return jax.random.key(0)


def make(
  config: Config, start: Any | None, rows: Rows
) -> tuple[Callable[[], jax.Array], Callable[[jax.Array], float]]:
  """A step as `vdr.train_step` compiles it, and what waits for its loss.

  Args:
    config: of `Work.config`.
    start: the parameters; None: those that training starts with.
    rows: of `Work.rows`.
  """
  shapes = jax.eval_shape(lambda key: dit.init(config.model, key), key())
  task = _GivenRows(
    config.model,
    config.tokenizer,
    config.optimizer,
    objectives.Objective.from_config(config.diffusion),
    optimizer.make_optimizer(config.optimizer, 1000, shapes),
  )
  update = jax.jit(
    task.update,
    donate_argnums=0,
    compiler_options=compilation.step_options(jax.default_backend()),
  )
  device_rows = jax.device_put({k: dict(v) for k, v in rows.items()})
  state = jax.jit(task.init)(key())
  if start is not None:
    own = jax.tree.map(jnp.array, start)
    averages = optimizer.init_ema(own, config.optimizer.ema_decays)
    state |= {"params": own, "ema": averages}

  def step() -> jax.Array:
    nonlocal state
    state, metrics = update(state, {}, device_rows, key())
    return metrics["loss"]

  return step, float
