"""Overlays land where their coordinates say, and nothing else changes."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from vdr import draw

RED, BLUE = (255, 0, 0), (0, 0, 255)
ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=True)


def _black(t=3, h=96, w=192):
  return np.zeros((t, h, w, 3), np.uint8)


def _changed(frames):
  """Rows and columns of the first and last changed pixel of each frame."""
  out = []
  for frame in frames:
    y, x = np.nonzero(frame.any(-1))
    out.append((y.min(), x.min(), y.max(), x.max()) if y.size else None)
  return out


def test_enlarge_repeats_pixels():
  frames = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
  large = draw.enlarge(frames, 3)
  assert large.shape == (1, 6, 6, 3)
  np.testing.assert_array_equal(large[:, 1::3, 1::3], frames)
  np.testing.assert_array_equal(large[:, 2::3, ::3], frames)


def test_depth_is_brighter_when_nearer_and_dark_where_unknown():
  depth_m = np.geomspace(1, 30, 50, dtype=np.float32).reshape(1, 1, 50)
  depth_m = np.concatenate([depth_m, np.zeros((1, 1, 3), np.float32)], axis=-1)
  light = draw.colour_depth(depth_m)[0, 0].astype(int).sum(-1)
  assert (np.diff(light[:50]) <= 0).all() and light[0] > light[49]
  np.testing.assert_array_equal(
    draw.colour_depth(depth_m)[0, 0, 50:], np.tile(draw.SKY, (3, 1))
  )


def test_depth_of_a_clip_has_one_range():
  rng = np.random.default_rng(0)
  depth_m = rng.uniform(1, 9, (4, 8, 8)).astype(np.float32)
  depth_m[2:] *= 3  # frames with ranges of their own
  depth_m[:, 0, 0] = 5.0
  corner = draw.colour_depth(depth_m)[:, 0, 0]
  assert (corner == corner[0]).all()
  alone = draw.colour_depth(
    depth_m[3:], range_m=draw.depth_range(depth_m, depth_m > 0)
  )
  np.testing.assert_array_equal(alone, draw.colour_depth(depth_m)[3:])


def test_depth_obeys_the_mask_it_is_given():
  depth_m = np.full((1, 2, 2), 4.0, np.float32)
  valid = np.array([[[True, False], [True, True]]])
  colours = draw.colour_depth(depth_m, valid)
  assert (colours[0, 0, 1] == draw.SKY).all()
  assert (colours[0, 0, 0] != draw.SKY).any()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0])
def test_depth_without_anything_valid_is_all_sky(value):
  colours = draw.colour_depth(np.full((2, 3, 3), value, np.float32))
  assert (colours == draw.SKY).all()


def test_normals_of_the_axes():
  normals = np.array(
    [[[0, 0, -1], [1, 0, 0], [0, -1, 0], [0, 0, 0]]], np.float32
  )
  facing, right, up, sky = draw.colour_normals(normals)[0]
  assert facing.argmax() == 2 and right.argmax() == 0 and up.argmax() == 1
  assert (sky == draw.SKY).all()


def test_segments_have_the_colours_of_their_objects():
  segmentation = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
  colours = draw.colour_segments(segmentation).reshape(-1, 3)
  assert (colours[0] == draw.SKY).all() and (colours[1] == draw.GROUND).all()
  np.testing.assert_array_equal(colours[2:], draw.object_colours(np.arange(10)))
  assert len(np.unique(colours[:10], axis=0)) == 10


def test_a_box_is_drawn_on_its_edges():
  boxes = np.tile(np.float32([0.25, 0.25, 0.75, 0.5]), (1, 3, 1))
  valid = np.array([[True, False, True]])
  colours = np.uint8([RED])
  frames = _black()
  drawn = draw.draw_boxes(frames, boxes, valid, colours)
  assert not frames.any()  # the input stays as it is
  assert _changed(drawn)[1] is None
  top, left, bottom, right = _changed(drawn)[0]
  # The edges lie between two pixels, both of which belong to the line.
  assert abs(top + 0.5 - 23.5) <= 1 and abs(bottom - 0.5 - 71.5) <= 1
  assert abs(left + 0.5 - 47.5) <= 1 and abs(right - 0.5 - 95.5) <= 1
  assert not drawn[0, 28:68, 52:92].any()  # hollow


def test_a_box_of_the_whole_picture_shows():
  boxes = np.float32([[[0, 0, 1, 1]]])
  drawn = draw.draw_boxes(
    _black(1), boxes, np.ones((1, 1), bool), np.uint8([RED])
  )
  for edge in (drawn[0, 0], drawn[0, -1], drawn[0, :, 0], drawn[0, :, -1]):
    assert (edge[:, 0] > 120).all()


@pytest.mark.parametrize("top", [0.0, 0.5])
def test_the_name_of_a_box_stays_in_the_picture(top):
  boxes = np.float32([[[top, 0.95, 1.0, 1.0]]])
  valid = np.ones((1, 1), bool)
  frames = _black(1, 192, 192)
  plain = draw.draw_boxes(frames, boxes, valid)
  named = draw.draw_boxes(frames, boxes, valid, names=["capsule\nno. 2"])
  tag = (plain != named).any(-1)[0]
  assert tag.any(0).sum() > 30 and tag.any(1).sum() > 8
  assert (draw.draw_boxes(frames, boxes, valid, names=[""]) == plain).all()


def test_a_point_is_drawn_at_its_place():
  points = np.float32([[[0.25, 0.5], [0.5, 0.25], [0.75, 0.75]]])
  drawn = draw.draw_tracks(
    _black(), points, np.ones((1, 3), bool), np.uint8([RED]), tail=0
  )
  for (x, y), frame in zip(points[0], drawn, strict=True):
    weight = frame[..., 0].astype(float)
    rows, columns = np.indices(weight.shape) + 0.5
    centre = (columns * weight).sum(), (rows * weight).sum()
    expected = np.array([x * 192, y * 96])
    np.testing.assert_allclose(
      np.array(centre) / weight.sum(), expected, atol=0.3
    )
    assert weight.max() > 200


def test_a_tail_leads_to_where_the_point_was_and_fades():
  x = np.linspace(0.1, 0.9, 9, dtype=np.float32)
  points = np.stack([x, np.full_like(x, 0.5)], -1)[None]
  visible = np.ones((1, 9), bool)
  drawn = draw.draw_tracks(_black(9), points, visible, np.uint8([RED]), tail=4)
  row = drawn[8, 47:49, :, 0].max(0).astype(int)
  middles = (0.5 * (x[1:] + x[:-1]) * 192).astype(int)
  strength = row[middles]
  assert (strength[:4] == 0).all() and (np.diff(strength[4:]) > 0).all()


def test_a_tail_has_a_gap_where_the_point_was_hidden():
  x = np.linspace(0.1, 0.9, 5, dtype=np.float32)
  points = np.stack([x, np.full_like(x, 0.5)], -1)[None]
  visible = np.array([[True, True, False, True, True]])
  drawn = draw.draw_tracks(
    _black(5), points, visible, np.uint8([RED]), show_occluded=False
  )
  row = drawn[4, 47:49, :, 0].max(0)
  middles = (0.5 * (x[1:] + x[:-1]) * 192).astype(int)
  np.testing.assert_array_equal(row[middles] > 0, [True, False, False, True])


def test_an_occluded_point_is_a_ring_and_one_out_of_view_is_nothing():
  points = np.float32([[[0.5, 0.5]] * 3, [[1.2, 0.5]] * 3])
  hidden = np.zeros((2, 3), bool)
  ring = draw.draw_tracks(_black(3, 384, 384), points, hidden)
  assert _changed(ring)[0] is not None
  assert not ring[:, 191:193, 191:193].any()  # hollow
  assert not ring[:, :, 300:].any()
  nothing = draw.draw_tracks(_black(), points, hidden, show_occluded=False)
  assert not nothing.any()


def test_track_colours_are_a_rainbow_for_each_object():
  x = np.float32([0.1, 0.2, 0.8, 0.9, 0.5, np.nan])
  points = np.stack([x, x], -1)[:, None]
  objects = np.int32([0, 1, 0, 1, -1, -1])
  colours = draw.track_colours(points, objects)
  np.testing.assert_array_equal(colours[0], colours[1])
  np.testing.assert_array_equal(colours[2], colours[3])
  assert (colours[0] != colours[2]).any()
  assert len(np.unique(colours[4])) == 1  # grey
  assert len(np.unique(draw.track_colours(points), axis=0)) == 6


@hypothesis.settings(max_examples=60)
@hypothesis.given(
  points=hnp.arrays(np.float32, (3, 4, 2), elements=ANY_FLOAT),
  boxes=hnp.arrays(np.float32, (2, 4, 4), elements=ANY_FLOAT),
  flags=hnp.arrays(bool, (5, 4)),
  size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_coordinates_can_be_drawn(points, boxes, flags, size):
  frames = np.zeros((4, *size, 3), np.uint8)
  tracks = draw.draw_tracks(frames, points, flags[:3])
  boxed = draw.draw_boxes(frames, boxes, flags[3:], names=["a", "two words"])
  assert tracks.shape == boxed.shape == frames.shape
  x, y = points[..., 0], points[..., 1]
  far = ~((x > -0.9) & (x < 1.9) & (y > -0.9) & (y < 1.9))
  if far.all():
    assert not tracks.any()
  if not flags[3:].any():
    assert not boxed.any()


@hypothesis.settings(max_examples=40)
@hypothesis.given(
  depth_m=hnp.arrays(np.float32, (2, 3, 3), elements=ANY_FLOAT),
  valid=st.none() | hnp.arrays(bool, (2, 3, 3)),
)
def test_any_depth_can_be_drawn(depth_m, valid):
  colours = draw.colour_depth(depth_m, valid)
  unusable = ~np.isfinite(depth_m) | (depth_m <= 0)
  assert (colours[unusable] == draw.SKY).all()


def test_no_objects_and_no_points_change_nothing():
  frames = _black() + 7
  boxes = np.zeros((0, 3, 4), np.float32)
  points = np.zeros((0, 3, 2), np.float32)
  none = np.zeros((0, 3), bool)
  np.testing.assert_array_equal(draw.draw_boxes(frames, boxes, none), frames)
  np.testing.assert_array_equal(draw.draw_tracks(frames, points, none), frames)


class TestCompareClips:
  def test_a_row_each_for_original_copy_and_error(self):
    original = np.zeros((5, 8, 8, 3), np.uint8)
    other = original.copy()
    other[:, :, :, 0] = 10
    sheet = draw.compare_clips(
      [(original, other)], num_frames=2, gain=4, least_px=16
    )
    colours = {tuple(c) for c in sheet.reshape(-1, 3).tolist()}
    assert {(0, 0, 0), (10, 0, 0), (40, 0, 0)} <= colours
    shown = (sheet == (40, 0, 0)).all(axis=-1)
    assert shown.sum() == 2 * 16 * 16  # both frames, enlarged

  def test_errors_end_at_white_and_an_image_is_one_column(self):
    black = np.zeros((1, 8, 8, 3), np.uint8)
    one = draw.compare_clips([(black, black + 200)] * 2)
    clip = np.zeros((5, 8, 8, 3), np.uint8)
    assert one.shape[1] < draw.compare_clips([(clip, clip)]).shape[1]
    assert (one == 200).all(axis=-1).any()


def test_a_sheet_has_a_row_for_each_clip():
  clips = np.zeros((3, 4, 8, 8, 3), np.uint8)
  clips[..., 0] = np.arange(3)[:, None, None, None] * 100
  clips[..., 1] = np.arange(4)[None, :, None, None] * 80
  sheet = draw.clip_sheet(clips, gap=0)
  for row in range(3):
    for column in range(4):
      assert tuple(sheet[8 * row, 8 * column]) == (100 * row, 80 * column, 0)


def test_a_sheet_shows_some_frames_of_long_clips():
  clips = np.zeros((1, 17, 2, 2, 3), np.uint8)
  clips[0, :, :, :, 0] = np.arange(17)[:, None, None]
  sheet = draw.clip_sheet(clips, max_frames=8, gap=0)
  assert sheet.shape == (2, 16, 3)
  assert (sheet[0, 0, 0], sheet[0, -1, 0]) == (0, 16)


def test_images_and_clips_lie_in_a_grid():
  clips = np.full((5, 1, 2, 2, 3), 7, np.uint8)
  picture = draw.clip_sheet(clips, gap=0)
  assert picture.shape == (4, 6, 3)
  assert (picture[:2] == 7).all() and (picture[2:, 4:] == 255).all()
  moving = np.repeat(clips, 3, axis=1)
  moving[0, 2] = 9
  grid = draw.clip_grid(moving, gap=1)
  assert grid.shape == (3, 7, 10, 3)
  assert (grid[2, 1:3, 1:3] == 9).all() and (grid[1, 1:3, 1:3] == 7).all()
