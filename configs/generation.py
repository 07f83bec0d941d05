"""How good the samples of a trained diffusion model are.

python -m vdr.main --config=configs/generation.py:local \
  --workdir=runs/quality --config.checkpoint=runs/video \
  --config.generation.judge=runs/judge/judge.npz \
  --config.data.sources.main.path=data/local

Samples and as many held-out clips are compared by the Fréchet and the kernel
distance of their features. `--config.generation.step=100` reads an earlier
checkpoint. Variants: `debug` (a few samples of two steps), `local` (32 × 32).

Hardware: any.
"""

from configs import base

VARIANTS = {
  "debug": {
    "generation.num": 4,
    "generation.batch_size": 2,
    "generation.num_drawn": 2,
    "sampler.num_steps": 2,
    "data.sources.main.path": "",  # simulated on the way
    "data.sources.main.height": 32,
    "data.sources.main.width": 32,
  },
  "local": {
    "data.sources.main.path": "data/local",
    "data.sources.main.height": 32,
    "data.sources.main.width": 32,
  },
}


def get_config(variant=None):
  """A measurement of samples; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="generation",
    sampler__method="dpmpp_2m",
    sampler__num_steps=16,
    data__batch_size=32,
    data__sources__main__path="data/physics",
    runtime__num_workers=0,
  )
