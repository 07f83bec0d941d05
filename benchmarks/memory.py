"""Memory: of training beside the least there can be, and of long clips.

  python -m benchmarks.memory [--size=small] [--json=PATH]

**Training.** The largest resident memory of a fresh process that trains (clips
and images, AdamW, one moving average, float32, `model.remat=block`), less that
of the same process before the first parameter, over a minimum that holds

* parameters, their gradients, two moments and one average: 20 bytes a
  parameter;
* what a backward pass with `remat=block` can't do without: each block's input,
  4 bytes a token and channel, for clips and images;

and nothing else: no temporaries of a block, no batch, no program. Once for the
jitted step alone, once for the verb `train` with its checkpoint, data and logs.
Programs are found compiled: compiling takes memory of its own.

**Clips.** The largest number of frames of 256 × 256 that the network of
configs/tokenizer.py:local_conv encodes within 4 GB of resident memory, in one
pass and in chunks. Memory grows by the same amount with each frame, so it is
measured at two lengths and the line through both is followed; with `--verify`
the length that it gives is encoded, too.
"""

import pathlib
import resource
import tempfile
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import fresh, material, our_step, turns
from configs import base, video_dit
from configs import tokenizer as tokenizer_config
from vdr.models import dit, sizes, tokenizer

_PART = flags.DEFINE_enum(
  "part", "", ["", "step", "train", "encode"], "Used by the command itself."
)
_SIZE = flags.DEFINE_string("size", "small", "Of the network that is trained.")
_BATCH = flags.DEFINE_integer("batch", 4, "Clips, and images, of a step.")
_STEPS = flags.DEFINE_integer("steps", 3, "Steps that are trained.")
_FRAMES = flags.DEFINE_list("frames", "65,193", "Lengths that are encoded.")
_CHUNK = flags.DEFINE_integer("chunk", 4, "Latent frames of a chunk.")
_LIMIT_GB = flags.DEFINE_float("limit_gb", 4.0, "Memory for encoding.")
_VERIFY = flags.DEFINE_bool("verify", False, "Also encode the longest clip.")
_ROUNDS = flags.DEFINE_integer("rounds", 1, "Processes of each kind.")

GRID, CHANNELS = (5, 8, 8), 24  # of latents; 17 frames of 32 × 32 pixels
SIDE = 256
BYTES_PER_PARAMETER = 4 * (1 + 1 + 2 + 1)


def peak_mb() -> float:
  """Largest resident memory of this process so far."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def minimum_mb(size: str, batch: int) -> float:
  """The least that a step can take; see the module's docstring."""
  cfg = our_step.Work(size, GRID, batch, batch, CHANNELS).config(
    "float32", scan=True
  )
  t, h, w = GRID
  tokens = batch * (t + 1) * h * w
  own = sizes.size_of(size)
  kept = 4 * tokens * own.width * own.depth
  parameters = BYTES_PER_PARAMETER * dit.num_params(cfg.model)
  return (parameters + kept) / 1e6


def _step() -> None:
  """Some steps on given latents."""
  size = _BATCH.value
  work = our_step.Work(_SIZE.value, GRID, size, size, CHANNELS)
  config = work.config("float32", scan=True, remat="block")
  step, wait = our_step.make(config, None, work.rows())
  for _ in range(_STEPS.value):
    wait(step())


def _train() -> None:
  """A whole run."""
  from vdr import train

  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    material.simulated(root / "clips", 64, "local")
    fields = {
      "model.size": _SIZE.value,
      "model.scan": True,
      "model.remat": "block",
      "optimizer.name": "adamw",
      "train.amount": float(_STEPS.value),
      "train.validate_every_steps": 0,
      "log.samples_every_steps": 0,
      "saving.budgets_percent": (100,),
      "tokenizer.fit_clips": 64,
    }
    for group in ("data", "images"):
      fields[f"{group}.batch_size"] = _BATCH.value
      fields[f"{group}.sources.main.path"] = str(root / "clips")
    config = base.override(video_dit.get_config("local"), fields)
    train.run(config, root / "run")


