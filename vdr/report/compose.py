"""From a study's files to the page and the files beside it."""

import importlib.resources
import json
import pathlib
import string
from typing import Any, NamedTuple

import plotly.offline

import vdr
from vdr.report import (
  account,
  embed,
  growth,
  headline,
  looking,
  markup,
  origins,
  parts,
  places,
  plots,
  scores,
  tables,
  words,
)
from vdr.report import study as study_lib
from vdr.runtime import errors, workdir

PAGE_NAME, NUMBERS_NAME = "index.html", "report.json"
TABLES, FIGURES = "tables", "figures"
Json = dict[str, Any]


class Report(NamedTuple):
  """What a report says.

  Attributes:
    study: it is of.
    rows: of `scores.headline`, of the first size.
    sections: in order.
  """

  study: study_lib.Study
  rows: list[Json]
  sections: list[parts.Section]


def make(study_folder: pathlib.Path) -> Report:
  """Reads and compares.

  Raises:
    UserError: the folder is no study.
  """
  study = study_lib.Study(study_folder)
  sizes = list(dict.fromkeys(model.size for model in study.models))
  by_size = {size: scores.gather(study, size) for size in sizes}
  rows = {size: scores.headline(tasks) for size, tasks in by_size.items()}
  size = sizes[0] if sizes else ""
  tasks, first = by_size.get(size, {}), rows.get(size, [])
  latent_frames = scores.gather(study, size, "frames")
  sections = [
    headline.section(study, tasks, first),
    origins.section(study, tasks, latent_frames),
    places.section(tasks),
    growth.budget(study, size, tasks),
    growth.sizes(study, rows),
    looking.section(study, size),
    looking.samples(study, size),
    account.section(study),
  ]
  return Report(study, first, sections)


def write(
  study_folder: pathlib.Path,
  out_folder: pathlib.Path,
  png_dpi: int,
  max_mb: float,
) -> None:
  """Writes the page, last, and everything beside it.

  Args:
    study_folder: of the study, finished or not.
    out_folder: of the report; made if it does not exist, files of an earlier
      report are replaced.
    png_dpi: of figures, dots per inch.
    max_mb: size of the page above which pictures are linked, in megabytes.

  Raises:
    UserError: the folder is no study, or there are strange files where the
      report goes.
  """
  refuse_strangers(out_folder)
  report = make(study_folder)
  out_folder.mkdir(parents=True, exist_ok=True)
  workdir.write_text(
    out_folder / NUMBERS_NAME, json.dumps(numbers(report), indent=1) + "\n"
  )
  for folder in (TABLES, FIGURES):
    (out_folder / folder).mkdir(exist_ok=True)
  for table in _parts(report, parts.Table):
    tables.write(out_folder / TABLES, table)
  drawn = _draw(report, out_folder / FIGURES, png_dpi)
  page = _page(report, out_folder, drawn, int(max_mb * 1e6))
  workdir.write_text(out_folder / PAGE_NAME, page)


def refuse_strangers(folder: pathlib.Path) -> None:
  """Refuses a folder with files that no report put there.

  Raises:
    UserError: it has.
  """
  if not folder.is_dir() or (folder / NUMBERS_NAME).exists():
    return
  strangers = sorted(entry.name for entry in folder.iterdir())
  if strangers:
    raise errors.UserError(
      f"{folder} is not empty ({strangers[0]} …) and holds no report; choose"
      " another --workdir for the report"
    )


def numbers(report: Report) -> Json:
  """What the page shows, as plain JSON: the comparison, tables and figures."""
  return {
    "schema_version": 1,
    "vdr": vdr.__version__,
    "study": report.study.json["title"],
    "verdict": headline.verdict(report.rows),
    "headline": report.rows,
    "tables": {t.name: list(t.rows) for t in _parts(report, parts.Table)},
    "figures": {f.name: f.specs for f in _parts(report, parts.Figure)},
    "problems": report.study.problems,
  }


def _parts(report: Report, kind: type) -> list[Any]:
  return [
    part
    for section in report.sections
    for part in section.parts
    if isinstance(part, kind)
  ]


def _draw(report: Report, folder: pathlib.Path, png_dpi: int) -> dict[str, str]:
  """Draws every figure into files.

  Returns:
    The SVGs by name.
  """
  drawn = {}
  for figure in _parts(report, parts.Figure):
    for name, spec in figure.files().items():
      svg, png = plots.render(spec, png_dpi)
      workdir.write_text(folder / f"{name}.svg", svg)
      with workdir.atomic_path(folder / f"{name}.png") as temporary:
        temporary.write_bytes(png)
      drawn[name] = svg
  return drawn


def _page(
  report: Report, folder: pathlib.Path, drawn: dict[str, str], room: int
) -> str:
  """The page; pictures get the room that all else leaves."""
  study = report.study
  fixed = {
    "version": vdr.__version__,
    "title": f"vdr report: {words.escape(study.json['title'])}",
    "kicker": _kicker(study),
    "verdict": words.escape(headline.verdict(report.rows)),
    "covers": words.escape(headline.covers(report.rows)),
    "notice": _notice(study),
    "tiles": markup.tiles(headline.tiles(report.rows)),
    "links": markup.links(report.sections),
    "figures": markup.figures(report.sections),
    "style": _asset("style.css"),
    "script": _asset("report.js"),
    "plotly": plotly.offline.get_plotlyjs().replace("</script", "<\\/script"),
  }
  none = embed.Embedder(folder, 0)
  bare = _sections(report, drawn, none)
  size = sum(len(text.encode()) for text in (*fixed.values(), bare))
  pictures = embed.Embedder(folder, max(room - size, 0))
  sections = _sections(report, drawn, pictures)
  template = string.Template(_asset("index.html"))
  return template.substitute(fixed, sections=sections)


def _sections(
  report: Report, drawn: dict[str, str], pictures: embed.Embedder
) -> str:
  return "\n".join(
    markup.section(section, number, drawn, pictures)
    for number, section in enumerate(report.sections, 1)
  )


def _asset(name: str) -> str:
  return (importlib.resources.files("vdr.report") / "page" / name).read_text()


def _kicker(study: study_lib.Study) -> str:
  told = study.json
  models = words.plural(len(study.models), "model")
  machine = told["machine"]
  where = f"{machine['cores']} cores of {machine['cpu']}"
  return words.escape(
    f"Study “{told['title']}” · {models} · {where} ·"
    f" {words.seconds(told['seconds'])} · {told['started'][:10]}"
  )


def _notice(study: study_lib.Study) -> str:
  """What is not there yet, at the top."""
  late = [cell for cell in study.cells if cell.state != "finished"]
  said = []
  if late:
    failed = [cell.name for cell in late if cell.state == "failed"]
    said.append(
      f"{len(study.cells) - len(late)} of {len(study.cells)} cells are"
      " finished. The page shows what there is, and says what is missing."
    )
    if failed:
      said.append(f"Failed: {words.listed(failed)}.")
    said.append(f"To go on: {study.json['command']}")
  if study.problems:
    said.append(f"Could not be read: {'; '.join(study.problems)}.")
  if not said:
    return ""
  return f'<p class="missing">{words.escape(" ".join(said))}</p>'
