"""From files to the device, against reading the same files and nothing else.

  python -m benchmarks.inputs [--rounds=5] [--json=PATH]

Three kinds of files: H.264 videos of 256 lines (17 frames of the middle, the
central square at 224 pixels), simulated clips of 17 × 32 × 32 in ArrayRecord
files, and their latents, likewise. The bare ways read on one core in one
process: PyAV, told which frames and which square; ArrayRecord, and the record
parsed. Ours is all that training has: source, loader, transfer to the device,
with no worker process and with one for each usable core.
"""

import functools
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import app, flags
from array_record.python import array_record_data_source
from tensorflow_datasets.proto import tf_example_pb2

from benchmarks import feeding, material, turns
from configs import base
from vdr.data import decoder, transforms, video
from vdr.data import source as source_lib
from vdr.runtime import processes

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds; medians are printed.")
_SECONDS = flags.DEFINE_float("seconds", 3.0, "Time of one way in one round.")
_BATCH = flags.DEFINE_integer("batch_size", 4, "Clips of a batch.")
_VIDEOS = flags.DEFINE_integer("videos", 8, "Videos that are read.")
_CLIPS = flags.DEFINE_integer("clips", 128, "Simulated clips.")

HEIGHT, WIDTH, SIZE = 256, 340, 224
NUM_FRAMES = 3 * material.FPS  # of a video
BARE = "bare"

Read = Callable[[int], object]


def videos(folder: pathlib.Path) -> tuple[source_lib.Source, Read]:
  """Videos, and PyAV that reads the same clips of them."""
  folder.mkdir()
  for seed in range(_VIDEOS.value):
    path = folder / f"{seed}.mp4"
    material.video(path, seed, HEIGHT, WIDTH, NUM_FRAMES)
  source = _open(
    folder, SIZE, kind="video_folder", split="all", sampling="middle"
  )
  found = []
  for index in range(len(source)):
    path = str(folder / source.clip_id(index))
    example = source.read(index, np.random.default_rng(0))
    frames = np.round(example["frame_times_s"] * material.FPS).astype(int)
    stamps = video.VideoFile(path).table.pts[frames].tolist()
    box = transforms.box_px(example["crop_affine"], HEIGHT, WIDTH)
    found.append((path, stamps, box, SIZE))
  return source, lambda index: material.read_video(*found[index % len(found)])


def records(
  path: pathlib.Path, kind: str, field: str, dtype: type, pattern: str
) -> tuple[source_lib.Source, Read]:
  """Clips in ArrayRecord files, and what parses their records alone."""
  source = _open(path, 32, kind=kind, split="pretrain")
  files = sorted(map(str, path.glob(pattern)))
  reader = array_record_data_source.ArrayRecordDataSource(files)

  def read(index: int) -> np.ndarray:
    record = reader[index % len(reader)]
    feature = tf_example_pb2.Example.FromString(record).features.feature
    return np.frombuffer(feature[field].bytes_list.value[0], dtype).copy()

  return source, read


def _open(path: pathlib.Path, side: int, **fields: Any) -> source_lib.Source:
  cfg = base.source()
  cfg.update(path=str(path), height=side, width=side, **fields)
  if cfg.kind == "video_folder":
    cfg.fields = ("video", "frame_times_s", "crop_affine")
  return source_lib.open_source(cfg)


def compare(
  name: str, source: source_lib.Source, read: Read
) -> list[turns.Comparison]:
  """Measures all ways in turns and prints their medians."""
  size, seconds = _BATCH.value, _SECONDS.value
  cores = processes.usable_cores()
  ways = {BARE: functools.partial(feeding.bare, read, size, seconds)}
  for workers in (0, cores):
    ways[f"to the device, {workers} workers"] = functools.partial(
      feeding.loaded, source, workers, size, seconds, to_device=True
    )
  rates = turns.take(ways, _ROUNDS.value)
  rows, found = [], []
  for way, values in rates.items():
    line = turns.Comparison.of(
      f"input, {name}: {way} over bare reading",
      turns.ratios(values, rates[BARE]),
    )
    clips = turns.number(turns.spread(values).middle)
    rows.append([way, clips, *line.cells()[1:3]])
    if way != BARE:
      found.append(line)
  print(f"\n{turns.table((name, 'clips/s', 'relative', 'range'), rows)}")
  return found


def main(argv: list[str]) -> None:
  del argv
  found = []
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    found += compare("mp4", *videos(root / "videos"))
    decoder.close()
    clips, latents = root / "clips", root / "latents"
    material.simulated(clips, _CLIPS.value, "local")
    found += compare(
      "ArrayRecord of pixels",
      *records(clips, "physics", "video", np.uint8, "physics-pretrain*"),
    )
    material.latents(latents, clips)
    found += compare(
      "ArrayRecord of latents",
      *records(latents, "latents", "latents", np.float32, "latents-pretrain*"),
    )
  turns.write(found)


if __name__ == "__main__":
  app.run(main)
