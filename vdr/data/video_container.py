"""What a container says about its video: opened, its length and its start."""

import contextlib
import fractions
import os
from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np
from jaxtyping import Int

# Playlists and image sequences would let a file make FFmpeg open others.
_OPTIONS = {
  "format_whitelist": "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf",
  "protocol_whitelist": "file",
}

# FFmpeg estimates the length of these from the data: it promises nothing.
_WITHOUT_LENGTH = ("mpegts", "mpeg")
# The start of these counts from decoding, not from showing, or from anywhere.
_WITHOUT_START = ("avi", "mpeg")


class VideoError(Exception):
  """A file is no readable video; the message says why."""


def open_video(path: str) -> tuple[Any, av.VideoStream]:
  """Opens a file: its container and its video stream.

  Raises:
    VideoError: the file is missing, empty or no video.
  """
  with explained():
    if not os.path.getsize(path):
      raise VideoError("the file is empty")
    container = av.open(path, options=_OPTIONS, metadata_errors="replace")
    stream: Any = container.streams.best("video")
    if stream is None or stream.codec_context is None:
      container.close()
      raise VideoError(
        "the file holds no video"
        if stream is None
        else "FFmpeg knows no decoder for its video"
      )
  context = stream.codec_context
  # A worker process has one core; threads would also add delay to seeking.
  context.thread_type, context.thread_count = "NONE", 1
  return container, stream


def check_length(
  container: Any,
  stream: av.VideoStream,
  pts: Int[np.ndarray, " n"],
  last_duration: int,
) -> None:
  """Containers that may be cut anywhere still say how long they were.

  Args:
    container: the file.
    stream: its video.
    pts: time stamps of the frames, increasing.
    last_duration: of the last frame, 0 if unknown.

  Raises:
    VideoError: much less is there.
  """
  if not len(pts):
    return
  base = float(stream.time_base or 1)
  gap = int(np.diff(pts).max()) if len(pts) > 1 else 1
  promised_s = _promised_s(container, stream)
  # Most headers name the end, which counts what passes before the first frame:
  # the delay of decoding, or a pause.
  first = min(int(pts[0]), 0)
  held_s = float(pts[-1] - first + max(last_duration, gap)) * base
  if promised_s - held_s > max(0.05 * promised_s, 2 * gap * base):
    raise VideoError(
      f"the file is cut off: {held_s:.2f} s of {promised_s:.2f} s are there"
    )


def start_s(
  container: Any, stream: av.VideoStream, pts: Int[np.ndarray, " n"]
) -> float:
  """When the file starts, on the clock of its time stamps."""
  if container.format.name in _WITHOUT_START:
    return float(pts[0]) * float(stream.time_base or 1)
  return (container.start_time or 0) / av.time_base


def steady_pts(
  container: Any, stream: av.VideoStream, num_frames: int
) -> Int[np.ndarray, " {num_frames}"]:
  """Time stamps at the stream's rate, where frames have none of their own."""
  base = float(stream.time_base or 1)
  rate = float(stream.average_rate or stream.guessed_rate or 25)
  start = (container.start_time or 0) / av.time_base
  times_s = start + np.arange(num_frames) / rate
  return np.round(times_s / base).astype(np.int64)


@contextlib.contextmanager
def explained() -> Iterator[None]:
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
  name = container.format.name
  if name in _WITHOUT_LENGTH:
    return 0.0
  if name == "avi" and stream.frames and stream.average_rate:
    return float(stream.frames / stream.average_rate)  # of the whole file
  if stream.duration:
    return float(stream.duration * (stream.time_base or fractions.Fraction(1)))
  if tag := stream.metadata.get("DURATION"):  # Matroska: 00:00:10.033000000
    hours, minutes, seconds = tag.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
  if len(container.streams) > 1:
    return 0.0  # a file is as long as its longest stream
  return (container.duration or 0) / av.time_base
