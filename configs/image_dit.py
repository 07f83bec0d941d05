"""Trains the image model: the same transformer, on single frames only.

python -m vdr.main --config=configs/image_dit.py:local --workdir=runs/image

Everything is as in configs/video_dit.py but three fields: its spatio-temporal
blocks are spatial ones, it sees frames of the same clips drawn by themselves,
and its batch has as many latent tokens, so that the same number of steps is the
same number of tokens.

Hardware: as there; `debug`, `local` and
`cpu_long` any CPU; `walt_284m` and `walt_1p9b` accelerators.
"""

from configs import base, video_dit

# A clip of 17 frames has five latent frames, an image has one.
IMAGES_PER_CLIP = 5

VARIANTS = video_dit.VARIANTS

# The only fields in which the two models' configs may differ.
DIFFERENCES = (
  "data.batch_size",
  "images.batch_size",
  "model.spatiotemporal_blocks",
)


def get_config(variant=None):
  """The image model; see the module's docstring."""
  config = video_dit.get_config(variant)
  clips, images = config.data.batch_size, config.images.batch_size
  return base.override(
    config,
    {
      "data.batch_size": 0,
      "images.batch_size": images + IMAGES_PER_CLIP * clips,
      "model.spatiotemporal_blocks": "spatial",
    },
  )
