"""Which files a folder holds, and their labels: from an index or sub-folders.

Three layouts:

* an **index** of lines `path label`, without a header; the label is the last
  word, so paths may contain spaces;
* an index that ends in **.csv**, with a header and the columns `path` and
  `label`; further columns are ignored;
* **class sub-folders**, when the index is "". Classes are sorted by name and
  their files may lie deeper. Files in a folder without sub-folders have no
  label (-1).

Paths in an index are relative to the folder and can't leave it. Labels are all
numbers (from 0; -1 is unknown) or all names. Names are numbered in sorted
order of those that occur; a file `classes.txt` in the folder, one name a line,
fixes names and numbers for all indices of the folder, so that a test split
without some class agrees with its training split.
"""

import csv
import dataclasses
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int32

from vdr.runtime import errors

CLASSES_NAME = "classes.txt"


@dataclasses.dataclass(frozen=True)
class Listing:
  """The files of a folder.

  Attributes:
    paths: relative to the folder, `/` between parts.
    labels: class of each file; -1 is unknown.
    class_names: name of each class; empty if there are no labels. Classes that
      are numbers in an index are named by them.
  """

  paths: tuple[str, ...]
  labels: Int32[np.ndarray, " n"]
  class_names: tuple[str, ...]


def list_files(root: str, index: str, suffixes: tuple[str, ...]) -> Listing:
  """Lists a folder.

  Args:
    root: the folder.
    index: the index file, relative to `root` or to the working directory; "":
      class sub-folders.
    suffixes: of the files to list without an index, in lower case. With an
      index every file counts.

  Raises:
    UserError: the folder or its index is missing, empty or malformed.
  """
  folder = pathlib.Path(root)
  if not root or not folder.is_dir():
    raise errors.UserError(
      f"path {root!r} of the source is no directory; set it to the folder that"
      " holds the files"
    )
  if not index:
    return _list_sub_folders(folder, suffixes)
  path = next(
    (p for p in (folder / index, pathlib.Path(index)) if p.is_file()), None
  )
  if path is None:
    raise errors.UserError(
      f"index {index!r} is neither in {root} nor in the working directory; name"
      " an existing file, or set index to '' to use class sub-folders"
    )
  try:
    text = path.read_text(encoding="utf-8-sig")
  except UnicodeDecodeError as error:
    raise errors.UserError(
      f"{path} is not UTF-8 ({error}); save it as UTF-8"
    ) from error
  is_csv = path.suffix.lower() == ".csv"
  rows = list((_csv_rows if is_csv else _text_rows)(path, text))
  if not rows:
    raise errors.UserError(
      f"{path} lists no file; write one line `path label` for each"
    )
  _check_paths(folder, path, [(line, name) for line, name, _ in rows])
  labels, names = _number(folder, path, [(line, x) for line, _, x in rows])
  return Listing(tuple(name for _, name, _ in rows), labels, names)


def _text_rows(path: pathlib.Path, text: str) -> Iterator[tuple[int, str, str]]:
  """Line numbers, paths and labels of a text index."""
  for line, content in enumerate(text.splitlines(), start=1):
    words = content.strip().rsplit(maxsplit=1)
    if len(words) == 1:
      raise errors.UserError(
        f"{path}, line {line}: {content.strip()!r} is not `path label`; write"
        " a path, a space and a label (-1: unknown)"
      )
    if words:
      yield line, words[0], words[1]


def _csv_rows(path: pathlib.Path, text: str) -> Iterator[tuple[int, str, str]]:
  """Line numbers, paths and labels of a CSV index."""
  reader = csv.DictReader(text.splitlines())
  header = [name.strip() for name in reader.fieldnames or ()]
  reader.fieldnames = header
  for column in ("path", "label"):
    if column not in header:
      raise errors.UserError(
        f"{path}, line 1: the header has no column {column!r} but"
        f" {', '.join(header) or 'nothing'}; name the columns path,label"
      )
  for row in reader:
    name, label = ((row[key] or "").strip() for key in ("path", "label"))
    if not name or not label:
      raise errors.UserError(
        f"{path}, line {reader.line_num}: path or label is empty; write both"
        " (label -1: unknown)"
      )
    yield reader.line_num, name, label


def _check_paths(
  folder: pathlib.Path, index: pathlib.Path, rows: list[tuple[int, str]]
) -> None:
  """Refuses paths out of the folder, and an index none of whose files exist.

  A single missing file is no error here: sets made from the web have holes, and
  reading one is a bad clip. Directories are listed instead of asking for each
  file, which would take minutes for large sets on network disks.
  """
  root = os.path.realpath(folder)
  entries: dict[str, dict[str, bool]] = {}
  found = False
  for line, name in rows:
    parts = pathlib.PurePosixPath(name).parts
    is_outside = os.path.isabs(name) or ".." in parts or "\0" in name
    parent, _, base = name.rpartition("/")
    if not is_outside:
      if parent not in entries:
        place = os.path.realpath(os.path.join(root, parent))
        inside = _is_inside(place, root)
        entries[parent] = _links(place) if inside else {"": True}
      is_outside = "" in entries[parent] or (
        entries[parent].get(base, False)
        and not _is_inside(os.path.realpath(os.path.join(root, name)), root)
      )
    if is_outside:
      raise errors.UserError(
        f"{index}, line {line}: path {name!r} leaves the folder {folder}; write"
        " it relative to that folder and keep the file inside"
      )
    found = found or base in entries[parent]
  if not found:
    raise errors.UserError(
      f"none of the {len(rows)} files that {index} lists is in {folder}"
      f" (the first is {rows[0][1]!r}); set path to the folder that the index"
      " is relative to"
    )


