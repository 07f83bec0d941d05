"""Files of pictures and clips, whole or not at all."""

import math
import pathlib
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vdr.runtime import errors, workdir

PALETTE_PIXELS = 250_000  # that colours are chosen from
MIN_DELAY_CS = 2  # browsers show a frame of 1 for 10
MAX_DELAY_CS = 2**16 - 1


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
  in two frames stay the same, and the file stays small. The animation lasts
  t / fps seconds, see `gif_delays`.

  Args:
    path: the file.
    frames: the clip.
    fps: frames per second. Above 50 some frames are left out.
    hold_s: seconds that the last frame stays longer.

  Raises:
    UserError: the animation would take longer than a GIF can say.
  """
  delays_cs = gif_delays(len(frames), fps)
  # The first and the last frame are always shown.
  shown = np.linspace(0, len(frames) - 1, len(delays_cs)).round().astype(int)
  delays_cs[-1] += round(100 * hold_s)
  # Equal neighbours become one frame, so that the sum has to fit, too.
  if sum(delays_cs) > MAX_DELAY_CS:
    raise errors.UserError(
      f"{path}: {len(frames)} frames at fps={fps} take"
      f" {sum(delays_cs) / 100:.0f} s, and a GIF at most"
      f" {MAX_DELAY_CS / 100:.0f} s; use a higher fps"
    )
  palette = _palette(frames)
  images = [
    Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
    for frame in frames[shown]
  ]
  with workdir.atomic_path(path) as temporary:
    images[0].save(
      temporary,
      format="gif",
      save_all=True,
      append_images=images[1:],
      duration=[10 * delay for delay in delays_cs],
      loop=0,
    )


def gif_delays(num_frames: int, fps: float) -> list[int]:
  """How long each frame of a GIF stays, in its unit of 10 ms.

  Frame k ends at the unit nearest to (k + 1) / fps, so that rounding does not
  add up: at 8 fps frames stay 120 and 130 ms in turn. Browsers slow frames down
  that stay less than 20 ms. Where there are more frames than that allows, fewer
  are shown, in the same time.

  Args:
    num_frames: of the clip.
    fps: frames per second.

  Returns:
    A delay for each frame that is shown; `num_frames` of them up to 50 fps.
  """
  _check_fps(fps)
  total_cs = 100 * num_frames / fps
  shown = max(1, min(num_frames, int(total_cs / MIN_DELAY_CS + 1e-9)))
  total_cs = max(total_cs, MIN_DELAY_CS)
  ends_cs = np.round(np.arange(shown + 1) * total_cs / shown).astype(int)
  return np.diff(ends_cs).tolist()


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

  _check_fps(fps)
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


def _check_fps(fps: float) -> None:
  if not 0.001 <= fps <= 1000:
    raise errors.UserError(f"fps={fps}: use 0.001 to 1000 frames per second")


def _palette(frames: UInt8[np.ndarray, "t h w 3"]) -> Image.Image:
  """255 colours for the whole clip; the last entry is left for transparency."""
  # Every third pixel of every third row is enough to know the colours, and of
  # large clips fewer.
  step = max(3, math.isqrt(frames.size // 3 // PALETTE_PIXELS))
  pixels = frames[:, ::step, ::step].reshape(1, -1, 3)
  return Image.fromarray(pixels).quantize(
    255, method=Image.Quantize.MEDIANCUT, kmeans=2
  )
