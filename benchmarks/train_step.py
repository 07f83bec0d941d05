"""Our training step against the same network in PyTorch, in turns.

  pip install torch==2.13.0
  python -m benchmarks.train_step [--size=tiny] [--batch=8] [--json=PATH]

The step is that of configs/video_dit.py:local from given latents on: noise,
forward and backward pass of clips and of images, AdamW with clipped gradients,
a moving average. Both sides get the same parameters, latents, noise and noise
levels. Before anything is timed their predictions have to be equal, and so have
the losses of the first steps, which gradients and updates went into; if not,
no ratio is printed.

Ours runs with its blocks in a loop (`model.scan`, the default) and unrolled;
PyTorch's eagerly and compiled, with fused AdamW and `scaled_dot_product_
attention`. All ways take turns, in reversed order every second round, and the
first step of a turn, which wakes one library's threads, is not counted. Figures
are medians over the rounds; ratios are taken within a round. On a GPU, float32
products are in TF32 on both sides.

Where other programs use the cores, too, processor time of one core is steadier:

  taskset -c 0 python -m benchmarks.train_step --clock=processor
"""

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import torch_step
from configs import base, video_dit
from vdr import train_step
from vdr.diffusion import objective as objectives
from vdr.models import dit, flops
from vdr.runtime import optimizer, processes

_SIZE = flags.DEFINE_string("size", "tiny", "Of vdr/models/sizes.py.")
_BATCH = flags.DEFINE_integer("batch", 8, "Clips of a step.")
_IMAGES = flags.DEFINE_integer("images", 8, "Images of a step; 0: none.")
_GRID = flags.DEFINE_list("grid", "5,8,8", "Latent frames, rows, columns.")
_CHANNELS = flags.DEFINE_integer("channels", 24, "Of a latent.")
_DTYPES = flags.DEFINE_list("dtypes", "float32,bfloat16", "To compare in.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Turns of each way.")
_SECONDS = flags.DEFINE_float("seconds", 1.0, "Time of a turn, about.")
_CLOCK = flags.DEFINE_enum(
  "clock", "wall", ("wall", "processor"), "What is measured; see above."
)
_COMPILE = flags.DEFINE_bool("compile", True, "Also torch.compile.")
_JSON = flags.DEFINE_string("json", "", "Where to write the figures, too.")

REFERENCE = "PyTorch, eager"
CHECKED_STEPS = 3
# Largest differences: of predictions, whose size is about 1, and of losses
# relative to them.
PREDICTION_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}
LOSS_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05}

Config = Any  # an `ml_collections.ConfigDict`
Rows = Mapping[str, Mapping[str, np.ndarray]]  # group → field → array
Step = Callable[[], Any]  # runs a step; returns the loss, maybe unfinished


@dataclasses.dataclass(frozen=True)
class _GivenRows(train_step._Task):
  """The task of `vdr.train_step`, with latents and noise as its batch."""

  def draw(self, tokenizer_params, batch, key):
    del tokenizer_params, key
    return batch


@dataclasses.dataclass
class Way:
  """One way to take the step.

  Attributes:
    step: takes one.
    wait: until a step is done; returns its loss.
    seconds: of a step, in each round.
  """

  step: Step
  wait: Callable[[Any], float]
  seconds: list[float] = dataclasses.field(default_factory=list)


def make_config(dtype: str, scan: bool) -> Config:
  """The config of a run; a constant learning rate, as PyTorch's side has."""
  return base.override(
    video_dit.get_config("local"),
    {
      "model.size": _SIZE.value,
      "model.latent_channels": _CHANNELS.value,
      "model.dtype": dtype,
      "model.scan": scan,
      "optimizer.schedule": "constant",
      "optimizer.warmup_steps": 0,
    },
  )


def make_rows(objective: objectives.Objective) -> Rows:
  """Latents, noise, levels and weights of clips and images."""
  t, h, w = (int(n) for n in _GRID.value)
  rng, rows = np.random.default_rng(0), {}
  total = _BATCH.value * t + _IMAGES.value
  for name, count, frames in (
    ("clips", _BATCH.value, t),
    ("images", _IMAGES.value, 1),
  ):
    if not count:
      continue
    shape = (count, frames, h, w, _CHANNELS.value)
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


def make_params(cfg: Config) -> Any:
  """Parameters whose gates and outputs are not zero, as if trained."""
  leaves, tree = jax.tree.flatten(jax.device_get(dit.init(cfg, _key())))
  rng = np.random.default_rng(1)
  noise = [rng.standard_normal(x.shape, np.float32) for x in leaves]
  moved = [x + 0.05 * n for x, n in zip(leaves, noise, strict=True)]
  return jax.tree.unflatten(tree, moved)


def _key() -> jax.Array:
  return jax.random.key(0)


def our_way(config: Config, params: Any, rows: Rows) -> Way:
  """Our update, as `vdr.train_step` compiles it."""
  task = _GivenRows(
    config.model,
    config.tokenizer,
    config.optimizer,
    objectives.Objective.from_config(config.diffusion),
    optimizer.make_optimizer(config.optimizer, 1000, params),
  )
  update = jax.jit(task.update, donate_argnums=0)
  device_rows = jax.device_put({k: dict(v) for k, v in rows.items()})
  own = jax.tree.map(jnp.array, params)
  state = task.init(_key()) | {
    "params": own,
    "ema": optimizer.init_ema(own, config.optimizer.ema_decays),
  }

  def step() -> jax.Array:
    nonlocal state
    state, metrics = update(state, {}, device_rows, _key())
    return metrics["loss"]

  return Way(step, float)


