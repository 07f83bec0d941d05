"""A work directory belongs to one config; nothing in it is left half-written.

A verb names the sections of the config that decide its results; only those, the
job and the seed are compared. `config.runtime` (the number of worker processes,
say) never changes a result.
"""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import re
import secrets
from collections.abc import Iterator, Sequence

import ml_collections

from vdr.runtime import errors, plain_configs

CONFIG_NAME = "config.json"
LOCK_NAME = ".lock"

# Open lock files of this process, by directory: closing one would unlock it.
_locks: dict[pathlib.Path, int] = {}


def claim(
  workdir: str | os.PathLike,
  config: ml_collections.ConfigDict,
  sections: Sequence[str],
) -> pathlib.Path:
  """Makes `workdir` this config's and this process's own, or goes on in it.

  It stays this process's until the process ends, however it ends.

  Args:
    workdir: the directory; made if it does not exist.
    config: the resolved config, written to `config.json` on the first start.
    sections: of the config, whose fields decide what the work gives.

  Returns:
    The directory.

  Raises:
    UserError: the directory can't be written, another process is at work in
      it, or it is not empty and belongs to another config, or to none.
  """
  if "://" in str(workdir):
    raise errors.UserError(
      f"--workdir={workdir} is not on a mounted file system; mount it, or"
      " choose a local directory"
    )
  path = pathlib.Path(workdir).expanduser()
  if problem := name_problem(path):
    raise errors.UserError(f"--workdir={workdir} {problem}; choose another")
  if path.exists() and not path.is_dir():
    raise errors.UserError(
      f"--workdir={workdir} is a file; name a directory instead"
    )
  try:
    _refuse_strangers(path)
    path.mkdir(parents=True, exist_ok=True)
    _lock(path)
    return _claim_locked(path, config, sections)
  except OSError as error:
    raise errors.UserError(
      f"--workdir={workdir} can't be used: {error.strerror or error}; choose a"
      " directory that you may write to"
    ) from error


def name_problem(path: pathlib.Path) -> str | None:
  """Why checkpoints can't lie there, from the names alone; None: they can.

  The libraries that read and write them take some local names for others.
  """
  text = f"{path.absolute()}/"
  if "\\" in text:
    return "has a backslash in its name, which TensorStore takes for a slash"
  if "gs:/" in text:
    return 'has a folder that ends in "gs:", which Orbax takes for a bucket'
  if found := re.match("/(gs|s3|az|hf)/", text):
    return f"lies in {found[0]}, which etils takes for a bucket"
  return None


def start_shared(
  workdir: pathlib.Path, config: ml_collections.ConfigDict
) -> None:
  """Leaves this config in a directory that several processes may work in.

  What is there of another config stays; who works in it takes (`hold`) the
  directories in it.

  Raises:
    UserError: it can't be written, or is not empty and no work directory.
  """
  try:
    _refuse_strangers(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain_configs.to_json(config), indent=2, sort_keys=True)
    write_text(workdir / CONFIG_NAME, text + "\n")
  except OSError as error:
    raise errors.UserError(
      f"--workdir={workdir} can't be used: {error.strerror or error}; choose a"
      " directory that you may write to"
    ) from error


def _claim_locked(
  path: pathlib.Path,
  config: ml_collections.ConfigDict,
  sections: Sequence[str],
) -> pathlib.Path:
  """Compares with the config that is there, or leaves this one there."""
  stored, new = path / CONFIG_NAME, plain_configs.to_json(config)
  if not stored.exists():
    write_text(stored, json.dumps(new, indent=2, sort_keys=True) + "\n")
    return path
  try:
    old = json.loads(stored.read_text())
  except ValueError as error:
    raise errors.UserError(
      f"{stored} is no JSON ({error}): it was not written by vdr; choose"
      " another --workdir"
    ) from error
  _refuse_other_config(path, old, new, sections)
  return path


