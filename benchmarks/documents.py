"""Tables that commands write into documents, between two marks."""

import pathlib
from collections.abc import Sequence

from vdr.runtime import workdir

ROOT = pathlib.Path(__file__).resolve().parents[1]
END = "<!-- end -->"


def mark(command: str) -> str:
  """What stands in front of a table."""
  return f"<!-- made by {command} -->"


def filled(text: str, command: str, lines: Sequence[str]) -> str:
  """A document's text with new lines between its marks.

  Raises:
    ValueError: it has no such marks.
  """
  before, start, rest = text.partition(mark(command))
  _, end, after = rest.partition(END)
  if not start or not end:
    raise ValueError(f"the document has no {mark(command)} … {END}")
  return before + "\n".join([start, "", *lines, "", end]) + after


def fill(path: pathlib.Path, command: str, lines: Sequence[str]) -> None:
  """Writes lines between the marks of a document."""
  workdir.write_text(path, filled(path.read_text(), command, lines))
