"""What a digest of code depends on, and what it does not."""

import json
import pathlib
import shutil
import subprocess
import sys
import textwrap

import pytest

from vdr.runtime import code

ROOT = pathlib.Path(__file__).resolve().parents[2]
STUDIES = (
  *("data.physics.generate", "train_tokenizer", "latents", "train"),
  *("evaluate", "train_judge", "quality", "look"),
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setattr(code, "CACHE", tmp_path / "cache" / "code.json")
  return code.CACHE


@pytest.fixture
def package(tmp_path):
  """Writes the files of a package and returns its folder."""
  made = []

  def write(files):
    made.append(tmp_path / str(len(made)) / "lab")
    for name, text in {"__init__.py": "", **files}.items():
      path = made[-1] / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(textwrap.dedent(text))
    return made[-1]

  return write


@pytest.fixture
def digest(package):
  """The digest of a module of these lines."""
  return lambda text: code.of("lab.a", package({"a.py": text})).digest


PLAIN = """
  import math


  class A:
    size: int = 3

    def f(self, x, *, y=(1, 2)):
      if x > 0.5:
        return f"{x:.2f} of {y!r}"
      return math.pi
"""
SAID = """
  # Copyright.
  '''What it is.'''
  import math  # for pi

  class A:
    "An A."
    size: int = 3  # pixels
    '''Of an A.'''
    def f(
      self,
      x,
      *,
      y=(
        1,
        2,
      ),
    ):
      '''What f does.

      Args: x.
      '''
      if (x > 0.5):
          return f'{x:.2f} of {y!r}'
      return math.pi
"""


def test_what_is_said_about_code_does_not_count(digest):
  assert digest(PLAIN) == digest(SAID)
  text = textwrap.dedent(PLAIN)
  assert digest(text) == digest(text.replace("\n", "\r\n"))


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("= 3", "= 4"),
    ("= 3", "= 3.0"),
    ("= 3", "= True"),
    ("0.5", "0.25"),
    ("> 0.5", ">= 0.5"),
    ("(1, 2)", "(2, 1)"),
    ("(1, 2)", "[1, 2]"),
    (".2f", ".3f"),
    ("!r", "!s"),
    (" of ", " from "),
    ("math.pi", "math.e"),
    ("return math.pi", "return None"),
    ("return math.pi", "return"),
    ("*, y", "y"),
    ("import math", "import cmath as math"),
    ("class A:", "class A(int):"),
  ],
)
def test_all_that_is_computed_counts(digest, old, new):
  assert old in PLAIN
  assert digest(PLAIN) != digest(PLAIN.replace(old, new))


# Every kind of syntax whose tree, or whose `ast.dump`, differs between versions
# of Python, or might.
SYNTAX = """
  from __future__ import annotations
  import a.b, c as d
  from e import *
  x: int = 0x10; y = 1_000.5e-3; z = 2j; big = 10**40; none = None
  text = "é" '\\n' u"u" + b"".decode() + rb"\\x00c3".decode() if x else ...
  def f(p, /, q=1, *r, s, t=2, **u) -> "int": pass
  async def g():
    async with h() as i, j: yield [k async for k in l if k]
    await m
  @n
  class o(p, metaclass=q): r = lambda *s: (t := s)
  try: raise u from v
  except* (w, x): del y[1:2, ::3, ...]
  finally: assert z, f"{a}{b!r:>{c}}{d=}" f"{{}} {e:%Y-%m}"
  match f:
    case {"g": [1, *_], **h} | I(j=2) as k if l: ...
    case -1.5 | None: print(*m, **n)
  for o, *p in q: continue
  else: nonlocal_ = [[r for r in s] for s in t]
  while not u: global_ = {**v, "w": {x, y}}; break
  with (z as a, b): c @= d if e < f <= g else h[i]
"""
SYNTAX_DIGEST = "689017e0bcbfb9e8"


def test_a_digest_is_the_same_in_all_versions_of_python():
  """Recorded once: whatever Python runs this test comes to the same."""
  source = textwrap.dedent(SYNTAX).encode()
  assert code._parse(source, "lab.a").digest == SYNTAX_DIGEST


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_another_version_of_python_agrees_on_all_of_vdr(version, tmp_path):
  python = shutil.which(f"python{version}")
  run = dict(capture_output=True, text=True, check=False)
  if f"{sys.version_info[0]}.{sys.version_info[1]}" == version:
    pytest.skip("this is that version")
  if not python or subprocess.run([python, "-V"], **run).returncode:
    pytest.skip(f"Python {version} is not installed")
  script = textwrap.dedent("""
    import json, pathlib, runpy, sys
    found = runpy.run_path(sys.argv[1])
    found["of"].__globals__["CACHE"] = pathlib.Path(sys.argv[2])
    print(json.dumps({x: found["of"](x).modules for x in sys.argv[3:]}))
  """)
  names = [f"vdr.{name}" for name in STUDIES]
  args = (ROOT / "vdr/runtime/code.py", tmp_path / "other.json", *names)
  done = subprocess.run([python, "-c", script, *map(str, args)], **run)
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert found == {name: code.of(name).modules for name in names}


