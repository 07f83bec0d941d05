"""Decoding with PyAV: exact frames, by presentation time, cut and resized.

A video is first scanned: its packets are listed without decoding them, so that
all presentation times are known. Then only the wanted frames are decoded, from
the last keyframe before the first of them.

This module decodes in the calling process, where nothing can stop a decoder
that hangs; sources use `vdr.data.decoder`, which does the same in a child
process. The child imports this module, so it imports little.
"""

import collections
import contextlib
import dataclasses
import fractions
import os
from collections.abc import Iterator
from typing import Any

import av
import av.error
import av.video.reformatter
import numpy as np
from jaxtyping import Float, Int, UInt8

# Playlists and image sequences would let a file make FFmpeg open others.
_OPTIONS = {
  "format_whitelist": "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf",
  "protocol_whitelist": "file",
}

# libswscale's triangle filter with half-pixel centres, widened when shrinking.
# Without the chroma flags it drops half of the chroma's resolution: 5.6 grey
# levels off on coloured blocks instead of 0.25.
_INTERPOLATION = (
  av.video.reformatter.Interpolation.BILINEAR
  | av.video.reformatter.Interpolation.FULL_CHR_H_INT
  | av.video.reformatter.Interpolation.FULL_CHR_H_INP
)

# Decoders that can leave out a frame that no other one refers to.
_SKIPPING_CODECS = ("h264", "hevc")


class VideoError(Exception):
  """A file is no readable video; the message says why."""


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


@dataclasses.dataclass(frozen=True)
class Table:
  """What a scan finds.

  Attributes:
    pts: presentation time stamps of all frames, increasing.
    keyframes: of each keyframe its position in `pts`, increasing.
    times_s: presentation times in seconds; 0 is the start of the file.
    is_ordered: frames have no usable time stamps of their own (H.264 in AVI):
      they are counted from a keyframe.
    height: of the displayed picture, pixels.
    width: of the displayed picture, pixels.
    orientation: from the decoded to the displayed picture.
  """

  pts: Int[np.ndarray, " n"]
  keyframes: Int[np.ndarray, " k"]
  times_s: Float[np.ndarray, " n"]
  is_ordered: bool
  height: int
  width: int
  orientation: Orientation


