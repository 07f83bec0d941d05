"""Our training step against the same network in PyTorch, in turns.

  source launch/setup.sh metrics  # PyTorch
  python -m benchmarks.train_step [--size=tiny] [--batch=8] [--json=PATH]

The step is that of configs/video_dit.py:local from given latents on: noise,
forward and backward pass of clips and of images, AdamW with clipped gradients,
a moving average. Both sides get the same parameters, latents, noise and noise
levels. Before anything is timed their predictions have to be equal, and so have
the losses of the first steps, which gradients and updates went into; if not,
no ratio is printed.

Ours runs with its blocks in a loop (`model.scan`, the default) and unrolled;
PyTorch's eagerly and compiled, with fused AdamW and `scaled_dot_product_
attention`. All ways take turns (`benchmarks/turns.py`). On a GPU, float32
products are in TF32 on both sides.

Where other programs use the cores, too, processor time of one core is steadier:

  taskset -c 0 python -m benchmarks.train_step --clock=processor
"""

import functools
import os
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import our_step, torch_step, turns
from configs import base
from vdr.diffusion import objective as objectives
from vdr.models import dit
from vdr.runtime import processes

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
_SCAN = flags.DEFINE_bool("scan", True, "Also ours with blocks in a loop.")
_COMPILE = flags.DEFINE_bool("compile", True, "Also torch.compile.")

REFERENCE, COMPILED = "PyTorch, eager", "PyTorch, compiled"
OURS = ("ours, scanned", "ours, unrolled")
CHECKED_STEPS = 3
# Largest differences: of predictions, whose size is about 1, and of losses
# relative to them.
PREDICTION_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}
LOSS_TOLERANCE = {"float32": 1e-3, "tf32": 0.01, "bfloat16": 0.05}

EAGER_TARGET, COMPILED_TARGET = 1.0, 1.2  # on CPUs in float32, on GPUs

Config = Any  # an `ml_collections.ConfigDict`
Rows = our_step.Rows


class Way(NamedTuple):
  """One way to take the step: what takes one, and what waits for its loss."""

  step: Any
  wait: Any


def work_of_flags() -> our_step.Work:
  """What is computed."""
  t, h, w = (int(n) for n in _GRID.value)
  return our_step.Work(
    _SIZE.value, (t, h, w), _BATCH.value, _IMAGES.value, _CHANNELS.value
  )


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


def make_ways(
  work: our_step.Work, dtype: str
) -> tuple[dict[str, Way], dict[str, float]]:
  """All ways to take the step, checked, and how far apart they were."""
  config = work.config(dtype, scan=True)
  params, rows = our_step.params(config.model), work.rows()
  make = torch_step.Maker(config, params, rows)
  predictions = predict(config.model, params, rows)
  apart = {
    f"prediction_{name}": turns.check(
      f"predictions for {name} in {dtype}",
      predictions[name],
      values,
      PREDICTION_TOLERANCE[dtype],
    )
    for name, values in make.predict().items()
  }
  ways = {
    REFERENCE: Way(*make.step(compiled=False)),
    OURS[1]: Way(*our_step.make(work.config(dtype, False), params, rows)),
  }
  if _SCAN.value:
    ways[OURS[0]] = Way(*our_step.make(config, params, rows))
  if _COMPILE.value:
    ways[COMPILED] = Way(*make.step(compiled=True))
  losses = {
    name: np.array([way.wait(way.step()) for _ in range(CHECKED_STEPS)])
    for name, way in ways.items()
  }
  on_gpu = jax.default_backend() == "gpu"
  products = "tf32" if on_gpu and dtype == "float32" else dtype
  for name, found in losses.items():
    apart[f"losses_{name}"] = turns.check(
      f"losses of {name} and {REFERENCE} in {dtype}",
      found / losses[REFERENCE],
      1.0,
      LOSS_TOLERANCE[products],
    )
  return ways, apart


def measure(ways: dict[str, Way]) -> dict[str, list[float]]:
  """Seconds of a step of each way, round by round."""
  clock = time.perf_counter if _CLOCK.value == "wall" else time.process_time
  runs = {
    name: functools.partial(turns.repeat, *way, _SECONDS.value, clock)
    for name, way in ways.items()
  }
  turns.take(runs, 1)  # warm up
  return turns.take(runs, _ROUNDS.value)


def print_table(dtype: str, seconds: dict[str, list[float]], work: float):
  """Prints the table of a type."""
  rows = []
  for name, times in seconds.items():
    middle = turns.spread(times).middle
    faster = turns.spread(turns.ratios(seconds[REFERENCE], times))
    rows.append(
      [
        name,
        f"{1e3 * middle:.0f}",
        f"{work / middle / 1e9:.0f}",
        f"{faster.middle:.2f}",
        f"{faster.least:.2f} to {faster.most:.2f}",
      ]
    )
  head = (dtype, "ms a step", "GFLOP/s", "speed over eager", "range")
  print(f"\n{turns.table(head, rows)}", flush=True)


def compare(
  dtype: str, seconds: dict[str, list[float]]
) -> list[turns.Comparison]:
  """Our step as the configs have it on this kind of device."""
  on_cpu = jax.default_backend() == "cpu"
  ours = OURS[0] if our_step.scanned() and OURS[0] in seconds else OURS[1]
  found = []
  for name in (REFERENCE, COMPILED):
    if name not in seconds:
      continue
    target = None
    if on_cpu and (name, dtype) == (REFERENCE, "float32"):
      target = EAGER_TARGET
    if not on_cpu and name == COMPILED:
      target = COMPILED_TARGET
    found.append(
      turns.Comparison.of(
        f"training step, {_SIZE.value}, {dtype}: speed over {name}",
        turns.ratios(seconds[name], seconds[ours]),
        at_least=target,
      )
    )
  return found


def main(argv: list[str]) -> None:
  del argv
  work = work_of_flags()
  total = work.flops()
  told: dict[str, Any] = {
    "size": work.size,
    "parameters": dit.num_params(work.config("float32", True).model),
    "clips": work.clips,
    "images": work.images,
    "grid": work.grid,
    "device": jax.devices()[0].device_kind,
    "clock": _CLOCK.value,
    "cores": processes.usable_cores(),
    "jax": jax.__version__,
    "torch": torch_step.VERSION,
    "flops": total,
  }
  print(", ".join(f"{k} {v}" for k, v in told.items()), flush=True)
  comparisons = []
  for dtype in _DTYPES.value:
    ways, apart = make_ways(work, dtype)
    seconds = measure(ways)
    print_table(dtype, seconds, total)
    told[dtype] = {"differences": apart, "seconds": seconds}
    comparisons += compare(dtype, seconds)
  turns.write(comparisons, told)


if __name__ == "__main__":
  # PyTorch needs some of the GPU's memory, too.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  app.run(main)
