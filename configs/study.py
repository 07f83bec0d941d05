"""The whole comparison: data, tokenizer, both models, probes, report.

python -m vdr.main --config=configs/study.py:local --workdir=runs/local

Hardware: two cores of a CPU for the first three variants.

Start it again to go on where it stopped. With --config.dry_run=true it says
what would run, how long and how large. Variants:

* `debug` (everything tiny; under 3 minutes), `local` (32 × 32; 15 to 30 minutes
  on 2 cores), `cpu_long` (64 × 64, two seeds of pretraining; not yet run);
* `gpu` (128 × 128, `small` and `base`; one GPU, a few hours; not yet measured);
* `paper` (walt_284m and walt_1p9b; a cluster, with config.runner; its data by
  --config.data.pretrain=folder:DIR; tasks on simulated clips; not yet run);
* `local_flow` (`local` with rectified flow in place of the paper's
  v-prediction).
"""

from configs import base, image_dit, video_dit
from configs import evaluate as evaluate_config

CONTROLS = (
  "random",
  "random_1",
  "random_2",
  "random_gates",
  "latents",
  "isolated",
  "shuffled",
  "frozen",
  "frame",
  "blind",
)


def image_options(video):
  """What makes the image model of a video model's config."""
  clips, images = video["data.batch_size"], video["images.batch_size"]
  changed = {
    "data.batch_size": 0,
    "images.batch_size": images + image_dit.IMAGES_PER_CLIP * clips,
    "model.spatiotemporal_blocks": "spatial",
  }
  assert set(changed) == set(image_dit.DIFFERENCES)
  return tuple(f"{name}={value}" for name, value in changed.items())


def training(variant):
  """A variant of the video model, and the image model that goes with it."""
  fields = {
    "data.batch_size": 8,
    "images.batch_size": 8,
    **video_dit.VARIANTS[variant],
  }
  for section in ("data", "images"):  # a study names its own data
    fields.pop(f"{section}.sources.main.path", None)
  batch = f"data.batch_size={fields['data.batch_size']}"
  return {
    **fields,
    "study.overrides.video": (batch,),
    "study.overrides.image": image_options(fields),
  }


def simulated(side):
  """Clips of this height and width."""
  return {"physics.height": side, "physics.width": side}


def clips(pretrain, train, select, test):
  """How many clips there are of each split."""
  numbers = dict(pretrain=pretrain, train=train, select=select, test=test)
  return {f"physics.num_clips.{k}": v for k, v in numbers.items()} | {
    "physics.num_clips.test_ood": 0
  }


AT_ONE_PLACE = (
  "evaluate.layers=(3,)",
  "evaluate.noise_levels=(0.05,)",
  "evaluate.num_shown=0",
)
LOCAL = {
  **training("local"),
  **simulated(32),
  **clips(4096, 768, 256, 512),
  "study.title": "local",
  # 500 steps of it take as long as 350 of `tiny`; so does reading its features.
  "study.sizes": ("mini",),
  "train.validate_every_steps": 250,
  "log.samples_every_steps": 500,
  "judge.num_steps": 300,
  "study.budgets_percent": (10,),
  # A third of DDIM's 50 steps.
  "sampler.method": "dpmpp_2m",
  "sampler.num_steps": 16,
  "study.overrides.budget": (*AT_ONE_PLACE, "evaluate.controls=()"),
  "study.overrides.every_frame": (
    *AT_ONE_PLACE,
    "evaluate.controls=()",
  ),
  **evaluate_config.LOCAL,
  "study.batch_size": 8,  # what a core's caches hold
  "probe.step_mb": 1.0,  # one program serves one cell and many
  "evaluate.controls": CONTROLS,
  # With places of their own for controls evaluations take 2.7 times as long.
  "evaluate.controls_place": "same",
  "evaluate.num_shown": 4,
  "runner.kind": "processes",
}

