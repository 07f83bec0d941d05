"""Writes the features of every clip of a folder of videos, or of any source.

python -m vdr.main --config=configs/extract.py --workdir=runs/features \
  --config.checkpoint=runs/video --config.data.sources.main.path=path/to/videos

`config.extract` says which: `--config.extract.layers="(4, 8)"`,
`--config.extract.backbone=random`, … Clips have the size of training. Variant
`debug` reads a few simulated clips.

Hardware: any; an accelerator for the large models.
"""

from configs import base

VARIANTS = {
  "debug": {
    "data.sources.main.kind": "physics",
    "data.sources.main.path": "",  # simulated on the way
    "data.sources.main.split": "test",
    "data.batch_size": 2,
    "extract.max_clips": 3,
    "runtime.num_workers": 0,
  },
}


def get_config(variant=None):
  """Features as files; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="extract",
    data__sources__main__kind="video_folder",
    data__sources__main__split="all",
    data__sources__main__sampling="middle",
    data__sources__main__num_frames=0,
    data__sources__main__height=0,
    data__sources__main__width=0,
  )
