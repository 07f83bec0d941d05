"""Lists of files: what is a line, a cell, a path and a label."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdr.data import index_files
from vdr.runtime import errors

# Characters that end a line for str.splitlines, and not in a file.
ODD = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def read(path, text, column=""):
  path.write_text(text, encoding="utf-8", newline="")
  found = index_files.read(path, column)
  return [row[1:] for row in found.rows]


@pytest.mark.parametrize("odd", ODD)
def test_odd_ends_of_lines_belong_to_names_and_captions(tmp_path, odd):
  name = f"a{odd}b.mp4"
  assert read(tmp_path / "i.txt", f"{name} 1\nc.mp4 0\n") == [
    (name, "1", ""),
    ("c.mp4", "0", ""),
  ]
  text = f"path,label,caption\na.mp4,1,one{odd}two\nb.mp4,0,\n"
  found = read(tmp_path / "i.csv", text, "label")
  assert [row[:2] for row in found] == [("a.mp4", "1"), ("b.mp4", "0")]


WORDS = st.text(
  st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1
).map(lambda x: x.strip(" \t"))


@given(st.lists(st.tuples(WORDS, WORDS).filter(all), min_size=1))
def test_csv_is_read_as_it_was_written(tmp_path_factory, rows):
  text = io.StringIO(newline="")
  csv.writer(text).writerows([("path", "label"), *rows])
  path = tmp_path_factory.mktemp("csv") / "i.csv"
  assert read(path, text.getvalue()) == [(*row, "") for row in rows]


@given(
  st.lists(
    st.tuples(WORDS, WORDS).filter(
      lambda row: all(row) and not set(row[1]) & set(" \t")
    ),
    min_size=1,
  )
)
def test_lines_are_read_as_they_were_written(tmp_path_factory, rows):
  path = tmp_path_factory.mktemp("text") / "i.txt"
  text = "\r\n".join(" ".join(row) for row in rows)
  if not rows[0][0].startswith("\ufeff"):
    assert read(path, text) == [(*row, "") for row in rows]


@given(st.text() | st.binary().map(lambda x: x.decode("latin-1")))
def test_anything_is_rows_or_one_line(tmp_path_factory, text):
  folder = tmp_path_factory.mktemp("any")
  for name in ("i.txt", "i.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    try:
      assert index_files.read(path).rows
    except errors.UserError as error:
      assert "\n" not in str(error) and name in str(error)


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("path,label,path\na,0,b\n", "column 'path' is there 2 times"),
    ("path,label,x,x\na,0,b,c\n", "column 'x' is there 2 times"),
    ("path,label\na, b.mp4,0\n", "line 2: 3 cells, and the header has 2"),
    ("path,label\n" + "a" * 200_000 + ",0\n", "line 2: field larger"),
    ("path,label,who\na,0,\n", "line 2: 'who' is empty"),
  ],
)
def test_what_would_be_read_wrongly_is_refused(tmp_path, text, words):
  with pytest.raises(errors.UserError, match=words):
    read(tmp_path / "i.csv", text, "who")


def test_columns_without_a_name_may_be_many(tmp_path):
  assert read(tmp_path / "i.csv", "path,label,,\na,0,1,2\n") == [("a", "0", "")]
