"""The record of a study."""

import json

import pytest

from configs import study as study_config
from tests.study import fakes
from vdr.study import book, estimates


@pytest.fixture(autouse=True)
def fake(monkeypatch):
  monkeypatch.setattr(estimates, "seconds", lambda cell: 10.0)
  return fakes.use(monkeypatch)


@pytest.fixture
def config():
  cfg = study_config.get_config("debug")
  cfg.runner.progress_s = 0.0
  return cfg


def read(path):
  return json.loads((path / book.NAME).read_text())


def states(path):
  return {c["name"]: c["state"] for c in read(path)["cells"]}


def test_it_says_how_far_each_cell_is(config, tmp_path):
  cells = fakes.diamond()
  with book.Book(tmp_path, config, cells):
    assert set(states(tmp_path).values()) == {"waiting"}
    cells[0].run(tmp_path)
    cells[1].folder(tmp_path).mkdir(parents=True)
    cells[1].fail(tmp_path, "no room")
  assert states(tmp_path) == {
    "a": "finished",
    "b": "failed",
    "c": "waiting",
    "d": "waiting",
  }
  told = read(tmp_path)
  a, b, *_ = told["cells"]
  assert b["failure"] == "no room" and b["inputs"] == ["a"]
  assert (tmp_path / a["folder"] / "out.json").exists()
  assert a["seconds"] >= 0 and b["seconds"] is None


def test_a_second_start_adds_to_the_first(config, tmp_path):
  (tmp_path / book.NAME).write_text(
    json.dumps({"started": "2026-01-01T00:00:00Z", "seconds": 1000.0})
  )
  with book.Book(tmp_path, config, fakes.diamond()):
    pass
  told = read(tmp_path)
  assert told["started"] == "2026-01-01T00:00:00Z"
  assert 1000 <= told["seconds"] < 1100


def test_what_runs_elsewhere_is_told_by_its_log(config, tmp_path, capsys):
  cells = fakes.diamond()
  with book.Book(tmp_path, config, cells) as told:
    cells[0].run(tmp_path)
    log = cells[1].log(tmp_path)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("hello\ntraining: 3 of 9 steps (33%), 0:10 left\nwarm\n")
    capsys.readouterr()
    told.look()
  out = capsys.readouterr().out
  assert "study: 1 of 4 cells" in out and " left\n" in out
  assert "  b: training: 3 of 9 steps (33%), 0:10 left\n" in out
  assert "  c:" not in out


@pytest.mark.parametrize(
  "line, left",
  [
    ("training: 5 of 10 steps (50%)", 100.0 * 15 / 5),
    ("training: 9 of 10 steps (90%)", 100.0 * 11 / 9),
    ("[40-60%] pose: 9 of 9 steps (100%)", 100.0 * 14 / 6),
    ("compiling", 20.0),  # nothing is done: what the estimate says
  ],
)
def test_time_left_is_of_this_start_and_counts_what_runs(
  config, tmp_path, line, left
):
  cells = fakes.diamond()
  for cell in cells[:2]:  # by an earlier start: no pace of this one
    cell.run(tmp_path)
  told = book.Book(tmp_path, config, cells)
  assert told._left(100.0, {"c": line}) == pytest.approx(left)
  cells[2].run(tmp_path)
  assert told._left(100.0, {}) == pytest.approx(100.0)
