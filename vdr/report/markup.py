"""Sections as HTML."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from vdr.report import embed, parts, tables, words

MANY_ROWS = 16  # longer tables open on a click
Drawn = Mapping[str, str]  # SVG by name of file


def section(
  one: parts.Section, number: int, drawn: Drawn, pictures: embed.Embedder
) -> str:
  """A section with all its parts."""
  made = [part(p, drawn, pictures) for p in one.parts]
  halves = [isinstance(p, parts.Figure) and p.half for p in one.parts]
  for i in range(len(made) - 1):  # two halves make a pair
    if halves[i] and halves[i + 1]:
      made[i] = f'<div class="pair">{made[i]}'
      made[i + 1] = f"{made[i + 1]}</div>"
  inner = "\n".join(made)
  lead = f'<p class="lead">{words.escape(one.lead)}</p>' if one.lead else ""
  return (
    f'<section id="{one.name}"><h2><span class="no">{number}</span>'
    f"{words.escape(one.title)}</h2>{lead}\n{inner}\n</section>"
  )


def part(one: parts.Part, drawn: Drawn, pictures: embed.Embedder) -> str:
  """A part of a section."""
  match one:
    case parts.Figure():
      return _figure(one, drawn)
    case parts.Table():
      return _table(one)
    case parts.Gallery():
      return _gallery(one, pictures)
    case parts.Text():
      return f'<p class="text">{words.escape(one.text)}</p>'
    case parts.Missing():
      return f'<p class="missing">{words.escape(one.text)}</p>'
    case parts.Details():
      return _details(one)


def tiles(several: Sequence[parts.Tile]) -> str:
  """Numbers in a row."""
  if not several:
    return ""
  items = "".join(
    f'<li class="tile {tile.state}"><h3>{words.escape(tile.title)}</h3>'
    f'<div class="big">{words.escape(tile.value)}</div>'
    f'<p class="soft">{words.escape(tile.note)}</p>'
    f'<p class="says">{words.escape(tile.says)}</p>'
    f'<p class="soft">{words.escape(tile.beside)}</p></li>'
    for tile in several
  )
  return f'<ul class="tiles">{items}</ul>'


def links(sections: Sequence[parts.Section]) -> str:
  """The way to each section."""
  return "".join(
    f'<a href="#{one.name}">{words.escape(one.title)}</a>' for one in sections
  )


def figures(sections: Sequence[parts.Section]) -> str:
  """All figures as JSON for a script element."""
  found: dict[str, Any] = {
    one.name: {
      "name": one.name,
      "choices": [choice._asdict() for choice in one.choices],
      "specs": one.specs,
    }
    for section in sections
    for one in section.parts
    if isinstance(one, parts.Figure)
  }
  text = json.dumps(found, allow_nan=False, ensure_ascii=False)
  return text.replace("<", "\\u003c")


def _heading(title: str, caption: str) -> str:
  said = f'<p class="caption">{words.escape(caption)}</p>' if caption else ""
  return f"<h3>{words.escape(title)}</h3>{said}"


def _figure(one: parts.Figure, drawn: Drawn) -> str:
  """A place for the script, and pictures for who has none."""
  stills = "".join(
    f'<img src="{_svg(drawn[name])}" alt="{words.escape(one.title)}:'
    f' {words.escape(name)}">'
    for name in one.files()
    if name in drawn
  )
  (first, *_) = one.files()
  files = "".join(
    f'<a href="figures/{first}{suffix}">{suffix[1:].upper()}</a>'
    for suffix in (".svg", ".png")
  )
  return (
    f'<div class="plot" id="figure-{one.name}" data-figure="{one.name}">'
    f"{_heading(one.title, one.caption)}"
    '<div class="choices"></div>'
    f'<div class="canvas" role="img" aria-label="{words.escape(one.title)}">'
    f"</div><noscript>{stills}</noscript>"
    f'<p class="files">{files}</p></div>'
  )


def _svg(text: str) -> str:
  data = base64.b64encode(text.encode()).decode()
  return f"data:image/svg+xml;base64,{data}"


def _table(one: parts.Table) -> str:
  head = "".join(
    f'<th scope="col"{_class(c)}>{words.escape(c.title)}</th>'
    for c in one.columns
  )
  body = "".join(
    f"<tr>{''.join(_cell(c, row) for c in one.columns)}</tr>"
    for row in one.rows
  )
  files = "".join(
    f'<a href="tables/{one.name}{suffix}">{suffix[1:].upper()}</a>'
    for suffix in tables.SUFFIXES
  )
  table = (
    f'<div class="scroll" tabindex="0" role="region" aria-label='
    f'"{words.escape(one.title)}"><table><thead><tr>{head}</tr></thead>'
    f'<tbody>{body}</tbody></table></div><p class="files">{files}</p>'
  )
  if len(one.rows) > MANY_ROWS:
    caption = f'<p class="caption">{words.escape(one.caption)}</p>'
    table = (
      f"<details><summary>{words.escape(one.title)}"
      f" ({len(one.rows)} rows)</summary>{caption if one.caption else ''}"
      f"{table}</details>"
    )
  else:
    table = _heading(one.title, one.caption) + table
  return f'<div class="tabled" id="table-{one.name}">{table}</div>'


def _class(column: parts.Column) -> str:
  if column.numeric:
    return ' class="num"'
  return ' class="code"' if column.title == "command" else ' class="words"'


def _cell(column: parts.Column, row: parts.Row) -> str:
  note = column.note(row) if column.note else ""
  small = f"<small>{words.escape(note)}</small>" if note else ""
  return f"<td{_class(column)}>{words.escape(column.show(row))}{small}</td>"


def _gallery(one: parts.Gallery, pictures: embed.Embedder) -> str:
  shots = "".join(pictures.markup(picture) for picture in one.pictures)
  two = " two" if one.columns > 1 else ""
  return (
    f'<div class="gallery">{_heading(one.title, one.caption)}'
    f'<div class="shots{two}">{shots}</div></div>'
  )


def _details(one: parts.Details) -> str:
  folds = "".join(
    f"<details><summary>{words.escape(fold.title)}</summary>"
    f"<pre>{words.escape(fold.text)}</pre></details>"
    for fold in one.folds
  )
  return f'<div class="details">{_heading(one.title, one.caption)}{folds}</div>'
