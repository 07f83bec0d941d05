"""Configs as plain JSON, and back."""

import json
from typing import Any

import ml_collections

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any


def to_json(config: Config) -> dict[str, Any]:
  """The config as JSON would give it back: tuples become lists."""
  return json.loads(config.to_json_best_effort())


def from_json(tree: dict[str, Any]) -> Config:
  """The config, locked, that `to_json` was given: lists become tuples."""
  return ml_collections.ConfigDict(_with_tuples(tree)).lock()


def _with_tuples(tree: Any) -> Any:
  if isinstance(tree, dict):
    return {name: _with_tuples(value) for name, value in tree.items()}
  return tuple(map(_with_tuples, tree)) if isinstance(tree, list) else tree
