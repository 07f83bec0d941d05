"""Makes the simulated data set.

python -m vdr.main --config=configs/physics.py --workdir=data/physics

Hardware: any CPU; about 30 clips/s a core at 64×64×17. Variants: `debug` (a few
dozen clips), `local` (32×32, what the local study reads), `cluttered`,
`brick_wall`, `still`, `factors`.
"""

from configs import base

SMALL = {
  "physics.num_clips.pretrain": 0,
  "physics.num_clips.train": 64,
  "physics.num_clips.select": 0,
  "physics.num_clips.test": 0,
  "physics.num_clips.test_ood": 0,
}

VARIANTS = {
  "debug": {
    "physics.height": 32,
    "physics.width": 32,
    "physics.clips_per_shard": 8,
    "physics.num_clips.pretrain": 32,
    "physics.num_clips.train": 16,
    "physics.num_clips.select": 8,
    "physics.num_clips.test": 16,
    "physics.num_clips.test_ood": 8,
  },
  "local": {
    "physics.height": 32,
    "physics.width": 32,
    "physics.num_clips.pretrain": 4096,
  },
  "cluttered": {"physics.scene": "cluttered", "physics.max_distractors": 8},
  "brick_wall": {"physics.scene": "brick_wall", **SMALL},
  "still": {"physics.scene": "still", **SMALL},
  "factors": {"physics.scene": "factors", **SMALL},
}


def get_config(variant=None):
  """The simulated data set; see the module's docstring."""
  return base.build(variant, VARIANTS, job="physics")
