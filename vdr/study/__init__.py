"""The `study` verb: the whole comparison, as a graph of the other verbs.

* `plan`: which cells there are, from the config alone;
* `cells`: what a cell is, where it lies, whether it is finished;
* `runners`: who runs them: this process, several, a cluster, or a person;
* `book`: what is shown while they run, and `study.json`.

A cell is one run of one verb. Its directory is named by a hash of all that
decides what it makes, so a second start runs only what is missing, and a
changed config only what depends on the change.
"""

import os
import pathlib
from typing import Any

from vdr import report
from vdr.runtime import errors
from vdr.runtime import workdir as workdirs
from vdr.study import book, estimates, plan, runners

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
REPORT_FOLDER = "report"

VERSION = 1  # raised when the same config comes to mean something else
SECTIONS = ("study",)


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Runs every cell that is not finished, then writes the report.

  Raises:
    UserError: the config can't be carried out, or a cell failed.
  """
  cells = plan.make(config)
  path = pathlib.Path(workdir).expanduser()
  if config.dry_run:
    print(estimates.table(cells, path))
    return
  runner = runners.get(config.runner.kind)
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
