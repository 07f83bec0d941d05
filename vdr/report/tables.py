"""Tables as files: CSV and JSON with all digits, Markdown for people."""

import csv
import io
import json
import pathlib

from vdr.report import parts
from vdr.runtime import workdir

SUFFIXES = (".csv", ".json", ".md")


def write(folder: pathlib.Path, table: parts.Table) -> None:
  """Writes a table three times."""
  texts = (to_csv(table), to_json(table), to_markdown(table))
  for suffix, text in zip(SUFFIXES, texts, strict=True):
    workdir.write_text(folder / f"{table.name}{suffix}", text)


def to_csv(table: parts.Table) -> str:
  """Every field of every row; what is not known is empty."""
  file = io.StringIO()
  fields = list(dict.fromkeys(name for row in table.rows for name in row))
  writer = csv.DictWriter(file, fields, restval="", lineterminator="\n")
  writer.writeheader()
  writer.writerows(table.rows)
  return file.getvalue()


def to_json(table: parts.Table) -> str:
  """The same, with the title."""
  tree = {"title": table.title, "rows": list(table.rows)}
  return json.dumps(tree, indent=1, allow_nan=False) + "\n"


def to_markdown(table: parts.Table) -> str:
  """What people see, notes in brackets."""
  lines = [
    [_cell(column.title) for column in table.columns],
    ["---:" if column.numeric else "---" for column in table.columns],
  ]
  for row in table.rows:
    cells = []
    for column in table.columns:
      note = column.note(row) if column.note else ""
      shown = column.show(row)
      cells.append(_cell(f"{shown} ({note})" if note else shown))
    lines.append(cells)
  rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
  caption = f"{table.caption}\n\n" if table.caption else ""
  return f"# {table.title}\n\n{caption}{rows}\n"


def _cell(text: str) -> str:
  return " ".join(text.split()).replace("|", "\\|")
