"""Where vdr's config files are, and what `configs` means while one runs.

In a clone the files stand in configs/, beside the package. A wheel has them
inside the package: a folder `configs` among all installed packages would get in
the way of other projects, which have folders of that name.
"""

import contextlib
import importlib.util
import pathlib
import sys
import types
from collections.abc import Iterator

NAME = "configs"  # in paths, and in the imports of config files

_ours: dict[str, types.ModuleType] = {}  # once loaded, by name


def folder() -> pathlib.Path:
  """The folder of vdr's own config files."""
  package = pathlib.Path(__file__).resolve().parents[1]
  inside = package / NAME
  return inside if inside.is_dir() else package.parent / NAME


def known() -> list[str]:
  """The names of vdr's own config files."""
  names = sorted(file.name for file in folder().glob("[!_]*.py"))
  return [name for name in names if name != "base.py"]


def find(name: str) -> pathlib.Path:
  """The file that `configs/NAME.py` or any other path means.

  Where the working directory has no such file, `configs/NAME.py` is vdr's own.
  """
  path = pathlib.Path(name)
  if len(path.parts) == 2 and path.parts[0] == NAME and not path.is_file():
    own = folder() / path.name
    return own if own.is_file() else path
  return path


@contextlib.contextmanager
def importable() -> Iterator[None]:
  """Lets `from configs import base` import vdr's own, wherever Python runs.

  The program that calls vdr may have a package `configs` itself, imported
  already or on its path. It has that name back afterwards.
  """
  theirs = _loaded()
  if _is_ours(theirs):  # as in a clone, where tests import it
    yield
    return
  _put_in_place(_ours or _load())
  try:
    yield
  finally:
    _ours.update(_loaded())
    _put_in_place(theirs)


def _load() -> dict[str, types.ModuleType]:
  place = folder()
  spec = importlib.util.spec_from_file_location(
    NAME, place / "__init__.py", submodule_search_locations=[str(place)]
  )
  assert spec is not None and spec.loader is not None  # it is a .py file
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return {NAME: module}


def _loaded() -> dict[str, types.ModuleType]:
  """What is imported as `configs` now, with all below it."""
  return {
    name: module
    for name, module in list(sys.modules.items())
    if f"{name}.".startswith(f"{NAME}.")
  }


def _is_ours(modules: dict[str, types.ModuleType]) -> bool:
  file = getattr(modules.get(NAME), "__file__", None)
  return bool(file) and pathlib.Path(file).resolve().parent == folder()


def _put_in_place(modules: dict[str, types.ModuleType]) -> None:
  for name in _loaded():
    del sys.modules[name]
  sys.modules.update(modules)
