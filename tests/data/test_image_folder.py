"""Images of a folder as clips of one frame."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from configs import base
from vdr.data import image_folder, schema, source

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


def decoded(image, kind="png", **options):
  raw = io.BytesIO()
  image.save(raw, kind, **options)
  return image_folder.decode(raw.getvalue())


@pytest.mark.parametrize(
  "mode, off", [("P", 16), ("RGBA", 0), ("CMYK", 1), ("RGBX", 0)]
)
def test_colours_are_kept_in_every_mode(mode, off):
  kind = "png" if mode in ("P", "RGBA") else "tiff"
  image = Image.fromarray(SMOOTH)
  image = image.quantize() if mode == "P" else image.convert(mode)
  assert np.abs(decoded(image, kind).astype(int) - SMOOTH).max() <= off


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_is_grey(mode):
  grey = Image.fromarray(SMOOTH).convert("L").convert(mode)
  expected = np.asarray(grey.convert("L"))
  np.testing.assert_array_equal(
    decoded(grey), np.repeat(expected[..., None], 3, -1)
  )


RAMP = np.arange(256).reshape(16, 16)


@pytest.mark.parametrize(
  "kind, pixels",
  [
    ("png", (RAMP * 257).astype(np.uint16)),
    ("tiff", (RAMP * 257).astype(np.uint16)),
    ("tiff", (RAMP * 257).astype(">u2")),
    ("tiff", (RAMP * 257).astype(np.int32)),
    ("tiff", (RAMP / 255).astype(np.float32)),
  ],
)
def test_wide_pixels_are_scaled_to_eight_bits(kind, pixels):
  """Pillow's conversion shows 16 bits white and floats black."""
  found = decoded(Image.fromarray(pixels), kind)
  np.testing.assert_array_equal(found, np.repeat(RAMP[..., None], 3, -1))


@pytest.mark.parametrize(
  "pixels, words",
  [
    (RAMP.astype(np.float32), "from 0 to 255, .* from 0 to 1"),
    (np.full((4, 4), np.nan, np.float32), "from nan to nan"),
    (np.full((4, 4), -1, np.int32), "from -1 to -1, .* from 0 to 65535"),
  ],
)
def test_pixels_of_an_unknown_range_are_refused(pixels, words):
  with pytest.raises(source.BadClipError, match=words):
    decoded(Image.fromarray(pixels), "tiff")


def test_transparent_pixels_lie_on_white():
  """Programs hide whatever colour they like under them, mostly black."""
  rgba = np.zeros((2, 3, 4), np.uint8)
  rgba[:, 1] = 200, 0, 0, 255
  rgba[:, 2] = 0, 0, 0, 128
  expected = [[255, 255, 255], [200, 0, 0], [127, 127, 127]]
  assert decoded(Image.fromarray(rgba))[0].tolist() == expected
  palette = Image.new("P", (2, 2))
  assert np.all(decoded(palette, transparency=0) == 255)


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
