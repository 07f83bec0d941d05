"""What a module computes, as a digest of its code and of what that imports.

The digest of a module covers the syntax trees of the module and of every module
of vdr that it imports, those that its functions import too, and the versions of
the libraries that compute. Comments, docstrings and layout are left out: they
change no result. A constant, a message or an import does change the digest, and
so does another version of JAX.

* A module that is started by its name, as in `python -m vdr.data.decode_child`,
  counts as imported.
* Of a package, the modules that are imported count. Its `__init__.py` counts
  where the package itself is imported, and that of vdr never does: it only
  loads modules for users.
* The digest depends neither on where vdr is installed nor, as far as tested
  (3.11 to 3.13), on the version of Python.

Parsing all of vdr takes a second. What a file says is therefore kept in a cache
on disk by the hash of the file.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
CACHE = pathlib.Path("~/.cache/vdr/code.json")
MAX_CACHED = 2000  # files: several versions of vdr

# Distributions that decide results, by the module that is imported. Orbax,
# array_record and TFDS do not: they return the bits that are stored.
LIBRARIES = {
  "jax": ("jax", "jaxlib"),
  "flax": ("flax",),
  "optax": ("optax",),
  "numpy": ("numpy",),
  "scipy": ("scipy",),
  "grain": ("grain",),
  "mujoco": ("mujoco",),
  "av": ("av",),
  "PIL": ("pillow",),
}
_UNUSED = ("ctx", "kind", "type_comment")  # fields of syntax trees


class Code(NamedTuple):
  """What decides the results of a module.

  Attributes:
    modules: a digest of each module of vdr, by name.
    libraries: the version of each library, by name; "" if it is missing.
  """

  modules: dict[str, str]
  libraries: dict[str, str]

  @property
  def digest(self) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(self, sort_keys=True).encode()).hexdigest()

  def changed(self, other: "Code") -> list[str]:
    """For people: the libraries and modules that are not the same in both."""
    found = []
    for name in sorted(self.libraries.keys() | other.libraries.keys()):
      versions = [one.libraries.get(name, "") for one in (other, self)]
      if versions[0] != versions[1]:
        found.append(f"{name} {' → '.join(v or 'none' for v in versions)}")
    for name in sorted(self.modules.keys() | other.modules.keys()):
      if self.modules.get(name) != other.modules.get(name):
        found.append(name)
    return found


class _File(NamedTuple):
  """What one source file says: its digest, and the names that it imports."""

  digest: str
  imports: tuple[str, ...]


def of(module: str, package: pathlib.Path = PACKAGE) -> Code:
  """The code of a module.

  Args:
    module: its dotted name, "vdr.evaluate".
    package: the folder of the package that the name begins with.

  Raises:
    KeyError: there is no such module.
  """
  files = _read(package)
  waiting, found = [module], {}
  libraries: set[str] = set()
  while waiting:
    name = waiting.pop()
    if name in found:
      continue
    found[name] = files[name].digest
    for target in files[name].imports:
      inside = _module(target, files, package.name)
      if inside is not None:
        waiting.append(inside)
      libraries.update(LIBRARIES.get(target.partition(".")[0], ()))
  return Code(
    dict(sorted(found.items())),
    {name: _version(name) for name in sorted(libraries)},
  )


def _module(name: str, files: Mapping[str, _File], root: str) -> str | None:
  """The module of vdr in which a dotted name is found."""
  while name != root and name.startswith(f"{root}."):
    if name in files:
      return name
    name = name.rpartition(".")[0]
  return None


@functools.cache
def _read(package: pathlib.Path) -> dict[str, _File]:
  """Every module of the package by name."""
  cached, found, is_new = _load_cache(), {}, False
  for path in sorted(package.rglob("*.py")):
    source = path.read_bytes()
    key = hashlib.sha256(_rules() + source).hexdigest()
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    name = ".".join(parts)
    # Names of this package only: a relative import depends on its module.
    key = f"{name} {key}"
    if key not in cached:
      cached[key], is_new = _parse(source, name), True
    cached[key] = cached.pop(key)  # the last ones are kept
    found[name.removesuffix(".__init__")] = cached[key]
  if is_new:
    _save_cache(cached)
  return found


@functools.cache
def _rules() -> bytes:
  """Stands for the way in which this file makes digests."""
  return hashlib.sha256(pathlib.Path(__file__).read_bytes()).digest()


def _load_cache() -> dict[str, _File]:
  with contextlib.suppress(OSError, ValueError, TypeError):
    stored = json.loads(CACHE.expanduser().read_text())
    return {k: _File(d, tuple(names)) for k, (d, names) in stored.items()}
  return {}


def _save_cache(cached: dict[str, _File]) -> None:
  """Several processes may do it: each replaces the whole file."""
  path = CACHE.expanduser()
  text = json.dumps(dict(list(cached.items())[-MAX_CACHED:]))
  with contextlib.suppress(OSError):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
      "w", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
      file.write(text)
    pathlib.Path(file.name).replace(path)


def _parse(source: bytes, name: str) -> _File:
  tree = ast.parse(source)
  nodes = list(ast.walk(tree))
  for node in nodes:
    if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty pieces
      node.values = [x for x in node.values if getattr(x, "value", None) != ""]
  digest = hashlib.sha256(_written(tree).encode()).hexdigest()
  return _File(digest[:16], tuple(sorted(set(_imports(nodes, name)))))


def _written(tree: ast.Module) -> str:
  """A syntax tree as text; `ast.dump` depends on the version of Python.

  Fields that are empty are left out, because later versions add such fields.
  """
  parts: list[str] = []
  left: list[Any] = [tree]  # nodes, lists and text, in reverse order
  while left:
    node = left.pop()
    if isinstance(node, str):
      parts.append(node)
    elif isinstance(node, list):
      left.append("]")
      for item in reversed(node):
        if type(item) is ast.Expr and _is_text(item.value):
          continue  # a docstring
        left.append(item if isinstance(item, ast.AST) else _leaf(item))
      left.append("[")
    else:
      left.append(")")
      for field in reversed(node._fields):
        item = getattr(node, field, None)
        if item is None or item == [] or field in _UNUSED:
          continue
        is_leaf = not isinstance(item, ast.AST | list)
        left.append(_leaf(item) if is_leaf else item)
        left.append(f" {field}=")
      left.append(f"({type(node).__name__}")
  return "".join(parts)


def _leaf(value: Any) -> str:
  return f"{type(value).__name__} {ascii(value)} "


def _is_text(node: ast.AST) -> bool:
  return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _imports(nodes: Sequence[ast.AST], name: str) -> Iterator[str]:
  """The dotted names of what a module imports, wherever it does so."""
  root = name.partition(".")[0]
  for node in nodes:
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      base = [node.module] if node.module else []
      if node.level:
        base = name.split(".")[: -node.level] + base
      yield from (".".join([*base, alias.name]) for alias in node.names)
    elif isinstance(node, ast.Constant):
      text = node.value
      if isinstance(text, str) and text.startswith(f"{root}."):
        yield text


def _version(distribution: str) -> str:
  try:
    return importlib.metadata.version(distribution)
  except importlib.metadata.PackageNotFoundError:
    return ""
