"""From a decoded frame to RGB pixels: turned, cut and resized."""

import dataclasses
import fractions
from typing import Any

import av
import av.filter
import av.video.reformatter
import numpy as np
from jaxtyping import UInt8

# libswscale's triangle filter with half-pixel centres, widened when shrinking.
# Without the chroma flags it drops half of the chroma's resolution: 5.6 grey
# levels off on coloured blocks instead of 0.25.
_INTERPOLATION = (
  av.video.reformatter.Interpolation.BILINEAR
  | av.video.reformatter.Interpolation.FULL_CHR_H_INT
  | av.video.reformatter.Interpolation.FULL_CHR_H_INP
)


@dataclasses.dataclass(frozen=True)
class Orientation:
  """How a decoded picture becomes the displayed one: swap axes, then mirror."""

  swap: bool = False
  mirror_y: bool = False
  mirror_x: bool = False

  @classmethod
  def of_frame(cls, frame: av.VideoFrame) -> "Orientation":
    """From the display matrix; angles between right ones are rounded."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
      return cls()
    # [a b u; c d v; …] in fixed point: x' = a x + c y, y' = b x + d y.
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
      return cls(swap=True, mirror_y=b < 0, mirror_x=c < 0)
    return cls(mirror_y=d < 0, mirror_x=a < 0)

  def decoded_size(self, height: int, width: int) -> tuple[int, int]:
    """From the size of the displayed picture; its own inverse."""
    return (width, height) if self.swap else (height, width)

  def decoded_box(
    self, box: tuple[int, int, int, int], height: int, width: int
  ) -> tuple[int, int, int, int]:
    """A box (y0, x0, y1, x1) of the displayed picture in the decoded one."""
    y0, x0, y1, x1 = box
    if self.mirror_y:
      y0, y1 = height - y1, height - y0
    if self.mirror_x:
      x0, x1 = width - x1, width - x0
    return (x0, y0, x1, y1) if self.swap else (y0, x0, y1, x1)

  def display(self, picture: UInt8[np.ndarray, "y x 3"]) -> np.ndarray:
    """The displayed picture, a view of the decoded one."""
    if self.swap:
      picture = picture.swapaxes(0, 1)
    return picture[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]


class Cropper:
  """Cuts frames with FFmpeg's own filter.

  No pixel is copied, and all that a frame says about its colours stays, such as
  where its chroma lies.
  """

  def __init__(self):
    self._graph: av.filter.Graph | None = None
    self._key: tuple = ()

  def __call__(
    self, frame: av.VideoFrame, box: tuple[int, int, int, int]
  ) -> av.VideoFrame:
    """The part `(y0, x0, y1, x1)`; chroma starts at or before it does."""
    key = (frame.format.name, frame.height, frame.width, box)
    if self._graph is None or key != self._key:
      self._graph, self._key = _crop_graph(frame, box), key
    self._graph.push(frame)
    cut: Any = self._graph.pull()
    return cut


def _crop_graph(
  frame: av.VideoFrame, box: tuple[int, int, int, int]
) -> av.filter.Graph:
  y0, x0, y1, x1 = box
  graph = av.filter.Graph()
  source = graph.add_buffer(
    width=frame.width,
    height=frame.height,
    format=frame.format,
    # No frame is dropped or repeated, so any will do for one that has none.
    time_base=frame.time_base or fractions.Fraction(1, 1000),
  )
  crop = graph.add("crop", f"{x1 - x0}:{y1 - y0}:{x0}:{y0}:exact=1")
  sink = graph.add("buffersink")
  source.link_to(crop)
  crop.link_to(sink)
  graph.configure()
  return graph


class Converter:
  """Cuts, resizes and converts frames to RGB, all inside FFmpeg.

  Chroma lies where the file says. Colours without a named space are BT.601's,
  as everywhere in FFmpeg.
  """

  def __init__(self):
    # Each keeps the filter of the last size it saw.
    self._to_size = av.video.reformatter.VideoReformatter()
    self._to_rgb = av.video.reformatter.VideoReformatter()
    self._crop = Cropper()

  def __call__(
    self,
    frame: av.VideoFrame,
    box: tuple[int, int, int, int],
    height: int,
    width: int,
  ) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """The part `(y0, x0, y1, x1)` of a frame, resized. A view: copy it."""
    if box != (0, 0, frame.height, frame.width):
      if not _is_croppable(frame.format):
        frame = self._to_rgb.reformat(
          frame, format="rgb24", interpolation=_INTERPOLATION, threads=1
        )
      frame = self._crop(frame, box)
    frame = self._to_size.reformat(
      frame, width, height, "rgb24", interpolation=_INTERPOLATION, threads=1
    )
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8)
    rows = rows.reshape(-1, plane.line_size)[:height, : 3 * width]
    return rows.reshape(height, width, 3)


def crop_steps(pixel_format: av.VideoFormat) -> tuple[int, int]:
  """Pixels in y and in x that share a chroma sample.

  A crop that begins at multiples of them keeps chroma in its place.
  """
  if not _is_croppable(pixel_format):
    return 1, 1  # cut after the conversion to RGB
  many = 64
  return (
    many // pixel_format.chroma_height(many),
    many // pixel_format.chroma_width(many),
  )


def _is_croppable(pixel_format: av.VideoFormat) -> bool:
  """Whether every component has a plane of its own, or it is RGB."""
  planes = [component.plane for component in pixel_format.components]
  alone = len(set(planes)) == len(planes)
  is_packed = (
    pixel_format.has_palette
    or pixel_format.is_bayer
    or pixel_format.is_bit_stream
  )
  return pixel_format.name == "rgb24" or (alone and not is_packed)