VARIANTS = {
  "debug": {
    **training("debug"),
    **simulated(32),
    **clips(32, 16, 8, 16),
    "physics.clips_per_shard": 8,
    "study.title": "debug",
    "runner.kind": "processes",
    "study.sizes": ("micro",),
    "study.batch_size": 8,
    "study.budgets_percent": (50,),
    "study.overrides.budget": (
      "evaluate.layers=(1,)",
      "evaluate.noise_levels=(0.1,)",
      "evaluate.controls=()",
    ),
    "study.overrides.every_frame": (
      "evaluate.layers=(1,)",
      "evaluate.noise_levels=(0.1,)",
      "evaluate.controls=()",
    ),
    "evaluate.tasks": ("shape", "action"),
    "evaluate.layers": (1, 2),
    "evaluate.noise_levels": (0.1, 0.5),
    "evaluate.controls": ("random", "frame", "blind"),
    "evaluate.controls_place": "same",
    "evaluate.num_shown": 2,
    "judge.width": 8,
    "judge.features": 8,
    "judge.num_clips": 16,
    "judge.num_steps": 2,
    "judge.test_clips": 8,
    "judge.batch_size": 8,
    "generation.num": 4,
    "generation.batch_size": 2,
    "generation.num_drawn": 2,
    "look.num_clips": 3,
    "look.num_drawn": 2,
    "look.num_scene_clips": 2,
    **evaluate_config.DEBUG_PROBES,
  },
  "local": LOCAL,
  "local_flow": {
    **LOCAL,
    "study.title": "local, rectified flow",
    "diffusion.schedule": "rectified_flow",
    "diffusion.target": "flow",
  },
  "cpu_long": {
    **LOCAL,
    **training("cpu_long"),
    **simulated(64),
    **clips(8192, 2048, 512, 1024),
    "study.title": "cpu_long",
    "study.sizes": ("tiny",),
    "judge.num_steps": 600,
    "study.seeds": (0, 1),
    "study.budgets_percent": (10, 50),
  },
  "gpu": {
    **LOCAL,
    **training("walt_284m"),
    **simulated(128),
    **clips(65536, 8192, 1024, 2048),
    "study.title": "gpu",
    "model.scan": False,  # an eighth less time on a GPU (docs/performance.md)
    "study.sizes": ("small", "base"),
    "study.budgets_percent": (5, 20, 50),
    "train.amount": 50_000.0,
    "evaluate.layers": (2, 4, 6, 8, 10, 12),
    "evaluate.noise_levels": (0.05, 0.1, 0.2, 0.4, 0.7),
    **evaluate_config.steps_of_all(4000),
    "probe.num_seeds": 2,
    "probe.step_mb": 16384.0,
    "runner.kind": "here",
  },
  "paper": {
    **LOCAL,
    **training("walt_1p9b"),
    **simulated(128),
    **clips(0, 16384, 2048, 4096),
    "study.title": "paper",
    # The paper's tokenizer; its training is not stated: MAGVIT-v2's numbers.
    "tokenizer.kind": "conv",
    "tokenizer.channels": 8,
    "tokenizer.conv.dtype": "bfloat16",
    "tokenizer.conv.remat": True,
    "study.overrides.tokenizer": (
      "data.batch_size=256",
      "optimizer.betas=(0.0, 0.99)",
      "mesh.data=-1",
      "mesh.fsdp=1",
    ),
    "study.latents": True,
    "study.sizes": ("walt_284m", "walt_1p9b"),
    "study.budgets_percent": (1, 5, 20, 50),
    "train.amount": 500_000.0,
    "evaluate.layers": (4, 8, 12, 14, 16, 18, 20, 22),
    "evaluate.noise_levels": (0.0, 0.1, 0.2, 0.4, 0.7),
    **evaluate_config.steps_of_all(10000),
    "probe.num_seeds": 3,
    "probe.step_mb": 16384.0,
    "runner.kind": "submitit",
  },
}


def get_config(variant=None):
  """A study; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="study",
    tokenizer__kind="patch",
    runtime__num_workers=0,
  )