FILES = {
  "a.py": "from lab import b\ndef f():\n  from lab.deep.d import x",
  "b.py": "import numpy\nRUN = 'lab.c'",
  "c.py": "",
  "deep/__init__.py": "from lab import stranger",
  "deep/d.py": "from . import e\nfrom ..f import y\nx = 1",
  "deep/e.py": "import jax.numpy as jnp",
  "f.py": "y = 2",
  "stranger.py": "import scipy",
  "front.py": "from lab.deep import stranger, d",
  "whole.py": "import lab.deep",
  "__init__.py": "from lab import stranger",
}


@pytest.mark.parametrize(
  ("module", "expected"),
  [
    ("lab.a", {"lab.a", "lab.b", "lab.c", "lab.deep.d", "lab.deep.e", "lab.f"}),
    ("lab.deep.d", {"lab.deep.d", "lab.deep.e", "lab.f"}),
    ("lab.whole", {"lab.whole", "lab.deep", "lab.stranger"}),
    (
      "lab.front",  # `stranger` is a name in the package, so its file counts
      {*("lab.front", "lab.deep", "lab.stranger", "lab.deep.d", "lab.deep.e")}
      | {"lab.f"},
    ),
  ],
)
def test_what_is_imported_counts_wherever_that_is_done(
  package, module, expected
):
  assert set(code.of(module, package(FILES)).modules) == expected


def test_libraries_are_those_that_compute(package):
  found = code.of("lab.a", package(FILES)).libraries
  assert list(found) == ["jax", "jaxlib", "numpy"]
  assert all(found.values())


def test_a_change_counts_for_those_that_import_it(package):
  one = package(FILES)
  other = package(FILES | {"deep/e.py": "import jax.numpy as np"})
  changed = package(FILES | {"stranger.py": "import scipy\nx = 2"})
  assert code.of("lab.a", one).digest != code.of("lab.a", other).digest
  assert code.of("lab.a", one).digest == code.of("lab.a", changed).digest
  old, new = code.of("lab.a", one), code.of("lab.a", other)
  assert new.changed(old) == ["lab.deep.e"]
  assert new._replace(libraries={"jax": "9"}).changed(new) == [
    f"jax {new.libraries['jax']} → 9",
    f"jaxlib {new.libraries['jaxlib']} → none",
    f"numpy {new.libraries['numpy']} → none",
  ]


def test_a_library_of_another_version_counts(package, monkeypatch):
  folder = package(FILES)
  before = code.of("lab.b", folder)
  monkeypatch.setattr(code, "_version", lambda name: "99")
  assert code.of("lab.b", folder).digest != before.digest
  assert code.of("lab.c", folder).libraries == {}


def test_a_module_that_does_not_exist_is_an_error(package):
  with pytest.raises(KeyError, match="lab.no"):
    code.of("lab.no", package(FILES))


def test_files_that_were_read_before_are_not_parsed_again(
  package, cache, monkeypatch
):
  first, second = package(FILES), package(FILES)
  found = code.of("lab.a", first)
  assert cache.exists()

  def fail(source, name):
    raise AssertionError(name)

  with monkeypatch.context() as patch:
    patch.setattr(code, "_parse", fail)
    assert code.of("lab.a", second) == found
    with pytest.raises(AssertionError, match="lab.c"):
      code.of("lab.a", package(FILES | {"c.py": "x = 1"}))
  cache.write_text("{")
  assert code.of("lab.a", package(FILES)) == found
  cache.unlink()
  cache.mkdir()  # it can't be written
  assert code.of("lab.a", package(FILES)) == found


@pytest.mark.parametrize("name", STUDIES)
def test_reports_and_the_study_itself_decide_no_cell(name):
  found = code.of(f"vdr.{name}").modules
  for package in ("report", "study", "verbs", "main"):
    assert not [x for x in found if f"{x}.".startswith(f"vdr.{package}.")]


def test_a_cell_s_code_is_that_of_its_verb():
  evaluate, train = code.of("vdr.evaluate"), code.of("vdr.train")
  assert "vdr.probes.engine" in evaluate.modules
  assert "vdr.probes.engine" not in train.modules
  assert "vdr.train_step" in train.modules
  assert "vdr.train_step" not in evaluate.modules
  # It runs as a process of its own, which no import shows.
  assert "vdr.data.decode_child" in evaluate.modules
  assert {"jax", "jaxlib", "flax", "numpy", "av"} <= evaluate.libraries.keys()
  assert "flax" not in code.of("vdr.data.physics.generate").libraries


def test_it_needs_nothing_but_the_standard_library():
  """So that another Python, without JAX, can be asked as well."""
  tree = (ROOT / "vdr/runtime/code.py").read_text()
  names = {
    line.split()[1] for line in tree.splitlines() if line[:7] == "import "
  }
  assert names <= sys.stdlib_module_names | {"importlib.metadata"}
