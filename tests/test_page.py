"""Text stays inside its picture; cells lie where rows and columns say."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from vdr import fonts, page


def _cell(h, w, value, t=None):
  return np.full((h, w, 3) if t is None else (t, h, w, 3), value, np.uint8)


@hypothesis.settings(max_examples=80)
@hypothesis.given(
  text=st.text(max_size=120),
  size=st.floats(6, 40),
  width=st.integers(80, 400),
  max_lines=st.integers(1, 6),
)
def test_lines_fit_and_say_what_the_text_says(text, size, width, max_lines):
  face = fonts.font(text, size)
  lines = page.wrap(text, face, width, max_lines)
  assert len(lines) <= max_lines
  hypothesis.assume(face.getlength("W...") < width)
  assert all(face.getlength(line) <= width for line in lines)
  whole = "".join(text.split())
  if lines and lines[-1].endswith("...") and not whole.endswith("..."):
    assert whole.startswith("".join("".join(lines)[:-3].split()))
  else:
    assert "".join("".join(lines).split()) == whole


def test_words_are_kept_together_where_they_fit():
  text = "one two three four five"
  lines = page.wrap(text, fonts.font(text, 16.0), 90, 8)
  assert len(lines) > 1 and " ".join(lines) == text


@pytest.mark.parametrize("text", ["word " * 40, "x" * 300, "", "Gänse, 鵝"])
def test_text_leaves_its_margin_empty(text):
  picture = page.text_block(200, [(text, 16.0, page.INK)], padding=6)
  assert picture.shape[1] == 200
  assert (picture[:, :5] == 255).all() and (picture[:, -5:] == 255).all()
  assert (picture[:3] == 255).all() and (picture[-3:] == 255).all()
  assert (picture < 128).any() == bool(text)


def test_text_of_a_given_height_stands_at_its_bottom():
  line = [("label", 16.0, page.INK)]
  picture = page.text_block(100, line, height=60)
  assert picture.shape == (60, 100, 3)
  assert (picture[:30] == 255).all() and (picture[30:] < 128).any()


def test_a_grid_puts_cells_into_rows_and_columns():
  rows = [[_cell(4, 6, 1), _cell(2, 3, 2)], [None, _cell(5, 8, 3)]]
  sheet = page.grid(rows, gap=2)
  assert sheet.shape == (2 + 4 + 2 + 5 + 2, 2 + 6 + 2 + 8 + 2, 3)
  assert (sheet[2:6, 2:8] == 1).all()
  assert (sheet[2:4, 10:13] == 2).all()
  assert (sheet[8:13, 10:18] == 3).all()
  assert (sheet[8:, :10] == 255).all() and (sheet[:2] == 255).all()


def test_a_picture_stands_still_among_clips():
  sheet = page.grid([[_cell(4, 4, 1), _cell(4, 4, 2, t=3)]], gap=0)
  assert sheet.shape == (3, 4, 8, 3)
  assert (sheet[:, :, :4] == 1).all() and (sheet[:, :, 4:] == 2).all()


def test_a_contact_sheet_has_headings():
  head = page.text_block(60, [("a row", 12.0, page.INK)])
  rows = [[_cell(40, 80, 9), None], [_cell(40, 80, 9), _cell(40, 80, 9)]]
  sheet = page.contact_sheet(rows, [head, None], ["first", "second"], gap=4)
  assert sheet.shape[1] == 4 + 60 + 4 + 80 + 4 + 80 + 4
  top = sheet.shape[0] - 2 * 44
  assert (sheet[:top, 68:148] < 200).any()  # the column's heading
  assert (sheet[top:, 4:64] < 200).any()  # the row's
  assert (sheet[top : top + 40, 152:] == 255).all()  # the empty place
  assert (sheet[:, 68:148] == 9).all(-1).sum() == 2 * 40 * 80
