"""From a command line to a config, with errors for people.

Overrides are those of `ml_collections.config_flags`: `--config.a.b=value`,
`--noconfig.a.b` for a bool, tuples in brackets. What is added here is that
whatever is wrong with them is told in one line that names the mend.
"""

import difflib
import functools
import importlib.util
import json
import pathlib
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from vdr.runtime import bounds, config_files, errors, plain_configs


def parse(argv: list[str]) -> tuple[ml_collections.ConfigDict, str]:
  """The config and the work directory that a command line names.

  Args:
    argv: the command line; its first item, the program's name, is not read.

  Returns:
    The config, locked, with every `--config.key=value` in it, and `--workdir`.

  Raises:
    UserError: anything about the command line or the config file is wrong.
  """
  known = flags.FlagValues()
  flags.DEFINE_string("config", None, "Config file.", flag_values=known)
  flags.DEFINE_string("workdir", None, "Work directory.", flag_values=known)
  known.set_gnu_getopt(True)  # options may stand in any order
  try:
    rest = known(argv, known_only=True)
  except flags.Error as error:
    raise errors.UserError(f"{error}; --help shows how to start") from error
  for name in ("config", "workdir"):
    if not known[name].value:
      raise errors.UserError(f"--{name} is missing; --help shows how to start")
  config = load_config(str(known["config"].value))
  override(config, rest[1:])
  return config, str(known["workdir"].value)


def load_config(spec: str) -> ml_collections.ConfigDict:
  """The config that `path/to/file.py[:variant]` names, locked.

  `configs/NAME.py` is vdr's own where the working directory has no such file.
  The `config.json` of a work directory is a config, too.

  Raises:
    UserError: there is no such file or variant, or the file raises.
  """
  # Folders may have a colon in their names, too.
  parts = re.fullmatch(r"(.*?\.(?:py|json))(?:(:)(.*))?", spec, re.DOTALL)
  name, colon, variant = parts.groups() if parts else spec.partition(":")
  path = config_files.find(name)
  if path.is_file() and path.suffix == ".json" and not colon:
    return _read_json(path)
  if not path.is_file() or path.suffix != ".py":
    raise errors.UserError(
      f"--config={spec}: there is no config file {name}; configs/ has"
      f" {', '.join(config_files.known()) or 'none'}"
    )
  try:
    with config_files.importable():
      config = _run(path, [variant] if colon else [])
  except errors.UserError as error:
    raise errors.UserError(f"--config={spec}: {error}") from error
  except Exception as error:
    # The place is the deepest line of the config file itself.
    frames = traceback.extract_tb(error.__traceback__)
    here = str(path.absolute())  # as Python names the file
    lines = [frame.lineno for frame in frames if frame.filename == here]
    place = f"{name}, line {lines[-1]}," if lines else name
    raise errors.UserError(
      f"--config={spec}: {place} raised {type(error).__name__}:"
      f" {_one_line(error)}"
    ) from error
  if not isinstance(config, ml_collections.ConfigDict):
    raise errors.UserError(
      f"--config={spec}: get_config of {name} returned"
      f" {type(config).__name__}; return `base.build(...)` as configs/ does"
    )
  _check_file(config, spec)
  return config.lock()


def _check_file(config: ml_collections.ConfigDict, spec: str) -> None:
  try:
    check(config)
  except errors.UserError as error:
    raise errors.UserError(f"--config={spec}: {error}") from error


def _read_json(path: pathlib.Path) -> ml_collections.ConfigDict:
  """The config that a work directory was started with."""
  try:
    tree = json.loads(path.read_text())
  except ValueError as error:
    raise errors.UserError(
      f"--config={path}: it is no JSON: {error}"
    ) from error
  if not isinstance(tree, dict) or not isinstance(tree.get("job"), str):
    raise errors.UserError(
      f"--config={path}: it is no config of vdr; work directories have theirs"
      " in config.json"
    )
  config = plain_configs.from_json(tree, path)
  _check_file(config, str(path))
  return config


