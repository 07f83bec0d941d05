"""What the results in a work directory were made of.

A config names a checkpoint by its path, and the checkpoint at that path may
change: the last one of a run is another one after more training. A work
directory therefore keeps the hashes of what its results were made of, in
`made_of.json`. The hashes are those that were written with the checkpoint.

Results of other parts are neither shown nor lost: they are moved to the folder
`earlier/1`, `earlier/2`, … of the work directory, and are made again.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from vdr.runtime import workdir as workdirs

NAME, EARLIER = "made_of.json", "earlier"
_STAYS = (workdirs.CONFIG_NAME, workdirs.LOCK_NAME, NAME, EARLIER)

# By name: the hash of a part, and what else tells it apart for people.
Parts = Mapping[str, Mapping[str, Any]]


def claim(
  workdir: pathlib.Path,
  config: ml_collections.ConfigDict,
  sections: Sequence[str],
  parts: Parts,
) -> None:
  """Takes a work directory, in which only results of these parts stay.

  Args:
    workdir: the directory; made if it does not exist.
    config: the resolved config.
    sections: of the config, whose fields decide the results.
    parts: what the results are made of, by name: "checkpoint", for example.
      Each part has its `hash`; a checkpoint also has its `step`.

  Raises:
    UserError: see `vdr.runtime.workdir.claim`.
  """
  workdirs.claim(workdir, config, sections)
  workdirs.remove_leftovers(workdir)
  there = _recorded(workdir, parts)
  changed = [
    name
    for name, part in parts.items()
    if name in there and there[name]["hash"] != part["hash"]
  ]
  if changed:
    _write(workdir, there)
    folder = _set_aside(workdir)
    if folder is not None:
      name = changed[0]
      print(
        f"{workdir}: the results there are of another {name}"
        f" ({_said(there[name])}) than now ({_said(parts[name])}); they are"
        f" kept in {folder}, and are made again",
        flush=True,
      )
  if there != parts:
    _write(workdir, parts)


def _write(workdir: pathlib.Path, parts: Parts) -> None:
  workdirs.write_text(workdir / NAME, json.dumps(parts, indent=2) + "\n")


def _recorded(workdir: pathlib.Path, parts: Parts) -> Parts:
  """The parts of the results that are there, as far as they are known."""
  try:
    return json.loads((workdir / NAME).read_text())
  except (OSError, ValueError):
    named = _named_in_results(workdir)
    wanted = parts.get("checkpoint", {}).get("hash")
    # A killed evaluation of a run that went on left results of two checkpoints.
    named.sort(key=lambda part: part["hash"] == wanted)
    return {"checkpoint": named[0]} if named else {}


def _named_in_results(workdir: pathlib.Path) -> list[Mapping[str, Any]]:
  """The checkpoints that results of earlier versions name themselves.

  These had no `made_of.json`, but each result has the hash and the step.
  """
  found = []
  for file in sorted((*workdir.glob("*.json"), *workdir.glob("*/*.json"))):
    if file.name in _STAYS:
      continue
    try:
      tree = json.loads(file.read_text())
    except (OSError, ValueError):
      continue
    for part in _groups(tree):
      if part.get("hash") and part.get("step") is not None:
        found.append({k: part[k] for k in ("hash", "step")})
  return found


def _groups(tree: Any) -> Iterator[Mapping[str, Any]]:
  if isinstance(tree, Mapping):
    yield tree
    yield from (x for x in tree.values() if isinstance(x, Mapping))


def _set_aside(workdir: pathlib.Path) -> pathlib.Path | None:
  """Moves all results into a folder; None if there are none.

  `made_of.json` moves last: as long as it is missing in the newest folder, a
  killed move is not finished, and the next start goes on with it.
  """
  found = [entry for entry in workdir.iterdir() if entry.name not in _STAYS]
  folders = (x.name for x in (workdir / EARLIER).glob("*"))
  number = max((int(x) for x in folders if x.isdecimal()), default=0)
  folder = workdir / EARLIER / str(number)
  # A task that was moved there may have been made again since.
  is_taken = any((folder / entry.name).exists() for entry in found)
  if number == 0 or (folder / NAME).exists() or is_taken:
    if not found:
      return None
    folder = workdir / EARLIER / str(number + 1)
  folder.mkdir(parents=True, exist_ok=True)
  for entry in found:
    entry.rename(folder / entry.name)
  (workdir / NAME).rename(folder / NAME)
  return folder


def _said(part: Mapping[str, Any]) -> str:
  """A part for people."""
  step = f"step {part['step']}, " if "step" in part else ""
  return f"{step}hash {part['hash'][:8]}"
