"""Draws clips or images from a trained diffusion model.

python -m vdr.main --config=configs/sample.py --workdir=runs/samples \
  --config.checkpoint=runs/video

`--config.sample.kind=images` draws images, `--config.seed` others;
`config.sampler` says how. Variant `debug` takes two steps for three samples.

Hardware: any.
"""

from configs import base

VARIANTS = {
  "debug": {
    "sample.num": 3,
    "sample.batch_size": 2,
    "sampler.num_steps": 2,
  },
}


def get_config(variant=None):
  """Samples; see the module's docstring."""
  return base.build(variant, VARIANTS, job="sample")
