"""Which share of the device's own matrix products a training step reaches.

  python -m benchmarks.peak [--sizes=walt_284m,walt_1p9b_blocks] [--json=PATH]

The peak is measured, not taken from a data sheet: square products in the type
of the step, as many as fill a turn, of the best of some sizes. The training
step (that of benchmarks/train_step.py, from given latents) takes turns with
them, and its FLOPs are those of the model (`vdr/models/flops.py`); what `remat`
computes twice counts once. `walt_1p9b_blocks` is the first four blocks of
walt_1p9b, which leave room on one device for the whole of a step.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import our_step, turns
from vdr.models import sizes

_SIZES = flags.DEFINE_list("sizes", "walt_284m,walt_1p9b_blocks", "To train.")
_BATCH = flags.DEFINE_integer(
  "batch", 0, "Clips, and images, of a step; 0: as many as suit the size."
)
_GRID = flags.DEFINE_list("grid", "5,16,16", "Latent frames, rows, columns.")
_CHANNELS = flags.DEFINE_integer("channels", 8, "Of a latent.")
_DTYPE = flags.DEFINE_string("dtype", "bfloat16", "Of the computation.")
_REMAT = flags.DEFINE_string("remat", "none", "config.model.remat.")
_SIDES = flags.DEFINE_list("sides", "4096,8192", "Of the square matrices.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns of each way.")
_SECONDS = flags.DEFINE_float("seconds", 1.0, "Time of a turn, about.")

BLOCKS = "walt_1p9b_blocks"
NUM_BLOCKS = 4
CHAIN = 8  # products of a call
BATCHES = {"walt_284m": 32, BLOCKS: 16}  # 50 and 17 GB
# Shares aimed at on GPUs.
TARGETS = {"walt_284m": 0.5, BLOCKS: 0.6}


def products(side: int, dtype: str) -> Callable[[], float]:
  """FLOP/s of square products, one after the other, in a turn."""
  keys = jax.random.split(jax.random.key(0))
  x, w = (jax.random.normal(k, (side, side), jnp.float32) for k in keys)
  x, w = x.astype(dtype), (w / side**0.5).astype(dtype)

  @jax.jit
  def chain(x, w):
    return jax.lax.fori_loop(0, CHAIN, lambda _, y: y @ w, x)

  def turn() -> float:
    seconds = turns.repeat(
      lambda: chain(x, w), jax.block_until_ready, _SECONDS.value
    )
    return 2.0 * side**3 * CHAIN / seconds

  return turn


def training(size: str) -> Callable[[], float]:
  """FLOP/s of the model in a training step, in a turn."""
  t, h, w = (int(n) for n in _GRID.value)
  batch = _BATCH.value or BATCHES.get(size, 16)
  work = our_step.Work(size, (t, h, w), batch, batch, _CHANNELS.value)
  config = work.config(_DTYPE.value, our_step.scanned(), _REMAT.value)
  step, wait = our_step.make(config, our_step.params(config.model), work.rows())
  return lambda: work.flops() / turns.repeat(step, wait, _SECONDS.value)


def measure(size: str) -> dict[str, list[float]]:
  """FLOP/s of the step and of all products, round by round."""
  ways = {size: training(size)}
  for side in map(int, _SIDES.value):
    ways[f"{side}²"] = products(side, _DTYPE.value)
  turns.take(ways, 1)  # compile, warm up
  return turns.take(ways, _ROUNDS.value)


def main(argv: list[str]) -> None:
  del argv
  large = sizes.SIZES["walt_1p9b"]
  sizes.SIZES[BLOCKS] = dataclasses.replace(large, depth=NUM_BLOCKS)
  found, rows, kept = [], [], {}
  for size in _SIZES.value:
    jax.clear_caches()
    flops = measure(size)
    own = flops.pop(size)
    best = [max(together) for together in zip(*flops.values(), strict=True)]
    target = TARGETS.get(size) if jax.default_backend() == "gpu" else None
    line = turns.Comparison.of(
      f"training step, {size}, {_DTYPE.value}: share of the peak of products",
      turns.ratios(own, best),
      unit="of 1",
      at_least=target,
    )
    found.append(line)
    tflops = (f"{turns.spread(x).middle / 1e12:.3g}" for x in (own, best))
    rows.append([size, *tflops, *line.cells()[1:]])
    kept[size] = {"step": own, "products": flops}
  head = ("size", "TFLOP/s", "of products", "share", "range", "target", "held")
  print(turns.table(head, rows))
  turns.write(found, {"flops_per_s": kept})


if __name__ == "__main__":
  app.run(main)
