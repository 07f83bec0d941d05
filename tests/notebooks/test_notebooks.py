"""Notebooks run from top to bottom as they are, and are kept without outputs.

They run in fresh processes, cell by cell in one namespace, as a kernel has it.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
WORK = pathlib.Path("runs/debug/quickstart")

# Cells come on stdin; figures end with the cell that draws them.
KERNEL = """
import json, sys
cells = json.load(sys.stdin)
names = {"__name__": "__main__"}
for number, text in enumerate(cells):
  exec(compile(text, f"code cell {number}", "exec"), names)
  if "matplotlib.pyplot" in sys.modules:
    import matplotlib.pyplot as plt
    for figure in plt.get_fignums():
      plt.figure(figure).savefig(f"cell-{number}-figure-{figure}.png")
    plt.close("all")
"""


def cells(name, kind=None):
  """The cells of a notebook, of one kind if it is named."""
  notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
  return [c for c in notebook["cells"] if kind in (None, c["cell_type"])]


def code(name):
  """The text of a notebook's code cells."""
  return ["".join(cell["source"]) for cell in cells(name, "code")]


def execute(texts, folder, debug="1"):
  """What the cells print, when they run in a folder; debug: all is tiny."""
  folder.mkdir(exist_ok=True)
  done = subprocess.run(
    [sys.executable, "-c", KERNEL],
    input=json.dumps(texts),
    capture_output=True,
    text=True,
    cwd=folder,
    env=os.environ
    | {
      "VDR_NOTEBOOK_DEBUG": debug,
      "MPLBACKEND": "agg",
      "PYTHONPATH": str(ROOT),
    },
  )
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
  return done.stdout


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
  """Where the quickstart has run, and what it printed."""
  folder = tmp_path_factory.mktemp("quickstart")
  return folder, execute(code("quickstart"), folder)


def test_there_are_notebooks():
  assert NOTEBOOKS == ["inspect_features", "quickstart"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_one_of_version_4(name):
  notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
  assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
  assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
  ids = [cell["id"] for cell in notebook["cells"]]
  assert len(set(ids)) == len(ids)
  for cell in notebook["cells"]:
    assert re.fullmatch(r"[\w-]{1,64}", cell["id"])
    own = {"outputs", "execution_count"} if cell["cell_type"] == "code" else {}
    assert set(cell) == {"cell_type", "id", "metadata", "source", *own}
    assert all(line.endswith("\n") for line in cell["source"][:-1])
    assert not cell["source"][-1].endswith("\n")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs(name):
  for cell in cells(name, "code"):
    assert cell["outputs"] == []
    assert cell["execution_count"] is None
    assert cell["metadata"] == {}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_code_cell_follows_a_text(name):
  kinds = [cell["cell_type"] for cell in cells(name)]
  assert kinds == ["markdown", "code"] * (len(kinds) // 2)


def test_notebooks_begin_alike():
  first, *others = (code(name)[0] for name in NOTEBOOKS)
  assert all(other == first for other in others)


def test_the_quickstart_runs(quickstart):
  folder, said = quickstart
  assert len(list(folder.glob("cell-*.png"))) == 6
  assert "model.spatiotemporal_blocks: spatiotemporal | spatial" in said
  assert re.search(r"pose, video against image\n  difference +-?[\d.]+ ", said)


def test_the_quickstart_reads_a_study(quickstart):
  """Of the first run's results, as if a study had found them."""
  folder, _ = quickstart
  kinds = ("video", "image")
  study = {
    "schema_version": 1,
    "models": [],
    "cells": [
      {
        "name": f"main-{kind}",
        "job": "evaluate",
        "folder": f"pose-{kind}",
        "state": "finished",
        "seconds": 1.0,
        "command": "",
        "about": {"role": "main", "model": f"mine-{kind}"},
      }
      for kind in kinds
    ],
  }
  (folder / WORK / "study.json").write_text(json.dumps(study))
  texts = code("quickstart")
  (reads,) = [i for i, text in enumerate(texts) if "def read_study" in text]
  parameters = texts[1].replace('STUDY = ""', f'STUDY = "{WORK}"')
  assert parameters != texts[1]
  said = execute([texts[0], parameters, *texts[reads:]], folder)
  assert re.search(r"pose +mine-video +r_squared", said)
  assert "pose, mine-video against mine-image\n  difference " in said


def test_features_are_inspected(tmp_path):
  said = execute(code("inspect_features"), tmp_path)
  assert len(list(tmp_path.glob("cell-*.png"))) == 5
  assert "(2, 0.4) {'t': 5, 'h': 8, 'w': 8, 'd': 64}" in said
  assert "t = 4: frames 13 to 16" in said
  assert re.search(r"stays: [\d.]+ px, [1-9]\d* points", said)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
  ("name", "num_figures"), [("quickstart", 6), ("inspect_features", 5)]
)
def test_a_notebook_runs_at_full_size(name, num_figures, tmp_path):
  execute(code(name), tmp_path, debug="")
  assert len(list(tmp_path.glob("cell-*.png"))) == num_figures


def test_without_vdr_the_first_cell_says_what_to_do(tmp_path):
  """Another Python, without site-packages, outside any clone."""
  done = subprocess.run(
    [sys.executable, "-I", "-S", "-c", code("quickstart")[0]],
    capture_output=True,
    text=True,
    cwd=tmp_path,
  )
  assert done.returncode == 1
  assert done.stderr == "Set CLONE to the address of vdr's git repository.\n"


def test_the_first_cell_finds_a_clone_beside_it_named_vdr(tmp_path):
  """Whose folder Python takes for the package until it is installed."""
  clone = tmp_path / "vdr" / "vdr"
  (clone / "runtime").mkdir(parents=True)
  for name in ("__init__.py", "runtime/__init__.py"):
    (clone / name).touch()
  (clone / "main.py").write_text("import vdr.runtime.compilation")
  (clone / "runtime" / "compilation.py").write_text(
    "def use_cache():\n  print(__file__)\n"
  )
  before = (
    "import importlib.metadata, subprocess, sys\n"
    "sys.path.insert(0, '')\n"
    "importlib.metadata.version = lambda name: ''\n"
    "subprocess.run = lambda words, check: print(*words)\n"
  )
  done = subprocess.run(
    [sys.executable, "-I", "-S", "-c", before + code("quickstart")[0]],
    capture_output=True,
    text=True,
    cwd=tmp_path,
  )
  assert done.returncode == 0, done.stderr
  install, file = done.stdout.splitlines()
  assert install.split("--editable ")[1].split()[0] == str(tmp_path / "vdr")
  assert file == str(clone / "runtime" / "compilation.py")
