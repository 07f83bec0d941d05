"""Videos of a folder as clips."""

import fractions
import pickle

import numpy as np
import pytest

from configs import base
from tests.data import numbered
from vdr.data import decoder, schema, source, transforms
from vdr.runtime import errors

FAST = {"preset": "ultrafast", "crf": "18"}
HEIGHT, WIDTH = numbered.HEIGHT, numbered.WIDTH


@pytest.fixture(autouse=True)
def fresh_pool():
  yield
  decoder.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  folder = tmp_path_factory.mktemp("videos")
  for name, n in (("run/a.mp4", 40), ("run/b.mkv", 12), ("jump/c.mp4", 25)):
    (folder / name).parent.mkdir(exist_ok=True)
    numbered.write(folder / name, n, options=FAST)
  (folder / "index.txt").write_text(
    "run/a.mp4 1\nmissing.mp4 0\njump/c.mp4 0\n"
  )
  return folder


def open_source(root, **fields):
  cfg = base.source()
  cfg.update(
    kind="video_folder",
    split="all",
    path=str(root),
    height=HEIGHT,
    width=WIDTH,
    num_frames=5,
    sampling="middle",
    fields=("video", "label", "frame_times_s", "crop_affine"),
  )
  cfg.update(fields)
  return source.open_source(cfg)


def read(opened, index, seed=0):
  example = opened.read(index, np.random.default_rng(seed))
  schema.check(example)
  return example


def numbers(example):
  return [numbered.number_of(frame) for frame in example["video"]]


def test_it_is_a_source(root):
  opened = open_source(root)
  assert isinstance(opened, source.Source)
  assert len(opened) == 3
  assert opened.clip_id(0) == "jump/c.mp4"
  assert opened.class_names == {"label": ("jump", "run")}
  example = read(opened, 0)
  assert set(example) == {"video", "label", "frame_times_s", "crop_affine"}
  assert example["label"] == 0
  assert numbers(example) == [10, 11, 12, 13, 14]
  np.testing.assert_allclose(
    example["frame_times_s"], np.arange(10, 15) / 25, atol=1e-4
  )


def test_only_the_fields_asked_for_are_read(root):
  assert set(read(open_source(root, fields=("video",)), 0)) == {"video"}


def test_short_videos_follow_the_config(root):
  fields = dict(stride=4, num_frames=5)
  loop = read(open_source(root, short_videos="loop", **fields), 2)
  assert numbers(loop) == [0, 4, 8, 0, 4]
  pad = read(open_source(root, short_videos="pad", **fields), 2)
  assert numbers(pad) == [0, 4, 8, 11, 11]


def test_items_of_a_video_follow_each_other(root):
  opened = open_source(
    root,
    index="index.txt",
    sampling="uniform",
    clips_per_video=2,
    crop="three",
    height=48,
    width=48,
  )
  assert len(opened) == 3 * 2 * 3
  ids = [opened.clip_id(k) for k in range(6)]
  assert ids == [f"run/a.mp4#{c}.{v}" for c in range(2) for v in range(3)]
  videos = [opened.video_of(k) for k in (0, 5, 6, 17)]
  assert videos == ["run/a.mp4", "run/a.mp4", "missing.mp4", "jump/c.mp4"]
  first, last = read(opened, 0), read(opened, 5)
  assert first["frame_times_s"][0] == 0
  assert last["frame_times_s"][-1] == pytest.approx(39 / 25)
  boxes = [
    transforms.box_px(read(opened, k)["crop_affine"], HEIGHT, WIDTH)
    for k in range(3)
  ]
  assert boxes == [(0, 0, 96, 96), (0, 16, 96, 112), (0, 32, 96, 128)]


def test_random_clips_are_functions_of_the_generator(root):
  fields = dict(sampling="random", crop="random", flip=True)
  opened = open_source(root, **fields)
  one, same, other = (read(opened, 1, seed) for seed in (3, 3, 4))
  for name in one:
    np.testing.assert_array_equal(one[name], same[name])
  assert not np.array_equal(one["crop_affine"], other["crop_affine"])


@pytest.mark.parametrize("aspect", ["1", "16/11", "8/9"])
def test_the_affine_is_that_of_the_pixels(tmp_path, aspect):
  """Colours tell the place in the source: red is x, green is y."""
  y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
  smooth = np.stack([255 * x / WIDTH, 255 * y / HEIGHT, 0 * x + 90], -1)
  numbered.write(
    tmp_path / "a.mkv",
    pictures=[smooth.astype(np.uint8)] * 3,
    options={"crf": "1"},
    pixel_format="yuv444p",
    aspect=fractions.Fraction(aspect),
  )
  opened = open_source(
    tmp_path,
    num_frames=1,
    crop="random",
    crop_area=(0.3, 0.8),
    flip=True,
    height=32,
    width=40,
  )
  centres = (np.arange(40) + 0.5) / 40, (np.arange(32) + 0.5) / 32
  flips = set()
  for seed in range(8):
    example = read(opened, 0, seed)
    (scale_y, offset_y), (scale_x, offset_x) = example["crop_affine"]
    flips.add(scale_x < 0)
    got = example["video"][0].astype(float)
    expected_x = 255 * (centres[0] - offset_x) / scale_x
    expected_y = 255 * (centres[1] - offset_y) / scale_y
    # Red and green within a pixel's step and the loss of coding.
    assert np.abs(got[2:-2, 2:-2, 0] - expected_x[2:-2]).mean() < 2
    assert np.abs(got[2:-2, 2:-2, 1] - expected_y[2:-2, None]).mean() < 2
  assert flips == {False, True}


@pytest.mark.parametrize("aspect", ["1", "4/3", "3/4"])
def test_crops_have_their_shape_in_what_is_displayed(tmp_path, aspect):
  """A square of an anamorphic video is a square on the screen."""
  ratio = fractions.Fraction(aspect)
  numbered.write(tmp_path / "a.mp4", 3, options=FAST, aspect=ratio)
  opened = open_source(
    tmp_path, num_frames=1, crop="center", height=48, width=48
  )
  size = HEIGHT, float(WIDTH * ratio)
  y0, x0, y1, x1 = transforms.box_of_affine(read(opened, 0)["crop_affine"])[0]
  assert (y1 - y0) * size[0] == pytest.approx((x1 - x0) * size[1], abs=3)
  assert max(y1 - y0, x1 - x0) == pytest.approx(1)


def test_a_hole_in_an_index_is_a_bad_clip(root):
  opened = open_source(root, index="index.txt")
  with pytest.raises(source.BadClipError, match="No such file"):
    read(opened, 1)
  assert numbers(read(opened, 2)) == [10, 11, 12, 13, 14]


def test_a_slow_decode_is_a_bad_clip(root):
  opened = open_source(root, decode_timeout_s=0.0)
  with pytest.raises(source.BadClipError, match="too long"):
    read(opened, 0)


def test_it_travels_to_other_processes(root):
  opened = open_source(root)
  before = read(opened, 1)  # with a child running
  again = pickle.loads(pickle.dumps(opened))
  np.testing.assert_array_equal(read(again, 1)["video"], before["video"])


@pytest.mark.parametrize(
  "fields, word",
  [
    ({"crop": "middle"}, "middle"),
    ({"sampling": "first"}, "first"),
    ({"fields": ("video", "sound")}, "sound"),
    ({"index": "none.csv"}, "none.csv"),
  ],
)
def test_mistakes_are_told_at_the_start(root, fields, word):
  with pytest.raises(errors.UserError, match=word):
    open_source(root, **fields)
