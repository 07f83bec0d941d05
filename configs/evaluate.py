"""Fits probes on the frozen features of a trained model, and scores them.

python -m vdr.main --config=configs/evaluate.py:depth --workdir=runs/depth \
  --config.checkpoint=runs/video --config.data.sources.main.path=data/local

Variants are tasks, `shape`, `action`, `depth`, `pose`, `points` and `boxes`, at
32 × 32 pixels; `local` has them all on one reading of the features, `debug` two
of them on a few clips. A result says what every control scored, too.

Hardware: any; a CPU for the models of `:local`.
"""

from configs import base

TASKS = ("shape", "action", "depth", "pose", "points", "boxes")

VARIANTS = {
  **{name: {"evaluate.tasks": (name,)} for name in TASKS},
  "local": {
    "evaluate.tasks": TASKS,
    "evaluate.layers": (1, 2, 3, 4),
    "evaluate.noise_levels": (0.05, 0.2, 0.4),
    "evaluate.frames": "auto",
  },
  "debug": {
    "evaluate.tasks": ("action", "pose"),
    "evaluate.controls": ("latents", "blind"),
    "evaluate.num_clips.train": 16,
    "evaluate.num_clips.select": 8,
    "evaluate.num_clips.test": 8,
    "data.batch_size": 8,
    "data.sources.main.path": "",  # simulated on the way
    "probe.num_steps": 2,
    "probe.batch_size": 8,
    "probe.learning_rates": (1e-3,),
  },
}


def get_config(variant=None):
  """An evaluation; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="evaluate",
    data__batch_size=32,
    data__sources__main__path="data/local",
    data__sources__main__height=32,
    data__sources__main__width=32,
    runtime__num_workers=0,
  )
