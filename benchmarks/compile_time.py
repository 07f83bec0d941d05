"""How much longer the training step of walt_1p9b compiles than walt_284m's.

  python -m benchmarks.compile_time [--rounds=3] [--json=PATH]

Blocks are scanned, so that depth and width should hardly matter. Both steps are
compiled in turn, without a cache and for this machine's first device; nothing
is allocated and nothing runs.
"""

import functools
import time

import jax
import numpy as np
from absl import app, flags

from benchmarks import turns
from configs import base, video_dit
from vdr import train_step
from vdr.models import tokenizer
from vdr.runtime import mesh as mesh_lib

_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds; medians are printed.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Clips, and images, of a step.")

SIZES = ("walt_284m", "walt_1p9b")


def compile_step(size: str, batch_size: int) -> tuple[float, float]:
  """Seconds to trace and lower, and to compile, one training step."""
  cfg = base.override(
    video_dit.get_config(size),
    {
      "data.batch_size": batch_size,
      "images.batch_size": batch_size,
      "mesh.data": 1,
      "mesh.fsdp": 1,
    },
  )
  mesh = mesh_lib.make_mesh(cfg.mesh, jax.devices()[:1])
  step = train_step.make_step(cfg, mesh, cfg.tokenizer)
  params = jax.eval_shape(
    lambda key: tokenizer.init(cfg.tokenizer, key), jax.random.key(0)
  )
  batch = {
    name: {
      "video": jax.ShapeDtypeStruct(
        (batch_size, *train_step.video_shape(section), 3), np.uint8
      ),
      "clip_valid": jax.ShapeDtypeStruct((batch_size,), bool),
    }
    for name, section in train_step.groups(cfg).items()
  }
  jax.clear_caches()
  start = time.perf_counter()
  lowered = step.update.lower(step.state, params, batch, jax.random.key(0))
  lowering_s = time.perf_counter() - start
  lowered.compile()
  return lowering_s, time.perf_counter() - start - lowering_s


def main(argv: list[str]) -> None:
  del argv
  jax.config.update("jax_enable_compilation_cache", False)
  ways = {
    size: functools.partial(compile_step, size, _BATCH.value) for size in SIZES
  }
  times = turns.take(ways, _ROUNDS.value)
  rows = []
  for size, pairs in times.items():
    middles = (turns.spread(part).middle for part in zip(*pairs, strict=True))
    rows.append([size, *(f"{middle:.1f}" for middle in middles)])
  print(turns.table(("step", "trace and lower, s", "compile, s"), rows))
  small, large = (list(map(sum, times[size])) for size in SIZES)
  found = turns.Comparison.of(
    f"compiling the step of {SIZES[1]} over that of {SIZES[0]}",
    turns.ratios(large, small),
  )
  print(f"\nratio of the whole: {found.value:.2f}")
  turns.write([found], {"seconds": times})


if __name__ == "__main__":
  app.run(main)
