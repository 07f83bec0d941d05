"""Points are followed by features that were made to be found."""

import numpy as np
import pytest

from vdr import follow, strips

SIZE = (8, 12)  # pixels, two of each token


def _features(shift):
  """A clip of 3 feature frames in which all tokens move to the right."""
  first = np.random.default_rng(0).normal(size=(4, 6, 16))
  return np.stack([np.roll(first, shift * k, axis=1) for k in range(3)])


def _points(places, moves, t=9):
  """Tracks from the middles of tokens, evenly to as many tokens further."""
  start = (np.array(places, float) + 0.5) / [6, 4]
  way = np.linspace(0, 1, t)[None, :, None] * np.array([moves / 6, 0.0])
  return (start[:, None] + way).astype(np.float32)


def test_what_moved_is_found_and_what_is_hidden_is_not_asked():
  points = _points([(0, 1), (1, 2), (1, 3), (5, 0)], 2)
  visible = np.ones((4, 9), bool)
  visible[1, 4] = False  # hidden for a while, which is nothing
  visible[2, -1] = False
  tracks = follow.follow(_features(1), points, visible, *SIZE)
  assert len(tracks.query) == 2  # the third is hidden, the fourth has left
  errors_px = tracks.errors_px()
  pixel = np.hypot(*(0.5 / np.array(SIZE[::-1]))) * follow.RASTER_PX
  assert (errors_px[:, 0] <= pixel + 1e-3).all()
  np.testing.assert_allclose(errors_px[:, 1], 2 / 6 * 256, rtol=1e-5)


def test_features_that_stay_are_as_good_as_staying():
  points = _points([(0, 1), (1, 2)], 2)
  visible = np.ones((2, 9), bool)
  tracks = follow.follow(_features(0), points, visible, *SIZE)
  found = follow.summary([tracks])
  assert found["n"] == 2
  assert found["copy_error_px"] == pytest.approx(2 / 6 * 256, rel=1e-5)
  assert found["error_px"] == pytest.approx(found["copy_error_px"], rel=0.2)


def test_all_points_of_all_clips_count_alike():
  one, two = (
    follow.follow(
      _features(1), _points(places, 2), np.ones((len(places), 9), bool), *SIZE
    )
    for places in ([(0, 1)], [(0, 2), (1, 1), (2, 3)])
  )
  found = follow.summary([one, two])
  errors_px = np.concatenate([one.errors_px(), two.errors_px()])
  assert found["n"] == 4
  assert found["error_px"] == pytest.approx(errors_px[:, 0].mean())


def test_without_points_there_is_no_error():
  hidden = np.zeros((2, 9), bool)
  points = _points([(0, 1), (1, 2)], 2)
  tracks = follow.follow(_features(1), points, hidden, *SIZE)
  found = follow.summary([tracks])
  assert found["n"] == 0
  assert found["error_px"] is None and found["copy_error_px"] is None
  assert found["moving"] == {"error_px": None, "copy_error_px": None, "n": 0}


def test_points_that_move_are_told_apart():
  visible = np.ones((1, 9), bool)
  far, near = (
    follow.follow(_features(1), _points([(0, 1)], moves), visible, *SIZE)
    for moves in (2, 0.5)  # a token is 43 px of the raster
  )
  found = follow.summary([far, near])
  assert found["n"] == 2 and found["moving"]["n"] == 1
  assert found["moving"]["copy_error_px"] == pytest.approx(85.33, abs=0.01)
  alone = follow.summary([far])
  assert found["moving"]["error_px"] == pytest.approx(alone["error_px"])


def test_a_row_for_each_point_shows_frames_from_first_to_last():
  points, visible = _points([(0, 1), (1, 2), (2, 2)], 2), np.ones((3, 9), bool)
  features, times = _features(1), np.array([0, 4, 8])
  tracks = follow.follow(features, points, visible, *SIZE)
  clip = np.full((9, *SIZE, 3), 90, np.uint8)
  rows = follow.draw(clip, features, times, tracks, 2)
  assert [len(row) for row in rows] == [3, 3]
  assert follow.frames_shown(times) == [0, 1, 2]
  side = strips.enlarge(clip).shape[1:]
  assert all(picture.shape == side for row in rows for picture in row)
  bright = [
    np.argmax(picture.astype(int).sum(-1).mean(0)) / side[1]
    for picture in rows[0]
  ]
  assert bright[0] < bright[1] < bright[2]  # the warm place moves right
