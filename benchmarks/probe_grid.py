"""Time of a probe in a grid of 20: our engine against V-JEPA 2's way.

  source launch/setup.sh metrics  # PyTorch
  python -m benchmarks.probe_grid [--size=small] [--rounds=5] [--json=PATH]

Five learning rates x four weight decays of an attentive probe on one layer, at
two thirds of the depth. Both sides read the layer of a frozen network once a
batch for all probes and stop there. Ours then takes a step of all probes in one
compiled call; the other side, plain PyTorch, loops over 20 modules with an
AdamW each (`benchmarks/torch_probes.py`). Parameters and clips are the same,
and the losses of all steps have to be; if not, no ratio is printed.
"""

import functools
import os

import jax
import numpy as np
from absl import app, flags
from flax import nnx

from benchmarks import frozen, torch_probes, torch_step, turns
from vdr.probes import engine, readout, steps

_SIZE = flags.DEFINE_string("size", "small", "Of the frozen network.")
_STEPS = flags.DEFINE_integer("steps", 4, "Steps of a fit.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each way.")

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 5e-3)
DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
TOLERANCE = 1e-3  # of losses, which are about 2
OURS, THEIRS = "one engine", "PyTorch, a loop over heads"


def probe_of(study: frozen.Separate, layer: int) -> tuple[dict, np.ndarray]:
  """Parameters that all members start from, and the tokens' places."""
  shape = study.shape(layer)
  table = readout.Tokens(study.head.sizes, shape, nnx.Rngs(0)).table()
  keys = engine._keys(study.plan, engine.INIT)
  drawn = steps.draw_params(keys, study.head, shape)
  return jax.tree.map(lambda x: np.asarray(x)[0], drawn), table


def main(argv: list[str]) -> None:
  del argv
  study = frozen.Separate(
    _SIZE.value,
    num_layers=1,
    num_steps=_STEPS.value,
    learning_rates=RATES,
    weight_decays=DECAYS,
    final_share=1.0,  # a constant rate
  )
  (layer,) = study.layers
  probe, table = probe_of(study, layer)
  theirs = torch_probes.Grid(
    study.cfg,
    jax.device_get(study.params),
    probe,
    table,
    layer,
    (np.asarray(study.latents), np.asarray(study.labels), frozen.NOISE_LEVEL),
  )
  hypers = study.plan.hypers
  with jax.default_matmul_precision("float32"), torch_step.exact():
    found = study.together().losses[:, 0, :, 0]  # of each step and pair
    losses = theirs.fit(hypers).numpy()
  turns.check("losses of ours and of PyTorch", found, losses, TOLERANCE)
  ways = {OURS: study.together, THEIRS: functools.partial(theirs.fit, hypers)}
  times = turns.take(turns.each_timed(ways), _ROUNDS.value)
  seconds = {name: [t.wall for t in spent] for name, spent in times.items()}
  rows = []
  for name, spent in seconds.items():
    middle, least, most = turns.spread(
      1e3 * s / len(hypers) / _STEPS.value for s in spent
    )
    rows.append([name, f"{middle:.2f}", f"{least:.2f} to {most:.2f}"])
  what = f"{len(hypers)} probes on layer {layer} of {_SIZE.value}"
  print(turns.table((what, "ms a probe and step", "range"), rows))
  line = turns.Comparison.of(
    f"{what}: speed over {THEIRS}", turns.ratios(seconds[THEIRS], seconds[OURS])
  )
  print(f"\n{line.value:.2f} times as fast")
  turns.write([line], {"seconds": seconds, "torch": torch_step.VERSION})


if __name__ == "__main__":
  # PyTorch needs some of the GPU's memory, too.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  app.run(main)