class VideoFile:
  """One open video.

  Attributes:
    table: its frames.
    num_decoded: frames that came out of the decoder so far.
  """

  def __init__(self, path: str, table: Table | None = None):
    """Opens and scans a video.

    Args:
      path: a file.
      table: an earlier scan of the same file.

    Raises:
      VideoError: the file is missing, empty, truncated or no video.
    """
    self.num_decoded, self._converter = 0, Converter()
    with _explained():
      if not os.path.getsize(path):
        raise VideoError("the file is empty")
      self._container = av.open(
        path, options=_OPTIONS, metadata_errors="replace"
      )
    try:
      with _explained():
        self._stream = self._find_stream()
        self.table = table or self._scan()
    except BaseException:
      self.close()
      raise

  def close(self) -> None:
    self._container.close()

  def read(
    self,
    indices: Int[np.ndarray, " t"],
    box: tuple[int, int, int, int],
    out: UInt8[np.ndarray, "t h w 3"],
    mirrored: bool = False,
  ) -> None:
    """Decodes frames into `out`.

    Args:
      indices: positions in the table, in any order; they may repeat.
      box: the part `(y0, x0, y1, x1)` of the displayed picture, pixels.
      out: filled with that part, resized to its height and width, RGB.
      mirrored: whether to mirror it in x.

    Raises:
      VideoError: a frame can't be decoded.
    """
    table = self.table
    places = collections.defaultdict(list)
    for place, index in enumerate(indices.tolist()):
      places[index].append(place)
    box = table.orientation.decoded_box(box, table.height, table.width)
    size = table.orientation.decoded_size(*out.shape[1:3])
    with _explained():
      for index, frame in self._decode(sorted(places)):
        size_now = table.orientation.decoded_size(frame.height, frame.width)
        if size_now != (table.height, table.width):
          raise VideoError("the size of the picture changes within the video")
        picture = self._converter(frame, box, *size)
        first, *others = places[index]
        shown = table.orientation.display(picture)
        out[first] = shown[:, ::-1] if mirrored else shown
        for other in others:
          out[other] = out[first]

  def _find_stream(self) -> av.VideoStream:
    stream: Any = self._container.streams.best("video")
    if stream is None:
      raise VideoError("the file holds no video")
    context = stream.codec_context
    # A worker process has one core; threads would also add delay to seeking.
    context.thread_type, context.thread_count = "NONE", 1
    return stream

  def _scan(self) -> Table:
    """Lists all packets, and decodes the first frame for its orientation."""
    stream = self._stream
    pts, keys, last_duration = [], [], 0
    for packet in self._container.demux(stream):
      if packet.is_corrupt:
        raise VideoError("the file is damaged or cut off: a packet is broken")
      if packet.size and not packet.is_discard and (packet.is_keyframe or pts):
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
          raise VideoError("its frames have no presentation times")
        pts.append(stamp)
        keys.append(packet.is_keyframe)
        last_duration = packet.duration or 0
    if not pts:
      raise VideoError("the file holds no frame")
    decoding = np.array(pts)
    keyframes = decoding[keys]
    # Frames shown before the first keyframe refer to what is not there.
    order = np.unique(decoding[decoding >= keyframes[0]])
    self._check_length(order, last_duration, len(pts))
    frame = self._first_frame(int(keyframes[0]))
    orientation = Orientation.of_frame(frame)
    height, width = orientation.decoded_size(frame.height, frame.width)
    base = float(stream.time_base or 1)
    start_s = (self._container.start_time or 0) / av.time_base
    if self._container.format.name == "avi":
      start_s = order[0] * base  # its start counts from decoding, not showing
    return Table(
      pts=order,
      keyframes=np.searchsorted(order, np.unique(keyframes)),
      times_s=order * base - start_s,
      is_ordered=self._container.format.name == "avi"
      and stream.codec_context.has_b_frames
      and bool(np.all(np.diff(decoding) > 0)),
      height=height,
      width=width,
      orientation=orientation,
    )

  def _check_length(
    self, pts: Int[np.ndarray, " n"], last_duration: int, num_packets: int
  ) -> None:
    """Containers that may be cut anywhere still say how long they were."""
    base = float(self._stream.time_base or 1)
    gap = int(np.diff(pts).max()) if len(pts) > 1 else 1
    held_s = float(pts[-1] - pts[0] + max(last_duration, gap)) * base
    promised_s = _promised_s(self._container, self._stream)
    if promised_s - held_s > max(0.05 * promised_s, 2 * gap * base):
      raise VideoError(
        f"the file is cut off: {held_s:.2f} s of {promised_s:.2f} s are there"
      )

  def _first_frame(self, stamp: int) -> av.VideoFrame:
    self._container.seek(stamp, stream=self._stream)
    for frame in self._container.decode(self._stream):
      self.num_decoded += 1
      return frame  # pyright: ignore[reportReturnType]
    raise VideoError("no frame can be decoded")

  def _decode(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields the wanted frames (positions in the table, sorted)."""
    keyframes = self.table.keyframes
    start = int(np.searchsorted(keyframes, wanted[0], side="right")) - 1
    missing = collections.deque(wanted)
    while missing:
      for index, frame in self._decode_from(start, set(missing)):
        if index > missing[0]:
          break  # the seek came out too late
        if index == missing[0]:
          yield missing.popleft(), frame
        if not missing:
          return
      if start == 0:
        time_s = self.table.times_s[missing[0]]
        raise VideoError(f"the frame at {time_s:.3f} s can't be decoded")
      start -= 1

  def _decode_from(
    self, start: int, wanted: set[int]
  ) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields frames from a keyframe on, with their positions in the table."""
    table, context = self.table, self._stream.codec_context
    first = int(table.keyframes[start])
    self._container.seek(int(table.pts[first]), stream=self._stream)
    stamps = {int(table.pts[index]) for index in wanted}
    can_skip = context.name in _SKIPPING_CODECS and not table.is_ordered
    skips, origin = False, None
    try:
      for packet in self._container.demux(self._stream):
        if origin is None:
          origin = packet.pts
          if table.is_ordered and origin is not None:
            first = int(np.searchsorted(table.pts, origin))
        elif packet.pts is not None and origin > packet.pts:
          continue  # shown before the keyframe: refers to what is not there
        if can_skip and skips != (packet.pts not in stamps):
          skips = not skips
          context.skip_frame = "NONREF" if skips else "DEFAULT"
        for frame in packet.decode():
          self.num_decoded += 1
          # Also one that is not wanted: others were predicted from it.
          if frame.is_corrupt:
            raise VideoError("the file is damaged: a frame can't be restored")
          if table.is_ordered:
            yield first, frame  # pyright: ignore[reportReturnType]
            first += 1
          elif frame.pts is not None:
            index = int(np.searchsorted(table.pts, frame.pts))
            if index < len(table.pts) and table.pts[index] == frame.pts:
              yield index, frame  # pyright: ignore[reportReturnType]
    finally:
      context.skip_frame = "DEFAULT"


class Converter:
  """Cuts, resizes and converts frames to RGB, all with libswscale.

  Chroma is taken to lie in the middle of its block of pixels. Colours without a
  named space are BT.601's, as everywhere in FFmpeg.
  """

  def __init__(self):
    # Each keeps the filter of the last size it saw.
    self._to_size = av.video.reformatter.VideoReformatter()
    self._to_rgb = av.video.reformatter.VideoReformatter()

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
      frame = _crop(frame, box)
    frame = self._to_size.reformat(
      frame, width, height, "rgb24", interpolation=_INTERPOLATION, threads=1
    )
    return _rows(frame, 0)[:, : 3 * width].reshape(height, width, 3)


def _is_croppable(pixel_format: av.VideoFormat) -> bool:
  """Whether every component has a plane of its own, or it is RGB."""
  planes = [component.plane for component in pixel_format.components]
  alone = len(set(planes)) == len(planes) and not pixel_format.has_palette
  return pixel_format.name == "rgb24" or (alone and not pixel_format.is_bayer)


def _crop(
  frame: av.VideoFrame, box: tuple[int, int, int, int]
) -> av.VideoFrame:
  """Copies a part of a frame; chroma starts at or before the box does."""
  y0, x0, y1, x1 = box
  out = av.VideoFrame(x1 - x0, y1 - y0, frame.format.name)
  out.colorspace, out.color_range = frame.colorspace, frame.color_range
  for index in range(len(out.planes)):
    component = frame.format.components[index]
    size = 3 if frame.format.name == "rgb24" else (component.bits + 7) // 8
    # Chroma sizes are rounded up, so these quotients are exact.
    step_y = -(-frame.height // frame.planes[index].height)
    step_x = -(-frame.width // frame.planes[index].width)
    target = out.planes[index]
    top, left = y0 // step_y, x0 // step_x * size
    _rows(out, index)[:, : target.width * size] = _rows(frame, index)[
      top : top + target.height, left : left + target.width * size
    ]
  return out


def _rows(frame: av.VideoFrame, index: int) -> UInt8[np.ndarray, "h bytes"]:
  plane = frame.planes[index]
  data = np.frombuffer(memoryview(plane), np.uint8)
  return data.reshape(-1, plane.line_size)[: plane.height]


@contextlib.contextmanager
def _explained() -> Iterator[None]:
  """Turns errors of the system and of FFmpeg into one for the reader."""
  try:
    yield
  except av.error.FFmpegError as error:
    # FFmpeg's words without the path, which goes with the clip anyway.
    raise VideoError(f"FFmpeg can't read it: {error.strerror}") from error
  except OSError as error:
    raise VideoError(str(error.strerror or error)) from error


def _promised_s(container: Any, stream: av.VideoStream) -> float:
  """How long the header says that the video is, seconds; 0 if it does not."""
  if container.format.name == "avi" and stream.frames and stream.average_rate:
    return float(stream.frames / stream.average_rate)  # of the whole file
  if stream.duration:
    return float(stream.duration * (stream.time_base or fractions.Fraction(1)))
  if tag := stream.metadata.get("DURATION"):  # Matroska: 00:00:10.033000000
    hours, minutes, seconds = tag.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
  if len(container.streams) > 1:
    return 0.0  # a file is as long as its longest stream
  return (container.duration or 0) / av.time_base
