"""One cell of a study: one run of one verb.

    cells/NAME-HASH/     the verb's own work directory
      cell.json          there when it is finished, written last
      failed.json        why it is not, until the next start
    logs/NAME-HASH.txt   what it printed, where several run at once

Fields of its config may name the directory of another cell, "@NAME", or what
lies there, "@NAME/tokenizer.npz". The hash has those cells' hashes in their
place: what a cell is called by never depends on where the study lies.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from vdr import verbs
from vdr.runtime import command_line, hosts
from vdr.runtime import workdir as workdirs

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
FOLDER, LOGS = "cells", "logs"  # of a study
DONE, FAILED = "cell.json", "failed.json"  # of a cell
MARK = "@"  # before the name of a cell
DIGITS = 8  # of the hash, in a directory's name


@dataclasses.dataclass(frozen=True)
class Cell:
  """One run of one verb.

  Attributes:
    name: short, for people.
    config: its own, with references to other cells in it.
    inputs: the cells whose results it reads.
    key: hash of all that decides its results.
    about: what reports want to know of it; `role` says what it is for.
    is_wide: it uses all cores by itself.
  """

  name: str
  config: Config
  inputs: tuple["Cell", ...]
  key: str
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
    return (self.folder(study) / DONE).exists()

  def seconds(self, study: pathlib.Path) -> float | None:
    """How long it took; None until it is finished."""
    with contextlib.suppress(OSError, ValueError, KeyError):
      return json.loads((self.folder(study) / DONE).read_text())["seconds"]
    return None

  def failure(self, study: pathlib.Path) -> str | None:
    """Why it failed, since the last start of the study."""
    with contextlib.suppress(OSError, ValueError, KeyError):
      return json.loads((self.folder(study) / FAILED).read_text())["why"]
    return None

  def run(self, study: pathlib.Path) -> None:
    """Runs its verb, then says that it is finished; both can be killed.

    Where there are several hosts, all of them run it.
    """
    folder, start = self.folder(study), time.perf_counter()
    verbs.run(self.job, self.resolved(study), folder)
    done = {
      "name": self.name,
      "key": self.key,
      "seconds": round(time.perf_counter() - start, 1),
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
  module = verbs.module(str(config.job))
  keys = {one: cell.key for one, cell in inputs.items()}
  fields = command_line.flatten(config)
  decisive = {
    field: _point(value, keys)
    for field, value in fields.items()
    if field.partition(".")[0] in ("seed", *module.SECTIONS)
  }
  parts = {
    "job": str(config.job),
    "version": module.VERSION,
    "config": decisive,
  }
  text = json.dumps(parts, sort_keys=True)
  key = hashlib.sha256(text.encode()).hexdigest()
  return Cell(
    name, config.lock(), tuple(inputs.values()), key, dict(about), is_wide
  )


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
