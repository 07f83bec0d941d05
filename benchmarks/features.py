"""What reading features costs, against one full forward of the network.

  python -m benchmarks.features [--size=small] [--side=64] [--json=PATH]

Prints Markdown tables of times relative to one full forward, that to the
prediction: of single layers (the pass stops there), of all layers at once, of
several noise levels (which share one encoding of the clip), of draws, and of
the tokenizer by itself. Each way is timed beside a full forward, in turns, and
ratios are medians, since the speed of a shared machine changes by the minute;
on a CPU the time that it works is the steadier of the two. Weights are random.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import turns
from configs import base
from vdr import features
from vdr.diffusion import schedule as schedules
from vdr.features import backbone as backbones
from vdr.features import networks
from vdr.models import dit, sizes, tokenizer

_SIZE = flags.DEFINE_string("size", "small", "Of the network (sizes.py).")
_SIDE = flags.DEFINE_integer("side", 64, "Pixels of a clip's side.")
_FRAMES = flags.DEFINE_integer("frames", 17, "Pixel frames of a clip.")
_DOWNSAMPLE = flags.DEFINE_integer("downsample", 8, "Pixels of a latent.")
_BATCH = flags.DEFINE_integer("batch_size", 4, "Clips at once.")
_LEVELS = flags.DEFINE_integer("levels", 4, "Noise levels at once.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Rounds; medians are printed.")
_DTYPE = flags.DEFINE_string("dtype", "float32", "Of activations.")
_SCAN = flags.DEFINE_boolean("scan", True, "Blocks in a loop.")

Way = Callable[[], object]
Pairs = list[tuple[turns.Seconds, turns.Seconds]]  # of a way, of the reference


def _backbone() -> features.Backbone:
  model, cfg = base.model(), base.tokenizer()
  cfg.downsample = _DOWNSAMPLE.value
  cfg.channels = min(cfg.channels, 3 * cfg.downsample**2)
  model.size, model.dtype = _SIZE.value, _DTYPE.value
  model.latent_channels, model.scan = cfg.channels, _SCAN.value
  network = networks.Diffusion(
    networks.freeze(model),
    networks.freeze_tokenizer(cfg),
    schedules.get_schedule("linear_zsnr"),
  )
  key = jax.random.key(0)
  params = {
    "model": dit.rounded(
      network.model, backbones.random_params(network.model, key)
    ),
    "tokenizer": tokenizer.init(cfg, key),
  }
  return features.Backbone(network, params, {"kind": "random"})


def _forward(backbone: features.Backbone, video: np.ndarray) -> Way:
  """One full forward on latents that are there already."""
  latents = backbone.encode(video)
  level = jnp.full(len(video), 0.2)
  cfg = backbone.network.model  # pyright: ignore[reportAttributeAccessIssue]

  @jax.jit
  def predict(params, latents):
    return dit.apply(cfg, params, latents, level)[0]

  return lambda: predict(backbone.params["model"], latents)


def _read(
  backbone: features.Backbone,
  video: np.ndarray,
  layers: tuple[int, ...],
  num_levels: int = 1,
  draws: int = 1,
) -> Way:
  levels = tuple(float(s) for s in np.linspace(0.1, 0.5, num_levels))
  spec = features.FeatureSpec(layers, levels, draws=draws)
  return lambda: backbone.features(video, spec)


def measure(ways: Mapping[str, Way], reference: Way) -> dict[str, Pairs]:
  """Times of each way and of the reference beside it.

  Timed is the second of two calls, as in a loop over a dataset: virtual
  machines give memory that is free for seconds back to their host, and the
  first call would wait for it.
  """

  def second(run: Way) -> turns.Seconds:
    jax.block_until_ready(run())
    return turns.timed(run)

  jax.block_until_ready([way() for way in ways.values()])  # compile
  runs = {name: functools.partial(second, way) for name, way in ways.items()}
  return turns.beside(runs, lambda: second(reference), _ROUNDS.value)


def _report(
  title: str, pairs: Mapping[str, Pairs], targets: Mapping[str, float]
) -> list[turns.Comparison]:
  """Prints the table; returns what has a target."""
  rows, found = [], []
  for name, times in pairs.items():
    own, other = zip(*times, strict=True)
    wall, processor = (
      turns.ratios((t[i] for t in own), (t[i] for t in other)) for i in (0, 1)
    )
    middle, least, most = turns.spread(wall)
    work = turns.spread(processor).middle
    target = f"≤ {targets[name]:.2f}" if name in targets else ""
    spread = f"{least:.2f} to {most:.2f}"
    rows.append([name, f"{middle:.2f}", spread, f"{work:.2f}", target])
    if name in targets:
      what = f"features, {_SIZE.value}: {name} over one full forward"
      found.append(turns.Comparison.of(what, wall, at_most=targets[name]))
  head = ("way", "× full forward", "range", "CPU time", "target")
  print(f"\n{title}\n\n{turns.table(head, rows)}")
  return found


def main(argv: list[str]) -> None:
  del argv
  backbone = _backbone()
  depth = sizes.size_of(_SIZE.value).depth
  side, num = _SIDE.value, _LEVELS.value
  rng = np.random.default_rng(0)
  shape = (_BATCH.value, _FRAMES.value, side, side, 3)
  video = rng.integers(0, 256, shape, dtype=np.uint8)
  ways: dict[str, Way] = {
    "another full forward": _forward(backbone, video),
    "tokenizer alone": lambda: backbone.encode(video),
    f"all {depth + 1} layers": _read(backbone, video, tuple(range(depth + 1))),
  }
  targets = {f"all {depth + 1} layers": 1.10}
  for layer in sorted({0, depth // 4, depth // 2, 3 * depth // 4, depth}):
    name = f"layer {layer} alone"
    ways[name] = _read(backbone, video, (layer,))
    targets[name] = layer / depth + 0.10
  last = (depth,)
  ways[f"layer {depth}, {num} noise levels"] = _read(backbone, video, last, num)
  ways[f"layer {depth}, {num} draws"] = _read(backbone, video, last, 1, num)
  ways[f"layer {depth}, {num} calls"] = lambda: [
    _read(backbone, video, last)() for _ in range(num)
  ]
  device = jax.devices()[0].device_kind
  title = (
    f"{_SIZE.value}, {_DTYPE.value}, {_BATCH.value} clips of"
    f" {_FRAMES.value}×{side}×{side}, {device}; features include the tokenizer"
  )
  pairs = measure(ways, _forward(backbone, video))
  turns.write(_report(title, pairs, targets), {"seconds": pairs})


if __name__ == "__main__":
  app.run(main)
