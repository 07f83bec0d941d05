"""Who runs the cells: this process, several, a cluster, or a person.

All of them are the same loop, `work`: take a cell whose inputs are finished and
that nobody has, run it, go on. A directory's lock says who has it; it is free
as soon as its process ends, however it ends. So there is no queue, and any
number of loops may start, die and start again.

Several hosts are one loop: the first one chooses, and all run what it says.
"""

import multiprocessing
import multiprocessing.process
import os
import pathlib
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from vdr.runtime import errors, hosts, plain_configs, processes
from vdr.runtime import workdir as workdirs
from vdr.study import cluster
from vdr.study.cells import Cell

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Failures = dict[str, str]
POLL_S = 0.5  # seconds between two looks for work, and for news


@runtime_checkable
class Told(Protocol):
  """Who wants to know what is going on."""

  def started(self, cell: Cell) -> None: ...
  def look(self) -> None: ...


Runner = Callable[[list[Cell], pathlib.Path, Config, Told], Failures]


def get(kind: str) -> Any:
  """The runner of a name.

  Raises:
    UserError: there is none.
  """
  known = {
    "here": here,
    "processes": several,
    "submitit": submitit,
    "kubernetes": kubernetes,
    "commands": commands,
    "work": work,
  }
  if kind not in known:
    raise errors.UserError(
      f"runner.kind={kind!r} is unknown; choose from {', '.join(known)}"
    )
  return known[kind]


def here(
  cells: list[Cell], study: pathlib.Path, config: Config, told: Told
) -> Failures:
  """One cell after another in this process."""
  for cell in cells:
    cell.forget_failure(study)
  return _loop(_only(cells, config), study, told.started)


def several(
  cells: list[Cell], study: pathlib.Path, config: Config, told: Told
) -> Failures:
  """Several processes, each on a share of this machine's cores.

  Cells that use all cores run first and alone.
  """
  wide = [cell for cell in cells if cell.is_wide]
  failed = here(wide, study, config, told)
  for cell in cells:
    cell.forget_failure(study)
  cores = processes.cores()
  count = min(config.runner.processes, len(cores))
  context = multiprocessing.get_context("spawn")
  plain = plain_configs.to_json(config)
  workers = [
    context.Process(
      target=_start_worker,
      args=(plain, str(study), cores[i::count]),
      daemon=False,
    )
    for i in range(count if not failed else 0)
  ]
  for worker in workers:
    worker.start()
  try:
    _watch(workers, told)
  finally:
    for worker in workers:
      worker.terminate()
      worker.join()
  return failed | _failures(cells, study) | _unfinished(cells, study, config)


def submitit(
  cells: list[Cell], study: pathlib.Path, config: Config, told: Told
) -> Failures:
  """As many jobs of a cluster as `runner.processes`, each of them a loop."""
  for cell in cells:
    cell.forget_failure(study)
  for _ in cluster.submit(config, study, start_loop):
    told.look()
    time.sleep(POLL_S)
  return _failures(cells, study) | _unfinished(cells, study, config)


def kubernetes(
  cells: list[Cell], study: pathlib.Path, config: Config, told: Told
) -> Failures:
  """Writes a list of jobs, one for each cell, to be applied by kubectl."""
  file = study / "jobs.yaml"
  left = [c for c in _only(cells, config) if not c.is_finished(study)]
  workdirs.write_text(file, cluster.job_list(left, config))
  print(f"{file}: {len(left)} jobs; kubectl apply -f {file}")
  return {}


def commands(
  cells: list[Cell], study: pathlib.Path, config: Config, told: Told
) -> Failures:
  """Prints a command for each cell that is left, inputs first."""
  for cell in _only(cells, config):
    if not cell.is_finished(study):
      print(cluster.command(cell, study))
  return {}


def work(cells: list[Cell], study: pathlib.Path, config: Config) -> Failures:
  """The loop that others start; waits for inputs that others make."""
  return _loop(_only(cells, config), study, lambda cell: None)


def follow(cells: list[Cell], study: pathlib.Path) -> None:
  """Runs beside the first host what it says, until it says no more.

  Raises:
    UserError: a cell failed.
  """
  by_name = {cell.name: cell for cell in cells}
  while name := hosts.first_says():
    try:
      by_name[name].run(study)
    except errors.UserError as error:
      raise errors.UserError(f"cell {name}: {error}") from error


