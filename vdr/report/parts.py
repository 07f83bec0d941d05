"""What sections are made of: figures, tables, pictures, remarks.

A figure is plain data (`Spec`), which `plots` draws for files and for readers
without JavaScript, and the page's script for all others: both draw the same
numbers.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vdr.report import words

# {"kind": one of `plots.KINDS`, …}; `plots` says what each has.
Spec = dict[str, Any]
Row = dict[str, Any]


class Choice(NamedTuple):
  """What a reader selects before a figure.

  Attributes:
    label: what it is.
    options: (in keys of specs, for people).
  """

  label: str
  options: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Figure:
  """A plot, or one for each selection.

  Attributes:
    name: of its files.
    title: a few words.
    caption: what is seen and how it was computed; plain text.
    specs: by the options of all choices, joined with "|"; "" without choices.
    choices: in the order of the keys.
    drawn: keys of the specs that are drawn as files; None: all.
    half: it stands beside another one, where there is room.
  """

  name: str
  title: str
  caption: str
  specs: dict[str, Spec]
  choices: tuple[Choice, ...] = ()
  drawn: tuple[str, ...] | None = None
  half: bool = False

  def files(self) -> dict[str, Spec]:
    """What is drawn, by name of the file without suffix."""
    keys = self.specs if self.drawn is None else self.drawn
    return {
      "-".join([self.name, *filter(None, key.split("|"))]): self.specs[key]
      for key in keys
    }


class Column(NamedTuple):
  """A column for people.

  Attributes:
    title: its heading.
    show: what is said of a row, plain text.
    note: a second, smaller line of it.
    numeric: set in figures of one width, to the right.
  """

  title: str
  show: Callable[[Row], str]
  note: Callable[[Row], str] | None = None
  numeric: bool = True


@dataclasses.dataclass(frozen=True)
class Table:
  """A table: its rows as numbers for files, its columns for people.

  Attributes:
    name: of its files.
    title: a few words.
    caption: plain text.
    columns: what people see.
    rows: plain JSON, the same keys in each: what CSV and JSON files have.
  """

  name: str
  title: str
  caption: str
  columns: Sequence[Column]
  rows: Sequence[Row]


class Picture(NamedTuple):
  """A picture, or an animation with its still.

  Attributes:
    path: its file.
    title: a few words, "" for none.
    caption: plain text.
    still: a picture in place of an animation for who wants no motion.
    kind: "video" or "image", whose it is; "" for neither.
  """

  path: pathlib.Path
  title: str = ""
  caption: str = ""
  still: pathlib.Path | None = None
  kind: str = ""


@dataclasses.dataclass(frozen=True)
class Gallery:
  """Pictures beside each other.

  Attributes:
    title: a few words.
    caption: plain text.
    pictures: in order.
    columns: beside each other where there is room.
  """

  title: str
  caption: str
  pictures: Sequence[Picture]
  columns: int = 2


class Text(NamedTuple):
  """A paragraph."""

  text: str


class Missing(NamedTuple):
  """What is not there yet, and why."""

  text: str


class Fold(NamedTuple):
  """Text of a program that opens on a click."""

  title: str
  text: str


class Details(NamedTuple):
  """Several texts of programs under one heading."""

  title: str
  caption: str
  folds: Sequence[Fold]


Part = Figure | Table | Gallery | Text | Missing | Details


class Tile(NamedTuple):
  """A number that stands by itself.

  Attributes:
    title: what it is of.
    value: large.
    note: below it, small.
    says: what it says.
    beside: what others report.
    state: "above", "below", "unclear" or "missing".
  """

  title: str
  value: str
  note: str
  says: str
  beside: str
  state: str


class Section(NamedTuple):
  """A section of the page.

  Attributes:
    name: in links.
    title: its heading.
    lead: what it asks and what it found, plain text.
    parts: in order.
  """

  name: str
  title: str
  lead: str
  parts: Sequence[Part]


def estimate(found: Mapping[str, Any] | None, prefix: str) -> Row:
  """A number with its interval as fields of a row."""
  found = found or {}
  names = {"value": prefix, "low": f"{prefix}_low", "high": f"{prefix}_high"}
  return {field: found.get(name) for name, field in names.items()}


def ends(rows: Sequence[Row], field: str) -> dict[str, list[float | None]]:
  """Scores with intervals of some rows, as a series of a figure has them."""
  return {
    end: [words.scaled(row["metric"], row[field + tail]) for row in rows]
    for end, tail in (("value", ""), ("low", "_low"), ("high", "_high"))
  }


def scored(name: str, title: str, sign: bool = False) -> Column:
  """A column of scores with intervals, in the unit of the row's metric."""

  def text(field: str) -> Callable[[Row], str]:
    return lambda row: words.score(row["metric"], row[field], sign)

  low, high = text(f"{name}_low"), text(f"{name}_high")
  return Column(
    title, text(name), lambda row: words.interval(low(row), high(row))
  )


def task_column() -> Column:
  """The task of a row, and its metric."""
  return Column(
    "task",
    lambda row: row["title"],
    lambda row: words.metric(row["metric"]).label if row["metric"] else "",
    False,
  )
