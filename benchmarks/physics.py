"""How fast clips are simulated and read, and how much room they take.

  python -m benchmarks.physics [--rounds=7] [--json=PATH]

On one core, with all ground truth, at 64 × 64 × 17. The rates are those of this
machine at this moment; beside them stand two ratios that depend less on it: the
share of simulation that is ray casting, which is MuJoCo's, and the speed of our
source against that of reading the bare records.
"""

import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
from absl import app, flags
from array_record.python import array_record_data_source

from benchmarks import material, turns
from configs import base
from configs import physics as physics_config
from vdr.data.physics import clip, records, render, sampling, world
from vdr.data.physics.source import PhysicsSource

ROUNDS = flags.DEFINE_integer("rounds", 7, "Interleaved rounds.")
CLIPS, SIMULATED = 64, 8  # of a turn
# What speeds are compared with: its key, and in words.
CAST, BARE = ("cast", "casting its rays"), ("bare", "the bare records")


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
    material.simulated(path, CLIPS)
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
        records.encode(clip.simulate(settings, "train", 0, i))
        for i in range(SIMULATED)
      ],
      "cast": lambda: cast_only(settings, range(SIMULATED)),
      "bare": lambda: [bare[i] for i in range(CLIPS)],
      "pixels": lambda: [pixels.read(i, rng) for i in range(CLIPS)],
      "everything": lambda: [everything.read(i, rng) for i in range(CLIPS)],
    }
    for work in ways.values():
      work()
    times = turns.take(turns.each_timed(ways), ROUNDS.value)
    size = shard.stat().st_size / CLIPS
  turns.write(_report(times, size))


def _report(
  times: dict[str, list[turns.Seconds]], size: float
) -> list[turns.Comparison]:
  """Prints the table; returns what is compared in it."""
  seconds = {name: [t.wall for t in found] for name, found in times.items()}
  rows, found = [], []
  for what, name, over, of in (
    ("simulate with all truth, and encode", "simulate", *CAST),
    ("read pixels through the source", "pixels", *BARE),
    ("read everything through the source", "everything", *BARE),
  ):
    clips = SIMULATED if name == "simulate" else CLIPS
    rate = clips / turns.spread(seconds[name]).middle
    line = turns.Comparison.of(
      f"simulated clips, {what}: speed over {of}",
      turns.ratios(seconds[over], seconds[name]),
    )
    found.append(line)
    rows.append([what, turns.number(rate), f"{line.value:.2f} of {of}"])
  head = ("one core, 64 × 64 × 17", "clips/s", "ratio")
  print(f"\n{turns.table(head, rows)}")
  print(
    f"\nOn disk: {size / 1e3:.0f} KB a clip, {size / 1e5:.2f} GB for 10,000."
  )
  return found


if __name__ == "__main__":
  app.run(main)