def _links(place: str) -> dict[str, bool]:
  """Names in a directory, and whether each is a symbolic link."""
  try:
    with os.scandir(place) as entries:
      return {entry.name: entry.is_symlink() for entry in entries}
  except OSError:
    return {}


def _is_inside(place: str, root: str) -> bool:
  return os.path.commonpath((place, root)) == root


def _number(
  folder: pathlib.Path, index: pathlib.Path, rows: list[tuple[int, str]]
) -> tuple[Int32[np.ndarray, " n"], tuple[str, ...]]:
  """Classes of the labels, and the classes' names."""
  known = _read_classes(folder)
  numeric = [_is_number(label) for _, label in rows]
  is_numeric = numeric[0]
  if not all(n == is_numeric for n in numeric):
    line, label = rows[numeric.index(not is_numeric)]
    raise errors.UserError(
      f"{index}, line {line}: label {label!r} is a"
      f" {'name' if is_numeric else 'number'}, those before it are not; use"
      " only numbers or only names"
    )
  if is_numeric:
    labels = [int(label) for _, label in rows]
    names = known or tuple(str(n) for n in range(max(labels) + 1))
    limit = len(names)
  else:
    names = known or tuple(sorted({label for _, label in rows}))
    places = {name: place for place, name in enumerate(names)}
    limit = len(names)
    labels = [places.get(label, limit) for _, label in rows]
  for (line, text), label in zip(rows, labels, strict=True):
    if not -1 <= label < limit:
      raise errors.UserError(
        f"{index}, line {line}: label {text!r} is unknown; "
        + (
          f"{folder / CLASSES_NAME} lists {limit} classes"
          if known
          else "numbers start at 0, and -1 is no label"
        )
      )
  return np.array(labels, np.int32), names


def _is_number(label: str) -> bool:
  return label.lstrip("-").isdecimal()


def _read_classes(folder: pathlib.Path) -> tuple[str, ...]:
  path = folder / CLASSES_NAME
  if not path.is_file():
    return ()
  lines = path.read_text(encoding="utf-8-sig").splitlines()
  names = tuple(line.strip() for line in lines if line.strip())
  if len(set(names)) < len(names):
    double = next(name for name in names if names.count(name) > 1)
    raise errors.UserError(
      f"{path} lists class {double!r} twice; keep one of the lines"
    )
  return names


def _list_sub_folders(
  folder: pathlib.Path, suffixes: tuple[str, ...]
) -> Listing:
  with os.scandir(folder) as entries:
    visible = sorted(e.name for e in entries if not e.name.startswith("."))
  loose = [name for name in visible if name.lower().endswith(suffixes)]
  loose = [name for name in loose if (folder / name).is_file()]
  by_class = {
    name: files
    for name in visible
    if (folder / name).is_dir()
    and (files := _walk(folder, folder / name, suffixes))
  }
  if not loose and not by_class:
    raise errors.UserError(
      f"{folder} holds no file that ends in {', '.join(suffixes)}, and neither"
      " do its sub-folders; set path to the folder that does"
    )
  if not by_class:
    return Listing(tuple(loose), np.full(len(loose), -1, np.int32), ())
  if loose:
    raise errors.UserError(
      f"{folder / loose[0]} lies beside class sub-folders such as"
      f" {next(iter(by_class))!r}, so its class is unclear; move it into one"
      " or write an index"
    )
  names = _read_classes(folder) or tuple(by_class)
  for name in by_class:
    if name not in names:
      raise errors.UserError(
        f"sub-folder {folder / name} is no class of {folder / CLASSES_NAME};"
        " add its name there or rename it"
      )
  rows = [(p, names.index(name)) for name in by_class for p in by_class[name]]
  labels = np.array([label for _, label in rows], np.int32)
  return Listing(tuple(path for path, _ in rows), labels, names)


def _walk(
  folder: pathlib.Path, start: pathlib.Path, suffixes: tuple[str, ...]
) -> list[str]:
  """Files below `start`, sorted, as paths relative to `folder`."""
  found = []
  for place, _, names in os.walk(start):
    relative = pathlib.Path(place).relative_to(folder).as_posix()
    for name in names:
      if name.lower().endswith(suffixes) and not name.startswith("."):
        found.append(f"{relative}/{name}")
  return sorted(found)
