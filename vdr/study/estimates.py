"""How long cells take and what they fill, before anything has run.

For plans and for the time left, not for claims: from counts of what is done in
the config, at speeds measured on one core of a small cloud machine. The time
left is corrected by what finished cells really took.
"""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

from vdr.models import flops, sizes
from vdr.runtime import progress
from vdr.study.cells import Cell, explain

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

START_S = 15.0  # of a verb: to compile, mostly
GFLOPS = 40e9  # a core does in a transformer, per second
PIXELS = 17 * 64 * 64  # of the clip that these are measured on:
SIMULATED_S = 0.045  # a clip is simulated
STORED_BYTES = 146e3  # it takes on disk
PROBE_STEP_S = 0.006  # a step of one probe, of 32 clips of 320 tokens
JUDGE_STEP_S = 0.06  # a step of the judge


def table(cells: Sequence[Cell], study: pathlib.Path) -> str:
  """The plan, for people: what runs, from what, how long, how large."""
  rows = [("cell", "job", "needs", "time", "disk", "state")]
  for cell in cells:
    rows.append(
      (
        cell.name,
        cell.job,
        ", ".join(one.name for one in cell.inputs) or "-",
        progress.duration(seconds(cell)),
        _size(disk_bytes(cell)),
        _state(cell, study),
      )
    )
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
  lines = [
    "  ".join(
      text.ljust(width) for text, width in zip(row, widths, strict=True)
    ).rstrip()
    for row in rows
  ]
  left = [cell for cell in cells if not cell.is_finished(study)]
  total = progress.duration(sum(map(seconds, left)))
  size = _size(sum(map(disk_bytes, left)))
  lines.append(f"{len(left)} cells to run: about {total} of one core, {size}")
  if why := explain(cells, study):
    lines.append(why)
  return "\n".join(lines)


def _state(cell: Cell, study: pathlib.Path) -> str:
  if cell.is_finished(study):
    return "finished"
  return "to run (other code)" if cell.of_other_code(study) else "to run"


def seconds(cell: Cell) -> float:
  """Seconds of one core that a cell takes, roughly."""
  config = cell.config
  match cell.job:
    case "physics":
      clips = sum(config.physics.num_clips.values())
      return 5 + clips * SIMULATED_S * max(_pixels(config), 0.25)
    case "train":
      return START_S + config.train.amount * _step_flops(config) / GFLOPS
    case "evaluate":
      return START_S + _evaluation(config)
    case "judge":
      return START_S + config.judge.num_steps * JUDGE_STEP_S * _pixels(config)
    case "generation":
      steps = config.sampler.num_steps * config.generation.num
      return START_S + steps * _clip_flops(config) / GFLOPS
    case _:
      return START_S


def disk_bytes(cell: Cell) -> float:
  """What a cell fills, roughly."""
  config = cell.config
  match cell.job:
    case "physics":
      clips = sum(config.physics.num_clips.values())
      return clips * STORED_BYTES * _pixels(config)
    case "latents":
      cfg = config.tokenizer
      side = config.data.sources.main.height // cfg.downsample
      num = config.physics.num_clips.pretrain
      return 4.0 * num * 22 * side**2 * cfg.channels
    case "train":
      size = sizes.size_of(config.model.size)
      params = 12 * size.depth * size.width**2
      kept = config.saving.keep_last + len(config.saving.budgets_percent)
      return 4.0 * params * (3 + len(config.optimizer.ema_decays)) * kept
    case _:
      return 5e6


def _pixels(config: Config) -> float:
  cfg = config.physics
  return cfg.num_frames * cfg.height * cfg.width / PIXELS


def _grid(config: Config) -> tuple[int, int, int]:
  side = config.data.sources.main.height // config.tokenizer.downsample
  frames = 1 + (config.data.sources.main.num_frames - 1) // 4
  return frames, side, side


def _clip_flops(config: Config) -> float:
  return float(flops.forward(config.model, _grid(config)))


def _step_flops(config: Config) -> float:
  clips = config.data.batch_size
  images = config.images.batch_size / _grid(config)[0]
  return 3 * (clips + images) * _clip_flops(config)


def _evaluation(config: Config) -> float:
  """Reading features, fitting probes, and the same again for controls."""
  cfg = config.evaluate
  clips = sum(
    cfg.num_clips[ours] or config.physics.num_clips[split]
    for ours, split in cfg.splits.items()
  )
  frames = 17 / 5 if cfg.frames == "every" else 1.0
  levels = len(cfg.noise_levels)
  everywhere = cfg.controls_place == "best"
  passes = levels + len(cfg.controls) * (levels if everywhere else 1)
  places = levels * max(len(cfg.layers), 1)
  places += len(cfg.controls) * (places if everywhere else 1)
  reading = clips * frames * passes * _clip_flops(config) / GFLOPS
  members = len(config.probe.learning_rates) * config.probe.num_seeds
  steps = places * len(cfg.tasks) * config.probe.num_steps * members
  tokens = math.prod(_grid(config)) / 320
  return reading + steps * PROBE_STEP_S * frames * tokens


def _size(count: float) -> str:
  return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
