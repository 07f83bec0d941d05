"""The `report` verb: a study's files → tables, figures, one page.

The page, `index.html`, needs no network and no other file. Beside it lie its
tables (CSV, JSON, Markdown), its figures (SVG, PNG), and `report.json` with
every number on it.

    study.py     a study's directory, as far as it has come
    scores.py    the comparison of the two models
    headline.py, origins.py, places.py, growth.py, looking.py, account.py
                 the sections
    parts.py     what they are made of; plots.py, tables.py, markup.py draw it
    compose.py   puts it all together; page/ has its HTML, CSS and JavaScript
"""

import os
import pathlib
from typing import Any

from vdr.report import compose
from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
SECTIONS = ("report",)  # of the config: they decide
FOLDER = "report"  # in the study's work directory


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Reports on a study, finished or not.

  The report goes to `workdir`; if no study is named, `workdir` is the study,
  and the report goes to its folder `report`.

  Raises:
    UserError: there is no study, or strange files where the report goes.
  """
  cfg, path = config.report, pathlib.Path(workdir).expanduser()
  study = pathlib.Path(cfg.study).expanduser() if cfg.study else path
  out = path if cfg.study else path / FOLDER
  if study.resolve() == out.resolve():
    raise errors.UserError(
      f"report.study={cfg.study} is --workdir itself; leave report.study empty,"
      f" or choose --workdir={out / FOLDER}"
    )
  write(study, out, cfg.png_dpi, cfg.max_mb)
  print(f"{out / compose.PAGE_NAME}")


def write(
  study_folder: pathlib.Path,
  out_folder: pathlib.Path,
  png_dpi: int = 160,
  max_mb: float = 15.0,
) -> None:
  """Writes a report; see `vdr.report.compose.write`."""
  compose.write(study_folder, out_folder, png_dpi, max_mb)
