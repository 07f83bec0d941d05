"""One affine a clip: everything in an example moves with the pixels."""

import ml_collections
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import base
from vdr import geometry
from vdr.data import transforms
from vdr.runtime import errors

IDENTITY = np.array([[1.0, 0.0], [1.0, 0.0]])


def config(**fields) -> ml_collections.ConfigDict:
  cfg = base.source()
  cfg.update(fields)
  return cfg


@st.composite
def affines(draw):
  """Crops inside the picture, mirrored or not."""
  y, x = (draw(st.floats(0, 0.6)) for _ in range(2))
  size_y, size_x = (draw(st.floats(0.2, 0.4)) for _ in range(2))
  return transforms.affine_of_box(
    (y, x, y + size_y, x + size_x), draw(st.booleans())
  )


def gradient(height: int, width: int) -> np.ndarray:
  """One frame whose red is x and whose green is y of the pixel's centre."""
  y = (np.arange(height) + 0.5) / height
  x = (np.arange(width) + 0.5) / width
  picture = np.zeros((1, height, width, 3))
  picture[..., 0] = 255 * x
  picture[..., 1] = 255 * y[:, None]
  return np.round(picture).astype(np.uint8)


@given(affines())
def test_the_box_of_an_affine_gives_it_back(affine):
  box, flip_y, flip_x = transforms.box_of_affine(affine)
  again = transforms.affine_of_box(box, flip_x)
  np.testing.assert_allclose(again, affine, atol=1e-9)
  assert not flip_y


@settings(deadline=None, max_examples=25)
@given(affines())
def test_pixels_show_the_content_that_points_say(affine):
  out = transforms.resize(gradient(200, 240), affine, 40, 50)[0].astype(float)
  # The place in the source of each pixel's centre, from the affine alone.
  x = ((np.arange(50) + 0.5) / 50 - affine[1, 1]) / affine[1, 0]
  y = ((np.arange(40) + 0.5) / 40 - affine[0, 1]) / affine[0, 0]
  inner = slice(2, -2)  # at the crop's edges the filter is cut off
  np.testing.assert_allclose(
    out[inner, inner, 0], np.tile(255 * x[inner], (36, 1)), atol=1.1
  )
  np.testing.assert_allclose(
    out[inner, inner, 1], np.tile(255 * y[inner, None], (1, 46)), atol=1.1
  )


def test_shrinking_is_antialiased():
  stripes = np.zeros((1, 64, 64, 3), np.uint8)
  stripes[:, :, ::2] = 254
  out = transforms.resize(stripes, IDENTITY, 8, 8)
  np.testing.assert_allclose(out[:, :, 1:-1].astype(float), 127, atol=4)


@settings(deadline=None, max_examples=25)
@given(affines())
def test_nearest_takes_the_pixel_under_the_centre(affine):
  maps = np.arange(60 * 80, dtype=np.float32).reshape(1, 60, 80)
  out = transforms.resize_nearest(maps, affine, 9, 11)
  box, _, flip_x = transforms.box_of_affine(affine)
  for i in range(9):
    for j in range(11):
      across = 10 - j if flip_x else j
      y = (box[0] + (i + 0.5) / 9 * (box[2] - box[0])) * 60
      x = (box[1] + (across + 0.5) / 11 * (box[3] - box[1])) * 80
      if min(abs(y - round(y)), abs(x - round(x))) > 1e-6:
        assert out[0, i, j] == maps[0, int(y), int(x)]


def example(rng: np.random.Generator) -> dict[str, np.ndarray]:
  """A made-up clip of a camera that looks at random points."""
  intrinsics = np.array([[1.1, 0, 0.5], [0, 1.3, 0.48], [0, 0, 1]], np.float32)
  points = rng.uniform(0, 1, (7, 2, 2)).astype(np.float32)
  corner = rng.uniform(0, 0.5, (3, 2, 2))
  side = rng.uniform(0.05, 0.5, (3, 2, 2))
  return {
    "video": rng.integers(0, 255, (2, 30, 40, 3), dtype=np.uint8),
    "depth_m": rng.uniform(1, 9, (2, 30, 40)).astype(np.float32),
    "segmentation": rng.integers(0, 4, (2, 30, 40), dtype=np.uint8),
    "normals": rng.normal(size=(2, 30, 40, 3)).astype(np.float32),
    "intrinsics": intrinsics,
    "points_xy": points,
    "points_visible": rng.random((7, 2)) < 0.7,
    "boxes_yxyx": np.concatenate([corner, corner + side], -1).astype("f4"),
    "boxes_valid": rng.random((3, 2)) < 0.7,
    "label": np.array(3, np.int32),
  }


