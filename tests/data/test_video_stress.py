"""Hundreds of files: containers, codecs, groups of pictures, cuts.

Every frame of every file, read alone, in disorder or with all others, is to the
last bit the one of a plain decode of the whole file.
"""

import collections
import contextlib
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator

import av.error
import pytest

from tests.data import containers, numbered
from vdr.data import video

pytestmark = pytest.mark.slow

SUFFIXES = ("mp4", "mov", "mkv", "webm", "avi", "ts", "mpg", "flv", "wmv")
WITH_B_FRAMES = ("libx264", "libx265", "mpeg4", "mpeg2video", "mpeg1video")
CODECS = {
  "libx264": {"crf": "20"},
  "libx265": {},
  "mpeg4": {},
  "mpeg2video": {},
  "mpeg1video": {},
  "libvpx": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"},
  "libvpx-vp9": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"},
  "libsvtav1": {"preset": "12"},
  "mjpeg": {},
  "ffv1": {},
  "flv": {},
  "wmv2": {},
  "msmpeg4v3": {},
}
# Distance of keyframes, B-frames between others.
GROUPS = ((1, 0), (8, 0), (100, 0), (8, 1), (12, 3), (100, 2))
NUM_FRAMES = 34
# What FFmpeg can't write, or can't find again in these containers.
UNWRITTEN = (av.error.FFmpegError, ValueError)
UNREADABLE = (av.error.FFmpegError, IndexError)


def options(codec: str, gop: int, num_b: int) -> dict[str, str]:
  """Of the encoder; three B-frames also come with open groups."""
  found = dict(CODECS[codec])
  params = f"keyint={gop}:scenecut=0:bframes={num_b}:b-adapt=0"
  params += f":open-gop={int(num_b == 3)}"
  if codec == "libx264":
    found["x264-params"] = params
  elif codec == "libx265":
    found["x265-params"] = f"{params}:log-level=none:pools=1"
  elif codec in WITH_B_FRAMES:
    found["bf"] = str(num_b)
  return found


def outcome(path, make) -> str:
  """Tells how a file was read; a wrong frame fails the test."""
  try:
    make(path)
  except UNWRITTEN:
    return "not written"
  try:
    expected = containers.shown(path)
  except UNREADABLE:
    with contextlib.suppress(video.VideoError):  # and no other error
      video.VideoFile(str(path)).close()
    return "no plain decode"
  if not len(expected):
    with pytest.raises(video.VideoError, match="no frame"):
      video.VideoFile(str(path))
    return "shows nothing"
  try:
    containers.assert_reads(path, expected)
  except AssertionError as error:
    raise AssertionError(f"{path.name} shows other frames") from error
  except video.VideoError as error:
    return f"refused: {path.name}: {error}"
  return "read"


def test_every_container_with_every_codec(tmp_path, monkeypatch):
  monkeypatch.setenv("SVT_LOG", "0")
  counts = collections.Counter()
  for suffix, codec in itertools.product(SUFFIXES, CODECS):
    for gop, num_b in GROUPS:
      if num_b and codec not in WITH_B_FRAMES:
        continue
      make = functools.partial(
        numbered.write,
        num_frames=NUM_FRAMES,
        codec=codec,
        gop=gop,
        options=options(codec, gop, num_b),
        pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p",
      )
      name = f"{codec}_{gop}_{num_b}.{suffix}"
      counts[outcome(tmp_path / name, make)] += 1
  print(counts)
  assert counts["read"] >= 250
  assert not [name for name in counts if name.startswith("refused")]


SOURCES = {
  "x264.mp4": dict(gop=12, options={"bf": "2"}),
  "one_gop.mp4": dict(gop=250, options={"bf": "0"}),
  "open.mp4": dict(options={"x264-params": containers.OPEN_GOP}),
  "open.mkv": dict(options={"x264-params": containers.OPEN_GOP}),
  "refresh.mp4": dict(
    options={"x264-params": "intra-refresh=1:keyint=12:bframes=0"}
  ),
  "x265.mp4": dict(codec="libx265", options=options("libx265", 12, 3)),
  "vp9.webm": dict(codec="libvpx-vp9", gop=12, options=CODECS["libvpx-vp9"]),
  "mpeg4.mp4": dict(codec="mpeg4", gop=12, options={"bf": "2"}),
  "mpeg2.mov": dict(codec="mpeg2video", gop=12, options={"bf": "2"}),
  "x264.ts": dict(gop=12, options={"bf": "2"}),
  "mpeg4.avi": dict(codec="mpeg4", gop=12, options={"bf": "2"}),
}
CUTS = ((0.08, 9.0), (0.28, 1.6), (0.76, 1.0), (1.2, 9.0))
EDITS = (
  [(800, 5120)],
  [(400, 5120), (400, 15360)],
  [(400, 15360), (400, 2560)],
  [(200, -1), (800, 3584)],
  [(400, 5120), (400, 5120)],
  [(120, 1536), (600, 4096)],
  [(200, 10240), (200, -1), (200, 11264)],
  [(40, 8704)],
)


def cuts_of(source: pathlib.Path) -> Iterator[tuple[str, Callable]]:
  """Names of parts of a video, and what makes them."""
  for suffix in ("mp4", "mov", "mkv", "avi", "ts", "flv"):
    for hides, (start_s, end_s) in itertools.product((True, False), CUTS):
      name = f"{source.name}_{start_s}_{end_s}_{hides}.{suffix}"
      yield (
        name,
        functools.partial(
          containers.cut,
          source,
          start_s=start_s,
          end_s=end_s,
          is_hidden=hides,
        ),
      )
    for number in (1, 5, 13):
      make = functools.partial(
        containers.drop_start, source, num_packets=number
      )
      yield f"{source.name}_without_{number}.{suffix}", make
  if source.suffix == ".mp4":
    for number, edits in enumerate(EDITS):
      make = functools.partial(containers.edit, source, edits=edits)
      yield f"{source.name}_edit_{number}.mp4", make


def test_every_cut(tmp_path):
  counts = collections.Counter()
  for name, fields in SOURCES.items():
    source = numbered.write(tmp_path / name, 48, **fields)
    for part, make in cuts_of(source):
      counts[outcome(tmp_path / part, make)] += 1
  print(counts)
  assert counts["read"] >= 300
  assert not [name for name in counts if name.startswith("refused")]
