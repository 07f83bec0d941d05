"""Features at two thirds of the depth, against the same network in PyTorch.

  source launch/setup.sh metrics  # PyTorch
  python -m benchmarks.extraction [--size=small] [--batch=8] [--json=PATH]

From given latents and noise: noised at one level, then up to layer 2/3 · L of
the network, in float32 and without gradients. Ours is one jitted call that
stops at the layer. PyTorch's (`benchmarks/torch_dit.py`) is read in both ways
that people write: with a forward hook on the block, where the whole network
runs on behind it, and by running the first blocks only. Features have to be
equal; if not, no ratio is printed. On a GPU they are compared in full float32,
and timed with products in TF32 on both sides.

Figures are frames of pixels per second; the tokenizer is part of neither side.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import our_step, torch_step, turns
from configs import base
from vdr.diffusion import objective as objectives
from vdr.models import dit, sizes, tokenizer

_SIZE = flags.DEFINE_string("size", "small", "Of vdr/models/sizes.py.")
_BATCH = flags.DEFINE_integer("batch", 8, "Clips of a call.")
_GRID = flags.DEFINE_list("grid", "5,8,8", "Latent frames, rows, columns.")
_CHANNELS = flags.DEFINE_integer("channels", 48, "Of a latent.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Turns of each way.")
_SECONDS = flags.DEFINE_float("seconds", 1.0, "Time of a turn, about.")

TOLERANCE = 1e-3  # of features, whose size is about 1 to 10


def our_way(
  config: Any, params: Any, group: Any, layer: int
) -> Callable[[], jax.Array]:
  """One jitted call that stops at the layer."""
  objective = objectives.Objective.from_config(base.diffusion())

  @jax.jit
  def read(params, latents, eps, level):
    noised = objective.add_noise(latents, eps, level)
    return dit.apply(config.model, params, noised, level, layers=(layer,))[1][
      layer
    ]

  args = jax.device_put(
    (
      params,
      *(jnp.asarray(group[k]) for k in ("latents", "eps", "noise_level")),
    )
  )
  return lambda: read(*args)


def main(argv: list[str]) -> None:
  del argv
  t, h, w = (int(n) for n in _GRID.value)
  work = our_step.Work(_SIZE.value, (t, h, w), _BATCH.value, 0, _CHANNELS.value)
  depth = sizes.size_of(work.size).depth
  layer = round(2 / 3 * depth)
  config = work.config("float32", our_step.scanned())
  params, rows = our_step.params(config.model), work.rows()
  theirs = torch_step.Maker(config, params, rows).readers(layer)
  ours = our_way(config, params, rows["clips"], layer)
  for name, read in theirs.items():
    with jax.default_matmul_precision("float32"), torch_step.exact():
      turns.check(
        f"features of ours and of {name}",
        np.asarray(ours()),
        read().cpu().numpy(),
        TOLERANCE,
      )
  ways: dict[str, Callable[[], float]] = {
    "ours": functools.partial(
      turns.repeat, ours, jax.block_until_ready, _SECONDS.value
    )
  }
  for name, read in theirs.items():
    ways[name] = functools.partial(
      turns.repeat, read, torch_step.wait, _SECONDS.value
    )
  turns.take(ways, 1)  # warm up
  seconds = turns.take(ways, _ROUNDS.value)
  report(seconds, work, f"layer {layer} of {depth}")


def report(
  seconds: dict[str, list[float]], work: our_step.Work, what: str
) -> None:
  """Prints the table and writes the figures."""
  frames = work.clips * (1 + tokenizer.TIME * (work.grid[0] - 1))
  rows, found = [], []
  for name, times in seconds.items():
    faster = turns.ratios(times, seconds["ours"])
    line = turns.Comparison.of(
      f"extraction, {work.size}, {what}: speed over {name}", faster
    )
    rate = frames / turns.spread(times).middle
    rows.append([name, turns.number(rate), *line.cells()[1:3]])
    if name != "ours":
      found.append(line)
  head = (f"{work.size}, {what}", "frames/s", "ours is faster by", "range")
  print(turns.table(head, rows))
  turns.write(found, {"seconds": seconds, "torch": torch_step.VERSION})


if __name__ == "__main__":
  # PyTorch needs some of the GPU's memory, too.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  app.run(main)
