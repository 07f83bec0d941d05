"""What a cell is called by, and where it says how it went."""

import pathlib

import pytest

from tests.study import fakes


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
  from vdr.study import cells

  assert cells.make("a", config, {}, {}).key == base.key


def test_a_verb_that_means_something_else_now_runs_again(fake):
  before = fakes.cell("a").key
  fake.VERSION = 2
  assert fakes.cell("a").key != before


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
  from vdr.study import cells

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
