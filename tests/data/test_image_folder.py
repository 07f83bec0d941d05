"""Images of a folder as clips of one frame."""

import pickle

import numpy as np
import pytest
from PIL import Image

from configs import base
from vdr.data import schema, source

SMOOTH = np.stack([*np.mgrid[0:60, 0:90], np.full((60, 90), 80)], -1).astype(
  np.uint8
)


@pytest.fixture
def root(tmp_path):
  for name in ("cat/a.png", "cat/b.jpg", "dog/c.png"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    Image.fromarray(SMOOTH).save(tmp_path / name, quality=98)
  return tmp_path


def open_source(root, **fields):
  cfg = base.source()
  cfg.update(
    kind="image_folder",
    split="all",
    path=str(root),
    height=60,
    width=90,
    fields=("video", "label", "frame_times_s", "crop_affine"),
  )
  cfg.update(fields)
  return source.open_source(cfg)


def read(opened, index, seed=0):
  example = opened.read(index, np.random.default_rng(seed))
  schema.check(example)
  return example


def test_it_is_a_source(root):
  opened = open_source(root)
  assert isinstance(opened, source.Source)
  assert len(opened) == 3
  assert opened.class_names == {"label": ("cat", "dog")}
  assert opened.clip_id(2) == "dog/c.png"
  example = read(opened, 2)
  np.testing.assert_array_equal(example["video"], SMOOTH[None])
  assert example["label"] == 1
  assert example["frame_times_s"].tolist() == [0]
  np.testing.assert_allclose(read(opened, 1)["video"][0], SMOOTH, atol=6)


def test_three_crops_are_three_items(root):
  opened = open_source(root, crop="three", height=30, width=30)
  assert len(opened) == 9
  assert [opened.clip_id(k) for k in (0, 5)] == [
    "cat/a.png#0.0",
    "cat/b.jpg#0.2",
  ]
  means = [read(opened, k)["video"][..., 1].mean() for k in range(3)]
  np.testing.assert_allclose(means, [29.5, 44.5, 59.5], atol=0.6)


def test_camera_orientation_is_honoured(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6  # turn clockwise to display
  Image.fromarray(SMOOTH).save(tmp_path / "a.png", exif=exif)
  example = read(open_source(tmp_path, height=90, width=60), 0)
  np.testing.assert_array_equal(example["video"][0], np.rot90(SMOOTH, -1))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
  if mode == "I;16":
    image = Image.fromarray(np.full((20, 30), 300, np.uint16))
  else:
    image = Image.fromarray(SMOOTH).convert(mode)
  image.save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
  video = read(open_source(tmp_path), 0)["video"]
  assert video.shape == (1, 60, 90, 3) and video.dtype == np.uint8


def test_bad_files_are_bad_clips(root):
  whole = (root / "cat/a.png").read_bytes()
  damages = {
    "half": whole[: len(whole) // 2],
    "empty": b"",
    "text": b"no image" * 99,
    "flipped": whole[:60] + bytes(b ^ 0xFF for b in whole[60:]),
  }
  opened = open_source(root)
  for damage in damages.values():
    (root / "cat/a.png").write_bytes(damage)
    with pytest.raises(source.BadClipError):
      read(opened, 0)
  (root / "cat/a.png").unlink()
  with pytest.raises(source.BadClipError, match="No such file"):
    read(opened, 0)


def test_it_travels_to_other_processes(root):
  opened = pickle.loads(pickle.dumps(open_source(root)))
  assert read(opened, 0)["label"] == 0
