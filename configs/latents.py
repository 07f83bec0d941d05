"""Encodes a data set once, so that training reads latents instead of pixels.

python -m vdr.main --config=configs/latents.py:local --workdir=data/latents \
  --config.data.sources.main.path=data/local \
  --config.tokenizer.path=runs/tokenizer/tokenizer.npz

Train on them with --config.data.sources.main.kind=latents and the same of
`images`; both then take the path data/latents. The loss is that on pixels. Of
videos longer than a clip the middle is taken, or evenly spread clips with
--config.data.sources.main.sampling=uniform.

Hardware: `debug`, `local` and `cpu_long` any CPU (a tokenizer is fitted if none
is named); `paper` (128×128, with the network of configs/tokenizer.py)
accelerators.
"""

from configs import base, tokenizer

VARIANTS = {
  "debug": {
    **tokenizer.VARIANTS["patch"],
    "data.sources.main.path": "",  # simulated on the way
    "data.sources.main.height": 32,
    "data.sources.main.width": 32,
    "data.batch_size": 4,
    "tokenizer.channels": 16,
    "tokenizer.fit_clips": 16,
    "latents.clips_per_shard": 8,
    "latents.max_clips": 16,
  },
  "local": tokenizer.VARIANTS["local"],
  "cpu_long": tokenizer.VARIANTS["cpu_long"],
  "paper": {},
}


def get_config(variant=None):
  """Latents; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="latents",
    data__batch_size=64,
    data__sources__main__split="pretrain",
    data__sources__main__path="data/physics",
    data__sources__main__fields=("video", "action", "shape"),
    data__sources__main__height=128,
    data__sources__main__width=128,
  )
