"""Files as many tools write them: frames are those of a plain decode."""

import numpy as np
import pytest

from tests.data import containers, numbered
from vdr.data import video

FAST = {"preset": "ultrafast", "crf": "18"}
OPEN = containers.OPEN_GOP
REFRESH = "intra-refresh=1:keyint=12:bframes=0"


def cut(start_s, suffix="mp4", end_s=np.inf, **fields):
  """Makes a part of a video that is cut without being encoded again."""

  def make(path):
    source = numbered.write(path.with_name(f"source.{suffix}"), **fields)
    return containers.cut(source, path, start_s, end_s)

  return make


def headless(**fields):
  def make(path):
    source = numbered.write(path.with_name("source.mp4"), **fields)
    return containers.drop_start(source, path, 5)

  return make


def edited(*edits, **fields):
  def make(path):
    source = numbered.write(path.with_name("source.mp4"), **fields)
    return containers.edit(source, path, list(edits))

  return make


def written(**fields):
  return lambda path: numbered.write(path, **fields)


MPEG4 = dict(codec="mpeg4", options={"bf": "1", "qscale": "2"}, gop=2)
ALT_REF = {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}
# What a plain decode of the whole file shows, and how to make the file.
SHOWN = {
  "cut_one_gop.mp4": (range(15, 40), cut(0.6, gop=250, options={"bf": "0"})),
  "cut_b_frames.mp4": (range(15, 40), cut(0.6, gop=20, options={"bf": "2"})),
  "cut_before_key.mp4": (range(19, 40), cut(0.76, gop=20, options={"bf": "2"})),
  "cut_both_ends.mov": (range(15, 30), cut(0.6, end_s=1.2, options=FAST)),
  "cut_open.mkv": (
    None,
    cut(0.6, suffix="mkv", options={"x264-params": OPEN}),
  ),
  "cut_refresh.mp4": (None, cut(0.6, options={"x264-params": REFRESH})),
  "headless.mp4": (range(10, 40), headless(options=FAST)),
  "headless.mkv": (range(10, 40), headless(options=FAST)),
  "two_edits.mp4": (
    [*range(20, 30), *range(5, 15)],
    edited((400, 512 * 20), (400, 512 * 5), options={"bf": "0"}),
  ),
  "twice.mp4": (
    [*range(10, 20), *range(10, 20)],
    edited((400, 512 * 10), (400, 512 * 10), options={"bf": "0"}),
  ),
  "fragments.mp4": (
    range(40),
    written(options={"bf": "2"}, muxer={"movflags": "frag_keyframe"}),
  ),
  "live.mkv": (range(40), written(options={"bf": "2"}, muxer={"live": "1"})),
  "intra.avi": (range(40), written(options=FAST, gop=1)),
  "mpeg4_gop2.avi": (range(40), written(**MPEG4)),
  "mpeg4.mp4": (range(40), written(**MPEG4)),
  "open_gop.avi": (range(40), written(options={"x264-params": OPEN})),
  "b_frames.ts": (range(40), written(options={"bf": "2"}, gop=12)),
  "one_gop.ts": (range(40), written(codec="mpeg2video", gop=250)),
  "intra.mpg": (range(40), written(codec="mpeg1video", gop=1)),
  "b_frames.flv": (range(40), written(options={"bf": "2"})),
  "windows.wmv": (range(40), written(codec="wmv2")),
  "hidden.webm": (range(40), written(codec="libvpx", options=ALT_REF)),
  "palette.avi": (range(10), containers.palette),
  "palette.mov": (range(10), containers.palette),
}


@pytest.mark.parametrize("name", SHOWN)
def test_frames_are_those_of_a_plain_decode(tmp_path, name):
  numbers, make = SHOWN[name]
  path = make(tmp_path / name)
  expected = containers.shown(path)
  if numbers is not None:
    assert [numbered.number_of(f) for f in expected] == list(numbers)
  assert len(expected) > 3
  containers.assert_reads(path, expected)


@pytest.mark.parametrize("name", ["cut_b_frames.mp4", "cut_one_gop.mp4"])
def test_a_cut_starts_at_time_zero(tmp_path, name):
  numbers, make = SHOWN[name]
  times_s = video.VideoFile(str(make(tmp_path / name))).table.times_s
  np.testing.assert_allclose(times_s, np.arange(len(numbers)) / 25, atol=1e-3)
