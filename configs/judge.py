"""Trains the judge: the network that generated clips are compared by.

python -m vdr.main --config=configs/judge.py:local --workdir=runs/judge \
  --config.data.sources.main.path=data/local

It learns what the simulated data set knows of its split `train`: actions,
shapes, camera motions, boxes and depths. Variants: `debug` (two steps on clips
that it simulates), `local` (32 × 32, what the local study judges with).

Hardware: any.
"""

from configs import base

VARIANTS = {
  "debug": {
    "judge.width": 8,
    "judge.features": 8,
    "judge.num_clips": 16,
    "judge.num_steps": 2,
    "judge.test_clips": 16,
    "judge.batch_size": 8,
    "data.sources.main.path": "",  # simulated on the way
    "data.sources.main.height": 32,
    "data.sources.main.width": 32,
    "log.every_steps": 1,
  },
  "local": {
    "data.sources.main.path": "data/local",
    "data.sources.main.height": 32,
    "data.sources.main.width": 32,
  },
}


def get_config(variant=None):
  """A judge; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="judge",
    data__sources__main__path="data/physics",
    runtime__num_workers=0,
  )
