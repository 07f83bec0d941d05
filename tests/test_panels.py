"""What is drawn beside clips says what it was given."""

import numpy as np
import pytest

from vdr import draw, fonts, page, panels

NAMES = ("box", "cone", "sphere", "torus")


def _grey(t=2, h=96, w=96):
  return np.full((t, h, w, 3), 100, np.uint8)


def _near(picture, colour, tolerance=30):
  apart = np.abs(picture.astype(int) - np.array(colour)).max(axis=-1)
  return apart < tolerance


class TestHeat:
  def test_it_is_brightest_where_the_level_is_highest(self):
    level = np.zeros((2, 2, 3))
    level[0, 1, 2], level[1, 0, 0] = 1.0, 1.0
    warm = panels.heat(_grey(2, 8, 12), level)
    cold = warm[0, 0, 0]
    assert (warm[0, 4:, 8:].astype(int).sum(-1) > int(cold.sum()) + 200).all()
    assert (warm[0, :4] == cold).all() and (warm[0, :, :8] == cold).all()
    assert (warm[1, :4, :4] == warm[0, -1, -1]).all()

  def test_what_is_not_finite_is_cold(self):
    level = np.array([[[np.nan, np.inf, -3.0, 0.0]]])
    warm = panels.heat(_grey(1, 1, 4), level)
    assert (warm[0, 0, 0] == warm[0, 0, 3]).all()
    assert (warm[0, 0, 2] == warm[0, 0, 3]).all()


class TestAnswers:
  true = np.array([[[0.25, 0.25], [0.25, 0.25]]])
  pred = np.array([[[0.75, 0.75], [0.25, 0.25]]])
  seen = np.ones((1, 2), bool)

  def drawn(self, **fields):
    given = dict(
      true_xy=self.true,
      true_visible=self.seen,
      pred_xy=self.pred,
      pred_visible=self.seen,
    )
    return panels.draw_answers(_grey(), **{**given, **fields})

  def test_rings_lie_on_the_truth_and_dots_on_what_was_said(self):
    wrong, right = self.drawn()
    colour = draw.track_colours(self.true)[0]
    assert _near(wrong, colour)[71:74, 71:74].any()
    assert not _near(wrong, colour)[23:25, 23:25].any()  # the ring is hollow
    assert _near(right, colour)[23:25, 23:25].any()
    assert not _near(right, colour)[40:, 40:].any()
    assert _near(wrong, (255, 255, 255), 60)[20:29, 20:29].any()
    middle = wrong[44:53, 44:53]
    assert (middle != 100).any()  # the line that joins them
    assert (right[44:53, 44:53] == 100).all()

  @pytest.mark.parametrize("name", ["true_visible", "pred_visible"])
  def test_what_is_occluded_is_fainter(self, name):
    plain = self.drawn().astype(int)
    faint = self.drawn(**{name: ~self.seen}).astype(int)
    assert np.abs(faint - 100).sum() < np.abs(plain - 100).sum()

  def test_wild_predictions_are_left_out(self):
    for wild in (np.nan, np.inf, 1e9):
      frames = self.drawn(pred_xy=np.full((1, 2, 2), wild))
      assert (frames[:, 40:] == 100).all() and (frames != 100).any()


class TestBars:
  def test_the_true_class_is_green_and_a_wrong_one_red(self):
    shares = np.array([0.1, 0.6, 0.25, 0.05])
    right = panels.bars(192, NAMES, shares, 1)
    wrong = panels.bars(192, NAMES, shares, 2)
    unknown = panels.bars(192, NAMES, shares, None)
    for picture, green, red in (
      (right, True, False),
      (wrong, True, True),
      (unknown, False, False),
    ):
      assert _near(picture, panels.RIGHT, 4).any() == green
      assert _near(picture, panels.WRONG, 4).any() == red
    rows = _near(right, panels.RIGHT, 4)[16].sum()
    assert rows == pytest.approx(0.6 * 192, abs=2)  # the bar is as long

  def test_a_true_class_that_is_not_among_them_is_shown(self):
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    last = slice(3 * panels.BAR_PX, None)
    there = panels.bars(192, NAMES, shares, 3)[last]
    assert _near(there, panels.RIGHT, 4).any()
    assert (panels.bars(192, NAMES, shares, 0)[last] == page.PAGE).all()

  def test_a_name_that_no_font_has_is_its_number(self, monkeypatch):
    monkeypatch.setattr(fonts, "covers", lambda text: text.isascii())
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    names = ["class 0", "鵝", "class 2", "🐢"]
    expected = panels.bars(192, [f"class {k}" for k in range(4)], shares, 3)
    np.testing.assert_array_equal(panels.bars(192, names, shares, 3), expected)

  def test_numbers_that_are_none_have_no_bar(self):
    picture = panels.bars(192, NAMES, np.full(4, np.nan), 0)
    assert _near(picture, panels.RIGHT, 4)[16].sum() <= 2


