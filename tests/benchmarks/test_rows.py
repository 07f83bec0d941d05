"""The rows of `python -m benchmarks`: what runs where, and that it parses."""

import ast
import pathlib

import pytest

from benchmarks import rows

ROOT = pathlib.Path(__file__).resolve().parents[2]
CPU = rows.Machine("cpu", "cpu", has_torch=True)
GPU = rows.Machine("gpu", "NVIDIA H100", has_torch=True)


def flag_names(module):
  """Flags that a benchmark's source defines, and the common one."""
  tree = ast.parse((ROOT / "benchmarks" / f"{module}.py").read_text())
  return {"json"} | {
    node.args[0].value
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
    and ast.unparse(node.func).startswith("flags.DEFINE_")
  }


@pytest.mark.parametrize("row", rows.ROWS.values(), ids=rows.ROWS)
def test_a_row_names_a_module_and_flags_that_it_has(row):
  known = flag_names(row.module)
  for args in (row.full, row.quick, row.gpu):
    for arg in args or ():
      name = arg.removeprefix("--").partition("=")[0]
      assert name in known, arg


def test_every_benchmark_that_writes_figures_has_a_row():
  modules = {
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if "turns.write(" in path.read_text()
  }
  assert modules == {row.module for row in rows.ROWS.values()}


def test_all_rows_run_where_all_is_there():
  chosen, left_out = rows.choose([], False, GPU)
  assert list(chosen) == list(rows.ROWS) and not left_out
  assert chosen["train_step"] == rows.ROWS["train_step"].gpu
  assert chosen["features"] == rows.ROWS["features"].full


def test_what_a_row_needs_is_told_in_one_line():
  chosen, left_out = rows.choose(
    [], False, rows.Machine("cpu", "cpu", has_torch=False)
  )
  needy = {name for name, row in rows.ROWS.items() if row.needs}
  assert set(chosen) == rows.ROWS.keys() - needy
  assert [line.split()[0] for line in left_out] == [
    name for name in rows.ROWS if name in needy
  ]
  for line in left_out:
    needs = rows.ROWS[line.split()[0]].needs
    assert {"torch": "PyTorch", "gpu": "GPU"}[needs] in line


def test_quick_has_settings_of_its_own_and_says_what_it_leaves_out():
  chosen, left_out = rows.choose([], True, CPU)
  assert chosen["features"] == rows.ROWS["features"].quick
  assert "decode" not in chosen
  assert "decode is left out of --quick" in left_out


def test_a_row_that_is_asked_for_runs():
  chosen, left_out = rows.choose(["decode"], True, CPU)
  assert chosen == {"decode": rows.ROWS["decode"].full} and not left_out
  with pytest.raises(ValueError, match="no row 'nonesuch'; there are train_st"):
    rows.choose(["nonesuch"], True, CPU)
