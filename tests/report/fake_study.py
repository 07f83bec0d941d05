"""A small made-up study in the files that the verbs of a study write.

python -m tests.report.fake_study FOLDER
"""

import json
import pathlib
import sys

import numpy as np

from configs import base, evaluate, image_dit, video_dit
from vdr import media, results
from vdr.metrics import accumulators
from vdr.runtime import checkpoints, fingerprint, plain_configs

N = 160  # test clips
GROUPS = np.array([f"clip {i}" for i in range(N)])
LAYERS, LEVELS = (1, 2, 3, 4), (0.05, 0.2, 0.4)
LOG_SNRS = {0.05: 4.1, 0.2: 1.9, 0.4: 0.3}
STEPS = {2: 10, 10: 50, 50: 250, 100: 500}  # by percent
NUM_STEPS = STEPS[100]
CONTROLS = (
  *("random", "random_1", "random_2", "random_gates", "latents", "pixels"),
  *("isolated", "shuffled", "frozen", "frame", "blind"),
)
OF_IMAGES = (*CONTROLS[:6], "blind")

# Title, metric, lower is better, chance; then how good both models are, from
# 0 (knows nothing) to 1.
TASKS = {
  "shape": ("image classification", "top_1", False, 0.2, 0.62, 0.60),
  "action": ("action recognition", "top_1", False, 0.125, 0.75, 0.35),
  "depth": ("monocular depth", "abs_rel", True, None, 0.70, 0.62),
  "pose": ("relative camera pose", "r_squared", False, 0.0, 0.80, 0.40),
  "points": ("point tracking", "error_px", True, None, 0.72, 0.40),
  "boxes": ("box tracking", "iou", False, None, 0.60, 0.50),
}
# What a control keeps of how good its model is.
KEEPS = {
  "backbone": 1.0,
  "random": 0.55,
  "random_1": 0.5,
  "random_2": 0.6,
  "random_gates": 0.45,
  "latents": 0.5,
  "pixels": 0.4,
  "isolated": 0.7,
  "shuffled": 0.5,
  "frozen": 0.25,
  "frame": 0.3,
  "blind": 0.0,
}


def ratio(metric, good, rng):
  """One probe's score on all clips."""
  hard = np.random.default_rng(7).random(N)  # the same clips for everyone
  noise = 0.05 * rng.normal(size=N)
  if metric == "top_1":
    return accumulators.Ratio(hard + noise < good, np.ones(N))
  if metric == "r_squared":
    error = np.clip((1 - good) * (0.5 + hard) + noise, 0, None)
    return accumulators.Ratio(error, np.ones(N), accumulators.Final.EXPLAINED)
  if metric == "iou":
    overlap = np.clip(good * (0.75 + hard / 2) + noise, 0, 1)
    return accumulators.Ratio(overlap, np.ones(N))
  size, pixels = {"abs_rel": (0.4, 900), "error_px": (24, 8)}[metric]
  weight = np.full(N, float(pixels))
  error = np.clip(size * (1.1 - good) * (0.5 + hard + noise), 0, None)
  return accumulators.Ratio(error * weight, weight)


def quality(metric, chance, good, name):
  """How good a control is, on the scale of `ratio`."""
  kept = good * KEEPS[name]
  return chance + (1 - chance) * kept if metric == "top_1" else kept


def write_result(
  folder, task, kind, seed, *, tie=False, places=None, share=1.0
):
  """One task's result of one model."""
  title, metric, lower, chance, video, image = TASKS[task]
  good = share * (image if tie or kind == "image" else video)
  rng = np.random.default_rng(
    [
      list(TASKS).index(task),
      0 if tie else ("video", "image").index(kind),
      seed,
    ]
  )
  names = ("backbone", *(OF_IMAGES if task == "shape" else CONTROLS))
  names = names if places is None else ("backbone",)
  runs = {
    name: [
      ratio(metric, quality(metric, chance or 0, good, name), rng)
      for _ in range(2)
    ]
    for name in names
  }
  if chance is None and "blind" in runs:
    chance = runs["blind"][0].score()
  own = results.estimate(runs["backbone"], GROUPS)
  places = places or [(x, y) for x in LAYERS for y in LEVELS]
  best = len(places) * 2 // 3 if len(places) > 1 else 0
  cells = []
  for index, (layer, level) in enumerate(places):
    off = 0.04 * (
      abs(layer - places[best][0]) + 4 * abs(level - places[best][1])
    )
    worse = 1 + off if lower else 1 - off
    score = {k: own[k] * worse for k in results.ENDS}
    if index == best:
      score = own
    cells.append(cell(layer, level, metric, score))
  result = {
    "schema_version": results.VERSION,
    **results.scored(N, GROUPS),
    "controls_place": "same",
    "task": task,
    "title": title,
    "primary": metric,
    "lower_is_better": lower,
    "chance": chance,
    "backbone": {"kind": "checkpoint", "hash": f"{kind}{seed}", "view": "clip"},
    "checkpoint": f"runs/{kind}",
    "split": "test",
    "n": {"train": 512, "select": 128, "test": N},
    "skipped": {"test": 0},
    "seeds": [0, 1],
    "method": results.METHOD,
    "cells": cells,
    "best": best,
    **{name: {} for name in ("controls", "config", "versions")},
    "seconds": 3.0,
  }
  clips = {f"{name}/{metric}": several for name, several in runs.items()}
  results.write(folder / task, result, clips, GROUPS)