def start_loop(
  plain: dict[str, Any], study: str, cores: Sequence[int] = ()
) -> None:
  """`work`, in a process of its own, from a config as plain JSON."""
  if cores:
    os.sched_setaffinity(0, cores)  # before JAX counts them
  from vdr.runtime import compilation
  from vdr.study import plan

  compilation.use_cache()
  config = plain_configs.from_json(plain, study)
  path = pathlib.Path(study)
  _loop(_only(plan.make(config), config), path, lambda cell: None, quiet=True)


def _start_worker(
  plain: dict[str, Any], study: str, cores: Sequence[int]
) -> None:
  processes.exit_with_parent()
  try:
    start_loop(plain, study, cores)
  except errors.Stopped:
    sys.exit(errors.TRY_AGAIN)


def _only(cells: list[Cell], config: Config) -> list[Cell]:
  """The cells that this start is for.

  Raises:
    UserError: there is no such cell.
  """
  names = {cell.name for cell in cells}
  for name in config.runner.only:
    if name not in names:
      raise errors.UserError(
        f"runner.only: there is no cell {name!r}; there are"
        f" {', '.join(sorted(names))}"
      )
  return [
    c for c in cells if not config.runner.only or c.name in config.runner.only
  ]


def _loop(
  cells: list[Cell],
  study: pathlib.Path,
  started: Callable[[Cell], None],
  quiet: bool = False,
) -> Failures:
  """Runs cells until none is left that could be run."""
  while left := [c for c in cells if not c.is_finished(study)]:
    states = {cell.name: _try(cell, study, started, quiet) for cell in left}
    if any(state == "ran" for state in states.values()):
      continue
    if all(state == "failed" for state in states.values()):
      break
    time.sleep(POLL_S)
  return _failures(cells, study)


def _try(
  cell: Cell,
  study: pathlib.Path,
  started: Callable[[Cell], None],
  quiet: bool,
) -> str:
  """Runs a cell if its turn has come: ran | failed | waits."""
  if cell.is_finished(study):
    return "ran"  # by somebody else, a moment ago
  if _is_lost(cell, study):
    return "failed"
  if not all(one.is_finished(study) for one in cell.inputs):
    return "waits"
  with workdirs.hold(cell.folder(study)) as is_ours:
    if not is_ours:
      return "waits"
    if cell.is_finished(study):
      return "ran"
    started(cell)
    hosts.first_says(cell.name)
    try:
      if quiet:
        with _Redirect(cell.log(study)):
          _run(cell, study)
      else:
        cell.run(study)
    except errors.UserError as error:
      cell.fail(study, str(error))
      if hosts.are_many():  # the others end, too, or wait in the midst of it
        raise errors.UserError(f"cell {cell.name}: {error}") from error
      return "failed"
  return "ran"


def _run(cell: Cell, study: pathlib.Path) -> None:
  """Runs a cell whose output goes to a file; any error becomes a failure."""
  try:
    cell.run(study)
  except (errors.UserError, errors.Stopped):
    raise
  except Exception as error:
    traceback.print_exc()
    why = " ".join(str(error).split())[:200]
    raise errors.UserError(
      f"{type(error).__name__}: {why} (see {cell.log(study)})"
    ) from error


class _Redirect:
  """Standard output and error go to a file, those of libraries in C, too."""

  def __init__(self, path: pathlib.Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    self._path = path

  def __enter__(self) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    self._saved = [os.dup(1), os.dup(2)]
    file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)

  def __exit__(self, *unused: object) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for target, saved in enumerate(self._saved, start=1):
      os.dup2(saved, target)
      os.close(saved)


def _watch(
  workers: Iterable[multiprocessing.process.BaseProcess], told: Told
) -> None:
  """Tells what is going on until all workers have ended."""
  workers = list(workers)
  while any(worker.is_alive() for worker in workers):
    told.look()
    time.sleep(POLL_S)


def _is_lost(cell: Cell, study: pathlib.Path) -> bool:
  """Whether it, or something that it needs, has failed."""
  return any(one.failure(study) is not None for one in _needed(cell))


def _needed(cell: Cell) -> Iterator[Cell]:
  yield cell
  for one in cell.inputs:
    yield from _needed(one)


def _failures(cells: list[Cell], study: pathlib.Path) -> Failures:
  found = {cell.name: cell.failure(study) for cell in cells}
  return {name: why for name, why in found.items() if why is not None}


def _unfinished(
  cells: list[Cell], study: pathlib.Path, config: Config
) -> Failures:
  """Cells that nobody finished though nothing that they need failed."""
  return {
    cell.name: f"its process died; what it printed is in {cell.log(study)}"
    for cell in _only(cells, config)
    if not cell.is_finished(study) and not _is_lost(cell, study)
  }