def _refuse_strangers(path: pathlib.Path) -> None:
  """Refuses a directory with files in it that vdr did not start."""
  if not path.is_dir() or (path / CONFIG_NAME).exists():
    return
  strangers = sorted(
    entry.name
    for entry in path.iterdir()
    if entry.name != LOCK_NAME and not _is_temporary(entry)
  )
  if strangers:
    raise errors.UserError(
      f"--workdir={path} is not empty ({strangers[0]} …) and holds no"
      f" {CONFIG_NAME}: it is not a work directory of vdr; choose another"
    )


def _lock(path: pathlib.Path) -> None:
  """Takes the directory for this process, or says which process has it."""
  path = path.resolve()
  if path in _locks:
    return
  file = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
  try:
    # Not flock: that one would live on in forked children after a kill.
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    owner = os.read(file, 32).decode().strip()
    os.close(file)
    if error.errno in (errno.EACCES, errno.EAGAIN):
      raise errors.UserError(
        f"--workdir={path} is in use by another vdr"
        f" (process {owner or 'unknown'}); wait for it, or choose another"
      ) from error
    return  # a file system without locks
  os.truncate(file, 0)
  os.write(file, f"{os.getpid()}\n".encode())
  _locks[path] = file


@contextlib.contextmanager
def hold(path: pathlib.Path) -> Iterator[bool]:
  """Takes a directory for this process, unless another one has it.

  Args:
    path: made if it does not exist.

  Yields:
    Whether it is this process's now. It is free again after the `with` block,
    and as soon as the process ends.
  """
  path.mkdir(parents=True, exist_ok=True)
  try:
    _lock(path)
  except errors.UserError:
    yield False
    return
  try:
    yield True
  finally:
    file = _locks.pop(path.resolve(), None)
    if file is not None:
      os.close(file)


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary path beside `path` that takes its place on success.

  The file is flushed to disk before the rename, so after a crash `path` either
  is as it was before or is whole.
  """
  temporary = path.with_name(
    f".{path.name}.{secrets.token_hex(4)}.tmp{path.suffix}"
  )
  temporary.touch(exist_ok=False)
  try:
    yield temporary
    with temporary.open("rb+") as file:
      os.fsync(file.fileno())
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes `text` to `path`, whole or not at all."""
  with atomic_path(path) as temporary:
    temporary.write_text(text)


def remove_leftovers(path: pathlib.Path) -> None:
  """Removes temporary files that a killed process left in `path`.

  Only for a directory that this process has claimed: another one's temporary
  files are no leftovers.
  """
  for entry in path.iterdir():
    if _is_temporary(entry):
      entry.unlink(missing_ok=True)


def _is_temporary(entry: pathlib.Path) -> bool:
  """Whether `atomic_path` made this file."""
  return re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp(\..*)?", entry.name) is not None


def _refuse_other_config(
  path: pathlib.Path, old: dict, new: dict, sections: Sequence[str]
) -> None:
  stored, new_flat = plain_configs.complete(old), plain_configs.flatten(new)
  compared = ("job", "seed", *sections)
  # A field that did not exist yet had what is its default now.
  old_flat = plain_configs.flatten(stored.tree) | stored.ignored
  of_both = new_flat.keys() | old_flat.keys() - stored.missing.keys()
  keys = {key for key in of_both if key.partition(".")[0] in compared}
  gone = stored.ignored.keys() & keys - new_flat.keys()
  changed = sorted(
    key for key in keys - gone if _shown(old_flat, key) != _shown(new_flat, key)
  )
  if changed:
    key = changed[0]
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    raise errors.UserError(
      f"--workdir={path} belongs to another config: there {key} is"
      f" {_shown(old_flat, key)}, here {_shown(new_flat, key)}{more}; choose"
      f" another --workdir, or start with the config in {path / CONFIG_NAME} to"
      " go on with that work"
    )
  ignored = {key: stored.ignored[key] for key in sorted(gone)}
  plain_configs.warn(stored._replace(missing={}, ignored=ignored), path)


def _shown(flat: dict, key: str) -> str:
  """A field's value as text: what two configs are compared by.

  As text, NaN equals itself.
  """
  return repr(flat[key]) if key in flat else "absent"
