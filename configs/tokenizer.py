"""Makes a tokenizer: pixels to latents and back.

python -m vdr.main --config=configs/tokenizer.py --workdir=runs/tokenizer \
  --config.data.sources.main.path=data/physics

Hardware: one GPU or TPU, about a day for 128×128 (`paper` is the network of the
paper's size, the same as without a variant). On a CPU: `debug` (a network for
two steps, on clips that it simulates), `patch` (no training; 64×64, seconds),
`local` (32×32, what the local study uses: patches, which beat a network that is
given the same minute), `local_conv` (that network), `cpu_long` (64×64).
"""

from configs import base

SMALL = {
  "data.sources.main.height": 32,
  "data.sources.main.width": 32,
  "tokenizer.downsample": 4,
  "tokenizer.channels": 16,
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
  "optimizer.learning_rate": 2e-3,
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
    "tokenizer.training.num_steps": 60,
  },
  "cpu_long": {
    **SMALL,
    "data.sources.main.height": 64,
    "data.sources.main.width": 64,
    "tokenizer.kind": "patch",
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
