"""Decoding with PyAV: exact frames, in the order that FFmpeg shows them.

A video is first scanned (`vdr.data.video_scan`), so that the times of all its
frames are known. Then only the wanted frames are decoded: from the last
keyframe before the first of them, or from the start of the file where a
container does not tell its frames.

This module decodes in the calling process, where nothing can stop a decoder
that hangs; sources use `vdr.data.decoder`, which does the same in a child
process. The child imports this module, so it imports little.
"""

import collections
import functools
import itertools
from collections.abc import Callable, Iterator

import av
import numpy as np
from jaxtyping import Int, UInt8

from vdr.data import frame_to_rgb, video_container, video_scan

VideoError = video_container.VideoError
Table = video_scan.Table

# Yields frames and their positions in the table, given the missing positions.
_Way = Callable[[collections.deque[int]], Iterator[tuple[int, av.VideoFrame]]]

# Decoders that can leave out a frame that no other one refers to.
_SKIPPING_CODECS = ("h264", "hevc")


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
    self.num_decoded, self._converter = 0, frame_to_rgb.Converter()
    self._path = path
    self._open()
    try:
      with video_container.explained():
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
      box: the part `(y0, x0, y1, x1)` of the displayed picture, in pixels as
        they are stored.
      out: filled with that part, resized to its height and width, RGB.
      mirrored: whether to mirror it in x.

    Raises:
      VideoError: a frame can't be decoded.
    """
    table = self.table
    places = collections.defaultdict(list)
    for place, index in enumerate(indices.tolist()):
      places[index].append(place)
    stored = table.stored_height, table.stored_width
    box = table.orientation.decoded_box(box, *stored)
    size = table.orientation.decoded_size(*out.shape[1:3])
    with video_container.explained():
      for index, frame in self._decode(sorted(places)):
        size_now = table.orientation.decoded_size(frame.height, frame.width)
        if size_now != stored:
          raise VideoError("the size of the picture changes within the video")
        picture = self._converter(frame, box, *size)
        first, *others = places[index]
        shown = table.orientation.display(picture)
        out[first] = shown[:, ::-1] if mirrored else shown
        for other in others:
          out[other] = out[first]

  def _open(self) -> None:
    self._container, self._stream = video_container.open_video(self._path)
    self._is_fresh = True

  def _rewind(self) -> None:
    """Back to the start, with all that a demuxer hands over only once."""
    if not self._is_fresh:
      self.close()
      self._open()
    self._is_fresh = False

  def _scan(self) -> Table:
    """Lists the packets, and decodes what they do not tell."""
    packets, keyframes = None, None
    if video_scan.is_listing(self._container, self._stream):
      self._rewind()
      packets = video_scan.list_packets(self._container, self._stream)
      keyframes = packets.keyframes()
    if packets is None or keyframes is None:
      return self._scan_by_decoding()
    opened = self._container, self._stream
    video_container.check_length(
      *opened, packets.shown_pts, packets.last_duration
    )
    frame = self._first_frame(int(keyframes.pts[0]))
    if frame is None or frame.pts != packets.shown_pts[0]:
      # Some keyframes are only the first of several that restore the picture.
      return self._scan_by_decoding()
    return video_scan.make_table(
      *opened, frame=frame, pts=packets.shown_pts, access=keyframes
    )

  def _scan_by_decoding(self) -> Table:
    self._rewind()
    counter = video_scan.Counter(self._stream)
    packets = video_scan.list_packets(self._container, self._stream, counter)
    self.num_decoded += len(counter.pts)
    if counter.first is None:
      raise VideoError("the file holds no frame that can be decoded")
    opened = self._container, self._stream
    video_container.check_length(
      *opened, packets.shown_pts, packets.last_duration
    )
    pts = counter.ordered_pts()
    if pts is None:
      pts = video_container.steady_pts(*opened, len(counter.pts))
    order = counter.order(packets.can_restart)
    return video_scan.make_table(
      *opened, frame=counter.first, pts=pts, access=order
    )

  def _first_frame(self, stamp: int) -> av.VideoFrame | None:
    self._container.seek(stamp, stream=self._stream)
    for frame in self._container.decode(self._stream):
      self.num_decoded += 1
      return frame  # pyright: ignore[reportReturnType]
    return None

  def _decode(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields the wanted frames (positions in the table, sorted)."""
    missing = collections.deque(wanted)
    for decode in self._ways(wanted[0]):
      for index, frame in decode(missing):
        if index > missing[0]:
          break  # it began too late
        if index == missing[0]:
          yield missing.popleft(), frame
        if not missing:
          return
    time_s = self.table.times_s[missing[0]]
    raise VideoError(f"the frame at {time_s:.3f} s can't be decoded")

  def _ways(self, first: int) -> Iterator[_Way]:
    """Ways to decode a frame and those after it; the last one is the surest."""
    table, access = self.table, self.table.access
    if isinstance(access, video_scan.Order):
      start = int(np.searchsorted(access.starts, first, "right")) - 1
      for frame in dict.fromkeys((int(access.starts[start]), 0)):
        yield functools.partial(self._count, access, frame)
      return
    start = int(np.searchsorted(access.pts, table.pts[first], "right")) - 1
    for keyframe in range(start, max(start - 2, -1), -1):
      if (packets := self._seek(access, keyframe)) is not None:
        yield functools.partial(self._decode_packets, packets)
    self._rewind()
    packets = self._container.demux(self._stream)
    yield functools.partial(self._decode_packets, packets)

  def _seek(
    self, keyframes: video_scan.Keyframes, start: int
  ) -> Iterator[av.Packet] | None:
    """The packets from a keyframe on; None where a seek misses it."""
    self._is_fresh = False
    pts, place = int(keyframes.pts[start]), int(keyframes.places[start])
    self._container.seek(pts, stream=self._stream)
    packets = self._container.demux(self._stream)
    first = next(packets, None)
    if first is None or (first.pts, first.pos) != (pts, place):
      return None
    return itertools.chain((first,), packets)

  def _decode_packets(
    self, packets: Iterator[av.Packet], missing: collections.deque[int]
  ) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields frames from a keyframe on, with their positions in the table."""
    table, context = self.table, self._stream.codec_context
    stamps = {int(table.pts[index]) for index in missing}
    can_skip = context.name in _SKIPPING_CODECS
    skips, origin = False, None
    try:
      for packet in packets:
        if origin is None:
          origin = packet.pts
        elif packet.pts is not None and origin > packet.pts:
          continue  # shown before the keyframe: refers to what is not there
        if can_skip and skips != (packet.pts not in stamps):
          skips = not skips
          context.skip_frame = "NONREF" if skips else "DEFAULT"
        for frame in packet.decode():
          self.num_decoded += 1
          # Also one that is not wanted: others were predicted from it.
          video_scan.check_frame(frame)
          if frame.pts == origin and not frame.key_frame:
            return  # the container calls a keyframe what is none
          if frame.pts is not None:
            index = int(np.searchsorted(table.pts, frame.pts))
            if index < len(table.pts) and table.pts[index] == frame.pts:
              yield index, frame  # pyright: ignore[reportReturnType]
    finally:
      context.skip_frame = "DEFAULT"

  def _count(
    self, order: video_scan.Order, start: int, missing: collections.deque[int]
  ) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields frames from one on, with their positions, without a seek."""
    self._rewind()
    counter = video_scan.Counter(self._stream)
    positions = {int(p): k for k, p in enumerate(order.packets)}
    first = int(order.packets[start]) if start else 0
    for number, packet in enumerate(self._container.demux(self._stream)):
      if 0 < number < first:
        continue
      if number == first > 0:
        # The first packet has told the decoder what all others rely on.
        self._stream.codec_context.flush_buffers()
      for frame in counter.decode(number, packet):
        self.num_decoded += 1
        index = len(counter.pts) - 1
        if start:
          index = positions.get(counter.packets[-1], -1)
        if index >= start:  # others refer to what was left out
          video_scan.check_frame(frame)
          yield index, frame
