"""How fast clips are simulated and read, and how much room they take.

  python -m benchmarks.physics

On one core, with all ground truth, at 64 × 64 × 17. The rates are those of this
machine at this moment; beside them stand two ratios that depend less on it: the
share of simulation that is ray casting, which is MuJoCo's, and the speed of our
source against that of reading the bare records.
"""

import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags
from array_record.python import array_record_data_source

from configs import base
from configs import physics as physics_config
from vdr.data.physics import clip, generate, records, render, sampling, world
from vdr.data.physics.source import PhysicsSource

ROUNDS = flags.DEFINE_integer("rounds", 7, "Interleaved rounds.")
CLIPS = 64


def timed(work: Callable[[], object]) -> float:
  """Seconds that `work` takes."""
  start = time.perf_counter()
  work()
  return time.perf_counter() - start


def cast_only(settings: clip.Settings, indices: range) -> None:
  """The rays of a clip and nothing else: a camera ray and a shadow ray each."""
  for index in indices:
    scene = sampling.sample(
      settings.scene, "train", 0, index, settings.max_distractors
    )
    simulated = world.World(scene, settings.num_frames, settings.fps)
    rays = render.pixel_rays(scene.camera, settings.height, settings.width)
    for t in range(settings.num_frames):
      render.cast_frame(simulated, t, rays)


def main(argv: list[str]) -> None:
  """Prints a Markdown table of rates, ratios and sizes."""
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  config = physics_config.get_config()
  settings = clip.Settings.from_config(config.physics)
  with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory) / "physics"
    _make(path)
    cfg = base.source()
    cfg.path, cfg.crop = str(path), "none"
    pixels = PhysicsSource(cfg)
    cfg = cfg.copy_and_resolve_references()
    cfg.fields = tuple(name for name in records.FIELDS)
    everything = PhysicsSource(cfg)
    shard = path / records.shard_name("train", 0, 1)
    bare = array_record_data_source.ArrayRecordDataSource([str(shard)])
    rng = np.random.default_rng(0)
    ways: dict[str, Callable[[], object]] = {
      "simulate": lambda: [
        records.encode(clip.simulate(settings, "train", 0, i)) for i in range(8)
      ],
      "cast": lambda: cast_only(settings, range(8)),
      "bare": lambda: [bare[i] for i in range(CLIPS)],
      "pixels": lambda: [pixels.read(i, rng) for i in range(CLIPS)],
      "everything": lambda: [everything.read(i, rng) for i in range(CLIPS)],
    }
    for work in ways.values():
      work()
    times = {name: [] for name in ways}
    for _ in range(ROUNDS.value):
      for name, work in ways.items():
        times[name].append(timed(work))
    size = shard.stat().st_size / CLIPS
  _report({name: statistics.median(t) for name, t in times.items()}, size)


def _make(path: pathlib.Path) -> None:
  config = physics_config.get_config().unlock()
  config.physics.num_clips.update(
    dict(pretrain=0, train=CLIPS, select=0, test=0, test_ood=0)
  )
  config.runtime.num_workers = 0
  generate.run(config.lock(), path)


def _report(seconds: dict[str, float], size: float) -> None:
  rate = {
    name: (8 if name in ("simulate", "cast") else CLIPS) / s
    for name, s in seconds.items()
  }
  print(
    "\n| one core, 64 × 64 × 17 | clips/s | ratio |\n|---|---|---|\n"
    f"| simulate with all truth, and encode | {rate['simulate']:.1f} |"
    f" {rate['simulate'] / rate['cast']:.2f} of casting its rays |\n"
    f"| read pixels through the source | {rate['pixels']:,.0f} |"
    f" {rate['pixels'] / rate['bare']:.2f} of the bare records |\n"
    f"| read everything through the source | {rate['everything']:,.0f} |"
    f" {rate['everything'] / rate['bare']:.2f} of the bare records |\n"
    f"\nOn disk: {size / 1e3:.0f} KB a clip, {size / 1e5:.2f} GB for 10,000."
  )


if __name__ == "__main__":
  app.run(main)
