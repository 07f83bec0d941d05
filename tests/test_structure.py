"""The house's rules, checked on its source: who imports whom, and sizes.

Every rule is a function from a source tree to a list of complaints. It is
tested twice: on a made-up tree that breaks it, and on vdr, which must not.
"""

import ast
import graphlib
import pathlib
import textwrap
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Imports point down this table's rows: a module may import its own row's
# package and every row above. Modules beside each other in a row are strangers.
ROWS = (
  ("geometry",),
  ("runtime",),
  ("fonts",),
  ("page", "media"),
  ("draw",),
  ("panels", "strips"),
  ("metrics",),
  ("diffusion",),
  ("data", "models"),
  ("trained",),
  ("features", "probes"),
  ("tasks",),
  ("train_step", "generation", "tokenizers"),
  ("controls", "results", "splits", "predictions", "mirrored", "follow"),
  ("judges", "judge_clips"),
  ("probing", "programs", "compiled"),
  ("validation", "findings"),
  ("train", "train_tokenizer", "train_judge", "latents", "extract"),
  ("compile", "sample", "quality", "look"),
  ("evaluate",),
  ("report",),
  ("verbs",),
  ("study",),
  ("main",),
)
FORBIDDEN = {
  "tensorflow": "Grain and TFDS read data without it",
  "torch": "released checkpoints are converted outside vdr",
  "clu.metric_writers": "it imports TensorFlow",
  "clu.periodic_actions": "it imports TensorFlow",
}
NNX_PACKAGES = ("models", "probes")
VAGUE_NAMES = {"utils", "util", "misc", "helpers", "helper", "common"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def modules(root: pathlib.Path) -> dict[str, ast.Module]:
  """Every module of root/vdr by dotted name."""
  found = {}
  for path in sorted((root / "vdr").rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    name = ".".join(parts).removesuffix(".__init__")
    found[name] = ast.parse(path.read_text(), str(path))
  return found


def imports(
  name: str, tree: ast.AST, known: set[str], deep: bool = True
) -> Iterator[str]:
  """The modules that a module imports, by dotted name.

  Args:
    name: the importing module.
    tree: its source.
    known: all modules of vdr, to tell a module from a name in a package.
    deep: also what is imported inside functions.
  """
  for node in ast.iter_child_nodes(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      base = node.module or ""
      if node.level:  # relative: vdr has none, but the rules must see them
        above = name.split(".")[: -node.level]
        base = ".".join(above + ([node.module] if node.module else []))
      for alias in node.names:
        inner = f"{base}.{alias.name}"
        # `from vdr.data import schema` imports a module, `from jax import jit`
        # may or may not: outside vdr the longer name serves the rules better.
        yield base if base.startswith("vdr") and inner not in known else inner
    elif deep or not isinstance(
      node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    ):
      yield from imports(name, node, known, deep)


def row_of(name: str) -> int | None:
  """The row of a module in the table; None for vdr itself and strangers."""
  part = [*name.split("."), ""][1]
  return next((i for i, row in enumerate(ROWS) if part in row), None)


def check_direction(root: pathlib.Path) -> list[str]:
  """Imports that point against the table, and modules that are not in it."""
  trees, bad = modules(root), []
  for name, tree in trees.items():
    if name == "vdr":
      continue
    row = row_of(name)
    if row is None:
      bad.append(f"{name} has no row in the table of tests/test_structure.py")
      continue
    for target in imports(name, tree, set(trees)):
      if not target.startswith("vdr."):
        continue
      if target.split(".")[1] == name.split(".")[1]:
        continue  # inside a package modules are free
      target_row = row_of(target)
      if target_row is not None and target_row >= row:
        bad.append(f"{name} imports {target}")
  return bad


def check_cycles(root: pathlib.Path) -> list[str]:
  """Modules that need each other at import."""
  trees = modules(root)
  graph = {
    name: {
      target
      for target in imports(name, tree, set(trees), deep=False)
      # A package's __init__ runs first anyway; it is no cycle to be in it.
      if target in trees and not name.startswith(f"{target}.")
    }
    for name, tree in trees.items()
  }
  try:
    graphlib.TopologicalSorter(graph).prepare()
  except graphlib.CycleError as error:
    return [" → ".join(reversed(error.args[1]))]
  return []


def check_packages(root: pathlib.Path) -> list[str]:
  """Imports of packages that vdr, or that part of vdr, does without."""
  trees, bad = modules(root), []
  for name, tree in trees.items():
    for target in imports(name, tree, set(trees)):
      for package, why in FORBIDDEN.items():
        if f"{target}.".startswith(f"{package}."):
          bad.append(f"{name} imports {target}: {why}")
      is_nnx = f"{target}.".startswith(("flax.nnx.", "flax.linen."))
      if is_nnx and name.split(".")[1:2] not in [[p] for p in NNX_PACKAGES]:
        bad.append(f"{name} imports {target}: only {NNX_PACKAGES} may")
  return bad


def check_names(root: pathlib.Path) -> list[str]:
  """Modules whose name says nothing."""
  return [name for name in modules(root) if name.split(".")[-1] in VAGUE_NAMES]


def check_sizes(root: pathlib.Path) -> list[str]:
  """Files and functions (docstrings apart) that ask for another look."""
  bad = []
  for folder in ("vdr", "configs", "benchmarks", "tests"):
    for path in sorted((root / folder).rglob("*.py")):
      text, name = path.read_text(), path.relative_to(root)
      if len(text.splitlines()) > MAX_FILE_LINES:
        bad.append(f"{name} has {len(text.splitlines())} lines")
      for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
          lines = (node.end_lineno or 0) - node.lineno + 1
          lines -= (ast.get_docstring(node, clean=False) or "").count("\n")
          if lines > MAX_FUNCTION_LINES:
            bad.append(f"{name}: {node.name} has {lines} lines")
  return bad


def check_config_defaults(root: pathlib.Path) -> list[str]:
  """Defaults of config fields outside configs/: `cfg.get("x", 3)`."""
  bad = []
  for name, tree in modules(root).items():
    for node in ast.walk(tree):
      match node:
        case ast.Call(func=ast.Attribute(value=owner, attr="get")):
          words = ast.unparse(owner).split(".")
          if any(w in ("cfg", "config") or w.endswith("_cfg") for w in words):
            bad.append(f"{name}: {ast.unparse(node)}")
        case ast.Call(func=ast.Name(id="getattr"), args=[owner, _, _]):
          if ast.unparse(owner).split(".")[0] in ("cfg", "config"):
            bad.append(f"{name}: {ast.unparse(node)}")
  return bad


def check_mirror(root: pathlib.Path) -> list[str]:
  """Modules without a test file at the mirrored path."""
  bad = []
  for path in sorted((root / "vdr").rglob("*.py")):
    body = ast.parse(path.read_text()).body
    only_doc = len(body) == 1 and isinstance(body[0], ast.Expr)
    if path.name == "__init__.py" and (only_doc or not body):
      continue
    inside = path.relative_to(root / "vdr")
    test = pathlib.Path("tests") / inside.parent / f"test_{path.stem}.py"
    if path.name == "__init__.py":
      test = test.with_name("test_init.py")
    if not (root / test).is_file():
      bad.append(f"vdr/{inside} has no {test}")
  return bad


RULES = (
  check_direction,
  check_cycles,
  check_packages,
  check_names,
  check_sizes,
  check_config_defaults,
  check_mirror,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_vdr_keeps_the_rule(rule):
  complaints = rule(ROOT)
  assert not complaints, "\n".join(complaints)


@pytest.fixture
def tree(tmp_path):
  """Writes files into a made-up repository and returns its root."""

  def write(files):
    for name, text in files.items():
      path = tmp_path / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(textwrap.dedent(text))
    return tmp_path

  return write


LONG = "\n".join("  x = 1" for _ in range(MAX_FUNCTION_LINES))

# What breaks a rule, and a word of the complaint; None: no complaint.
CASES = [
  (check_direction, {"vdr/geometry.py": "import vdr.runtime.x"}, "vdr.runtime"),
  (
    check_direction,
    {
      "vdr/runtime/x.py": "def f():\n  from vdr.data import y",
      "vdr/data/y.py": "",
    },
    "vdr.data.y",
  ),
  (
    check_direction,
    {"vdr/data/x.py": "from ..models import dit"},
    "vdr.models",
  ),
  (check_direction, {"vdr/data/x.py": "from vdr import models"}, None),
  (check_direction, {"vdr/models/x.py": "import vdr.data.y"}, "vdr.data.y"),
  (check_direction, {"vdr/stray.py": ""}, "vdr.stray has no row"),
  (
    check_direction,
    {
      "vdr/__init__.py": "",
      "vdr/main.py": "from vdr import train",
      "vdr/train.py": "import vdr.tasks\nfrom vdr.runtime.x import f",
      "vdr/tasks/__init__.py": "from vdr.tasks import y",
      "vdr/tasks/y.py": "",
    },
    None,
  ),
  (
    check_cycles,
    {
      "vdr/data/a.py": "from vdr.data import b",
      "vdr/data/b.py": "import vdr.data.a",
    },
    "vdr.data.a",
  ),
  (
    check_cycles,
    {
      "vdr/data/a.py": "from vdr.data import b",
      "vdr/data/b.py": "def f():\n  import vdr.data.a",
    },
    None,
  ),
  (check_packages, {"vdr/x.py": "import tensorflow as tf"}, "tensorflow"),
  (check_packages, {"vdr/x.py": "def f():\n  from torch import nn"}, "torch"),
  (check_packages, {"vdr/x.py": "from clu import metric_writers"}, "clu"),
  (check_packages, {"vdr/x.py": "import tensorflow_datasets"}, None),
  (check_packages, {"vdr/train.py": "from flax import nnx"}, "flax.nnx"),
  (check_packages, {"vdr/train.py": "from flax.nnx import jit"}, "flax.nnx"),
  (check_packages, {"vdr/models/dit.py": "from flax import nnx"}, None),
  (check_names, {"vdr/data/utils.py": ""}, "vdr.data.utils"),
  (check_sizes, {"vdr/x.py": "x = 1\n" * (MAX_FILE_LINES + 1)}, "vdr/x.py has"),
  (check_sizes, {"tests/x.py": f"def f():\n{LONG}"}, "f has 61"),
  (check_sizes, {"vdr/x.py": f'def f():\n  """{LONG}"""\n  x = 1'}, None),
  (check_config_defaults, {"vdr/x.py": 'a = cfg.get("a", 3)'}, "cfg.get"),
  (check_config_defaults, {"vdr/x.py": 'config.x.get("a")'}, "config.x.get"),
  (check_config_defaults, {"vdr/x.py": 'getattr(cfg, "a", 3)'}, "getattr"),
  (check_config_defaults, {"vdr/x.py": "sizes.get(3, 4)"}, None),
  (check_mirror, {"vdr/a/b.py": ""}, "vdr/a/b.py has no tests/a/test_b.py"),
  (check_mirror, {"vdr/a/b.py": "", "tests/a/test_b.py": ""}, None),
  (check_mirror, {"vdr/a/__init__.py": '"""Doc."""'}, None),
  (check_mirror, {"vdr/a/__init__.py": "x = 1"}, "tests/a/test_init.py"),
]


@pytest.mark.parametrize(("rule", "files", "expected"), CASES)
def test_the_rule_sees_a_made_up_break(rule, files, expected, tree):
  complaints = "\n".join(rule(tree(files)))
  if expected is None:
    assert complaints == ""
  else:
    assert expected in complaints
