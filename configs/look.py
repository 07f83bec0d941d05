"""Looks at a model's features: in colour, when things move, point by point.

python -m vdr.main --config=configs/look.py:local --workdir=runs/look \
  --config.checkpoint=runs/video --config.data.sources.main.path=data/local

Writes `look.json`, and pictures of features: clips in the colours of their
principal components, the wall of bricks that a camera pans along, and where
points are found again by the similarity of features. Clips have the size of
training. Variants: `local` reads the data of the local study, `debug` a few
clips that are simulated on the way.

Hardware: any; about a minute on a core for the models of `:local`.
"""

from configs import base

VARIANTS = {
  "local": {},
  "debug": {
    "data.sources.main.path": "",  # simulated on the way
    "data.batch_size": 2,
    "look.num_clips": 3,
    "look.num_drawn": 2,
    "look.num_scene_clips": 2,
  },
}


def get_config(variant=None):
  """A look at features; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="look",
    data__batch_size=16,
    data__sources__main__path="data/local",
    data__sources__main__num_frames=0,
    data__sources__main__height=0,
    data__sources__main__width=0,
    runtime__num_workers=0,
  )
