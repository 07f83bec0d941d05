"""Trains the video model: one diffusion transformer on clips and on images.

python -m vdr.main --config=configs/video_dit.py:local --workdir=runs/video

The clips come from --config.data.sources.main.path (data/physics by default),
the images are single frames of the same clips. With no tokenizer named, a patch
tokenizer is fitted to the clips first, which takes seconds.

Hardware: `debug` and `local` (32 × 32, the tiny model, minutes) and `cpu_long`
(64 × 64) any CPU; `walt_284m` and `walt_1p9b` (128 × 128) accelerators.
configs/image_dit.py trains the image model, which differs in a few fields only.
"""

from configs import base

SIDE_FIELDS = tuple(
  f"{section}.sources.main.{side}"
  for section in ("data", "images")
  for side in ("height", "width")
)


def pixels(side):
  """Clips and images of this height and width."""
  return dict.fromkeys(SIDE_FIELDS, side)


VARIANTS = {
  # Two steps on clips that are simulated on the way.
  "debug": {
    **pixels(32),
    "data.sources.main.path": "",
    "images.sources.main.path": "",
    "data.batch_size": 2,
    "images.batch_size": 2,
    "tokenizer.channels": 16,
    "model.size": "micro",
    "model.scan": False,
    "sampler.num_steps": 2,
    "train.amount": 2.0,
    "tokenizer.fit_clips": 16,
    "train.validation_batches": 1,
    "log.every_steps": 1,
    "log.num_samples": 2,
    "optimizer.warmup_steps": 1,
    "runtime.num_workers": 0,
  },
  # What the local study trains: about 3,000 latent tokens a step.
  "local": {
    **pixels(32),
    "data.sources.main.path": "data/local",
    "images.sources.main.path": "data/local",
    "tokenizer.downsample": 4,
    "tokenizer.channels": 24,
    "model.scan": False,  # a tenth faster on a CPU (benchmarks/train_step.py)
    "train.amount": 500.0,
    "train.validate_every_steps": 100,
    "log.every_steps": 20,
    "log.samples_every_steps": 200,
    "saving.every_steps": 100,
    # Muon is as far after 200 steps as AdamW (1e-3) after 300.
    "optimizer.name": "muon",
    "optimizer.learning_rate": 1e-2,
    "optimizer.warmup_steps": 50,
    "optimizer.ema_decays": (0.99,),
    "runtime.num_workers": 0,
  },
  "cpu_long": {
    **pixels(64),
    "model.scan": False,
    "train.amount": 1000.0,
    "train.validate_every_steps": 200,
    "log.samples_every_steps": 400,
    "saving.every_steps": 200,
    # Muon is as far after 200 steps as AdamW (1e-3) after 300.
    "optimizer.name": "muon",
    "optimizer.learning_rate": 1e-2,
    "optimizer.warmup_steps": 100,
    "optimizer.ema_decays": (0.99,),
    "runtime.num_workers": 0,
  },
  "walt_284m": {
    **pixels(128),
    "model.size": "walt_284m",
    "model.dtype": "bfloat16",
    "model.remat": "dots",  # without, 8 clips and 8 images need 27 GB a chip
    "data.batch_size": 128,
    "images.batch_size": 128,
  },
  "walt_1p9b": {
    **pixels(128),
    "model.size": "walt_1p9b",
    "model.dtype": "bfloat16",
    # Four clips and four images a chip with the results of products kept: 64 %
    # of a v5e's peak are predicted (docs/scaling.md). With `block` twice as
    # many reached four points less when both were seen (docs/performance.md).
    "model.remat": "dots",
    "data.batch_size": 64,
    "images.batch_size": 64,
    "mesh.data": 1,
    "mesh.fsdp": -1,  # on 256 chips rather 16, and mesh.data=16
  },
}


def get_config(variant=None):
  """The video model; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="train",
    data__batch_size=8,
    images__batch_size=8,
    data__sources__main__path="data/physics",
    images__sources__main__path="data/physics",
    data__sources__main__split="pretrain",
    images__sources__main__split="pretrain",
  )
