"""Files hold the frames they were given, and nothing is left beside them."""

import av
import numpy as np
import pytest
from PIL import Image

from vdr import media


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
