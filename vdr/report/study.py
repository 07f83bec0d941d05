"""A study's work directory, as far as it has come.

Nothing here raises for what is missing or damaged: it is noted in `problems`,
and the page says so. Only a directory that is no study is an error.
"""

import json
import pathlib
from typing import Any, NamedTuple

from vdr import results
from vdr.runtime import checkpoints, errors, logs, plain_configs
from vdr.runtime import workdir as workdirs

NAME = "study.json"
SCHEMA_VERSION = 1
KINDS = ("video", "image")

Json = dict[str, Any]


class Cell(NamedTuple):
  """One piece of work: a work directory of its verb.

  Attributes:
    name: in the study.
    job: its verb.
    folder: its work directory; it may not be there yet.
    state: "finished", "waiting" or "failed".
    failure: why it failed, "" if it did not.
    seconds: that it took.
    command: that does it by itself.
    about: role, model, step, percent, as far as they apply.
  """

  name: str
  job: str
  folder: pathlib.Path
  state: str
  failure: str
  seconds: float | int | None
  command: str
  about: Json

  @property
  def role(self) -> str:
    return str(self.about.get("role", ""))

  @property
  def said(self) -> str:
    """Its name and how far it is."""
    why = f": {self.failure}" if self.failure else ""
    return f"{self.name} ({self.state}{why})"


class Model(NamedTuple):
  """One trained model."""

  name: str
  kind: str
  size: str
  seed: int
  cell: str


class Study:
  """What a study has found so far.

  Attributes:
    folder: its work directory.
    json: what `study.json` says.
    models: all that are trained, or will be.
    cells: all pieces of work.
    problems: what could not be read, for people.
  """

  def __init__(self, folder: pathlib.Path):
    """Reads `study.json`.

    Raises:
      UserError: there is none, or it is of another version.
    """
    self.folder = folder
    self.json = _read(folder / NAME)
    self.problems: list[str] = []
    self.models = [
      Model(*(m[field] for field in Model._fields)) for m in self.json["models"]
    ]
    self.cells = [
      Cell(
        name=c["name"],
        job=c["job"],
        folder=folder / c["folder"],
        state=c["state"],
        failure=c.get("failure") or "",
        seconds=c["seconds"],
        command=c["command"],
        about=c["about"],
      )
      for c in self.json["cells"]
    ]
    self._results: dict[tuple[str, str], Json | None] = {}
    self._clips: dict[tuple[str, str], results.Clips] = {}

  def named(self, name: str) -> Cell | None:
    """The cell of a name."""
    return next((c for c in self.cells if c.name == name), None)

  def model(self, name: str) -> Model | None:
    """The model of a name."""
    return next((m for m in self.models if m.name == name), None)

  def find(self, role: str, model: str | None = None) -> list[Cell]:
    """The cells of a role, of one model if it is named."""
    return [
      cell
      for cell in self.cells
      if cell.role == role and model in (None, cell.about.get("model"))
    ]

  def missing(self, *roles: str) -> list[Cell]:
    """Cells of these roles that have not been finished."""
    return [c for c in self.cells if c.role in roles and c.state != "finished"]

  def tasks(self) -> list[str]:
    """All tasks of the study, also those that have not been run."""
    found: dict[str, None] = {}
    for cell in self.find("main"):
      config = self.config(cell, expected=False)
      for name in config["evaluate"]["tasks"] if config else ():
        found[name] = None
      if cell.folder.is_dir():
        for path in sorted(cell.folder.glob(f"*/{results.NAME}")):
          found[path.parent.name] = None
    return list(found)

  def result(self, cell: Cell, task: str) -> Json | None:
    """What a cell found in a task; None if it has not, or not readably."""
    key = (cell.name, task)
    if key not in self._results:
      self._results[key] = None
      if (cell.folder / task / results.NAME).exists():
        try:
          found = results.read(cell.folder / task)
        except errors.UserError as error:
          self.problems.append(f"{cell.name}: {error}")
        else:
          if self._is_of_its_model(cell, task, found["backbone"]):
            self._results[key] = found
    return self._results[key]

  def of_checkpoint(self, cell: Cell, name: str) -> Json | None:
    """A file of a cell about one checkpoint, unless that is another one now."""
    found = self.read_json(cell, name)
    if found is None or not self._is_of_its_model(cell, name, found["model"]):
      return None
    return found

  def _is_of_its_model(self, cell: Cell, name: str, part: Json) -> bool:
    """Whether a result is of the checkpoint that its model has now.

    Without that checkpoint, as in a copy of the results alone, it counts.
    """
    step, model = part.get("step"), self.model(cell.about.get("model", ""))
    train = self.named(model.cell) if model else None
    if train is None or step is None:  # a control, which has no step
      return True
    wanted = cell.about.get("step", step)
    checkpoint = train.folder / checkpoints.FOLDER / str(wanted)
    if not checkpoint.is_dir():
      return True
    try:
      hashes = checkpoints.read_meta(checkpoint)["hashes"].values()
    except errors.UserError:  # a part of it is gone
      return True
    if part["hash"] in hashes:
      return True
    problem = (
      f"{cell.name}: {name} is of another checkpoint (step {step}) than"
      f" {train.name} has at step {wanted} now, and is not shown; start the"
      " study again to make it anew"
    )
    if problem not in self.problems:
      self.problems.append(problem)
    return False

  def clips(self, cell: Cell, task: str) -> results.Clips:
    """Each clip's part in every score; empty if it can't be read."""
    key = (cell.name, task)
    if key not in self._clips:
      self._clips[key] = results.Clips({}, None)
      if self.result(cell, task) is not None:
        try:
          self._clips[key] = results.read_clips(cell.folder / task)
        except (OSError, ValueError, KeyError) as error:
          self.problems.append(
            f"{cell.name}: {task}/{results.CLIPS_NAME} can't be read ({error})"
          )
    return self._clips[key]

  def read_json(
    self, cell: Cell, name: str, expected: bool = True
  ) -> Json | None:
    """A file of a cell; what is there but damaged is a problem."""
    path = cell.folder / name
    try:
      return json.loads(path.read_text())
    except FileNotFoundError:
      if expected and cell.state == "finished":
        self.problems.append(f"{cell.name} is finished, but has no {name}")
    except (OSError, ValueError) as error:
      self.problems.append(f"{cell.name}: {name} can't be read ({error})")
    return None

  def config(self, cell: Cell, expected: bool = True) -> Json | None:
    """The config of a cell, with the fields of this version."""
    found = self.read_json(cell, workdirs.CONFIG_NAME, expected)
    return None if found is None else plain_configs.complete(found).tree

  def metrics(self, cell: Cell) -> list[Json]:
    """What training told, a line for each step that was logged."""
    return logs.read_metrics(cell.folder / logs.METRICS_NAME)


def _read(path: pathlib.Path) -> Json:
  try:
    found = json.loads(path.read_text())
  except OSError as error:
    raise errors.UserError(
      f"there is no {path} ({error.strerror}): set --config.report.study to the"
      " work directory of the verb study"
    ) from error
  except ValueError as error:
    raise errors.UserError(
      f"{path} is no JSON ({error}); start the study again to write it anew"
    ) from error
  if found.get("schema_version") != SCHEMA_VERSION:
    raise errors.UserError(
      f"{path} has schema_version {found.get('schema_version')!r}, this vdr"
      f" reads {SCHEMA_VERSION}; start the study again with this version"
    )
  return found
