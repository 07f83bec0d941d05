"""Numbers of classes: one numbering by name, wherever the names come from.

A folder numbers the labels of all its splits together, so that a class has one
number even where a split lacks it. Labels are all numbers (from 0; -1 is
unknown) or all names, which are numbered in sorted order. A file `classes.txt`
in the folder, one name a line, fixes names and numbers.

Sources that are read together get the numbers of their names in sorted order.
"""

import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Int32

from vdr.data import index_files
from vdr.runtime import errors

FILE_NAME = "classes.txt"
# A number beyond is an id, and not a class: each class needs a name, a row of
# an embedding and an output of a probe.
MAX_CLASSES = 1_000_000
_NUMBER = re.compile(r"([+-]?)0*(\d+)(\.0*)?")
# Nobody names a class like this: a number has gone wrong.
_ALMOST_NUMBER = re.compile(r"[+-]+[\d.].*|\d*\.?\d+([eE][+-]?\d+)?")

Names = tuple[str, ...]


def number(
  rows: Sequence[index_files.Row], folders: Iterable[pathlib.Path]
) -> tuple[Int32[np.ndarray, " n"], Names]:
  """Classes of the rows' labels, and the classes' names.

  Args:
    rows: of all splits.
    folders: where `classes.txt` may be.

  Returns:
    A class for each row, -1 where it is unknown; and the names, () without any
    label.

  Raises:
    UserError: a label is wrong, or numbers are mixed with names.
  """
  known, file = _read_names(folders)
  first: dict[str, index_files.Row] = {}  # with each label
  for row in rows:
    if row.label is not None:
      first.setdefault(row.label, row)
  unknown = {text for text in first if _is_unknown(text)}
  texts = [text for text in first if text not in unknown]
  if not all(text in known for text in texts) and _are_numbers(first, texts):
    numbers = {text: _to_int(first[text]) for text in texts}
    names = known or tuple(map(str, range(max(numbers.values()) + 1)))
  else:
    names = known or tuple(sorted(texts))
    numbers = {name: place for place, name in enumerate(names)}
  for text in texts:
    if not 0 <= numbers.get(text, -1) < len(names):
      raise errors.UserError(
        f"{first[text].place}: label {text!r} is unknown; "
        + (
          f"{file} lists {len(known)} classes"
          if known
          else "numbers start at 0, and -1 is no label"
        )
      )
  found = [-1 if x.label is None else numbers.get(x.label, -1) for x in rows]
  return np.array(found, np.int32), names


def _is_unknown(text: str) -> bool:
  found = _NUMBER.fullmatch(text)
  return found is not None and found[1] == "-" and found[2] == "1"


def _are_numbers(
  first: Mapping[str, index_files.Row], texts: Sequence[str]
) -> bool:
  """Whether the labels are numbers; UserError if only some of them are."""
  for text in texts:
    if _ALMOST_NUMBER.fullmatch(text) and not _NUMBER.fullmatch(text):
      raise errors.UserError(
        f"{first[text].place}: label {text!r} is no whole number; write a"
        " number from 0, -1 for an unknown class, or a name"
      )
  kinds = [_NUMBER.fullmatch(text) is not None for text in texts]
  if not any(kinds):
    return False
  if not all(kinds):
    text = texts[kinds.index(not kinds[0])]
    names = ("name", "numbers") if kinds[0] else ("number", "names")
    raise errors.UserError(
      f"{first[text].place}: label {text!r} is a {names[0]}, those before it"
      f" are {names[1]}; use only numbers or only names"
    )
  return True


def _to_int(row: index_files.Row) -> int:
  found = _NUMBER.fullmatch(row.label or "")
  assert found is not None
  sign, digits, _ = found.groups()
  value = int(sign + digits[:18])
  if value >= MAX_CLASSES:
    raise errors.UserError(
      f"{row.place}: label {row.label!r} is too large to be the number of a"
      f" class; number classes from 0, or list their names in {FILE_NAME}"
    )
  return value


def _read_names(
  folders: Iterable[pathlib.Path],
) -> tuple[Names, pathlib.Path | None]:
  """The names of `classes.txt`, and where it is; () and None without one."""
  files = [folder / FILE_NAME for folder in dict.fromkeys(folders)]
  found = {file: _names_of(file) for file in files if file.is_file()}
  if not found:
    return (), None
  (file, names), *others = found.items()
  for other, own in others:
    if own != names:
      raise errors.UserError(
        f"{file} and {other} list other classes; write the same into both"
      )
  return names, file


def _names_of(file: pathlib.Path) -> Names:
  lines = (line.strip() for line in index_files.read_text(file).split("\n"))
  names = tuple(line for line in lines if line)
  if len(set(names)) < len(names):
    double = next(name for name in names if names.count(name) > 1)
    raise errors.UserError(
      f"{file} lists class {double!r} twice; keep one of the lines"
    )
  return names
