"""One cell of a study: one run of one verb.

    cells/NAME-HASH/     the verb's own work directory
      cell.json          there when it is finished, written last
      failed.json        why it is not, until the next start
    logs/NAME-HASH.txt   what it printed, where several run at once

Fields of its config may name the directory of another cell, "@NAME", or what
lies there, "@NAME/tokenizer.npz". The hash has those cells' hashes in their
place: what a cell is called by never depends on where the study lies.

The hash also covers the code of the verb (`vdr.runtime.code`). After a change
of that code the cell has another directory, and the old one stays.
"""

import contextlib
import dataclasses
import datetime
import glob
import hashlib
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vdr import verbs
from vdr.runtime import command_line, hosts, versions
from vdr.runtime import workdir as workdirs
from vdr.runtime.code import Code

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
FOLDER, LOGS = "cells", "logs"  # of a study
DONE, FAILED = "cell.json", "failed.json"  # of a cell
MARK = "@"  # before the name of a cell
DIGITS = 8  # of the hash, in a directory's name
_NUM_NAMED = 3  # changed modules and libraries that a line names


@dataclasses.dataclass(frozen=True)
class Cell:
  """One run of one verb.

  Attributes:
    name: short, for people.
    config: its own, with references to other cells in it.
    inputs: the cells whose results it reads.
    key: hash of all that decides its results.
    setting: the same without the code: cells of equal settings differ in code.
    code: of its verb.
    about: what reports want to know of it; `role` says what it is for.
    is_wide: it uses all cores by itself.
  """

  name: str
  config: Config
  inputs: tuple["Cell", ...]
  key: str
  setting: str
  code: Code
  about: dict[str, Any]
  is_wide: bool = False

  @property
  def job(self) -> str:
    """The verb."""
    return str(self.config.job)

  def folder(self, study: pathlib.Path) -> pathlib.Path:
    """Its work directory."""
    return study / FOLDER / f"{self.name}-{self.key[:DIGITS]}"

  def log(self, study: pathlib.Path) -> pathlib.Path:
    """The file that it prints to, where several run at once."""
    return study / LOGS / f"{self.folder(study).name}.txt"

  def resolved(self, study: pathlib.Path) -> Config:
    """Its config, with directories in place of names."""
    found = self.config.copy_and_resolve_references()
    names = {one.name: str(one.folder(study)) for one in self.inputs}
    with found.unlocked():
      found.update_from_flattened_dict(
        {
          field: _point(value, names)
          for field, value in _references(self.config).items()
        }
      )
    return found

  def is_finished(self, study: pathlib.Path) -> bool:
    """Whether it has run, after all that it reads had.

    An input that is made again may come out different. Its readers then run
    again too, and their verbs see whether anything is left to do.
    """
    done = _read(self.folder(study) / DONE)
    return done is not None and all(
      one.is_finished(study) and one.finished_at(study) <= _time_of(done)
      for one in self.inputs
    )

  def finished_at(self, study: pathlib.Path) -> str:
    """When it was finished last, as sortable text; "" if that is not known."""
    return (_read(self.folder(study) / DONE) or {}).get("finished", "")

  def seconds(self, study: pathlib.Path) -> float | None:
    """How long it took; None until it is finished."""
    return (_read(self.folder(study) / DONE) or {}).get("seconds")

  def of_other_code(self, study: pathlib.Path) -> dict[str, Any] | None:
    """The newest `cell.json` of the same cell and setting, but other code.

    Cells of earlier versions do not say what their setting was; it counts as
    the same.
    """
    name = f"{glob.escape(self.name)}-{'[0-9a-f]' * DIGITS}"
    found = [
      done
      for folder in (study / FOLDER).glob(name)
      if folder != self.folder(study)
      and (done := _read(folder / DONE)) is not None
      and done.get("setting", self.setting) == self.setting
    ]
    return max(found, key=lambda done: done.get("finished", ""), default=None)

  def failure(self, study: pathlib.Path) -> str | None:
    """Why it failed, since the last start of the study."""
    return (_read(self.folder(study) / FAILED) or {}).get("why")

  def run(self, study: pathlib.Path) -> None:
    """Runs its verb, then says that it is finished; both can be killed.

    Where there are several hosts, all of them run it.
    """
    folder, start = self.folder(study), time.perf_counter()
    verbs.run(self.job, self.resolved(study), folder)
    seconds = round(time.perf_counter() - start, 1)
    done = {
      "name": self.name,
      "key": self.key,
      "setting": self.setting,
      "git": versions.git_hash(),
      "code": self.code._asdict(),
      # A second run that finds all results there takes a moment.
      "seconds": max(seconds, self.seconds(study) or 0.0),
      "finished": datetime.datetime.now(datetime.UTC).isoformat(
        timespec="seconds"
      ),
    }
    text = json.dumps(done, indent=2) + "\n"
    hosts.first_does(lambda: workdirs.write_text(folder / DONE, text))

  def fail(self, study: pathlib.Path, why: str) -> None:
    """Leaves word that it failed."""
    text = json.dumps({"name": self.name, "why": why}, indent=2) + "\n"
    workdirs.write_text(self.folder(study) / FAILED, text)

  def forget_failure(self, study: pathlib.Path) -> None:
    """Clears the way for another try."""
    (self.folder(study) / FAILED).unlink(missing_ok=True)


