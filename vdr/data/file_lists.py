"""Reads which files a folder holds, from an index or from its sub-folders."""

import os
import pathlib
import re

from vdr.data import index_files
from vdr.runtime import errors

Row = index_files.Row
SPLIT = "{split}"  # in paths: the name of a split
# Sub-folders that are splits and not classes, where there are no others.
_SPLIT_NAMES = frozenset(
  "pretrain train training select val valid validation test testing".split()
)


def read(
  root: str, index: str, suffixes: tuple[str, ...], group: str
) -> list[Row]:
  """The rows of a folder, with their groups as cells; "": the file's own.

  Args:
    root: the folder.
    index: relative to the folder or to the working directory; "": sub-folders.
    suffixes: of the files to list without an index, in lower case.
    group: a column of the index, or a pattern.

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
    rows = _list_sub_folders(folder, suffixes)
    if not rows:
      raise errors.UserError(
        f"{folder} holds no file that ends in {', '.join(suffixes)}, and"
        " neither do its sub-folders; set path to the folder that does"
      )
    return _grouped(rows, group, ())
  path = next(
    (p for p in (folder / index, pathlib.Path(index)) if p.is_file()), None
  )
  if path is None:
    raise errors.UserError(
      f"index {index!r} is neither in {root} nor in the working directory; name"
      " an existing file, or set index to '' to use class sub-folders"
    )
  found = index_files.read(path, group)
  return _grouped(_inside(folder, path, found.rows), group, found.columns)


def _grouped(
  rows: list[Row], group: str, columns: tuple[str, ...]
) -> list[Row]:
  """The rows with the group of each as its cell; "": a group of its own."""
  if not group or group in columns:
    return rows
  try:
    pattern = re.compile(group)
  except re.error as error:
    raise errors.UserError(
      f"group={group!r} of the source is no regular expression ({error})"
    ) from error
  found = []
  for row in rows:
    match = pattern.search(row.path)
    name = match and ("/".join(match.groups(default="")) or match[0])
    if not name:
      raise errors.UserError(
        f"{row.place}: group={group!r} finds nothing in {row.path!r}, and is no"
        f" column of the index ({', '.join(columns) or 'which has none'})"
      )
    found.append(row._replace(cell=name))
  return found


class Places:
  """Where files of a folder are, symbolic links followed.

  Directories are listed instead of asking for each file, which would take
  minutes for large sets on network disks.
  """

  def __init__(self, root: str | os.PathLike):
    self.root = os.path.realpath(root)
    self._known: dict[str, tuple[str, dict[str, bool]]] = {}

  def exists(self, path: str) -> bool:
    parent, _, base = path.rpartition("/")
    return base in self._look(parent)[1]

  def resolve(self, path: str) -> str:
    parent, _, base = path.rpartition("/")
    place, links = self._look(parent)
    found = os.path.join(place, base)
    return os.path.realpath(found) if links.get(base) else found

  def _look(self, parent: str) -> tuple[str, dict[str, bool]]:
    """Where a directory is, and whether each name in it is a link."""
    if parent not in self._known:
      place = os.path.realpath(os.path.join(self.root, parent))
      self._known[parent] = place, _links(place)
    return self._known[parent]


def _links(place: str) -> dict[str, bool]:
  try:
    with os.scandir(place) as entries:
      return {entry.name: entry.is_symlink() for entry in entries}
  except OSError:
    return {}


def _inside(
  folder: pathlib.Path, index: pathlib.Path, rows: list[Row]
) -> list[Row]:
  """The rows with paths relative to the folder.

  A single missing file is no error here: sets made from the web have holes, and
  reading one is a bad clip.

  Raises:
    UserError: a path leaves the folder, or none of the files exist.
  """
  places, found = Places(folder), []
  roots = os.path.abspath(folder), places.root
  for row in rows:
    path = _relative(row.path, roots)
    is_outside = ".." in path.split("/") or "\0" in path or os.path.isabs(path)
    if is_outside or not is_inside(places.resolve(path), places.root):
      raise errors.UserError(
        f"{row.place}: path {row.path!r} leaves the folder {folder}; write it"
        " relative to that folder and keep the file inside"
      )
    found.append(row._replace(path=path))
  if not any(places.exists(row.path) for row in found):
    raise errors.UserError(
      f"none of the {len(rows)} files that {index} lists is in {folder}"
      f" (the first is {rows[0].path!r}); set path to the folder that the index"
      " is relative to"
    )
  return found


def _relative(path: str, roots: tuple[str, ...]) -> str:
  """An absolute path inside the folder, relative to it; others unchanged."""
  for root in roots:
    if path.startswith(f"{root}{os.sep}"):
      return path.removeprefix(root).lstrip(os.sep)
  return path


def is_inside(place: str, root: str) -> bool:
  return place == root or place.startswith(os.path.join(root, ""))


def _list_sub_folders(
  folder: pathlib.Path, suffixes: tuple[str, ...]
) -> list[Row]:
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
  if not by_class:
    return [Row(str(folder / name), name, None) for name in loose]
  if loose:
    raise errors.UserError(
      f"{folder / loose[0]} lies beside class sub-folders such as"
      f" {next(iter(by_class))!r}, so its class is unclear; move it into one"
      " or write an index"
    )
  if _SPLIT_NAMES.issuperset(map(str.lower, by_class)):
    raise errors.UserError(
      f"the sub-folders of {folder} look like splits, not classes"
      f" ({', '.join(by_class)}); set path to {folder}/{SPLIT}, or write an"
      " index"
    )
  return [
    Row(f"sub-folder {folder / name}", path, name)
    for name in sorted(by_class, key=_numbers_first)
    for path in by_class[name]
  ]


def _numbers_first(name: str) -> tuple[int, int, str]:
  """Sorts 2 before 10."""
  return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _walk(
  folder: pathlib.Path, start: pathlib.Path, suffixes: tuple[str, ...]
) -> list[str]:
  """Files below `start`, sorted, as paths relative to `folder`."""
  found = []
  for place, folders, names in os.walk(start):
    # As at the top: notebooks keep copies of files in hidden folders.
    folders[:] = [name for name in folders if not name.startswith(".")]
    relative = pathlib.Path(place).relative_to(folder).as_posix()
    for name in names:
      if name.lower().endswith(suffixes) and not name.startswith("."):
        found.append(f"{relative}/{name}")
  return sorted(found)
