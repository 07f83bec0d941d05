"""Every natural form of an input means the same; the others are refused."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vdr.features import inputs
from vdr.runtime import errors

VIDEO = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
FORMS = {
  "NumPy": VIDEO,
  "JAX": jnp.asarray(VIDEO),
  "ints": VIDEO.astype(np.int64),
  "floats": VIDEO / 255,
  "single floats": (VIDEO / 255).astype(np.float32),
  "floats of JAX": jnp.asarray(VIDEO / 255, jnp.float32),
  "a list": list(VIDEO),
  "a tuple": tuple(VIDEO),
  "a generator": None,  # made anew for every test
  "arrays of JAX": [jnp.asarray(frame) for frame in VIDEO],
  "lists of lists": VIDEO.tolist(),
  "pictures": [Image.fromarray(frame) for frame in VIDEO],
  "views": VIDEO[::-1, :, ::-1].copy()[::-1, :, ::-1],
}


class Tensor:
  """As of a library that vdr knows nothing of."""

  def __init__(self, array):
    self._array = array

  def __array__(self, dtype=None, copy=None):
    if self._array is None:
      raise RuntimeError("it lies\non another device")
    return self._array


@pytest.mark.parametrize("name", FORMS)
def test_all_forms_of_a_video_are_the_same(name):
  form = (frame for frame in VIDEO) if name == "a generator" else FORMS[name]
  found, are_several = inputs.pixels(form)
  assert found.dtype == np.uint8 and not are_several
  np.testing.assert_array_equal(found, VIDEO[None])


def test_other_libraries_give_their_arrays():
  np.testing.assert_array_equal(inputs.pixels(Tensor(VIDEO))[0][0], VIDEO)
  with pytest.raises(
    errors.UserError, match="Tensor can't be made.*on another"
  ):
    inputs.pixels(Tensor(None))


def test_several_videos_have_an_axis_of_their_own():
  for form in (np.stack([VIDEO, VIDEO]), [VIDEO, VIDEO], [list(VIDEO)] * 2):
    found, are_several = inputs.pixels(form)
    assert found.shape == (2, 5, 4, 6, 3) and are_several
  # Also a list of one.
  assert inputs.pixels([VIDEO])[1] and inputs.pixels([VIDEO])[0].ndim == 5


def test_a_picture_is_a_video_of_one_frame():
  for form in (VIDEO[0], Image.fromarray(VIDEO[0]), VIDEO[0] / 255):
    found, are_several = inputs.pixels(form)
    np.testing.assert_array_equal(found, VIDEO[None, :1])
    assert not are_several


@pytest.mark.parametrize(
  ("video", "message"),
  [
    (None, "NoneType is none; give a file"),
    (5, "int is none"),
    (b"a.mp4", "bytes is none"),
    ({"video": VIDEO}, "dict is none"),
    (["a.mp4", "b.mp4"], "'a.mp4' is in a list; give one file at a time"),
    ([], "it is empty"),
    ([[]], "is empty|shape"),
    (VIDEO[:0], "it is empty"),
    (VIDEO[:, :0], "it is empty"),
    (VIDEO[0, 0], r"shape \[6 3\]: give a file"),
    (np.moveaxis(VIDEO, -1, 1), r"np.moveaxis\(video, -3, -1\)"),
    (np.moveaxis(VIDEO[0], -1, 0), r"np.moveaxis\(video, -3, -1\)"),
    (VIDEO[..., :1], r"np.repeat\(video, 3, axis=-1\)"),
    (VIDEO[..., 0], r"np.repeat\(video\[..., None\], 3, axis=-1\)"),
    (np.pad(VIDEO, [(0, 0)] * 3 + [(0, 1)]), r"give video\[..., :3\]"),
    (VIDEO[..., :2], "it is not RGB"),
    (
      VIDEO.astype(np.float32),
      r"to 25\d; floats are in \[0, 1\]: give video /",
    ),
    (VIDEO / 127.5 - 1, r"from -1 to .*: give \(video \+ 1\) / 2"),
    (VIDEO * 7.5, r"floats are in \[0, 1\]$"),
    (VIDEO / 255 * np.nan, "values from nan to nan"),
    (VIDEO.astype(int) - 1, "from -1 to .*whole numbers are 0 to 255"),
    (VIDEO > 9, "type bool is none"),
    (VIDEO.astype(complex), "type complex128 is none"),
    (VIDEO.astype(object), "type object is none"),
    ([VIDEO[0], VIDEO[1, 1:]], r"item 1 .* \[3 6 3\], and item 0 .* \[4 6 3\]"),
    ([VIDEO[0], VIDEO[1] / 255], "item 1 of the list is float64"),
    ([VIDEO, VIDEO[:2]], "give one video at a time"),
    ([[[1, 2, 3], [4, 5]]], "a list of numbers is no array"),
    (Image.fromarray(VIDEO[0]).quantize(4), r'mode P .*convert\("RGB"\)'),
  ],
)
def test_what_is_no_video_is_refused(video, message):
  with pytest.raises(errors.UserError, match=message) as raised:
    inputs.pixels(video)
  assert "\n" not in str(raised.value)


def test_an_open_file_is_no_list_of_frames(tmp_path):
  (tmp_path / "a.mp4").write_bytes(b"frames")
  with (
    (tmp_path / "a.mp4").open("rb") as file,
    pytest.raises(errors.UserError, match="BufferedReader is none"),
  ):
    inputs.pixels(file)


def test_inside_of_a_jitted_function_there_are_no_pixels():
  with pytest.raises(errors.UserError, match="use Backbone.apply"):
    jax.jit(inputs.pixels)(VIDEO)


@hypothesis.given(
  hnp.arrays(
    hnp.scalar_dtypes() | hnp.unicode_string_dtypes(),
    hnp.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=4),
  )
)
def test_any_array_is_a_video_or_one_line(array):
  """Those that are taken have values of a video, and keep them."""
  try:
    found, _ = inputs.pixels(array)
  except errors.UserError as error:
    assert "\n" not in str(error) and len(str(error)) < 300
    return
  assert found.dtype == np.uint8 and found.ndim == 5 and found.size
  assert found.shape[5 - array.ndim :] == array.shape and array.shape[-1] == 3
  scale = 255 if array.dtype.kind == "f" else 1
  difference = scale * array.astype(float) - found.reshape(array.shape)
  assert np.abs(difference).max() <= 0.501


@hypothesis.given(st.data())
def test_every_shape_and_type_of_pixels_is_taken(data):
  shape = data.draw(
    st.tuples(*[st.integers(1, 4)] * data.draw(st.integers(2, 4)))
  )
  kind = data.draw(st.sampled_from(["u1", "i2", "i8", "u8", "f2", "f4", "f8"]))
  most = 1 if kind[0] == "f" else 255
  elements = hnp.from_dtype(np.dtype(kind), min_value=0, max_value=most)
  pixels = data.draw(hnp.arrays(kind, (*shape, 3), elements=elements))
  found, are_several = inputs.pixels(pixels)
  assert are_several == (len(shape) == 4)
  expected = 255 * pixels.astype(np.float32) if most == 1 else pixels
  np.testing.assert_array_equal(
    found.reshape(pixels.shape), np.rint(expected).astype(np.uint8)
  )


@pytest.mark.parametrize(
  "values",
  [2, [2], (2,), {2}, range(2, 3), np.int8(2), np.array(2), np.array([2, 2])],
)
def test_one_number_may_stand_for_several(values):
  assert inputs.numbers("layers", values, is_whole=True) == (2,)
  assert inputs.numbers("levels", values, is_whole=False) == (2.0,)
  of_jax = jnp.asarray([2]) if isinstance(values, np.ndarray) else jnp.array(2)
  assert inputs.numbers("layers", of_jax, is_whole=True) == (2,)


def test_no_numbers_are_an_empty_tuple():
  for values in (None, [], (), np.zeros(0)):
    assert inputs.numbers("layers", values, is_whole=True) == ()


@pytest.mark.parametrize(
  "value",
  ["2", b"2", True, 2.0, 2.5, None, [2], "", np.array([2]), float("nan"), 1j],
)
def test_what_is_no_whole_number_is_refused(value):
  with pytest.raises(errors.UserError, match="^stride=.* is no whole number$"):
    inputs.whole("stride", value)


@pytest.mark.parametrize(
  "value",
  ["2", True, None, [0.2], float("nan"), 1j, 10**400, np.zeros((99, 9))],
)
def test_what_is_no_number_is_refused(value):
  with pytest.raises(errors.UserError, match="^fps=.* is no number$") as raised:
    inputs.number("fps", value)
  assert len(str(raised.value)) < 120


def test_seeds_have_the_bits_that_jax_takes():
  for seed in (-(2**63), -1, 0, 2**32, 2**63 - 1):
    assert inputs.seed(seed) == seed
    jax.random.key(seed)
  with pytest.raises(errors.UserError, match="use a number of 64 bits"):
    inputs.seed(2**63)


def test_a_file_is_absolute(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ("a.mp4", "take:2/a.mp4", "file:a.mp4", "-a.mp4"):
    assert inputs.file(name) == tmp_path / name
  monkeypatch.setenv("HOME", str(tmp_path))
  assert inputs.file("~/a.mp4") == tmp_path / "a.mp4"


@pytest.mark.parametrize(
  ("path", "message"),
  [
    ("", "'' names no file"),
    ("a\0.mp4", "names no file"),
    ("https://host/a.mp4", "is an address; download"),
    (".", "is a folder; name a video file"),
  ],
)
def test_what_names_no_file_is_refused(path, message, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match=message):
    inputs.file(path)


def test_an_image_file_is_one_frame(tmp_path):
  Image.fromarray(VIDEO[0]).save(tmp_path / "a.PNG", format="png")
  found = inputs.picture(tmp_path / "a.PNG")
  assert found is not None
  np.testing.assert_array_equal(found, VIDEO[0])
  assert inputs.picture(tmp_path / "a.mp4") is None
  (tmp_path / "b.jpg").write_bytes(b"nothing of the kind")
  for name in ("b.jpg", "c.jpg"):
    with pytest.raises(errors.UserError, match=f"{name} can't be read: .*"):
      inputs.picture(tmp_path / name)