def cell(layer, level, metric, score):
  return {
    "layer": layer,
    "noise_level": level,
    "log_snr": LOG_SNRS[level],
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "select": score["value"],
    "test": {metric: score},
  }


def picture(seed, height=64, width=64):
  """Waves of two colours."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width] / 12
  wave = np.sin(x * rng.uniform(0.5, 2) + y * rng.uniform(0.5, 2)) / 2 + 0.5
  one, two = rng.uniform(40, 220, (2, 3))
  mixed = wave[..., None] * one + (1 - wave[..., None]) * two
  return mixed.astype(np.uint8)


def write_pictures(folder, *names, seed=0, width=192):
  folder.mkdir(parents=True, exist_ok=True)
  for i, name in enumerate(names):
    if name.endswith(".gif"):
      frames = np.stack(
        [picture(seed + i + 10 * t, 64, width) for t in range(3)]
      )
      media.write_gif(folder / name, frames, 8.0)
    else:
      media.write_png(folder / name, picture(seed + i, 64, width))


def write_json(path, tree):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(tree))


def params_of(seed, width):
  """The parameters of a checkpoint."""
  return {"w": np.full((width, 4), seed, np.float32)}


def write_training(folder, config, seed, width):
  """A work directory of the verb train, with one real checkpoint."""
  write_json(folder / "config.json", plain_configs.to_json(config))
  lines = []
  for step in range(20, NUM_STEPS + 1, 20):
    lines.append({"step": step, "time": step, "loss": 0.6 + 2 / (step + 4)})
    if step % 100 == 0:
      loss = 0.65 + 3 / step + 0.01 * seed
      lines.append(
        {"step": step, "time": step, "validation/images": loss}
        | {"validation/clips": loss - 0.05}
      )
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (folder / "metrics.jsonl").write_text(text + '{"step": 5')  # a torn one
  write_pictures(
    folder / "samples", "clips-00000250.png", "clips-00000500.png", seed=seed
  )
  write_pictures(folder / "samples", "clips-00000500.gif", seed=seed)
  meta = {
    "config": {},
    "versions": {"device_kind": "cpu"},
    "budget": {"steps": 500, "tokens": 1536000, "flops": 8.77e12},
    "tokenizer_hash": "860ea4c7cf055652",
  }
  params = params_of(seed, width)
  saving = base.saving()
  with checkpoints.Checkpoints(
    folder / checkpoints.FOLDER, saving, NUM_STEPS, meta
  ) as saved:
    saved.save(NUM_STEPS, {"params": params, "ema": {"0.99": params}}, {})


def write_generation(folder, kind, step, params_hash):
  apart = 3000 if kind == "video" else 2000
  value = {"value": 5 + apart / step, "floor": 1.5}
  scores = {"frames": value, "clips": value if kind == "video" else None}
  network = {"name": "patches", "note": "Not Inception.", "hash": "01"}
  write_json(
    folder / "generation.json",
    {
      "schema_version": 1,
      "model": {"kind": kind, "hash": params_hash, "step": step},
      "n": 128,
      "seed": 0,
      "sampler": {},
      "seconds": 30.0,
      "networks": {"frames": network, "clips": network},
      "frechet": scores,
      "kernel": scores,
      "pictures": [
        {"file": "samples.png", "title": "Frames", "caption": "Four of each."}
      ],
    },
  )
  write_pictures(folder, "samples.png", seed=step)


def write_look(folder, kind, params_hash):
  write_json(
    folder / "look.json",
    {
      "schema_version": 1,
      "model": {"kind": kind, "hash": params_hash, "step": NUM_STEPS},
      "layer": 3,
      "noise_level": 0.1,
      "motion_sensitivity": {
        "brick_wall": 0.61 if kind == "video" else 0.02,
        "still": 0.02,
        "latents": 0.2,
        "n": 64,
        "note": "How much of the features changes with time.",
      },
      "correspondence": {
        "error_px": 21.3,
        "copy_error_px": 30.2,
        "n": 2048,
        "note": "Nearest features in a later frame.",
      }
      if kind == "video"
      else None,
      "pictures": [
        {
          "file": "pca.gif",
          "still": "pca.png",
          "title": f"Features in colour: {kind} model, layer 3",
          "caption": "Three of them as colours.",
        }
      ],
    },
  )
  write_pictures(folder, "pca.gif", "pca.png", seed=len(kind))


class Maker:
  """Writes cells, and lists them."""

  def __init__(self, folder, waiting):
    self.folder, self.waiting, self.cells = folder, waiting, []

  def cell(self, name, job, **about):
    """A cell's folder; None if it is to be missing."""
    waits = about["role"] in self.waiting or name in self.waiting
    folder = f"cells/{name}-0123abcd"
    self.cells.append(
      {
        "name": name,
        "job": job,
        "folder": folder,
        "inputs": [],
        "state": "waiting" if waits else "finished",
        "failure": None,
        "seconds": None if waits else 61.2,
        "command": f"python -m vdr.main --config=c.py --workdir={folder}",
        "about": about,
      }
    )
    if waits:
      return None
    (self.folder / folder).mkdir(parents=True)
    return self.folder / folder

  def model(self, kind, size, seed, tie, width):
    name = f"{kind}-{size}-{seed}"
    params_hash = fingerprint.of(params_of(seed, width))
    config = {"video": video_dit, "image": image_dit}[kind].get_config("local")
    if path := self.cell(f"train-{name}", "train", role="train", model=name):
      write_training(path, config, seed, width)
    about = dict(model=name, step=NUM_STEPS, percent=100)
    path = self.cell(f"main-{name}", "evaluate", role="main", **about)
    if path:
      wanted = plain_configs.to_json(evaluate.get_config("local"))
      write_json(path / "config.json", wanted)
      for task in TASKS:
        if f"{name}/{task}" not in self.waiting:
          write_result(path, task, kind, seed, tie=task in tie)
          write_pictures(path / task / "pictures", f"{task}.png", seed=seed)
    if kind == "image":
      path = self.cell(
        f"every_frame-{name}", "evaluate", role="every_frame", **about
      )
      for task in TASKS if path else ():
        write_result(path, task, kind, seed + 50)
    for percent, step in STEPS.items():
      about = dict(model=name, step=step, percent=percent)
      path = percent < 100 and self.cell(
        f"budget-{name}-{percent}", "evaluate", role="budget", **about
      )
      for task in TASKS if path else ():
        share = 0.5 + 0.5 * percent / 100
        write_result(path, task, kind, seed, places=[(3, 0.2)], share=share)
      path = self.cell(
        f"generation-{name}-{percent}", "generation", role="generation", **about
      )
      if path:
        write_generation(path, kind, step, params_hash)
    path = self.cell(
      f"look-{name}", "look", role="look", model=name, step=NUM_STEPS
    )
    if path:
      write_look(path, kind, params_hash)


