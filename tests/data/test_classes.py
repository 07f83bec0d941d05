"""One number for each class, by its name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdr.data import classes, index_files
from vdr.runtime import errors


def number(*labels, folders=()):
  rows = [index_files.Row(f"line {i}", "", x) for i, x in enumerate(labels)]
  found, names = classes.number(rows, folders)
  return found.tolist(), names


def test_whole_numbers_may_be_written_as_decimals():
  assert number("2.0", "0", "-1.0", "-1", "+1.", "02") == (
    [2, 0, -1, -1, 1, 2],
    ("0", "1", "2"),
  )


def test_unknown_classes_go_with_names():
  assert number("run", "-1", "jump", None) == ([1, -1, 0, -1], ("jump", "run"))
  assert number("-1", None) == ([-1, -1], ())
  assert number() == ([], ())


@given(st.lists(st.integers(-1, 300), min_size=1))
def test_numbers_are_themselves(values):
  found, names = number(*map(str, values))
  assert found == values
  assert names == tuple(map(str, range(max(values) + 1)))
  assert number(*(f"{float(x)}" for x in values)) == (found, names)


@given(st.lists(st.text("abcXYZ ."), min_size=1).filter(lambda x: any(x)))
def test_names_are_numbered_in_their_order(labels):
  labels = [label for label in labels if label.strip(". ")]
  found, names = number(*labels)
  assert list(names) == sorted(set(labels))
  assert [names[i] for i in found] == labels


@pytest.mark.parametrize(
  ("label", "words"),
  [
    ("--1", "no whole number"),
    ("2.5", "no whole number"),
    ("1e3", "no whole number"),
    ("-2", "is unknown"),
    ("99999999999", "too large"),
    ("1000000", "too large"),
    ("9" * 5000, "too large"),
  ],
)
@pytest.mark.parametrize("before", [(), ("0",)])
def test_numbers_that_can_not_be_are_told_with_their_line(before, label, words):
  with pytest.raises(errors.UserError, match=words) as caught:
    number(*before, label)
  assert f"line {len(before)}" in str(caught.value)
  assert "\n" not in str(caught.value)


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_label_is_a_class_or_one_line(one, two):
  try:
    found, names = number(one, two)
  except errors.UserError as error:
    assert "line" in str(error)
  else:
    assert all(-1 <= x < len(names) for x in found)


def test_numbers_and_names_do_not_mix():
  with pytest.raises(errors.UserError, match="'run' is a name, those before"):
    number("1", "run")
  with pytest.raises(errors.UserError, match="'1' is a number, those before"):
    number("run", "1")


def test_lists_of_classes_must_agree(tmp_path):
  one, two = tmp_path / "one", tmp_path / "two"
  for folder in (one, two):
    folder.mkdir()
    (folder / "classes.txt").write_text("walk\nrun\u2028now\n")
  assert number("run\u2028now", folders=(one, two)) == (
    [1],
    ("walk", "run\u2028now"),
  )
  assert number("0", folders=(one,)) == ([0], ("walk", "run\u2028now"))
  (two / "classes.txt").write_text("run\nwalk\n")
  with pytest.raises(errors.UserError, match="list other classes"):
    number("run", folders=(one, two))


def test_a_list_may_name_classes_by_numbers(tmp_path):
  (tmp_path / "classes.txt").write_text("2020\n2019\n")
  assert number("2019", "2020", folders=(tmp_path,))[0] == [1, 0]
  assert np.dtype("int32") == classes.number([], ())[0].dtype