def predict(cfg: Config, params: Any, rows: Rows) -> dict[str, np.ndarray]:
  """Our prediction of every group."""
  objective = objectives.Objective.from_config(base.diffusion())
  with jax.default_matmul_precision("float32"):
    found = {}
    for name, group in rows.items():
      latents, eps, level = (
        jnp.asarray(group[field]) for field in ("latents", "eps", "noise_level")
      )
      noised = objective.add_noise(latents, eps, level)
      apply = jax.jit(lambda p, x, s: dit.apply(cfg, p, x, s)[0])
      found[name] = np.asarray(apply(params, noised, level))
  return found


def check(what: str, ours: Any, theirs: Any, tolerance: float) -> float:
  """The largest difference.

  Raises:
    SystemExit: it is too large for a comparison of speed.
  """
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  difference = float(np.abs(ours - theirs).max())
  if not difference <= tolerance:
    raise SystemExit(
      f"{what} differ by {difference:.2g}, more than {tolerance:g}: the two"
      " sides do not compute the same, and their times can't be compared"
    )
  return difference


def make_ways(dtype: str) -> tuple[dict[str, Way], dict[str, float]]:
  """All ways to take the step, checked, and how far apart they were."""
  config = make_config(dtype, scan=True)
  objective = objectives.Objective.from_config(config.diffusion)
  params, rows = make_params(config.model), make_rows(objective)
  make = torch_step.Maker(config, params, rows)
  predictions = predict(config.model, params, rows)
  apart = {
    f"prediction_{name}": check(
      f"predictions for {name} in {dtype}",
      predictions[name],
      values,
      PREDICTION_TOLERANCE[dtype],
    )
    for name, values in make.predict().items()
  }
  ways = {
    REFERENCE: Way(*make.step(compiled=False)),
    "ours, scanned": our_way(config, params, rows),
    "ours, unrolled": our_way(make_config(dtype, False), params, rows),
  }
  if _COMPILE.value:
    ways["PyTorch, compiled"] = Way(*make.step(compiled=True))
  losses = {
    name: np.array([way.wait(way.step()) for _ in range(CHECKED_STEPS)])
    for name, way in ways.items()
  }
  for name, found in losses.items():
    apart[f"losses_{name}"] = check(
      f"losses of {name} and {REFERENCE} in {dtype}",
      found / losses[REFERENCE],
      1.0,
      LOSS_TOLERANCE[dtype],
    )
  return ways, apart


def turn(way: Way) -> float:
  """Seconds of a step of one turn."""
  clock = time.perf_counter if _CLOCK.value == "wall" else time.process_time
  start = clock()
  way.wait(way.step())
  count = max(1, round(_SECONDS.value / (clock() - start)))
  start = clock()
  for _ in range(count - 1):
    way.step()
  way.wait(way.step())
  return (clock() - start) / count


def measure(ways: dict[str, Way]) -> None:
  """Lets all ways take turns."""
  for way in ways.values():
    turn(way)  # warm up
  for number in range(_ROUNDS.value):
    order = list(ways.values())
    for way in order[:: -1 if number % 2 else 1]:
      way.seconds.append(turn(way))


def report(dtype: str, ways: dict[str, Way], work: float) -> dict[str, Any]:
  """Prints the table of a type; returns its figures."""
  print(
    f"\n| {dtype} | ms a step | GFLOP/s | speed over eager | range |"
    "\n|---|---|---|---|---|"
  )
  figures = {}
  reference = np.array(ways[REFERENCE].seconds)
  for name, way in ways.items():
    ratios = reference / np.array(way.seconds)
    middle = statistics.median(way.seconds)
    figures[name] = {
      "step_s": middle,
      "gflops_per_s": work / middle / 1e9,
      "speed_over_eager": float(np.median(ratios)),
      "least": float(ratios.min()),
      "most": float(ratios.max()),
    }
    print(
      f"| {name} | {1e3 * middle:.0f} | {work / middle / 1e9:.0f}"
      f" | {np.median(ratios):.2f} | {ratios.min():.2f} to"
      f" {ratios.max():.2f} |",
      flush=True,
    )
  return figures


def main(argv: list[str]) -> None:
  del argv
  t, h, w = (int(n) for n in _GRID.value)
  cfg = make_config("float32", scan=True).model
  work = float(_BATCH.value * flops.training(cfg, (t, h, w)))
  if _IMAGES.value:
    work += float(_IMAGES.value * flops.training(cfg, (1, h, w)))
  device = jax.devices()[0].device_kind
  told = {
    "size": _SIZE.value,
    "parameters": dit.num_params(cfg),
    "clips": _BATCH.value,
    "images": _IMAGES.value,
    "grid": (t, h, w),
    "device": device,
    "clock": _CLOCK.value,
    "cores": processes.usable_cores(),
    "jax": jax.__version__,
    "torch": torch_step.VERSION,
    "flops": work,
  }
  print(", ".join(f"{k} {v}" for k, v in told.items()), flush=True)
  for dtype in _DTYPES.value:
    ways, apart = make_ways(dtype)
    measure(ways)
    told[dtype] = {"differences": apart} | report(dtype, ways, work)
  if _JSON.value:
    with open(_JSON.value, "w") as file:
      json.dump(told, file, indent=2)


if __name__ == "__main__":
  # PyTorch needs some of the GPU's memory, too.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  app.run(main)
