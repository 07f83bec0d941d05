"""Videos whose frames show their own number, in blocks that survive coding."""

import fractions
import pathlib

import av
import numpy as np

HEIGHT, WIDTH = 96, 128
_BITS = 12


def picture(number: int, height: int = HEIGHT, width: int = WIDTH):
  """A frame: 3 x 4 blocks, white where a bit of `number` is set."""
  bits = (number >> np.arange(_BITS)) & 1
  blocks = np.where(bits, 235, 20).astype(np.uint8).reshape(3, 4)
  blocks = blocks.repeat(height // 3, 0).repeat(width // 4, 1)
  return np.repeat(blocks[:, :, None], 3, 2)


def number_of(frame: np.ndarray) -> int:
  """The number that a whole frame shows, at whatever size."""
  height, width = frame.shape[:2]
  rows = ((np.arange(3) + 0.5) / 3 * height).astype(int)
  columns = ((np.arange(4) + 0.5) / 4 * width).astype(int)
  bits = frame[rows[:, None], columns].mean(-1) > 128
  return int((bits.reshape(-1) << np.arange(_BITS)).sum())


def write(
  path: pathlib.Path,
  num_frames: int = 40,
  codec: str = "libx264",
  fps: int = 25,
  gop: int = 10,
  options: dict[str, str] | None = None,
  rotation: tuple[int, bool] | None = None,
  pts: list[int] | None = None,
  pictures: list[np.ndarray] | None = None,
  pixel_format: str = "yuv420p",
  muxer: dict[str, str] | None = None,
  aspect: fractions.Fraction | None = None,
) -> pathlib.Path:
  """Writes a numbered video.

  Args:
    path: the file; its suffix names the container.
    num_frames: frames, numbered from 0.
    codec: FFmpeg's name of the encoder.
    fps: of the stream; its time base is 1 / fps.
    gop: frames from a keyframe to the next.
    options: of the encoder.
    rotation: display rotation (degrees, counter-clockwise), and a mirror.
    pts: presentation times in units of 1 / fps, for uneven ones.
    pictures: other pictures than numbers.
    pixel_format: of the encoded video.
    muxer: options of the container.
    aspect: width of a pixel over its height.
  """
  pictures = pictures or [picture(k) for k in range(num_frames)]
  with av.open(str(path), "w", options=muxer or {}) as container:
    stream = container.add_stream(codec, rate=fps, options=options or {})
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = pixel_format
    stream.codec_context.gop_size = gop
    if aspect:
      stream.codec_context.sample_aspect_ratio = aspect
    if rotation:
      stream.set_display_rotation(rotation[0], hflip=rotation[1])
    for k, pixels in enumerate(pictures):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
      frame.pts = pts[k] if pts else k
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path
