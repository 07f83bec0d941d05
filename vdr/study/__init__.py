"""The `study` verb: the whole comparison, as a graph of the other verbs.

* `plan`: which cells there are, from the config alone;
* `cells`: what a cell is, where it lies, whether it is finished;
* `runners`: who runs them: this process, several, a cluster, or a person;
* `book`: what is shown while they run, and `study.json`.

A cell is one run of one verb. Its directory is named by a hash of all that
decides what it makes, so a second start runs only what is missing, and a
changed config only what depends on the change.

Several hosts run one cell after another together, those of verbs that know no
other hosts on the first one alone; a cell that fails ends all.
"""

import os
import pathlib
from typing import Any

from vdr import report
from vdr.runtime import errors, hosts
from vdr.runtime import workdir as workdirs
from vdr.study import book, estimates, plan, runners

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
REPORT_FOLDER = "report"

SECTIONS = ("study",)
TOGETHER = ("here", "work")  # runners that several hosts can be


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Runs every cell that is not finished, then writes the report.

  Raises:
    UserError: the config can't be carried out, or a cell failed.
  """
  cells = plan.make(config)
  path = pathlib.Path(workdir).expanduser()
  runner = runners.get(config.runner.kind)
  if hosts.are_many() and config.runner.kind not in TOGETHER:
    raise errors.UserError(
      f"runner.kind={config.runner.kind} is for one host, and here are several;"
      " set runner.kind=here, so that all run each cell together, or start the"
      " study on one host"
    )
  if not hosts.is_first():
    runners.follow(cells, path)
    return
  try:
    _lead(config, path, cells, runner)
  finally:
    hosts.first_says("")  # no more


def _lead(
  config: Config,
  path: pathlib.Path,
  cells: list[runners.Cell],
  runner: Any,
) -> None:
  """What `run` does, on the first host."""
  if config.dry_run:
    print(estimates.table(cells, path))
    return
  if runner is runners.work:  # one of several that another start looks after
    failed = runners.work(cells, path, config)
  else:
    workdirs.start_shared(path, config)
    with book.Book(path, config, cells) as told:
      failed = runner(cells, path, config, told)
      missing = [c.name for c in cells if not c.is_finished(path)]
    if not missing or config.runner.kind != "commands":
      report.write(path, path / REPORT_FOLDER)
      print(f"{path / REPORT_FOLDER / 'index.html'}: open it in a browser")
  if failed:
    name, why = next(iter(failed.items()))
    more = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
    raise errors.UserError(
      f"cell {name}: {why}{more}; mend it and start the same command again"
    )
