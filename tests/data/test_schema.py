"""The schema refuses what does not fit, by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdr.data import schema
from vdr.runtime import errors

AXES = dict(t=5, h=6, w=8, o=2, n=7, b=4, k=2, i=3, j=3, c=16, l=9, e=12)


def example(batched=False, fields=schema.FIELDS):
  """Every field with the right dtype and shape."""
  made = {}
  for name in fields:
    field = schema.FIELDS[name]
    axes = ("b " * batched + field.axes).split()
    shape = tuple(AXES[a] if a in AXES else int(a) for a in axes)
    dtype = f"S{schema.MAX_TEXT_BYTES}" if field.is_text else field.dtype
    made[name] = np.zeros(shape, dtype)
  return made


def test_every_field_is_documented():
  for name, field in schema.FIELDS.items():
    assert field.doc.endswith("."), name
    for axis in field.axes.split():
      assert axis in AXES or axis.isdigit(), name


def test_companions_are_fields():
  for name, partners in schema.COMPANIONS.items():
    assert {name, *partners} <= schema.FIELDS.keys()


@pytest.mark.parametrize("batched", [False, True])
def test_what_fits_passes(batched):
  schema.check(example(batched), batched)
  schema.check({}, batched)


@pytest.mark.parametrize("name", schema.FIELDS)
def test_any_wrong_dtype_is_refused_by_name(name):
  bad = example()
  bad[name] = np.zeros(bad[name].shape, np.complex64)
  with pytest.raises(ValueError, match=f"{name} is complex64"):
    schema.check(bad)


@pytest.mark.parametrize("name", schema.FIELDS)
def test_any_wrong_rank_is_refused_by_name(name):
  bad = example()
  bad[name] = bad[name][None]
  with pytest.raises(ValueError, match=name):
    schema.check(bad)


def test_a_batch_is_no_example_and_the_reverse():
  with pytest.raises(ValueError, match="video"):
    schema.check(example(batched=True))
  with pytest.raises(ValueError, match="video"):
    schema.check(example(), batched=True)


def test_equal_axes_have_equal_lengths():
  bad = example() | {"depth_m": np.zeros((4, 6, 8), np.float32)}
  with pytest.raises(ValueError, match="depth_m has t = 4, others 5"):
    schema.check(bad)


def test_a_fixed_length_is_kept():
  bad = {"video": np.zeros((5, 6, 8, 4), np.uint8)}
  with pytest.raises(ValueError, match="video"):
    schema.check(bad)


def test_a_stranger_is_refused():
  with pytest.raises(ValueError, match="'depth' is not in the batch schema"):
    schema.check({"depth": np.zeros(3)})


class TestResolveFields:
  def test_video_is_always_read(self):
    assert schema.resolve_fields(()) == ("video",)

  def test_companions_come_along_in_the_order_of_the_schema(self):
    assert schema.resolve_fields(["points_xy", "label"]) == (
      "video",
      "label",
      "points_xy",
      "points_visible",
      "points_object",
    )

  def test_asking_twice_is_asking_once(self):
    once = schema.resolve_fields(["boxes_yxyx"])
    assert schema.resolve_fields(["boxes_yxyx", *once]) == once

  def test_an_unknown_field_names_the_known_ones(self):
    with pytest.raises(errors.UserError, match="'depth'.*depth_m"):
      schema.resolve_fields(["depth"])


class TestText:
  @given(st.text(st.characters(exclude_characters="\0"), max_size=100))
  def test_it_comes_back(self, value):
    assert schema.untext(schema.text(value)) == value

  @given(st.text(st.characters(exclude_characters="\0", min_codepoint=128)))
  def test_long_text_is_cut_between_characters(self, value):
    value = value * 200
    back = schema.untext(schema.text(value))
    assert value.startswith(back)
    assert len(value.encode()) <= 512 or 509 <= len(back.encode()) <= 512

  def test_it_has_one_size_and_stacks(self):
    batch = np.stack([schema.text("a"), schema.text("a longer one")])
    assert batch.dtype == f"S{schema.MAX_TEXT_BYTES}"
    assert [schema.untext(item) for item in batch] == ["a", "a longer one"]

  def test_longer_text_can_be_asked_for(self):
    value = schema.text("x" * 2000, schema.MAX_JSON_BYTES)
    assert schema.untext(value) == "x" * 2000
    schema.check({"factors": value})
