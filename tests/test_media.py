"""Files hold the frames they were given, and nothing is left beside them."""

import itertools

import av
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from vdr import media
from vdr.runtime import errors


def _moving(t=9, h=40, w=60):
  """A red square that moves over a still gradient."""
  frames = np.zeros((t, h, w, 3), np.uint8)
  frames[..., 1] = np.linspace(0, 200, w).astype(np.uint8)
  for k in range(t):
    frames[k, 10:20, 3 * k : 3 * k + 10] = (230, 30, 30)
  return frames


def test_png_is_without_loss(tmp_path):
  picture = _moving()[3]
  media.write_png(tmp_path / "a.png", picture)
  np.testing.assert_array_equal(
    np.array(Image.open(tmp_path / "a.png")), picture
  )
  assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_gif_has_every_frame_and_repeats(tmp_path):
  frames = _moving()
  media.write_gif(tmp_path / "a.gif", frames, fps=10.0, hold_s=0.5)
  durations = []
  with Image.open(tmp_path / "a.gif") as file:
    assert file.n_frames == len(frames) and file.info["loop"] == 0
    assert file.size == (60, 40)
    for k in range(file.n_frames):
      file.seek(k)
      durations.append(file.info["duration"])
      got = np.array(file.convert("RGB")).astype(int)
      assert np.abs(got - frames[k]).max() < 16
  assert durations == [100] * 8 + [600]


def test_what_stands_still_does_not_flicker_in_a_gif(tmp_path):
  rng = np.random.default_rng(0)
  frames = np.tile(rng.integers(0, 256, (1, 40, 60, 3), np.uint8), (5, 1, 1, 1))
  for k in range(5):
    frames[k, :5, :5] = 50 * k
  media.write_gif(tmp_path / "a.gif", frames, fps=8.0)
  with Image.open(tmp_path / "a.gif") as file:
    shown = []
    for k in range(file.n_frames):
      file.seek(k)
      shown.append(np.array(file.convert("RGB"))[5:, 5:])
  assert all((s == shown[0]).all() for s in shown)


def _delays_cs(path):
  """The delays in a GIF's graphic control extensions, read byte by byte."""
  data = path.read_bytes()
  at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
  delays = []
  while data[at] != 0x3B:  # the trailer
    if data[at] == 0x21:  # an extension
      if data[at + 1] == 0xF9:
        delays.append(int.from_bytes(data[at + 4 : at + 6], "little"))
      at += 2
    else:  # an image, maybe with its own palette
      packed = data[at + 9]
      at += 11 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
    while data[at]:  # blocks up to an empty one
      at += 1 + data[at]
    at += 1
  return delays


def _greys(levels):
  """Frames of one grey each."""
  return np.tile(np.uint8(levels)[:, None, None, None], (1, 8, 8, 3))


def _blinking(t):
  """Three greys in turn: no two neighbours become one frame."""
  return _greys(127 * (np.arange(t) % 3))


@pytest.mark.parametrize(
  ("t", "fps", "expected"),
  [
    (20, 8.0, [12, 13] * 10),
    (4, 6.0, [17, 16, 17, 17]),  # ends at 16.7, 33.3, 50, 66.7
    (3, 50.0, [2, 2, 2]),
    (4, 60.0, [2, 2, 3]),  # 6.7 units: three frames of four
    (1, 100.0, [2]),
  ],
)
def test_a_gif_takes_as_long_as_was_asked_for(tmp_path, t, fps, expected):
  media.write_gif(tmp_path / "a.gif", _blinking(t), fps)
  found = _delays_cs(tmp_path / "a.gif")
  if fps == 8.0:  # halves of a unit go either way
    assert sum(found) == 250 and set(found) == {12, 13}
  else:
    assert found == expected


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
  t=st.integers(1, 60), fps=st.floats(0.5, 1000), hold_s=st.floats(0, 3)
)
def test_no_rate_makes_a_gif_drift(tmp_path_factory, t, fps, hold_s):
  """FFmpeg is as impatient as browsers: less than 20 ms are 100 to it."""
  path = tmp_path_factory.getbasetemp() / "rate.gif"
  media.write_gif(path, _blinking(t), fps, hold_s)
  found = _delays_cs(path)
  assert min(found) >= 2
  asked = max(100 * t / fps, 2)
  assert abs(sum(found) - asked - 100 * hold_s) <= 1
  if fps <= 50:
    ends = list(itertools.accumulate(found))[:-1]
    np.testing.assert_allclose(
      ends, 100 * np.arange(1, t) / fps, rtol=0, atol=0.5 + 1e-6
    )
  with av.open(str(path)) as file:
    packets = [p for p in file.demux(video=0) if p.size]
    assert [round(100 * p.duration * p.time_base) for p in packets] == found


def test_the_ends_of_a_clip_too_fast_for_a_gif_are_shown(tmp_path):
  media.write_gif(tmp_path / "a.gif", _greys(np.linspace(0, 255, 40)), 200.0)
  with Image.open(tmp_path / "a.gif") as file:
    assert file.n_frames == 10
    for place, grey in ((0, 0), (9, 255)):
      file.seek(place)
      got = np.array(file.convert("RGB")).astype(int)
      assert np.abs(got - grey).max() < 8


@pytest.mark.parametrize("fps", [0.0, -8.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(tmp_path, fps):
  for write in (media.write_gif, media.write_mp4):
    with pytest.raises(errors.UserError, match="use 0.001 to 1000"):
      write(tmp_path / "a", _moving(3), fps)
  assert not list(tmp_path.iterdir())


def test_what_a_gif_has_no_room_for_is_refused(tmp_path):
  still = np.zeros((700, 4, 4, 3), np.uint8)
  with pytest.raises(errors.UserError, match="700 s, and a GIF at most 655 s"):
    media.write_gif(tmp_path / "a.gif", still, 1.0)
  media.write_gif(tmp_path / "a.gif", still, 2.0)
  assert _delays_cs(tmp_path / "a.gif") == [35000]


@pytest.mark.parametrize("size", [(40, 60), (33, 47)])
def test_mp4_plays_everywhere(tmp_path, size):
  frames = _moving(9, *size)
  media.write_mp4(tmp_path / "a.mp4", frames, fps=12.5)
  with av.open(tmp_path / "a.mp4") as file:
    stream = file.streams.video[0]
    assert stream.codec_context.name == "h264"
    assert stream.pix_fmt == "yuv420p"
    assert float(stream.average_rate) == 12.5
    got = [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]
  assert len(got) == len(frames)
  even = tuple(n + n % 2 for n in size)
  assert got[0].shape[:2] == even
  difference = np.stack(got)[:, : size[0], : size[1]].astype(int) - frames
  assert np.abs(difference).mean() < 8


def test_a_failed_write_leaves_the_old_file(tmp_path):
  path = tmp_path / "a.png"
  media.write_png(path, _moving()[0])
  before = path.read_bytes()
  with pytest.raises((TypeError, ValueError)):
    media.write_png(path, np.zeros((2, 2, 5), np.uint8))
  assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
