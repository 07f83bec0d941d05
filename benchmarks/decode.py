"""How much of bare PyAV's decoding speed a video source keeps.

  python -m benchmarks.decode [--videos=6] [--rounds=9] [--json=PATH]

Makes a set of synthetic H.264 videos (10 s at 256 lines, with B-frames and a
keyframe every 2 s), and reads the same random clips from it in three ways:

* **PyAV alone**: open, seek to the keyframe, decode up to the last wanted
  frame, crop, resize and convert those wanted, in this process. It is told
  which frames and which crop to take;
* **PyAV, skipping**: the same, but leaving out frames that are neither wanted
  nor needed by others, as the source does;
* **the source**: `VideoFolder.read`, which also lists the video's frames,
  chooses among them, and decodes in a child process that can be killed.

All of it runs on one core, interleaved video by video; the pictures have to be
equal to the last bit, and figures are medians of the rounds. Then both ways of
resizing are compared in speed, and in their distance to a resize in floating
point of each plane by itself.
"""

import functools
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import av
import av.video.reformatter
import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks import material, turns
from configs import base
from vdr.data import decoder, frame_to_rgb, source, transforms, video

_VIDEOS = flags.DEFINE_integer("videos", 6, "Videos that are read.")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "Rounds; medians are printed.")

HEIGHT, WIDTH, SIZE = 256, 340, 224
FPS, SECONDS = material.FPS, 10


def compare_reading(paths: list[str], stride: int, rounds: int) -> np.ndarray:
  """Seconds a clip in each round: PyAV alone, skipping, and the source."""
  cfg = base.source()
  cfg.update(
    kind="video_folder",
    split="all",
    path=os.path.dirname(paths[0]),
    num_frames=16,
    stride=stride,
    sampling="random",
    crop="random",
    height=SIZE,
    width=SIZE,
    fields=("video", "frame_times_s", "crop_affine"),
  )
  opened = source.open_source(cfg)
  tables = [video.VideoFile(path).table for path in paths]
  spent = np.zeros((rounds + 1, len(paths), 3))
  for round_, number in np.ndindex(rounds + 1, len(paths)):
    rng = np.random.default_rng([round_, number])
    example, spent[round_, number, 2] = timed(
      functools.partial(opened.read, number, rng)
    )
    # The same clip, found from what the source says about it.
    indices = np.round(example["frame_times_s"] * FPS).astype(int)
    stamps = tables[number].pts[indices].tolist()
    box = transforms.box_px(example["crop_affine"], HEIGHT, WIDTH)
    for way in (0, 1):
      alone, spent[round_, number, way] = timed(
        functools.partial(
          material.read_video, paths[number], stamps, box, SIZE, bool(way)
        )
      )
      np.testing.assert_array_equal(alone, example["video"])
  return spent[1:].mean(axis=1)  # the first round warms up


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
  """What a call returns, and the seconds that it takes."""
  found: list[Any] = []
  seconds = turns.timed(lambda: found.append(run()))
  return found[0], seconds.wall


def resizers() -> dict[str, Callable[[av.VideoFrame], np.ndarray]]:
  """Ways from a decoded frame to the middle square, 224 pixels wide."""
  ways = av.video.reformatter.Interpolation
  fused = frame_to_rgb.Converter()
  box = (0, 42, HEIGHT, 298)
  reformatter = av.video.reformatter.VideoReformatter()
  plain = av.video.reformatter.VideoReformatter()
  crop = frame_to_rgb.Cropper()

  def pillow(frame: av.VideoFrame) -> np.ndarray:
    rgb = reformatter.reformat(
      frame,
      format="rgb24",
      interpolation=ways.BILINEAR | ways.FULL_CHR_H_INT,
      threads=1,
    )
    image = rgb.to_image().resize(
      (SIZE, SIZE), Image.Resampling.BILINEAR, box=(42, 0, 298, HEIGHT)
    )
    return np.asarray(image)

  def half_chroma(frame: av.VideoFrame) -> np.ndarray:
    part = crop(frame, box)
    out = plain.reformat(
      part, SIZE, SIZE, "rgb24", interpolation=ways.BILINEAR, threads=1
    )
    return out.to_ndarray()

  return {
    "libswscale, fused, full chroma (used)": lambda f: fused(
      f, box, SIZE, SIZE
    ).copy(),
    "libswscale, fused, its default chroma": half_chroma,
    "libswscale to RGB, then Pillow": pillow,
  }