def make(
  folder, *, seeds=(0,), sizes=("tiny",), waiting=(), tie=(), image_width=3
):
  """Writes the study.

  Args:
    folder: its work directory.
    seeds: of pretraining.
    sizes: of the models.
    waiting: roles, cells or "MODEL/TASK" that are not there yet.
    tie: tasks in which both models score the same on every clip.
    image_width: of the image model's only parameter; 3 is the video model's.
  """
  maker = Maker(folder, waiting)
  if path := maker.cell("data", "physics", role="data"):
    write_pictures(path, "preview.png", seed=90, width=600)
  if path := maker.cell("tokenizer", "tokenizer", role="tokenizer"):
    scores = {"psnr_first_db": 37.57, "psnr_later_db": 30.44}
    scores |= {"ssim_first": 0.977, "ssim_later": 0.901, "num_clips": 128}
    write_json(path / "result.json", {"scores": scores})
    write_pictures(path, "reconstructions.png", seed=80, width=600)
  models = []
  for size in sizes:
    for seed in seeds:
      for kind in ("video", "image"):
        name = f"{kind}-{size}-{seed}"
        models.append(
          {"name": name, "kind": kind, "size": size, "seed": seed}
          | {"cell": f"train-{name}"}
        )
        maker.model(
          kind, size, seed, tie, 3 if kind == "video" else image_width
        )
  write_json(
    folder / "study.json",
    {
      "schema_version": 1,
      "title": "made up",
      "seed": 0,
      "command": "python -m vdr.main --config=configs/study.py:local",
      "started": "2026-11-24T23:00:00Z",
      "seconds": 812.0,
      "machine": {"system": "Linux", "cpu": "x", "cores": 2, "memory_gb": 24},
      "versions": {"vdr": "0.1.0", "jax": "0.10.2"},
      "models": models,
      "cells": maker.cells,
    },
  )
  return folder


if __name__ == "__main__":
  make(pathlib.Path(sys.argv[1]))