def make(
  name: str,
  config: Config,
  inputs: Mapping[str, Cell],
  about: Mapping[str, Any],
  is_wide: bool = False,
) -> Cell:
  """A cell with its hash.

  Args:
    name: of it.
    config: its own; "@NAME" in it must name one of `inputs`.
    inputs: cells by name.
    about: as in `Cell`.
    is_wide: as in `Cell`.

  Raises:
    ValueError: the config names a cell that is no input.
  """
  job, code = str(config.job), verbs.code(str(config.job))
  keys = {one: cell.key for one, cell in inputs.items()}
  settings = {one: cell.setting for one, cell in inputs.items()}
  key = _hash(job=job, code=code.digest, config=_decisive(config, keys))
  setting = _hash(job=job, config=_decisive(config, settings))
  of = tuple(inputs.values())
  return Cell(name, config.lock(), of, key, setting, code, dict(about), is_wide)


def explain(cells: Sequence[Cell], study: pathlib.Path) -> str:
  """A line about what is there, but of other code; "" if there is nothing."""
  changed, git, count = {}, set(), 0
  for cell in cells:
    old = None if cell.is_finished(study) else cell.of_other_code(study)
    if old is None:
      continue
    count += 1
    git.add(old.get("git"))
    if "code" in old:
      changed |= dict.fromkeys(cell.code.changed(Code(**old["code"])))
  if not count:
    return ""
  named = ", ".join(list(changed)[:_NUM_NAMED])
  if len(changed) > _NUM_NAMED:
    named += f" and {len(changed) - _NUM_NAMED} more"
  why = f"changed since: {named}" if changed else "an earlier version of vdr"
  commits = sorted(commit for commit in git if commit)
  keep = f"; commit {', '.join(commits)} takes them as they are"
  return (
    f"cells finished by other code: {count} ({why}); they run again, and their"
    f" old results stay in {study / FOLDER}{keep if commits else ''}"
  )


def _decisive(config: Config, names: Mapping[str, str]) -> dict[str, Any]:
  """The fields that decide a cell's results, inputs by their hashes."""
  sections = ("seed", *verbs.module(str(config.job)).SECTIONS)
  return {
    field: _point(value, names)
    for field, value in command_line.flatten(config).items()
    if field.partition(".")[0] in sections
  }


def _hash(**parts: Any) -> str:
  return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read(path: pathlib.Path) -> dict[str, Any] | None:
  """A file about a cell; None if it is not there."""
  with contextlib.suppress(OSError, ValueError):
    return json.loads(path.read_text())
  return None


def _time_of(done: Mapping[str, Any]) -> str:
  """When a cell was finished; one that does not say was after all others."""
  return done.get("finished", "~")


def _references(config: Config) -> dict[str, str]:
  """The fields that name cells."""
  return {
    field: value
    for field, value in command_line.flatten(config).items()
    if isinstance(value, str) and value.startswith(MARK)
  }


def _point(value: Any, names: Mapping[str, str]) -> Any:
  """What stands for "@NAME/rest": the name's value, and the rest."""
  if not isinstance(value, str) or not value.startswith(MARK):
    return value
  name, slash, rest = value.removeprefix(MARK).partition("/")
  if name not in names:
    raise ValueError(f"{value} names no input; there are {', '.join(names)}")
  return names[name] + slash + rest