def _run(path: pathlib.Path, args: list[str]) -> Any:
  """What the `get_config` of a config file returns."""
  spec = importlib.util.spec_from_file_location("vdr_config", path)
  assert spec is not None and spec.loader is not None  # it is a .py file
  module = importlib.util.module_from_spec(spec)
  sys.modules[spec.name] = module  # dataclasses look their module up
  spec.loader.exec_module(module)
  if not hasattr(module, "get_config"):
    raise errors.UserError(f"{path} defines no get_config(variant)")
  return module.get_config(*args)


def override(config: ml_collections.ConfigDict, options: list[str]) -> None:
  """Sets the fields that `--config.key=value` options name, in place.

  Raises:
    UserError: there is no such field, or it can't have this value.
  """
  argv, before = ["vdr", *options], flatten(config)
  for arg in options:
    option = re.match(r"--?(?:no)?config\.([^=]*)", arg)
    if option:
      _check_option(config, option[1])
  overrides = flags.FlagValues()
  overrides.set_gnu_getopt(True)
  try:
    config_flags.DEFINE_config_dict(
      "config", config, flag_values=overrides, sys_argv=argv
    )
    surplus = overrides(argv)[1:]
  except flags.IllegalFlagValueError as error:
    raise errors.UserError(_explain(error, before)) from error
  except flags.Error as error:
    raise errors.UserError(
      f"{_one_line(error)}; --help shows the options"
    ) from error
  if surplus:
    raise errors.UserError(
      f"unexpected argument {surplus[0]!r}; options look like --name=value"
    )
  try:
    check(config)
  except errors.UserError as error:
    raise errors.UserError(f"--{error}") from error


def check(config: ml_collections.ConfigDict) -> None:
  """Holds a config against the bounds that configs/ declares.

  Raises:
    UserError: a field is out of its bounds.
  """
  bounds.check(config, _declared())


@functools.cache
def _declared() -> Mapping[str, Any]:
  with config_files.importable():
    # Here, because configs/base.py imports this module.
    from configs import base

    return base.default.fields


def _check_option(config: ml_collections.ConfigDict, key: str) -> None:
  """Refuses a key that names no field."""
  try:
    value = look_up(config, key)
  except errors.UserError as error:
    raise errors.UserError(f"--config.{key}: {error}") from error
  if isinstance(value, ml_collections.ConfigDict):
    raise errors.UserError(
      f"--config.{key} is a group of fields; set one of them, such as"
      f" --config.{key}.{next(iter(flatten(value)), '…')}"
    )


def look_up(config: ml_collections.ConfigDict, key: str) -> Any:
  """The field or group of fields that a dotted key names.

  Raises:
    UserError: there is none; the message says which one may be meant.
  """
  node, above = config, "config"
  for name in key.split("."):
    if not isinstance(node, ml_collections.ConfigDict):
      raise errors.UserError(f"{above} is a field and has no {name!r} below it")
    if name not in node:
      raise errors.UserError(
        f"{above} has no field {name!r}; {_suggest(config, key, name, node)}"
      )
    node, above = node[name], f"{above}.{name}"
  return node


def _suggest(
  config: ml_collections.ConfigDict,
  key: str,
  name: str,
  group: ml_collections.ConfigDict,
) -> str:
  """Which field may be meant by `key`, whose part `name` is not in `group`."""
  known = flatten(config)
  similar = difflib.get_close_matches(name, list(group))
  meant = [k for s in similar if (k := key.replace(name, s, 1)) in known]
  leaf = key.rpartition(".")[2]
  meant = meant or [k for k in known if k.endswith(f".{leaf}")]
  if meant:
    return f"did you mean config.{' or config.'.join(meant)}?"
  return f"it has {', '.join(group)}"


def _explain(error: flags.IllegalFlagValueError, fields: dict) -> str:
  """What a value that does not parse should have looked like."""
  option = re.match(r"flag --config\.([\w.]+)=(.*?): ", str(error), re.DOTALL)
  if option is None or option[1] not in fields:
    return _one_line(error)
  old = fields[option[1]]
  return (
    f"--config.{option[1]}={option[2]}: this field is of type"
    f" {type(old).__name__}, for example {old!r}"
  )


def flatten(config: ml_collections.ConfigDict) -> dict:
  """All fields of a config by dotted name."""
  flat = {}
  for name, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      flat |= {f"{name}.{k}": v for k, v in flatten(value).items()}
    else:
      flat[name] = value
  return flat


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())
