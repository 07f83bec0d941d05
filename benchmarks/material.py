"""Clips to measure with, made on the spot: simulated, as videos, as latents."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import av
import numpy as np

from configs import base
from configs import latents as latents_config
from configs import physics as physics_config
from vdr import latents as latents_verb
from vdr.data import frame_to_rgb
from vdr.data.physics import generate

FPS = 30


def simulated(path: pathlib.Path, num_clips: int, variant: str = "") -> None:
  """A simulated data set whose only splits are `pretrain` and `train`.

  Args:
    path: its directory.
    num_clips: of each of the two.
    variant: of configs/physics.py.
  """
  config = physics_config.get_config(variant or None).unlock()
  splits = dict.fromkeys(config.physics.num_clips, 0)
  config.physics.num_clips.update(
    splits | {"pretrain": num_clips, "train": num_clips}
  )
  with quietly():
    generate.run(config.lock(), path)


def latents(path: pathlib.Path, clips: pathlib.Path) -> None:
  """The latents of the split `pretrain` of 32 × 32 clips, of patches."""
  config = base.override(
    latents_config.get_config("local"),
    {
      "data.sources.main.path": str(clips),
      "data.batch_size": 32,
      "latents.splits": ("pretrain",),
      "latents.clips_per_shard": 64,
    },
  )
  with quietly():
    latents_verb.run(config, path)


def video(
  path: pathlib.Path, seed: int, height: int, width: int, num_frames: int
) -> None:
  """Blocks and noise that drift over the picture, H.264 with B-frames."""
  rng = np.random.default_rng(seed)
  blocks = rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)
  canvas = blocks.repeat(8, 0).repeat(8, 1).astype(np.int16)
  noise = rng.integers(-12, 12, (height + 32, width + 32, 1))
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", rate=FPS, options={"crf": "20"})
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    stream.codec_context.gop_size = 2 * FPS
    for k in range(num_frames):
      y, x = 40 + int(30 * np.sin(k / 40 + seed)), k // 2 % 300
      dy, dx = rng.integers(0, 32, 2)
      pixels = canvas[y : y + height, x : x + width]
      pixels = pixels + noise[dy : dy + height, dx : dx + width]
      pixels = np.clip(pixels, 0, 255).astype(np.uint8)
      frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
      frame.pts = k
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def read_video(
  path: str,
  stamps: list[int],
  box: tuple[int, int, int, int],
  size: int,
  can_skip: bool = False,
) -> np.ndarray:
  """A clip by PyAV alone, as plainly as it is fast.

  Args:
    path: of the video.
    stamps: presentation times of the frames, which increase.
    box: of the crop, in pixels.
    size: pixels of the square that it becomes.
    can_skip: leave out what is neither wanted nor needed by other frames.
  """
  out = np.empty((len(stamps), size, size, 3), np.uint8)
  convert = frame_to_rgb.Converter()
  wanted, place = set(stamps), 0
  with av.open(path) as container:
    stream = container.streams.video[0]
    context = stream.codec_context
    context.thread_type, context.thread_count = "NONE", 1
    container.seek(stamps[0], stream=stream)
    for packet in container.demux(stream):
      if can_skip:
        context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
      for frame in packet.decode():
        if place < len(stamps) and frame.pts == stamps[place]:
          out[place] = convert(frame, box, size, size)
          place += 1
      if place == len(stamps):
        return out
  raise RuntimeError(f"{path} has no frame {stamps[place]}")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
  """What verbs print is no part of a benchmark's table."""
  with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
    yield
