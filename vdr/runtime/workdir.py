"""A work directory belongs to one config; nothing in it is left half-written.

`config.runtime` holds what may differ between two starts of the same work (the
number of worker processes, say): it never changes a result, so it is left out
of the comparison.
"""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator

import ml_collections

from vdr.runtime import errors

CONFIG_NAME = "config.json"


def claim(
  workdir: str | os.PathLike, config: ml_collections.ConfigDict
) -> pathlib.Path:
  """Makes `workdir` this config's own, or goes on in it.

  Args:
    workdir: the directory; made if it does not exist.
    config: the resolved config, written to `config.json` on the first start.

  Returns:
    The directory.

  Raises:
    UserError: the directory is not empty and belongs to another config, or to
      none.
  """
  path = pathlib.Path(workdir)
  if path.exists() and not path.is_dir():
    raise errors.UserError(
      f"--workdir={workdir} is a file; name a directory instead"
    )
  text = json.dumps(_plain(config), indent=2, sort_keys=True) + "\n"
  stored = path / CONFIG_NAME
  if stored.exists():
    _refuse_other_config(path, json.loads(stored.read_text()), _plain(config))
    return path
  path.mkdir(parents=True, exist_ok=True)
  strangers = [entry.name for entry in path.iterdir() if not _is_tmp(entry)]
  if strangers:
    raise errors.UserError(
      f"--workdir={workdir} is not empty ({sorted(strangers)[0]} …) and holds"
      f" no {CONFIG_NAME}: it is not a work directory of vdr; choose another"
    )
  write_text(stored, text)
  return path


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary path beside `path` that takes its place on success.

  The file is flushed to disk before the rename, so after a crash `path` either
  is not there or is whole.
  """
  handle, name = tempfile.mkstemp(
    prefix=f".{path.name}.", suffix=f".tmp{path.suffix}", dir=path.parent
  )
  os.close(handle)
  temporary = pathlib.Path(name)
  try:
    yield temporary
    with temporary.open("rb+") as file:
      os.fsync(file.fileno())
    temporary.chmod(0o644)  # mkstemp makes files only their owner can read
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes `text` to `path`, whole or not at all."""
  with atomic_path(path) as temporary:
    temporary.write_text(text)


def remove_leftovers(path: pathlib.Path) -> None:
  """Removes temporary files that a killed process left in `path`."""
  for entry in path.iterdir():
    if _is_tmp(entry):
      entry.unlink(missing_ok=True)


def _is_tmp(entry: pathlib.Path) -> bool:
  return entry.name.startswith(".") and ".tmp" in entry.name


def _plain(config: ml_collections.ConfigDict) -> dict:
  """The config as JSON would give it back (tuples become lists)."""
  return json.loads(config.to_json_best_effort())


def _refuse_other_config(path: pathlib.Path, old: dict, new: dict) -> None:
  old_flat, new_flat = _flatten(old), _flatten(new)
  changed = sorted(
    key
    for key in old_flat.keys() | new_flat.keys()
    if not key.startswith("runtime.")
    and old_flat.get(key, "absent") != new_flat.get(key, "absent")
  )
  if changed:
    key = changed[0]
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    raise errors.UserError(
      f"--workdir={path} belongs to another config: there {key} is"
      f" {old_flat.get(key, 'absent')!r}, here {new_flat.get(key, 'absent')!r}"
      f"{more}; choose another --workdir, or start with the config in"
      f" {path / CONFIG_NAME} to go on with that work"
    )


def _flatten(tree: dict, prefix: str = "") -> dict:
  flat = {}
  for key, value in tree.items():
    if isinstance(value, dict) and value:
      flat |= _flatten(value, f"{prefix}{key}.")
    else:
      flat[f"{prefix}{key}"] = value
  return flat
