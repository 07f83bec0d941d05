"""Turning, cutting and converting single frames."""

import av
import numpy as np
import pytest

from vdr.data import frame_to_rgb


@pytest.mark.parametrize(
  "name, steps",
  [
    ("yuv420p", (2, 2)),
    ("yuv422p", (1, 2)),
    ("yuv440p", (2, 1)),
    ("yuv444p", (1, 1)),
    ("yuv411p", (1, 4)),
    ("yuv410p", (4, 4)),
    ("gray", (1, 1)),
    ("gbrp", (1, 1)),
    ("nv12", (1, 1)),  # these are cut after the conversion to RGB
    ("yuyv422", (1, 1)),
  ],
)
def test_crops_begin_between_samples_of_chroma(name, steps):
  assert frame_to_rgb.crop_steps(av.VideoFormat(name, 8, 8)) == steps


@pytest.mark.parametrize("name", ["rgb24", "monob", "nv12", "yuyv422", "gray"])
def test_every_kind_of_pixel_is_cut_where_it_should_be(name):
  picture = np.zeros((16, 32, 3), np.uint8)
  picture[6:10, 12:20] = 255
  frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=name)
  part = frame_to_rgb.Converter()(frame, (6, 12, 10, 20), 4, 8)
  assert part.min() >= 250
  whole = frame_to_rgb.Converter()(frame, (0, 0, 16, 32), 16, 32)
  np.testing.assert_allclose(whole, picture, atol=5)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("mirror_y", [False, True])
@pytest.mark.parametrize("mirror_x", [False, True])
def test_a_box_of_the_displayed_picture_is_found_in_the_decoded_one(
  swap, mirror_y, mirror_x
):
  turn = frame_to_rgb.Orientation(swap, mirror_y, mirror_x)
  decoded = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
  shown = turn.display(decoded)
  box = (1, 2, 4, 6)
  y0, x0, y1, x1 = turn.decoded_box(box, *shown.shape[:2])
  np.testing.assert_array_equal(
    turn.display(decoded[y0:y1, x0:x1]), shown[1:4, 2:6]
  )
  assert turn.decoded_size(*shown.shape[:2]) == decoded.shape[:2]
