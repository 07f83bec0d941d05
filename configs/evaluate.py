"""Fits probes on the frozen features of a trained model, and scores them.

python -m vdr.main --config=configs/evaluate.py:depth --workdir=runs/depth \
  --config.checkpoint=runs/video --config.data.sources.main.path=data/local

Variants are tasks, `shape`, `action`, `depth`, `pose`, `points` and `boxes`, at
32 × 32 pixels; `local` has them all on one reading of the features, where the
local study reads them; `debug` two of them on a few clips. Probes have the
study's steps (configs/fields/probe.py). A result says what every control
scored, too.

Hardware: any; a CPU for the models of `:local`.
"""

from configs import base

TASKS = ("shape", "action", "depth", "pose", "points", "boxes")

# The local study has these, too.
LOCAL = {
  "evaluate.tasks": TASKS,
  "evaluate.layers": (2, 3),
  "evaluate.noise_levels": (0.05, 0.2, 0.5),
}


def steps_of_all(number):
  """This many steps for every probe, whatever its head."""
  return {
    "probe.num_steps": number,
    "probe.dense.num_steps": 0,
    "probe.track.num_steps": 0,
  }


DEBUG_PROBES = {**steps_of_all(2), "probe.batch_size": 8}
VARIANTS = {
  **{name: {"evaluate.tasks": (name,)} for name in TASKS},
  "local": LOCAL,
  "debug": {
    "evaluate.tasks": ("action", "pose"),
    "evaluate.controls": ("latents", "blind"),
    "evaluate.num_clips.train": 16,
    "evaluate.num_clips.select": 8,
    "evaluate.num_clips.test": 8,
    "data.batch_size": 8,
    "data.sources.main.path": "",  # simulated on the way
    **DEBUG_PROBES,
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
