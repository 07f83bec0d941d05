"""Configs as plain JSON, and back, those of earlier versions too.

A checkpoint and a work directory keep the config that they were made with. A
version of vdr that has other fields reads it like this:

* a field that was renamed (`configs.fields.earlier.RENAMED`) keeps its value;
* a field that did not exist yet has its default, or the value that stands for
  what vdr did before (`configs.fields.earlier.EARLIER`);
* a field that does not exist any more is ignored.

A warning names the fields of the last two.
"""

import functools
import json
import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections

from vdr.runtime import config_files

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Json = dict[str, Any]

# Sources have names of the user's choice, and all of them the same fields.
_SOURCES, _TEMPLATE = "sources", "main"


class Completed(NamedTuple):
  """A stored config with the fields of this version.

  Attributes:
    tree: the config as plain JSON.
    missing: the fields that were not stored, or meant nothing then, by dotted
      name, with their values.
    ignored: the stored fields that do not exist any more, with their values.
  """

  tree: Json
  missing: Json
  ignored: Json


def to_json(config: Config) -> Json:
  """The config as JSON would give it back: tuples become lists."""
  return json.loads(config.to_json_best_effort())


def from_json(
  tree: Mapping[str, Any], place: str | os.PathLike = "", section: str = ""
) -> Config:
  """The config, locked, that `to_json` was given: lists become tuples.

  Args:
    tree: plain JSON, of an earlier version maybe; see the module's docstring.
    place: the file or directory that it was read from, for the warning; "":
      no warning, because another part of the same file has led to one.
    section: the section of the config that `tree` is; "" for a whole config.
  """
  found = complete(tree, section)
  if place:
    warn(found, place)
  return ml_collections.ConfigDict(_with_tuples(found.tree)).lock()


def complete(tree: Mapping[str, Any], section: str = "") -> Completed:
  """A stored config, or a section of one, with the fields of this version."""
  prefix = f"{section}." if section else ""
  known = {k: v for k, v in defaults().items() if k.startswith(prefix)}
  flat = flatten({section: tree} if section else tree)
  stored = {_new_name(field): value for field, value in flat.items()}
  ignored = {k: v for k, v in stored.items() if not _exists(k, v, known)}
  flat = {k: v for k, v in stored.items() if _general(k) in known}
  missing = {}
  for field, value in known.items():
    for name in _own_names(field, flat):
      if name not in flat:
        missing[name] = value
  missing |= _as_before(flat, missing)
  whole = _nested(flat | missing)
  return Completed(whole[section] if section else whole, missing, ignored)


def warn(found: Completed, place: str | os.PathLike) -> None:
  """Warns of fields that take their defaults, and of those that are ignored."""
  said = []
  if found.missing:
    shown = _listed(found.missing)
    said.append(f"it lacks fields, which become: {shown}")
  if found.ignored:
    shown = _listed(found.ignored)
    said.append(f"it has fields that do not exist any more: {shown}")
  if said:
    _warn_once(f"{place} is of another version of vdr: {'; '.join(said)}")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Json:
  """All fields of plain JSON by dotted name; an empty group is a field."""
  flat: Json = {}
  for key, value in tree.items():
    if isinstance(value, Mapping) and value:
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[f"{prefix}{key}"] = value
  return flat


@functools.cache
def defaults() -> Json:
  """The default of every field, by dotted name."""
  with config_files.importable():
    from configs import base

    return flatten(to_json(base.default()))


@functools.cache
def _renames() -> dict[str, str]:
  with config_files.importable():
    from configs.fields import earlier

    return dict(earlier.RENAMED)


def _new_name(field: str) -> str:
  """What a field, or the group that it is in, is called today."""
  general = _general(field)
  for old, new in _renames().items():
    if f"{general}.".startswith(f"{old}."):
      name = _source_name(field)
      return _with_name(new + general.removeprefix(old), name)
  return field


@functools.cache
def _earlier() -> Mapping[str, Any]:
  with config_files.importable():
    from configs.fields import earlier

    return earlier.EARLIER


def _as_before(flat: Mapping[str, Any], missing: Mapping[str, Any]) -> Json:
  """Fields that stand for what vdr did when others did not exist."""
  found = {}
  for name in missing:
    was = _earlier().get(_general(name))
    kind = flat.get(f"{name.rpartition('.')[0]}.kind")
    if was is not None and (not was.kinds or kind in was.kinds):
      found[_with_name(was.field, _source_name(name))] = was.value
  return found


def _exists(field: str, value: Any, known: Mapping[str, Any]) -> bool:
  """Whether this version has a field, or a group where a group is empty."""
  field = _general(field)
  is_group = value == {} and any(k.startswith(f"{field}.") for k in known)
  return field in known or is_group


def _general(field: str) -> str:
  """The field of the template for that of a source with any name."""
  return _with_name(field, _TEMPLATE)


def _with_name(field: str, name: str | None) -> str:
  """The same field of the source called `name`."""
  parts = field.split(".")
  if name is not None and _SOURCES in parts[:-1]:
    parts[parts.index(_SOURCES) + 1] = name
  return ".".join(parts)


def _source_name(field: str) -> str | None:
  """The name of the source that a field belongs to, if it does."""
  parts = field.split(".")
  return parts[parts.index(_SOURCES) + 1] if _SOURCES in parts[:-1] else None


def _own_names(field: str, flat: Mapping[str, Any]) -> list[str]:
  """A field of the template for each source of a config; others: itself."""
  if _source_name(field) is None:
    return [field]
  group = field[: field.index(f"{_SOURCES}.")] + f"{_SOURCES}."
  names = {_source_name(k) for k in flat if k.startswith(group)}
  return [_with_name(field, name) for name in sorted(filter(None, names))] or [
    field
  ]


def _nested(flat: Mapping[str, Any]) -> Json:
  tree: Json = {}
  for field, value in flat.items():
    *groups, last = field.split(".")
    node = tree
    for group in groups:
      node = node.setdefault(group, {})
    node[last] = value
  return tree


def _listed(flat: Mapping[str, Any]) -> str:
  return ", ".join(f"{k}={flat[k]!r}" for k in sorted(flat))


@functools.cache
def _warn_once(line: str) -> None:
  """One file is read several times by one verb."""
  logging.warning("%s", line)


def _with_tuples(tree: Any) -> Any:
  if isinstance(tree, dict):
    return {name: _with_tuples(value) for name, value in tree.items()}
  return tuple(map(_with_tuples, tree)) if isinstance(tree, list) else tree
