"""Files as other tools write them: cut, remuxed, with palettes."""

import pathlib
import struct

import av
import numpy as np

from tests.data import numbered
from vdr.data import frame_to_rgb, video

# B-frames after a keyframe that are shown before it refer to both sides.
OPEN_GOP = "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0"


def cut(
  source: pathlib.Path,
  path: pathlib.Path,
  start_s: float,
  end_s: float = np.inf,
  is_hidden: bool = True,
  muxer: dict[str, str] | None = None,
) -> pathlib.Path:
  """Cuts a video without encoding it again, as `ffmpeg -ss -c copy` does.

  Args:
    source: the video.
    path: the part.
    start_s: its start; packets from the keyframe before it are kept.
    end_s: its end.
    is_hidden: the start becomes time 0, so that an edit list hides what is
      before it, where the container has them.
    muxer: options of the container.
  """
  with (
    av.open(str(source)) as old,
    av.open(str(path), "w", options=muxer or {}) as new,
  ):
    stream = old.streams.video[0]
    out = new.add_stream_from_template(stream)
    base = float(stream.time_base)
    start = (stream.start_time or 0) + round(start_s / base)
    old.seek(start, stream=stream)
    for packet in old.demux(stream):
      if packet.dts is None or packet.dts * base >= end_s:
        continue
      if is_hidden:
        packet.dts -= start
        packet.pts = None if packet.pts is None else packet.pts - start
      packet.stream = out
      new.mux(packet)
  return path


def drop_start(
  source: pathlib.Path, path: pathlib.Path, num_packets: int
) -> pathlib.Path:
  """Leaves out the first packets: such a video begins between keyframes."""
  with av.open(str(source)) as old, av.open(str(path), "w") as new:
    stream = old.streams.video[0]
    out = new.add_stream_from_template(stream)
    for number, packet in enumerate(old.demux(stream)):
      if number >= num_packets and packet.dts is not None:
        packet.stream = out
        new.mux(packet)
  return path


def palette(path: pathlib.Path, num_frames: int = 10) -> pathlib.Path:
  """A video with a palette, which the demuxer hands over with one packet."""
  colours = np.full((256, 4), 255, np.uint8)
  colours[:, 1:] = np.arange(256)[:, None]
  with av.open(str(path), "w") as container:
    stream = container.add_stream("rawvideo", rate=25)
    stream.height, stream.width = numbered.HEIGHT, numbered.WIDTH
    # QuickTime has palettes for its grey pictures, which it calls gray.
    stream.pix_fmt = "gray" if path.suffix == ".mov" else "pal8"
    for k in range(num_frames):
      pixels = np.ascontiguousarray(numbered.picture(k)[..., 0])
      if stream.pix_fmt == "gray":
        frame = av.VideoFrame.from_ndarray(pixels, "gray")
      else:
        frame = av.VideoFrame.from_ndarray((pixels, colours), "pal8")
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path


def shown(path: pathlib.Path) -> np.ndarray:
  """What a plain decode of the whole file shows."""
  convert, pictures = frame_to_rgb.Converter(), []
  with av.open(str(path)) as container:
    for frame in container.decode(video=0):
      size = frame.height, frame.width
      pictures.append(convert(frame, (0, 0, *size), *size).copy())
  return np.array(pictures)


def read(file: video.VideoFile, indices) -> np.ndarray:
  """Whole frames in the size in which they are stored."""
  size = file.table.stored_height, file.table.stored_width
  out = np.zeros((len(indices), *size, 3), np.uint8)
  file.read(np.asarray(indices), (0, 0, *size), out)
  return out


def assert_reads(path: pathlib.Path, expected: np.ndarray, seed: int = 0):
  """All frames together, some in disorder, and each alone are these."""
  file = video.VideoFile(str(path))
  n = len(expected)
  assert len(file.table.times_s) == n
  assert np.all(np.diff(file.table.times_s) > 0)
  np.testing.assert_array_equal(read(file, range(n)), expected)
  order = np.random.default_rng(seed).permutation(n)
  again = video.VideoFile(str(path), file.table)  # without a scan before
  for indices in (order[: n // 2 + 1], *order[:, None]):
    np.testing.assert_array_equal(read(again, indices), expected[indices])
  file.close()
  again.close()


def edit(
  source: pathlib.Path, path: pathlib.Path, edits: list[tuple[int, int]]
) -> pathlib.Path:
  """Gives an MP4 with one stream another edit list.

  Args:
    source: the video, with an edit list already, whose index is at its end.
    path: the edited video.
    edits: what is shown, one after the other: a duration (in milliseconds, the
      muxer's clock of the whole film) and a media time (in units of the
      stream's time base; -1: nothing is shown).
  """
  data = source.read_bytes()
  entries = b"".join(struct.pack(">IiI", *item, 1 << 16) for item in edits)
  new = struct.pack(">II", 0, len(edits)) + entries

  def rewrite(boxes: bytes) -> bytes:
    out, at = b"", 0
    while at < len(boxes):
      size, kind = struct.unpack(">I4s", boxes[at : at + 8])
      inner = boxes[at + 8 : at + size]
      if kind == b"elst":
        inner = new
      elif kind in (b"moov", b"trak", b"edts"):
        inner = rewrite(inner)
      out += struct.pack(">I4s", len(inner) + 8, kind) + inner
      at += size
    return out

  path.write_bytes(rewrite(data))
  return path