@settings(deadline=None, max_examples=50)
@given(affines(), st.integers(0, 1000))
def test_points_boxes_and_intrinsics_agree(affine, seed):
  rng = np.random.default_rng(seed)
  before = example(rng)
  after = transforms.apply(before, affine, 16, 20)
  pose = np.eye(4)
  depth = rng.uniform(1, 5, 14)
  xy = before["points_xy"].reshape(-1, 2).astype(np.float64)
  world = geometry.unproject(xy, depth, pose, before["intrinsics"])
  moved, _ = geometry.project(world, pose, after["intrinsics"])
  np.testing.assert_allclose(
    moved, after["points_xy"].reshape(-1, 2), atol=1e-4
  )
  inside = np.all((moved >= 0) & (moved <= 1), -1).reshape(7, 2)
  np.testing.assert_array_equal(
    after["points_visible"], before["points_visible"] & inside
  )
  # A box is where its corners are, cut off at the edges of the crop.
  for o in range(3):
    for t in range(2):
      corners = before["boxes_yxyx"][o, t].reshape(2, 2)[:, ::-1]
      corners = geometry.affine_points_xy(affine, corners)[:, ::-1]
      low, high = np.clip([corners.min(0), corners.max(0)], 0, 1)
      shows = bool(before["boxes_valid"][o, t] and np.all(high > low))
      assert after["boxes_valid"][o, t] == shows
      if shows:
        np.testing.assert_allclose(
          after["boxes_yxyx"][o, t], [*low, *high], atol=1e-5
        )


@settings(deadline=None, max_examples=25)
@given(affines(), st.integers(0, 1000))
def test_depth_unprojects_to_the_same_world(affine, seed):
  """A slanted plane stays that plane under new intrinsics."""
  rng = np.random.default_rng(seed)
  before = example(rng)
  intrinsics, pose = before["intrinsics"], np.eye(4)
  y, x = ((np.arange(n) + 0.5) / n for n in (300, 400))
  rays_x = (x - intrinsics[0, 2]) / intrinsics[0, 0]
  rays_y = (y[:, None] - intrinsics[1, 2]) / intrinsics[1, 1]
  depth = 3 / (1 + 0.2 * rays_x + 0.1 * rays_y)  # 0.2 X + 0.1 Y + Z = 3
  before = {
    "depth_m": depth[None].astype(np.float32),
    "intrinsics": intrinsics,
  }
  after = transforms.apply(before, affine, 16, 20)
  centres = np.stack(
    np.meshgrid((np.arange(20) + 0.5) / 20, (np.arange(16) + 0.5) / 16), -1
  ).reshape(-1, 2)
  world = geometry.unproject(
    centres, after["depth_m"].reshape(-1), pose, after["intrinsics"]
  )
  # Nearest reads at most half a source pixel beside the ray.
  np.testing.assert_allclose(world @ [0.2, 0.1, 1.0], 3, atol=5e-3)


def test_dense_maps_are_never_averaged():
  before = example(np.random.default_rng(0))
  affine = transforms.affine_of_box((0.1, 0.2, 0.77, 0.93), mirrored=True)
  after = transforms.apply(before, affine, 64, 64)
  assert np.isin(after["depth_m"], before["depth_m"]).all()
  assert np.isin(after["segmentation"], before["segmentation"]).all()
  assert after["normals"].shape == (2, 64, 64, 3)


def test_nothing_to_do_returns_the_same_arrays():
  before = example(np.random.default_rng(0))
  after = transforms.apply(before, IDENTITY, 30, 40)
  assert all(after[name] is value for name, value in before.items())
  np.testing.assert_array_equal(after["crop_affine"], IDENTITY)


def test_a_second_crop_adds_to_the_first():
  first = transforms.affine_of_box((0.1, 0.2, 0.7, 0.9))
  second = transforms.affine_of_box((0.3, 0.0, 0.8, 0.5), mirrored=True)
  before = {"points_xy": np.array([[[0.4, 0.35]]], np.float32)}
  once = transforms.apply(before, first, 8, 8)
  twice = transforms.apply(once, second, 8, 8)
  direct = geometry.affine_points_xy(
    twice["crop_affine"], before["points_xy"][0]
  )
  np.testing.assert_allclose(direct, twice["points_xy"][0], atol=1e-6)


