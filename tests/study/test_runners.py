"""Who runs what, after what, and what happens when something goes wrong."""

import json
import multiprocessing
import shlex

import ml_collections
import pytest

from tests import many_hosts
from tests.study import fakes
from vdr import verbs
from vdr.runtime import errors, hosts
from vdr.runtime import workdir as workdirs
from vdr.study import runners


class Told:
  def __init__(self):
    self.names = []

  def started(self, cell):
    self.names.append(cell.name)

  def look(self):
    pass


@pytest.fixture(autouse=True)
def fake(monkeypatch):
  monkeypatch.setattr(runners, "POLL_S", 0.01)
  return fakes.use(monkeypatch)


def config(only=()):
  runner = dict(kind="here", only=only, processes=2)
  return ml_collections.ConfigDict(dict(runner=runner))


def here(cells, study, only=()):
  told = Told()
  failed = runners.here(cells, study, config(only), told)
  return failed, told.names


def outcome(cells, study):
  file = cells[-1].folder(study) / "out.json"
  return json.loads(file.read_text())


WHOLE = ["d", 0, ["b", 0, ["a", 0]], ["c", 0, ["a", 0]]]


@pytest.mark.parametrize("quiet", [False, True])
def test_a_cell_that_stopped_early_is_neither_finished_nor_failed(
  fake, tmp_path, quiet
):
  fake.stops, fake.stops_with = {"b"}, errors.Stopped("saved after step 3")
  cells = fakes.diamond()
  with pytest.raises(errors.Stopped, match="saved after step 3"):
    runners._loop(cells, tmp_path, Told().started, quiet)
  assert not cells[1].is_finished(tmp_path)
  assert cells[1].failure(tmp_path) is None
  assert not runners._loop(cells, tmp_path, Told().started, quiet)
  assert outcome(cells, tmp_path) == WHOLE
  assert fake.calls.count("a") == 1


def test_inputs_come_first_whatever_the_order(fake, tmp_path):
  cells = fakes.diamond()
  failed, names = here(cells[::-1], tmp_path)
  assert not failed
  assert names == ["a", "c", "b", "d"]
  assert outcome(cells, tmp_path) == WHOLE


def test_finished_cells_are_not_run_again(fake, tmp_path):
  here(fakes.diamond(), tmp_path)
  fake.calls.clear()
  failed, names = here(fakes.diamond(), tmp_path)
  assert (failed, names, fake.calls) == ({}, [], [])
  a = fakes.cell("a")
  b = fakes.cell("b", a, extra=1)
  here([a, b], tmp_path)
  assert fake.calls == ["b"]  # the changed one alone


def test_a_failure_stops_only_what_needs_it(fake, tmp_path):
  fake.fails.add("b")
  failed, names = here(fakes.diamond(), tmp_path)
  assert failed == {"b": "b can't be"}
  assert names == ["a", "b", "c"]
  fake.fails.clear()
  failed, names = here(fakes.diamond(), tmp_path)
  assert (failed, names) == ({}, ["b", "d"])
  assert outcome(fakes.diamond(), tmp_path) == WHOLE


@pytest.mark.parametrize("stopped", "abcd")
def test_a_stopped_study_goes_on_where_it_was(fake, tmp_path, stopped):
  fake.stops.add(stopped)
  with pytest.raises(KeyboardInterrupt):
    here(fakes.diamond(), tmp_path)
  here(fakes.diamond(), tmp_path)
  assert sorted(fake.calls) == sorted(["a", "b", "c", "d", stopped])
  assert outcome(fakes.diamond(), tmp_path) == WHOLE


def test_only_some(fake, tmp_path):
  cells = fakes.diamond()
  here(cells, tmp_path, only=("a",))
  assert fake.calls == ["a"]
  with pytest.raises(errors.UserError, match="no cell 'x'"):
    here(cells, tmp_path, only=("x",))


def _hold(path, held, release):
  with workdirs.hold(path) as is_ours:
    assert is_ours
    held.set()
    release.wait(120)


def test_what_another_process_has_is_left_to_it(fake, tmp_path):
  """And is done as soon as that process has died without doing it."""
  cells = fakes.diamond()
  context = multiprocessing.get_context("spawn")
  held, release = context.Event(), context.Event()
  folder = cells[1].folder(tmp_path)
  other = context.Process(target=_hold, args=(folder, held, release))
  other.start()
  try:
    assert held.wait(120)
    state = runners._try(cells[1], tmp_path, lambda c: None, False)
    assert state == "waits"  # for its input
    here(cells, tmp_path, only=("a", "c"))
    state = runners._try(cells[1], tmp_path, lambda c: None, False)
    assert state == "waits" and "b" not in fake.calls  # for the other process
    other.kill()
    other.join()
    assert here(cells, tmp_path)[0] == {}
  finally:
    other.kill()
  assert outcome(cells, tmp_path) == WHOLE


def test_what_a_verb_prints_goes_to_its_log(fake, tmp_path, monkeypatch, capfd):
  (cell,) = [fakes.cell("a")]
  run = fake.run

  def loud(config, workdir):
    print("so far so good")
    raise RuntimeError("no memory")

  monkeypatch.setattr(fake, "run", loud)
  with capfd.disabled():  # which has a standard output of its own
    state = runners._try(cell, tmp_path, lambda c: None, True)
  assert state == "failed"
  why = cell.failure(tmp_path)
  assert "RuntimeError: no memory" in why and str(cell.log(tmp_path)) in why
  text = cell.log(tmp_path).read_text()
  assert text.startswith("so far so good\nTraceback")
  monkeypatch.setattr(fake, "run", run)
  assert here([cell], tmp_path)[0] == {}


def together(cells, study, monkeypatch):
  """What the first of two hosts started, and what each host's verbs did."""
  monkeypatch.setattr(verbs, "SHARED", ("fake",))

  def on_host(index):
    if index:
      return runners.follow(cells, study)
    try:
      return here(cells, study)
    finally:
      hosts.first_says("")

  return many_hosts.run(monkeypatch, 2, on_host)


def test_hosts_follow_the_first_one(fake, tmp_path, monkeypatch):
  cells = fakes.diamond()
  (failed, names), _ = together(cells, tmp_path, monkeypatch)
  assert (failed, names) == ({}, ["a", "b", "c", "d"])
  assert sorted(fake.calls) == list("aabbccdd")
  assert outcome(cells, tmp_path) == WHOLE
  fake.calls.clear()
  together(fakes.diamond(), tmp_path, monkeypatch)
  assert fake.calls == []


def test_a_failed_cell_ends_all_hosts(fake, tmp_path, monkeypatch):
  fake.fails.add("b")
  with pytest.raises(errors.UserError, match="cell b: b can't be"):
    together(fakes.diamond(), tmp_path, monkeypatch)
  assert "c" not in fake.calls
  assert fakes.diamond()[1].failure(tmp_path) == "b can't be"


def test_an_unknown_runner_names_the_known_ones():
  with pytest.raises(errors.UserError, match="'ship' is unknown.*processes"):
    runners.get("ship")


def test_commands_are_printed_inputs_first(fake, tmp_path, capsys):
  cells = fakes.diamond()
  here(cells, tmp_path, only=("a",))
  runners.commands(cells, tmp_path, config(), Told())
  lines = capsys.readouterr().out.splitlines()
  options = [shlex.split(line)[-1] for line in lines]
  assert options == [f"--config.runner.only=('{n}',)" for n in "bcd"]
