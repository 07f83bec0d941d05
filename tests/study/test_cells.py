"""What a cell is called by, and where it says how it went."""

import json
import pathlib
import shutil

import pytest

from tests.study import fakes
from vdr.runtime.code import Code
from vdr.study import cells


@pytest.fixture(autouse=True)
def fake(monkeypatch):
  return fakes.use(monkeypatch)


def test_what_decides_is_in_the_key_and_nothing_else(fake):
  base = fakes.cell("a")
  assert fakes.cell("a").key == base.key
  assert fakes.cell("a", seed=1).key != base.key
  assert fakes.cell("b").key != base.key  # work.name decides
  other = fakes.cell("a", about={"role": "another"})
  assert other.key == base.key
  config = base.config.copy_and_resolve_references()
  config.unrelated.x = 2
  assert cells.make("a", config, {}, {}).key == base.key


def test_other_code_runs_again_and_all_that_depends_on_it(fake):
  before = fakes.diamond()
  for code in (
    Code({"vdr.fake": "2"}, {"jax": "1.0"}),
    Code({"vdr.fake": "1"}, {"jax": "1.1"}),
    Code({"vdr.fake": "1", "vdr.more": "1"}, {"jax": "1.0"}),
  ):
    fake.code = code
    after = fakes.diamond()
    for old, new in zip(before, after, strict=True):
      assert old.key != new.key and old.setting == new.setting


def test_a_line_says_what_is_of_other_code_and_why(fake, tmp_path):
  for one in fakes.diamond():
    one.run(tmp_path)
  assert cells.explain(fakes.diamond(), tmp_path) == ""
  fake.code = Code({"vdr.fake": "2", "vdr.b": "1"}, {"jax": "1.1"})
  line = cells.explain(fakes.diamond(), tmp_path)
  assert line.startswith(
    "cells finished by other code: 4 (changed since: jax 1.0 → 1.1, vdr.b,"
    " vdr.fake); they run again"
  )
  assert "\n" not in line and str(tmp_path / "cells") in line
  new = fakes.diamond()
  for one in new[:2]:
    one.run(tmp_path)
  assert cells.explain(new, tmp_path).startswith(
    "cells finished by other code: 2 ("
  )
  # A cell of another setting is another cell, not one of other code.
  assert cells.explain(fakes.diamond(extra=1)[:1], tmp_path) == ""


def test_cells_of_versions_that_did_not_keep_their_code_are_counted(
  fake, tmp_path
):
  old = tmp_path / "cells" / "a-0123abcd"
  old.mkdir(parents=True)
  (old / "cell.json").write_text('{"name": "a", "key": "0123abcd"}')
  (tmp_path / "cells" / "a-b-0123abcd").mkdir()  # not of this name
  line = cells.explain([fakes.cell("a")], tmp_path)
  assert line.startswith("cells finished by other code: 1 (an earlier version")


def test_what_reads_an_input_that_was_made_again_runs_again(fake, tmp_path):
  one, *rest = fakes.diamond()
  for cell in (one, *rest):
    cell.run(tmp_path)
  assert all(cell.is_finished(tmp_path) for cell in (one, *rest))
  shutil.rmtree(one.folder(tmp_path))
  assert not any(cell.is_finished(tmp_path) for cell in (one, *rest))
  later(one, tmp_path)
  assert one.is_finished(tmp_path)
  assert not any(cell.is_finished(tmp_path) for cell in rest)
  for cell in rest:
    later(cell, tmp_path)
    assert cell.is_finished(tmp_path)


def test_a_second_run_that_finds_all_there_is_no_measure_of_time(
  fake, tmp_path
):
  a = fakes.cell("a")
  a.run(tmp_path)
  file = a.folder(tmp_path) / "cell.json"
  file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": 99.0}))
  a.run(tmp_path)
  assert a.seconds(tmp_path) == 99.0


def later(cell, study):
  """Runs a cell, as if it was after midnight of a day to come."""
  cell.run(study)
  file = cell.folder(study) / "cell.json"
  told = json.loads(file.read_text()) | {"finished": "2999-01-01T00:00:00"}
  file.write_text(json.dumps(told))


def test_a_change_reaches_all_that_depends_on_it(fake):
  old = {one.name: one.key for one in fakes.diamond()}
  new = {one.name: one.key for one in fakes.diamond(extra=1)}
  assert all(old[name] != new[name] for name in "abcd")
  a = fakes.cell("a")
  alone = fakes.cell("b", a)
  changed = fakes.cell("b", a, extra=1)
  assert alone.key != changed.key and changed.inputs[0].key == a.key


def test_names_become_directories(fake, tmp_path):
  a = fakes.cell("a")
  b = fakes.cell("b", a)
  assert b.config.work.first == "@a"
  found = b.resolved(tmp_path)
  assert found.work.first == str(a.folder(tmp_path))
  assert found.work.second == ""
  assert pathlib.Path(found.work.first).name == f"a-{a.key[:8]}"


def test_a_name_that_is_no_input_is_refused(fake):
  a = fakes.cell("a")
  b = fakes.cell("b", a)
  with pytest.raises(ValueError, match="@a names no input"):
    cells.make("b", b.config, {}, {})


def test_it_is_finished_when_its_verb_is(fake, tmp_path):
  a = fakes.cell("a")
  assert not a.is_finished(tmp_path) and a.seconds(tmp_path) is None
  a.run(tmp_path)
  assert a.is_finished(tmp_path) and a.seconds(tmp_path) >= 0
  fake.fails.add("b")
  b = fakes.cell("b", a)
  with pytest.raises(Exception, match="can't be"):
    b.run(tmp_path)
  assert not b.is_finished(tmp_path)


def test_a_failure_stays_until_it_is_forgotten(fake, tmp_path):
  a = fakes.cell("a")
  a.folder(tmp_path).mkdir(parents=True)
  assert a.failure(tmp_path) is None
  a.fail(tmp_path, "no room")
  assert a.failure(tmp_path) == "no room"
  a.forget_failure(tmp_path)
  assert a.failure(tmp_path) is None
