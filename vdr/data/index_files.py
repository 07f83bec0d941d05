"""Reads a list of files and their labels: lines of text, or CSV.

* Text: lines `path label`, without a header. The label is the last word, so
  paths may contain spaces.
* `.csv`: a header with the columns `path` and `label`. One more column may be
  asked for; all others are ignored.

A line ends at a newline and nowhere else: captions and names may hold the other
characters that Unicode counts as the end of a line.
"""

import csv
import io
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from vdr.runtime import errors


class Row(NamedTuple):
  """One file.

  Attributes:
    place: where it is listed, for messages.
    path: as it is listed.
    label: as it is written; None if the file has none.
    cell: that of the extra column; "" without one.
  """

  place: str
  path: str
  label: str | None
  cell: str = ""


class Index(NamedTuple):
  """Rows in their order, and the names of a CSV file's columns."""

  rows: list[Row]
  columns: tuple[str, ...]


def read(path: pathlib.Path, column: str = "") -> Index:
  """Reads an index.

  Args:
    path: the file.
    column: of a CSV file, to read as well if it has such a column.

  Raises:
    UserError: the file is malformed or lists nothing.
  """
  index = _read_csv(path, column) if _is_csv(path) else _read_lines(path)
  if not index.rows:
    raise errors.UserError(
      f"{path} lists no file; write one line `path label` for each"
    )
  return index


def read_text(path: pathlib.Path) -> str:
  """The text of a file, with "\\n" at the end of every line.

  Raises:
    UserError: it is not UTF-8.
  """
  try:
    return path.read_text(encoding="utf-8-sig")
  except UnicodeDecodeError as error:
    raise errors.UserError(
      f"{path} is not UTF-8 ({error}); save it as UTF-8"
    ) from error


def _is_csv(path: pathlib.Path) -> bool:
  return path.suffix.lower() == ".csv"


def _read_lines(path: pathlib.Path) -> Index:
  rows = []
  for line, content in enumerate(read_text(path).split("\n"), start=1):
    content = content.strip(" \t")
    if not content:
      continue
    found = re.fullmatch(r"(.*[^ \t])[ \t]+([^ \t]+)", content, re.DOTALL)
    if found is None:
      raise errors.UserError(
        f"{path}, line {line}: {content!r} is not `path label`; write a path, a"
        " space and a label (-1: unknown)"
      )
    rows.append(Row(f"{path}, line {line}", *found.groups()))
  return Index(rows, ())


def _read_csv(path: pathlib.Path, column: str) -> Index:
  reader = csv.reader(io.StringIO(read_text(path), newline=""))
  rows: list[Row] = []
  try:
    header = [name.strip() for name in next(reader, [])]
    _check_header(path, header)
    rows += _cells_of(path, reader, header, column)
  except csv.Error as error:
    raise errors.UserError(
      f"{path}, line {reader.line_num}: {error}; save it as plain CSV"
    ) from error
  return Index(rows, tuple(header))


def _check_header(path: pathlib.Path, header: list[str]) -> None:
  for name in ("path", "label"):
    if name not in header:
      raise errors.UserError(
        f"{path}, line 1: the header has no column {name!r} but"
        f" {', '.join(header) or 'nothing'}; name the columns path,label"
      )
  for name in filter(None, header):
    if header.count(name) > 1:
      raise errors.UserError(
        f"{path}, line 1: column {name!r} is there {header.count(name)} times;"
        " keep one of them"
      )


def _cells_of(
  path: pathlib.Path, reader: Iterator, header: list[str], column: str
) -> Iterator[Row]:
  for cells in reader:
    place = f"{path}, line {reader.line_num}"  # pyright: ignore[reportAttributeAccessIssue]
    if not cells:
      continue
    if len(cells) > len(header):
      raise errors.UserError(
        f"{place}: {len(cells)} cells, and the header has {len(header)}; put"
        " cells that contain commas in double quotes"
      )
    row = dict(
      zip(header, (cell.strip(" \t\r\n") for cell in cells), strict=False)
    )
    name, label = row.get("path", ""), row.get("label", "")
    if not name or not label:
      raise errors.UserError(
        f"{place}: path or label is empty; write both (label -1: unknown)"
      )
    cell = ""
    if column and column in header:
      cell = row.get(column, "")
      if not cell:
        raise errors.UserError(
          f"{place}: {column!r} is empty; write the group of every file"
        )
    yield Row(place, name, label, cell)