def _pose(right=0.0, down=0.0, ahead=0.0, degrees=0.0, axis=1):
  angle = np.deg2rad(degrees)
  c, s = np.cos(angle), np.sin(angle)
  a, b = {0: (1, 2), 1: (2, 0), 2: (0, 1)}[axis]
  rotation = np.eye(3)
  rotation[[a, b, a, b], [a, b, b, a]] = c, c, -s, s
  return np.concatenate([rotation, [[right], [down], [ahead]]], axis=1)


BLUE = (0, 0, 255)


def _middle(picture):
  """The middle of what is blue, as shares right of and above the centre."""
  y, x = np.nonzero(_near(picture, BLUE, 120))
  n = len(picture)
  return x.mean() / n - 0.5, 0.5 - y.mean() / n


class TestCameras:
  @pytest.mark.parametrize(
    ("pose", "right", "up"),
    [
      (_pose(right=1), 1, 0),
      (_pose(ahead=1), 0, 1),
      (_pose(right=-1, ahead=-1), -1, -1),
    ],
  )
  def test_the_map_shows_where_it_went(self, pose, right, up):
    picture = panels.camera_map(120, [(pose, BLUE)], 1.0)
    x, y = _middle(picture)
    assert np.sign([round(x, 1), round(y, 1)]).tolist() == [right, up]

  def test_the_map_shows_where_it_looks(self):
    turned = [
      panels.camera_map(120, [(_pose(degrees=d), BLUE)], 1.0) for d in (60, -60)
    ]
    assert _middle(turned[0])[0] > 0.005  # about y, which points down: right
    assert _middle(turned[1])[0] < -0.005

  @pytest.mark.parametrize(
    ("pose", "right", "up"),
    [
      (_pose(degrees=20), 1, 0),  # turned right: it sees what is on the right
      (_pose(degrees=20, axis=0), 0, 1),  # about x, which points right: up
      (_pose(down=1.0), 0, -1),
    ],
  )
  def test_the_view_is_shifted_where_it_looks(self, pose, right, up):
    x, y = _middle(panels.camera_view(120, [(pose, BLUE)], 5.0))
    assert np.sign([round(x, 1), round(y, 1)]).tolist() == [right, up]

  def test_the_view_is_smaller_ahead_and_tilted_where_it_rolls(self):
    still, ahead, rolled = (
      _near(panels.camera_view(120, [(pose, BLUE)], 5.0), BLUE, 120)
      for pose in (_pose(), _pose(ahead=2.0), _pose(degrees=30, axis=2))
    )
    assert np.ptp(np.nonzero(ahead)[0]) < np.ptp(np.nonzero(still)[0])
    # Clockwise about the axis that points ahead: the left corner is on top.
    y, x = np.nonzero(rolled)
    assert (x[y < y.min() + 3] < 60).all()

  def test_what_is_not_finite_or_looks_back_is_left_out(self):
    nothing = panels.camera_map(60, [], 1.0)
    broken = panels.camera_map(60, [(np.full((3, 4), np.nan), BLUE)], 1.0)
    np.testing.assert_array_equal(nothing, broken)
    none = panels.camera_view(60, [], 5.0)
    back = panels.camera_view(60, [(_pose(degrees=180), BLUE)], 5.0)
    np.testing.assert_array_equal(none, back)


class TestFeatures:
  def test_colours_are_the_first_components(self):
    """Three directions of unlike variance, at an angle to the axes."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(2, 4, 5, 3)) * [9, 3, 1]
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    colours = panels.colour_features(hidden @ turn[:3] + 5)
    for k in range(3):
      own = hidden[..., k].ravel()
      found = colours[..., k].ravel().astype(float)
      assert abs(np.corrcoef(own, found)[0, 1]) > 0.9
    assert colours.min((0, 1, 2)).tolist() == [0, 0, 0]
    assert colours.max((0, 1, 2)).tolist() == [255, 255, 255]

  def test_scale_is_nothing_to_them(self):
    features = np.random.default_rng(0).normal(size=(2, 3, 3, 8))
    np.testing.assert_array_equal(
      panels.colour_features(features), panels.colour_features(9 * features)
    )

  def test_features_that_hardly_vary_have_fewer_colours(self):
    features = np.zeros((2, 3, 3, 8))
    assert (panels.colour_features(features) == 128).all()
    features[0, 0, 0, 2] = 1.0
    colours = panels.colour_features(features)
    assert colours[0, 0, 0].tolist() == [255, 128, 128]
    assert (colours[1] == [0, 128, 128]).all()
