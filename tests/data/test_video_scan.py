"""When packets tell the frames, and where decoding can start."""

import dataclasses

import numpy as np
import pytest

from tests.data import numbered
from vdr.data import video_container, video_scan

# I P B B, I P B B: times in the order of the file.
PTS = np.array([0, 3, 1, 2, 4, 7, 5, 6])
NONE = np.zeros(8, bool)
PACKETS = video_scan.Packets(
  pts=PTS,
  places=100 * np.arange(8),
  is_key=np.arange(8) % 4 == 0,
  is_hidden=NONE,
  is_discarded=NONE,
  last_duration=1,
  can_restart=True,
  is_regular=True,
)


def test_packets_tell_the_frames_of_ordinary_files():
  assert PACKETS.shown_pts.tolist() == list(range(8))
  keyframes = PACKETS.keyframes()
  assert keyframes is not None
  assert keyframes.pts.tolist() == [0, 4]
  assert keyframes.places.tolist() == [0, 400]


def test_what_an_edit_list_hides_is_still_decoded():
  packets = dataclasses.replace(PACKETS, is_discarded=(PTS < 2) | (PTS > 6))
  assert packets.shown_pts.tolist() == [2, 3, 4, 5, 6]
  keyframes = packets.keyframes()
  assert keyframes is not None and keyframes.pts.tolist() == [0, 4]


def test_hidden_packets_are_no_frames():
  packets = dataclasses.replace(PACKETS, is_hidden=PTS == 3)
  assert packets.shown_pts.tolist() == [0, 1, 2, 4, 5, 6, 7]
  assert packets.keyframes() is not None


@pytest.mark.parametrize(
  "changes",
  [
    dict(is_regular=False),
    dict(can_restart=False),
    dict(is_key=np.arange(8) == 4),  # begins between keyframes
    dict(pts=np.array([1, 3, 0, 2, 4, 7, 5, 6])),  # shown before the keyframe
    dict(pts=np.array([0, 3, 1, 1, 4, 7, 5, 6])),  # two at one time
    dict(pts=np.array([4, 7, 5, 6, 0, 3, 1, 2])),  # a part moved to the front
    dict(is_discarded=PTS == 4),  # between frames that are shown
    dict(is_discarded=~NONE),
  ],
)
def test_where_anything_does_not_fit_frames_are_counted(changes):
  assert dataclasses.replace(PACKETS, **changes).keyframes() is None


def counted(packets, keys, pts):
  counter = video_scan.Counter.__new__(video_scan.Counter)
  counter.packets, counter.keys, counter.pts = packets, keys, pts
  return counter


def test_decoding_starts_at_keyframes_that_nothing_crosses():
  counter = counted([0, 2, 1, 3, 4, 6, 5], [1, 0, 1, 0, 1, 1, 0], [0] * 7)
  # Frame 2 is a keyframe, but packet 2 before it comes later in the file.
  order = counter.order(can_restart=True)
  assert order.packets.tolist() == [0, 2, 1, 3, 4, 6, 5]
  assert order.starts.tolist() == [0, 2, 4]
  assert counter.order(can_restart=False).starts.tolist() == [0]


def test_a_keyframe_that_is_crossed_is_no_start():
  order = counted([0, 2, 1, 3], [1, 1, 0, 1], [0] * 4).order(can_restart=True)
  assert order.starts.tolist() == [0, 3]


def test_two_frames_of_one_packet_leave_only_the_start():
  order = counted([0, 1, 1, 3], [1, 0, 0, 1], [0] * 4).order(can_restart=True)
  assert order.starts.tolist() == [0]


def test_stamps_that_are_all_there_are_put_in_order():
  assert counted([], [], [1, 4, 3, 2]).ordered_pts().tolist() == [1, 2, 3, 4]
  assert counted([], [], [1, None, 3]).ordered_pts() is None
  assert counted([], [], [1, 1, 3]).ordered_pts() is None


@pytest.mark.parametrize(
  "name, codec, is_listing",
  [
    ("a.mp4", "libx264", True),
    ("a.mkv", "libx264", True),
    ("a.mov", "mpeg2video", False),
    ("a.avi", "libx264", False),
    ("a.ts", "libx264", False),
  ],
)
def test_which_files_list_their_frames(tmp_path, name, codec, is_listing):
  path = numbered.write(tmp_path / name, 4, codec=codec)
  container, stream = video_container.open_video(str(path))
  assert video_scan.is_listing(container, stream) == is_listing
  container.close()


def test_interlaced_files_are_counted(tmp_path):
  path = numbered.write(tmp_path / "a.mp4", 4, options={"x264-params": "tff=1"})
  container, stream = video_container.open_video(str(path))
  assert not video_scan.is_listing(container, stream)
  container.close()