def reference(frame: av.VideoFrame) -> np.ndarray:
  """Each plane resized in floating point, then BT.601 to RGB."""
  planes = []
  for index, plane in enumerate(frame.planes):
    raw = np.frombuffer(memoryview(plane), np.uint8)
    pixels = raw.reshape(-1, plane.line_size)[: plane.height, : plane.width]
    # H.264 has chroma at the left of its two pixels, a quarter of a sample.
    scale, shift = (2, 0.25) if index else (1, 0)
    image = Image.fromarray(pixels.astype(np.float32))
    box = (42 / scale + shift, 0, 298 / scale + shift, HEIGHT / scale)
    image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
    planes.append(np.asarray(image))
  luma = (planes[0] - 16) * 255 / 219
  blue, red = ((plane - 128) * 255 / 224 for plane in planes[1:])
  rgb = [
    luma + 1.402 * red,
    luma - 0.344136 * blue - 0.714136 * red,
    luma + 1.772 * blue,
  ]
  return np.clip(np.stack(rgb, -1), 0, 255)


def compare_resizing(path: str, rounds: int) -> None:
  with av.open(path) as container:
    frames = [
      f for f, _ in zip(container.decode(video=0), range(32), strict=False)
    ]
  expected = reference(frames[0])
  ways = resizers()
  runs = turns.each_timed(
    {
      name: lambda way=way: [way(frame) for frame in frames]
      for name, way in ways.items()
    }
  )
  rows = []
  for name, times in turns.take(runs, rounds).items():
    off = np.abs(ways[name](frames[0]) - expected)
    spent = 1e3 * turns.medians(times).wall / len(frames)
    rows.append([name, f"{spent:.2f}", f"{off.mean():.2f}", f"{off.max():.0f}"])
  head = ("crop, resize, RGB", "ms a frame", "mean error", "largest")
  print(f"\n{turns.table(head, rows)}")


def main(argv: list[str]) -> None:
  del argv
  # Children inherit it: both ways share one core.
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  with tempfile.TemporaryDirectory() as folder:
    paths = [f"{folder}/{k}.mp4" for k in range(_VIDEOS.value)]
    for seed, path in enumerate(paths):
      material.video(pathlib.Path(path), seed, HEIGHT, WIDTH, FPS * SECONDS)
    rows, found = [], []
    for stride in (1, 2, 4):
      seconds = compare_reading(paths, stride, _ROUNDS.value)
      alone, _, ours = 1 / np.median(seconds, axis=0)
      plain, skipping = (seconds[:, i] / seconds[:, 2] for i in (0, 1))
      rows.append(
        [
          f"stride {stride}",
          f"{alone:.1f}",
          f"{ours:.1f}",
          f"{np.median(plain):.2f}",
          f"{np.median(skipping):.2f}",
        ]
      )
      what = f"reading 16 frames of an mp4, stride {stride}: over bare PyAV"
      found.append(turns.Comparison.of(what, plain.tolist()))
    head = (
      "16 frames",
      "PyAV alone, clips/s",
      "source, clips/s",
      "source / PyAV",
      "source / PyAV skipping",
    )
    print(turns.table(head, rows), flush=True)
    compare_resizing(paths[0], _ROUNDS.value)
  decoder.close()
  turns.write(found)


if __name__ == "__main__":
  app.run(main)
