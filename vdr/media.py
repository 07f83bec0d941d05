"""Files of pictures and clips, whole or not at all."""

import math
import pathlib
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vdr.runtime import workdir

PALETTE_PIXELS = 250_000  # that colours are chosen from


def write_png(path: pathlib.Path, picture: UInt8[np.ndarray, "h w 3"]) -> None:
  """Writes a picture, without loss."""
  with workdir.atomic_path(path) as temporary:
    Image.fromarray(picture).save(temporary, format="png", optimize=True)


def write_gif(
  path: pathlib.Path,
  frames: UInt8[np.ndarray, "t h w 3"],
  fps: float,
  hold_s: float = 0.0,
) -> None:
  """Writes an animation that repeats for ever.

  All frames share one palette and none is dithered: colours that are the same
  in two frames stay the same, and the file stays small. GIF knows times in
  hundredths of a second.

  Args:
    path: the file.
    frames: the clip.
    fps: frames per second, at most 50.
    hold_s: seconds that the last frame stays longer.
  """
  palette = _palette(frames)
  images = [
    Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
    for frame in frames
  ]
  durations = [1000 / fps] * len(images)
  durations[-1] += 1000 * hold_s
  with workdir.atomic_path(path) as temporary:
    images[0].save(
      temporary,
      format="gif",
      save_all=True,
      append_images=images[1:],
      duration=[max(20, round(d / 10) * 10) for d in durations],
      loop=0,
    )


def write_mp4(
  path: pathlib.Path, frames: UInt8[np.ndarray, "t h w 3"], fps: float
) -> None:
  """Writes H.264 that every browser plays; odd sizes grow by a pixel.

  Args:
    path: the file.
    frames: the clip.
    fps: frames per second.
  """
  import av

  odd_h, odd_w = frames.shape[1] % 2, frames.shape[2] % 2
  frames = np.pad(frames, [(0, 0), (0, odd_h), (0, odd_w), (0, 0)], "edge")
  rate = Fraction(fps).limit_denominator(1000)
  with workdir.atomic_path(path) as temporary:
    options = {"movflags": "faststart"}  # plays before it is all there
    with av.open(temporary, "w", format="mp4", options=options) as file:
      stream = file.add_stream("libx264", rate=rate, options={"crf": "16"})
      stream.height, stream.width = frames.shape[1:3]
      stream.pix_fmt = "yuv420p"
      for picture in frames:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        file.mux(stream.encode(frame))
      file.mux(stream.encode())


def _palette(frames: UInt8[np.ndarray, "t h w 3"]) -> Image.Image:
  """255 colours for the whole clip; the last entry is left for transparency."""
  # Every third pixel of every third row is enough to know the colours, and of
  # large clips fewer.
  step = max(3, math.isqrt(frames.size // 3 // PALETTE_PIXELS))
  pixels = frames[:, ::step, ::step].reshape(1, -1, 3)
  return Image.fromarray(pixels).quantize(
    255, method=Image.Quantize.MEDIANCUT, kmeans=2
  )