def _encode() -> None:
  """One clip."""
  cfg = tokenizer_config.get_config("local_conv").tokenizer
  params = tokenizer.init(cfg, jax.random.key(0))
  (frames,) = map(int, _FRAMES.value)
  video = np.zeros((1, frames, SIDE, SIDE, 3), np.uint8)
  run = jax.jit(
    lambda params, video: (
      tokenizer.encode(cfg, params, video, _CHUNK.value).mean
    )
  )
  jax.block_until_ready(run(params, jnp.asarray(video)))


def _measure(part: Callable[[], None]) -> None:
  """Memory before and after, for the process that asked."""
  jax.block_until_ready(jax.jit(jnp.sin)(jnp.ones(8)))  # the runtime itself
  floor = peak_mb()
  part()
  turns.write([], {"floor_mb": floor, "peak_mb": peak_mb()})


def _peaks(rounds: int, *args: str) -> list[dict[str, float]]:
  """Of fresh processes that find their programs compiled.

  XLA takes hundreds of MB to compile, which are no memory of what is compiled.
  """
  with tempfile.TemporaryDirectory() as cache:
    environment = {
      "JAX_COMPILATION_CACHE_DIR": cache,
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    _, *found = (
      fresh.run("benchmarks.memory", args, environment)["about"]
      for _ in range(1 + rounds)
    )
  return found


def train_lines() -> list[turns.Comparison]:
  """Memory of training over the minimum."""
  least = minimum_mb(_SIZE.value, _BATCH.value)
  found, rows = [], []
  for part, what in (("step", "the step"), ("train", "the verb train")):
    peaks = _peaks(
      _ROUNDS.value,
      f"--part={part}",
      f"--size={_SIZE.value}",
      f"--batch={_BATCH.value}",
      f"--steps={_STEPS.value}",
    )
    line = turns.Comparison.of(
      f"memory, {_SIZE.value}: {what} over the minimum of {least:,.0f} MB",
      [(p["peak_mb"] - p["floor_mb"]) / least for p in peaks],
    )
    found.append(line)
    middle = turns.spread(p["peak_mb"] for p in peaks).middle
    floor = turns.spread(p["floor_mb"] for p in peaks).middle
    rows.append([what, *(f"{x:,.0f}" for x in (middle, floor, least))])
    rows[-1].append(f"{line.value:.2f}")
  head = ("training", "peak MB", "before, MB", "minimum, MB", "over it")
  print(turns.table(head, rows))
  return found


def longest(frames: list[int], mb: list[float], limit_mb: float) -> int:
  """The longest clip of 4k + 1 frames within a limit, by a straight line."""
  slope, start = np.polyfit(frames, mb, 1)
  most = int((limit_mb - start) / max(slope, 1e-9))
  return max(1, most - (most - 1) % tokenizer.TIME)


def clip_lines() -> list[turns.Comparison]:
  """The longest clips that are encoded within the limit."""
  found, rows, limit_mb = [], [], 1e3 * _LIMIT_GB.value
  for what, chunk in (("one pass", 0), ("chunks", _CHUNK.value)):

    def peak(frames: int, chunk: int = chunk) -> float:
      args = ("--part=encode", f"--frames={frames}", f"--chunk={chunk}")
      return turns.spread(
        p["peak_mb"] for p in _peaks(_ROUNDS.value, *args)
      ).middle

    lengths = [int(n) for n in _FRAMES.value]
    mb = [peak(n) for n in lengths]
    most = longest(lengths, mb, limit_mb)
    checked = f"{peak(most):,.0f}" if _VERIFY.value else ""
    rows.append([what, *(f"{x:,.0f}" for x in mb), f"{most:,}", checked])
    found.append(
      turns.Comparison.of(
        f"longest clip of {SIDE} × {SIDE} that is encoded within"
        f" {_LIMIT_GB.value:g} GB, in {what}",
        [most],
        unit="frames",
      )
    )
  head = ["encoding", *(f"MB of {n} frames" for n in _FRAMES.value)]
  head += [f"frames in {_LIMIT_GB.value:g} GB", "MB of these"]
  print(f"\n{turns.table(head, rows)}")
  return found


def main(argv: list[str]) -> None:
  del argv
  parts = {"step": _step, "train": _train, "encode": _encode}
  if _PART.value:
    with material.quietly():
      _measure(parts[_PART.value])
    return
  turns.write(train_lines() + clip_lines())


if __name__ == "__main__":
  app.run(main)