@given(
  affines(),
  st.integers(5, 99),
  st.integers(5, 99),
  st.sampled_from([(1, 1), (2, 2), (1, 4), (4, 1)]),
)
def test_snapped_crops_begin_between_pixels(affine, height, width, steps):
  snapped = transforms.snap(affine, height, width, steps)
  y0, x0, y1, x1 = transforms.box_px(snapped, height, width)
  box, _, _ = transforms.box_of_affine(snapped)
  np.testing.assert_allclose(
    box, [y0 / height, x0 / width, y1 / height, x1 / width], atol=1e-9
  )
  assert 0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width
  assert y0 % steps[0] == x0 % steps[1] == 0
  assert y1 % steps[0] == 0 or y1 == height
  assert x1 % steps[1] == 0 or x1 == width
  assert (snapped[1, 0] < 0) == (affine[1, 0] < 0)
  exact, _, _ = transforms.box_of_affine(affine)
  off = np.abs(np.subtract(box, exact)) * [height, width, height, width]
  assert np.all(off <= 2 * np.array([*steps, *steps]))


def test_whole_pictures_stay_whole_when_snapped():
  for size in (255, 256, 1):
    box = transforms.box_px(
      transforms.snap(IDENTITY, size, size, (2, 2)), size, size
    )
    assert box == (0, 0, size, size)


@pytest.mark.parametrize("height, width", [(90, 160), (160, 90)])
def test_center_is_the_largest_that_fits(height, width):
  cfg = config(crop="center", height=32, width=32)
  affine = transforms.sample_affine(
    cfg, np.random.default_rng(0), height, width
  )
  box = transforms.box_px(affine, height, width)
  assert box == ((0, 35, 90, 125) if width > height else (35, 0, 125, 90))


@pytest.mark.parametrize("height, width", [(90, 160), (160, 90)])
def test_three_crops_lie_along_the_long_side(height, width):
  cfg = config(crop="three", height=32, width=32)
  rng = np.random.default_rng(0)
  boxes = [
    transforms.box_px(
      transforms.sample_affine(cfg, rng, height, width, crop), height, width
    )
    for crop in range(transforms.num_crops(cfg))
  ]
  axis = 1 if width > height else 0
  assert [box[axis] for box in boxes] == [0, 35, 70]
  assert [box[axis + 2] for box in boxes] == [90, 125, 160]


def test_none_squashes_the_whole_frame():
  cfg = config(crop="none", height=32, width=32, flip=True)
  affine = transforms.sample_affine(cfg, np.random.default_rng(0), 90, 160)
  np.testing.assert_array_equal(affine, IDENTITY)


def test_random_crops_keep_to_their_ranges():
  cfg = config(
    crop="random", crop_area=(0.2, 0.5), crop_aspect=(0.8, 1.25), flip=True
  )
  rng = np.random.default_rng(0)
  mirrored, places = 0, set()
  for _ in range(200):
    affine = transforms.sample_affine(cfg, rng, 120, 160)
    (y0, x0, y1, x1), _, flip = transforms.box_of_affine(affine)
    mirrored += flip
    places.add((y0, x0))
    assert min(y0, x0) >= -1e-9 and max(y1, x1) <= 1 + 1e-9
    assert 0.2 - 1e-9 <= (y1 - y0) * (x1 - x0) <= 0.5 + 1e-9
    aspect = (x1 - x0) * 160 / ((y1 - y0) * 120)
    assert 0.8 - 1e-9 <= aspect <= 1.25 + 1e-9
  assert 60 < mirrored < 140
  assert len(places) == 200


def test_random_crops_of_extreme_pictures_fit():
  cfg = config(crop="random", crop_area=(1.0, 1.0), crop_aspect=(0.9, 1.1))
  affine = transforms.sample_affine(cfg, np.random.default_rng(0), 20, 400)
  (y0, x0, y1, x1), _, _ = transforms.box_of_affine(affine)
  assert (y0, y1) == pytest.approx((0, 1))
  assert (x1 - x0) * 400 / 20 == pytest.approx(1.1)


def test_flips_only_where_the_config_allows():
  cfg = config(crop="random", flip=False)
  rng = np.random.default_rng(0)
  affines = [transforms.sample_affine(cfg, rng, 50, 50) for _ in range(50)]
  assert all(affine[1, 0] > 0 for affine in affines)


@pytest.mark.parametrize(
  "fields, word",
  [
    ({"crop": "middle"}, "middle"),
    ({"width": 0}, "width"),
    ({"crop_area": (0.5, 0.2)}, "crop_area"),
    ({"crop_area": (0.5, 1.2)}, "crop_area"),
    ({"crop_aspect": (0.0, 1.0)}, "crop_aspect"),
  ],
)
def test_senseless_configs_are_refused(fields, word):
  with pytest.raises(errors.UserError, match=word):
    transforms.check(config(**fields))
