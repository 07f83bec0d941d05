"""The table of a video: which frames it shows, when, and where to start.

FFmpeg's decoding of the whole file from its start defines the frames. MP4,
QuickTime, Matroska and WebM list them: every packet has the presentation time
of its frame, and a seek to a keyframe can be trusted. A table is then made from
packets alone, without decoding them. Where anything does not fit (a file that
begins between keyframes, two packets of one time, packets without a frame), and
in all other containers, the scan decodes the whole video once, and frames are
later counted from the start of the file.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np
from jaxtyping import Bool, Float, Int

from vdr.data import frame_to_rgb, video_container

# Containers with a presentation time for every packet, and exact seeks.
_LISTING = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
# Decoders that make one frame of every packet, but for those that `_num_frames`
# knows.
_ONE_FRAME_A_PACKET = (
  *("h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "libvpx-vp9", "mpeg4"),
  *("mjpeg", "ffv1", "prores", "dnxhd", "rawvideo", "png", "huffyuv"),
)
# Interlaced, these may have two packets, the fields, for one frame.
_WITH_FIELDS = ("h264", "hevc")
_PROGRESSIVE = (0, 1)  # FFmpeg's AV_FIELD_UNKNOWN and AV_FIELD_PROGRESSIVE
# Decoders that carry nothing over a keyframe but what the first packet said.
_RESTARTING = (*_ONE_FRAME_A_PACKET, "mpeg1video", "mpeg2video")
# Data that a demuxer hands over once: a seek would lose it.
_HANDED_OVER_ONCE = ("palette", "new_extradata")
# A picture of MPEG-4 part 2 that says "not coded" has fewer bytes.
_MIN_MPEG4_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Keyframes:
  """Packets to seek to, in a file that lists its frames.

  Attributes:
    pts: presentation time stamps, increasing.
    places: byte positions in the file.
  """

  pts: Int[np.ndarray, " k"]
  places: Int[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True)
class Order:
  """Where the frames come from, in a file that does not list them.

  Attributes:
    packets: of each frame the packet, counted from the start of the file.
    starts: frames that decoding can start at, increasing; the first is 0.
  """

  packets: Int[np.ndarray, " n"]
  starts: Int[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True)
class Table:
  """What a scan finds. Frames are in the order in which FFmpeg shows them.

  Attributes:
    pts: presentation time stamps of all frames, increasing.
    times_s: presentation times in seconds; 0 is the start of the file.
    access: where decoding can start.
    height: of the displayed picture, in square pixels.
    width: of the displayed picture, in square pixels.
    stored_height: of the displayed picture in pixels as they are stored, which
      may be no squares.
    stored_width: likewise.
    crop_steps: a crop that begins at multiples of these stored pixels (y, x)
      keeps chroma in its place.
    orientation: from the decoded to the displayed picture.
  """

  pts: Int[np.ndarray, " n"]
  times_s: Float[np.ndarray, " n"]
  access: Keyframes | Order
  height: int
  width: int
  stored_height: int
  stored_width: int
  crop_steps: tuple[int, int]
  orientation: frame_to_rgb.Orientation


@dataclasses.dataclass(frozen=True)
class Packets:
  """All packets of the video, in the order of the file.

  Attributes:
    pts: presentation time stamps; of a packet without one, that of decoding.
    places: byte positions.
    is_key: keyframes.
    is_hidden: packets without a frame of their own.
    is_discarded: packets outside the edit list: needed, and not shown.
    last_duration: of the last packet, 0 if unknown.
    can_restart: a seek loses nothing that is handed over once.
    is_regular: nothing speaks against a table from packets alone.
  """

  pts: Int[np.ndarray, " n"]
  places: Int[np.ndarray, " n"]
  is_key: Bool[np.ndarray, " n"]
  is_hidden: Bool[np.ndarray, " n"]
  is_discarded: Bool[np.ndarray, " n"]
  last_duration: int
  can_restart: bool
  is_regular: bool

  @property
  def shown_pts(self) -> Int[np.ndarray, " m"]:
    return np.sort(self.pts[~self.is_hidden & ~self.is_discarded])

  def keyframes(self) -> Keyframes | None:
    """Where decoding can start; None if packets do not tell the frames."""
    shown = self.shown_pts
    keys = self.pts[self.is_key]
    discarded = self.pts[self.is_discarded]
    fits = (
      self.is_regular
      and self.can_restart
      and len(shown)
      and self.is_key[0]
      # Frames before the first keyframe refer to what is not there.
      and np.all(self.pts[~self.is_hidden] >= keys[0])
      and np.all(np.diff(keys) > 0)
      and np.all(np.diff(shown) > 0)
      # Lists of several edits may show frames twice, or in another order.
      and not np.any((discarded >= shown[0]) & (discarded <= shown[-1]))
    )
    return Keyframes(keys, self.places[self.is_key]) if fits else None


def is_listing(container: Any, stream: av.VideoStream) -> bool:
  """Whether packets of such a file can tell its frames."""
  context: Any = stream.codec_context
  return (
    container.format.name in _LISTING
    and context.name in _ONE_FRAME_A_PACKET
    and not (
      context.name in _WITH_FIELDS and context.field_order not in _PROGRESSIVE
    )
    and not (context.format is not None and context.format.has_palette)
  )


class Counter:
  """Decodes the packets of a freshly opened video and numbers its frames.

  Attributes:
    packets: of each frame so far, the packet that it came from.
    pts: time stamps; None where FFmpeg knows none.
    keys: whether the decoder calls them keyframes.
    first: the first frame.
  """

  def __init__(self, stream: av.VideoStream):
    stream.codec_context.copy_opaque = True
    self.packets: list[int] = []
    self.pts: list[int | None] = []
    self.keys: list[bool] = []
    self.first: av.VideoFrame | None = None

  def decode(self, number: int, packet: av.Packet) -> Iterator[av.VideoFrame]:
    """Yields the frames that packet `number` completes.

    The `opaque` of each is the number of the packet that it came from.
    """
    packet.opaque = number
    try:
      frames: Any = packet.decode()
    except av.error.InvalidDataError:
      # A recording that begins between keyframes: decoders see only parts.
      if self.pts or packet.is_keyframe or not packet.size:
        raise
      return
    for frame in frames:
      if self.first is None:
        self.first = frame
      self.packets.append(frame.opaque)
      self.pts.append(frame.pts)
      self.keys.append(frame.key_frame)
      yield frame

  def order(self, can_restart: bool) -> Order:
    """After all packets: where the frames come from."""
    packets = np.array(self.packets)
    starts = np.array(self.keys)
    # All that is shown after a start has to come after it in the file, too.
    starts &= packets == np.minimum.accumulate(packets[::-1])[::-1]
    starts &= can_restart and len(set(self.packets)) == len(self.packets)
    starts[0] = True
    return Order(packets, np.flatnonzero(starts))

  def ordered_pts(self) -> Int[np.ndarray, " n"] | None:
    """Increasing time stamps; None if there is not one for every frame.

    The stamps of some files do not belong to the frames that carry them (H.264
    in AVI has those of decoding), but all of them are there.
    """
    known = [stamp for stamp in self.pts if stamp is not None]
    is_whole = len(set(known)) == len(self.pts)
    return np.sort(np.array(known, np.int64)) if is_whole else None


def check_frame(frame: av.VideoFrame) -> None:
  """Refuses a damaged frame.

  Raises:
    VideoError: it could not be restored.
  """
  if frame.is_corrupt:
    raise video_container.VideoError(
      "the file is damaged: a frame can't be restored"
    )


def list_packets(
  container: Any, stream: av.VideoStream, counter: Counter | None = None
) -> Packets:
  """Lists all packets of a freshly opened video.

  Args:
    container: the file.
    stream: its video.
    counter: if given, decodes all of them.

  Raises:
    VideoError: a packet or a frame is broken, or there is none.
  """
  codec = stream.codec_context.name
  pts, places, keys, hidden, discarded = [], [], [], [], []
  last_duration, is_regular, can_restart = 0, True, codec in _RESTARTING
  for number, packet in enumerate(container.demux(stream)):
    if packet.is_corrupt:
      raise video_container.VideoError(
        "the file is damaged or cut off: a packet is broken"
      )
    if counter is not None:
      for frame in counter.decode(number, packet):
        check_frame(frame)
    if not packet.size:
      continue
    stamp = packet.pts
    if stamp is None:
      is_regular, stamp = False, packet.dts
    if stamp is None:
      continue
    num_shown = _num_frames(codec, packet)
    is_regular &= num_shown is not None
    if packet.is_keyframe:
      can_restart &= not any(
        packet.has_sidedata(kind) for kind in _HANDED_OVER_ONCE
      )
    pts.append(stamp)
    places.append(-1 if packet.pos is None else packet.pos)
    keys.append(packet.is_keyframe)
    hidden.append(num_shown == 0)
    discarded.append(packet.is_discard)
    last_duration = packet.duration or 0
  return Packets(
    pts=np.array(pts, np.int64),
    places=np.array(places, np.int64),
    is_key=np.array(keys, bool),
    is_hidden=np.array(hidden, bool),
    is_discarded=np.array(discarded, bool),
    last_duration=last_duration,
    can_restart=can_restart,
    is_regular=is_regular,
  )


def make_table(
  container: Any,
  stream: av.VideoStream,
  frame: av.VideoFrame,
  pts: Int[np.ndarray, " n"],
  access: Keyframes | Order,
) -> Table:
  """Puts a table together.

  Args:
    container: the file.
    stream: its video.
    frame: any of the frames, for size and orientation.
    pts: of all frames, increasing.
    access: where decoding can start.
  """
  base = float(stream.time_base or 1)
  start_s = video_container.start_s(container, stream, pts)
  orientation = frame_to_rgb.Orientation.of_frame(frame)
  # As FFmpeg, mpv and browsers do: the height stays.
  square_width = frame.width * float(stream.sample_aspect_ratio or 1)
  height, width = orientation.decoded_size(
    frame.height, max(round(square_width), 1)
  )
  stored = orientation.decoded_size(frame.height, frame.width)
  return Table(
    pts=pts,
    times_s=pts * base - start_s,
    access=access,
    height=height,
    width=width,
    stored_height=stored[0],
    stored_width=stored[1],
    crop_steps=orientation.decoded_size(*frame_to_rgb.crop_steps(frame.format)),
    orientation=orientation,
  )


def _num_frames(codec: str, packet: av.Packet) -> int | None:
  """Frames that a packet shows; None if only decoding can tell."""
  if codec in ("vp8", "libvpx"):
    # The tag's bit "show_frame"; alternate references are never shown.
    return memoryview(packet)[0] >> 4 & 1
  if codec == "mpeg4":
    # Two pictures in one packet, or one that repeats the picture before it.
    is_one = bytes(packet).count(b"\0\0\1\xb6") == 1
    return 1 if is_one and packet.size >= _MIN_MPEG4_BYTES else None
  return 1
