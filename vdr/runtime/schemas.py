"""Result files: JSON that a schema in the package describes.

It is checked when it is written and when it is read.
"""

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jsonschema

from vdr.runtime import errors
from vdr.runtime import workdir as workdirs


class Schema:
  """A kind of result file."""

  def __init__(self, path: pathlib.Path, verb: str):
    """Names a schema, which is read when it is needed.

    Args:
      path: of the schema.
      verb: what makes such files, for people who have none.
    """
    self._path, self._verb = path, verb

  def write(self, file: pathlib.Path, tree: Mapping[str, Any]) -> None:
    """Writes a result, whole or not at all.

    Raises:
      ValueError: it is not what the schema describes, or holds a NaN.
    """
    self.check(file, tree)
    text = json.dumps(tree, indent=2, allow_nan=False)
    workdirs.write_text(file, text + "\n")

  def check(self, file: pathlib.Path, tree: Mapping[str, Any]) -> None:
    """Verifies what is to be written.

    Raises:
      ValueError: it is not what the schema describes.
    """
    try:
      self._validator.validate(tree)
    except jsonschema.ValidationError as error:
      raise ValueError(f"{file}: {error.message}") from error

  def read(self, file: pathlib.Path) -> dict[str, Any]:
    """A result.

    Raises:
      UserError: there is none, or it is not what the schema describes.
    """
    try:
      tree = json.loads(file.read_text())
      self._validator.validate(tree)
    except OSError as error:
      raise errors.UserError(
        f"there is no {file} ({error.strerror}); run the verb {self._verb}"
      ) from error
    except (ValueError, jsonschema.ValidationError) as error:
      why = getattr(error, "message", str(error))
      raise errors.UserError(
        f"{file} is no result of this version of vdr ({why}); delete it and run"
        f" the verb {self._verb} again"
      ) from error
    return tree

  @functools.cached_property
  def _validator(self) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(self._path.read_text()))
