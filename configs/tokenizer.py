"""Makes a tokenizer: pixels to latents and back.

python -m vdr.main --config=configs/tokenizer.py --workdir=runs/tokenizer \
  --config.data.sources.main.path=data/physics

Hardware: accelerators for this network of the paper's size, which is also
variant `paper`; its time has not been measured. For a CPU: `debug` (a network,
two steps on clips that it simulates; half a minute), `patch` (64×64, no
training; seconds), `cpu_long` (the same, from more clips), `local` (32×32, no
training; 4 s) and `local_conv` (a network, 200 steps; 79 s on 2 cores).

The local study has the size of `local`: 24 channels for 4×4 pixels. From it,
held-out clips come back with a PSNR of 37.6 dB in first and 30.4 dB in later
frames, from `local_conv` with 21.9 and 21.3 dB. The network is far from done by
then; the patches will not get better.
"""

from configs import base

SMALL = {
  "data.sources.main.height": 32,
  "data.sources.main.width": 32,
  "tokenizer.downsample": 4,
  "tokenizer.channels": 24,
  "tokenizer.fit_clips": 512,
  "data.batch_size": 16,
  "runtime.num_workers": 0,
}

NETWORK = {
  "tokenizer.kind": "conv",
  "tokenizer.conv.stem": 4,
  "tokenizer.conv.width": 32,
  "tokenizer.conv.multipliers": (1, 1, 1),
  "tokenizer.conv.num_blocks": 1,
  "tokenizer.conv.dtype": "float32",
  "tokenizer.conv.remat": False,
  "optimizer.betas": (0.9, 0.99),  # momentum pays in so few steps
  "optimizer.learning_rate": 1e-3,
  "optimizer.warmup_steps": 10,
  "optimizer.ema_decays": (0.95,),
  "log.every_steps": 10,
}

VARIANTS = {
  "debug": {
    **SMALL,
    **NETWORK,
    "tokenizer.conv.width": 8,
    "tokenizer.fit_clips": 4,
    "tokenizer.training.num_steps": 2,
    "tokenizer.evaluation.num_clips": 4,
    "data.batch_size": 2,
  },
  "patch": {
    **SMALL,
    "data.sources.main.height": 64,
    "data.sources.main.width": 64,
    "tokenizer.kind": "patch",
    "tokenizer.downsample": 8,
    "tokenizer.channels": 48,
  },
  "local": {**SMALL, "tokenizer.kind": "patch"},
  "local_conv": {
    **SMALL,
    **NETWORK,
    "tokenizer.training.num_steps": 200,
    "data.batch_size": 8,
  },
  "cpu_long": {
    **SMALL,
    "data.sources.main.height": 64,
    "data.sources.main.width": 64,
    "tokenizer.kind": "patch",
    "tokenizer.downsample": 8,
    "tokenizer.channels": 48,
    "tokenizer.fit_clips": 1024,
  },
  "paper": {},
}


def get_config(variant=None):
  """A tokenizer; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="tokenizer",
    tokenizer__kind="conv",
    tokenizer__downsample=8,
    tokenizer__channels=8,
    optimizer__betas=(0.0, 0.99),
    tokenizer__conv__dtype="bfloat16",
    tokenizer__conv__remat=True,
    data__batch_size=256,
    data__sources__main__split="pretrain",
    data__sources__main__height=128,
    data__sources__main__width=128,
  )
