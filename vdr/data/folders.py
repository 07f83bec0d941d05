"""Which files a folder holds, their labels, and their splits.

Three layouts, by `index`:

* a text file of lines `path label` (see `vdr.data.index_files`);
* a **.csv** file with the columns `path` and `label`;
* "": **class sub-folders**, whose files may lie deeper. Files in a folder
  without sub-folders have no label (-1).

Paths in an index are relative to the folder, or absolute, and can't leave it.
`vdr.data.classes` numbers the labels, of all splits together.

The splits, by `path`, `index` and `split_by`:

* **`{split}`** in `path` or `index` stands for the name of a split: a folder
  or a list for each;
* **hash**: `train`, `select` and `test` are fractions of the files. A hash of
  the name decides where a file belongs, so that it is the same on every
  machine, and stays when files are added. Files of one group stay together;
* **none**: no splits.

`pretrain` is `train` where there is no split of that name, and `all` is every
file.
"""

import bisect
import dataclasses
import glob
import hashlib
import itertools
import os
import pathlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from vdr.data import classes, file_lists, index_files, source
from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Row = index_files.Row

ALL, TRAIN, PRETRAIN = "all", "train", "pretrain"
HASHED = (TRAIN, "select", "test")
SPLIT = file_lists.SPLIT


@dataclasses.dataclass(frozen=True)
class Listing:
  """The files of one split.

  Attributes:
    root: the folder.
    paths: relative to the folder, `/` between parts.
    labels: class of each file; -1 is unknown.
    class_names: name of each class; empty if there are no labels. Classes that
      are numbers are named by them.
    groups: the group of each file; its path where groups are not configured.
    scope: where the names of groups mean the same; "" if they are paths.
    numbers: the place of each file in the list of all splits.
    num_files: files of all splits.
  """

  root: str
  paths: tuple[str, ...]
  labels: Int32[np.ndarray, " n"]
  class_names: tuple[str, ...]
  groups: tuple[str, ...]
  scope: str
  numbers: Int64[np.ndarray, " n"]
  num_files: int

  def files(self) -> list[str]:
    """Absolute paths of the files, without symbolic links."""
    places = file_lists.Places(self.root)
    return [places.resolve(path) for path in self.paths]

  def rows(self, views: int) -> source.Rows:
    """The place of each item among those of all splits."""
    numbers = self.numbers[:, None] * views + np.arange(views)
    return source.Rows(numbers.reshape(-1), self.num_files * views)

  def contents(self, views: int, most: int | None = None) -> source.Contents:
    """See `vdr.data.source.Source.contents`; each file has `views` items."""
    count = len(self.paths) if most is None else -(-most // views)
    names = {"files": frozenset(self.files()[:count])}
    if self.scope:
      names[self.scope] = frozenset(self.groups[:count])
    labels = self.labels[:count]
    counts = np.bincount(labels[labels >= 0], minlength=len(self.class_names))
    return source.Contents(names, {"label": counts} if len(counts) else {})


def list_files(cfg: Config, suffixes: tuple[str, ...]) -> Listing:
  """Lists one split of a folder.

  Args:
    cfg: a source config (configs/fields/data.py).
    suffixes: of the files to list without an index, in lower case. With an
      index every file counts.

  Raises:
    UserError: the folder or its index is missing, empty or malformed, or there
      is no such split.
  """
  root, folders = cfg.path, [cfg.path]
  if SPLIT in cfg.path + cfg.index:
    root, parts = _list_templated(cfg, suffixes)
    folders = [root, *(cfg.path.replace(SPLIT, name) for name in parts)]
  else:
    parts = {ALL: file_lists.read(root, cfg.index, suffixes, cfg.group)}
  rows = list(itertools.chain.from_iterable(parts.values()))
  labels, names = classes.number(rows, map(pathlib.Path, folders))
  split_of = [name for name, part in parts.items() for _ in part]
  if ALL not in parts:
    sizes = {name: len(part) for name, part in parts.items()}
  elif cfg.split_by == "hash":
    split_of = _hashed(cfg, rows)
    sizes = {name: split_of.count(name) for name in HASHED}
  else:
    sizes = {}
  wanted = _resolve_split(cfg, sizes)
  chosen = [i for i, name in enumerate(split_of) if wanted in (ALL, name)]
  return Listing(
    root=root,
    paths=tuple(rows[i].path for i in chosen),
    labels=labels[chosen],
    class_names=names,
    groups=tuple(rows[i].cell or rows[i].path for i in chosen),
    scope=f"{os.path.realpath(cfg.path)}, {cfg.group}" if cfg.group else "",
    numbers=np.array(chosen, np.int64),
    num_files=len(rows),
  )


def is_hashed(cfg: Config) -> bool:
  """Whether a source is a part of a folder that a hash divides."""
  return (
    cfg.kind in ("video_folder", "image_folder")
    and SPLIT not in cfg.path + cfg.index
    and cfg.split_by == "hash"
    and cfg.split != ALL
  )


def _resolve_split(cfg: Config, sizes: Mapping[str, int]) -> str:
  """The split that a config means.

  Raises:
    UserError: there is none, or it has no files.
  """
  if cfg.split == ALL:
    return ALL
  name = cfg.split
  if name == PRETRAIN and name not in sizes and TRAIN in sizes:
    name = TRAIN
  place = cfg.path + (f" with index {cfg.index}" if cfg.index else "")
  if not sizes:
    raise errors.UserError(
      f"{place} has no splits (split_by=none), and {cfg.split!r} was asked for;"
      f" set split_by=hash, write {SPLIT} into path or index where their names"
      " differ, or ask for split=all"
    )
  if name not in sizes:
    raise errors.UserError(
      f"{place} has no split {cfg.split!r}; it has {', '.join(sizes)}, and all"
    )
  if not sizes[name]:
    counts = ", ".join(f"{k} {n}" for k, n in sizes.items())
    raise errors.UserError(
      f"split {cfg.split!r} of {place} is empty: of its"
      f" {sum(sizes.values())} files the hash gives {counts}; add files, change"
      f" split_fractions, write {SPLIT} into path or index to choose the files"
      " yourself, or ask for another split"
    )
  return name


def _hashed(cfg: Config, rows: Sequence[Row]) -> list[str]:
  """The split of each row, by the hash of its group or of its file's name."""
  fractions = [float(cfg.split_fractions[name]) for name in HASHED]
  if abs(sum(fractions) - 1) > 1e-6:
    raise errors.UserError(
      f"split_fractions={dict(zip(HASHED, fractions, strict=True))} of the"
      f" source {cfg.path} must add up to 1"
    )
  edges = list(itertools.accumulate(fractions))
  last = max(i for i, fraction in enumerate(fractions) if fraction)
  found, split_of = [], dict[str, tuple[str, Row]]()
  for row, (file, name) in zip(rows, _names(cfg.path, rows), strict=True):
    place = bisect.bisect_right(edges, hash_fraction(row.cell or name))
    found.append(HASHED[min(place, last)])
    split, other = split_of.setdefault(file, (found[-1], row))
    if split != found[-1]:
      raise errors.UserError(
        f"{row.place}: {row.path!r} is the same file as {other.path!r}, but in"
        f" group {row.cell!r} instead of {other.cell!r}; put both"
        " into one group"
      )
  return found


def hash_fraction(name: str) -> float:
  """A number in [0, 1) that depends on the name alone.

  Names that differ only in how Unicode writes their accents, as those of one
  file on two systems do, give the same.
  """
  raw = unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape")
  return int.from_bytes(hashlib.sha256(raw).digest()[:6], "big") / 2**48


def _names(root: str, rows: Sequence[Row]) -> list[tuple[str, str]]:
  """Each row's file, and a name for it that is the same on every machine.

  Two rows of one file have one name, however links lead to it.
  """
  places = file_lists.Places(root)
  files = [places.resolve(row.path) for row in rows]
  first: dict[str, str] = {}  # name of files that lie elsewhere
  for file, row in zip(files, rows, strict=True):
    first[file] = min(row.path, first.get(file, row.path))
  return [
    (
      file,
      os.path.relpath(file, places.root)
      if file_lists.is_inside(file, places.root)
      else first[file],
    )
    for file in files
  ]


def _list_templated(
  cfg: Config, suffixes: tuple[str, ...]
) -> tuple[str, dict[str, list[Row]]]:
  """The folder that holds all splits, and the rows of each."""
  before = cfg.path.partition(SPLIT)[0]
  root = os.path.dirname(before) or "." if SPLIT in cfg.path else cfg.path
  names = _matches(cfg.path) if SPLIT in cfg.path else set()
  if SPLIT in cfg.index:
    lists = _matches(os.path.join(cfg.path, cfg.index)) or _matches(cfg.index)
    names = names & lists if SPLIT in cfg.path else lists
  parts = {}
  for name in sorted(names - {ALL}):
    path, index = (x.replace(SPLIT, name) for x in (cfg.path, cfg.index))
    try:
      rows = file_lists.read(path, index, suffixes, cfg.group)
    except errors.UserError:
      if name == cfg.split or (name, cfg.split) == (TRAIN, PRETRAIN):
        raise
      continue  # a readme beside the lists, an empty folder beside the folders
    prefix = pathlib.Path(os.path.relpath(path, root)).as_posix()
    if prefix != ".":
      rows = [row._replace(path=f"{prefix}/{row.path}") for row in rows]
    parts[name] = rows
  if not parts:
    raise errors.UserError(
      f"no file is found for any name in place of {SPLIT} in path={cfg.path!r},"
      f" index={cfg.index!r}; write the names of folders or lists there"
    )
  return root, parts


def _matches(template: str) -> set[str]:
  """The names that make a path of a template, which has SPLIT in it."""
  template = os.path.normpath(template)  # as glob returns paths
  pattern = re.escape(template).replace(re.escape(SPLIT), "(?P<name>[^/]+)", 1)
  pattern = pattern.replace(re.escape(SPLIT), "(?P=name)")
  paths = glob.glob(glob.escape(template).replace(SPLIT, "*"))
  found = (re.fullmatch(pattern, path) for path in paths)
  return {match["name"] for match in found if match}
