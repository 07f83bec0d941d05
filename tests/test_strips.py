"""Clips lie where the layout says, and move."""

import numpy as np
from PIL import Image

from vdr import strips


def _row(value, t=9, names=("clip", "other")):
  clip = np.full((t, 8, 8, 3), value, np.uint8)
  clip[:, 0, 0] = (
    25 * np.arange(t)[:, None]
  )  # so that no two frames are the same
  shown = {name: strips.enlarge(clip) for name in names}
  return strips.Row(
    strips.heading("a clip", ["a line"]), shown, tuple(range(t))
  )


def test_frames_are_enlarged_by_whole_numbers():
  frames = np.arange(2 * 8 * 60 * 3).reshape(2, 8, 60, 3).astype(np.uint8)
  large = strips.enlarge(frames)
  assert large.shape == (2, 32, 240, 3)
  np.testing.assert_array_equal(large[:, 1::4, 1::4], frames)
  wide = np.zeros((1, 4, 500, 3), np.uint8)
  assert strips.enlarge(wide).shape == wide.shape


def test_clips_have_a_sheet_and_an_animation(tmp_path):
  rows = [_row(40), _row(90), _row(140, names=("clip",))]
  strips.write(tmp_path, "a", "Title", "a note", rows)
  assert {f.name for f in tmp_path.iterdir()} == {"a.png", "a.gif"}
  with Image.open(tmp_path / "a.gif") as file:
    assert file.n_frames == 9
  sheet = np.array(Image.open(tmp_path / "a.png"))
  side = strips.SIDE_PX
  for value, count in ((40, 8), (90, 8), (140, 4)):  # 4 frames of each strip
    share = (sheet == value).all(axis=-1).sum() / side**2
    assert count * 0.98 < share < count
  top, middle = (np.nonzero((sheet == v).all(-1))[0].min() for v in (40, 90))
  assert middle - top >= side


def test_pictures_have_a_sheet_alone(tmp_path):
  strips.write(tmp_path, "a", "Title", "a note", [_row(40, t=1)])
  assert [f.name for f in tmp_path.iterdir()] == ["a.png"]
