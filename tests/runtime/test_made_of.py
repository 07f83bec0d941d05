"""Results stay with what they were made of."""

import json
import pathlib

import pytest

from configs import base
from vdr.runtime import made_of, workdir

FIRST = {"checkpoint": {"hash": "a" * 16, "step": 1}, "judge": {"hash": "j"}}
LATER = {"checkpoint": {"hash": "b" * 16, "step": 2}, "judge": {"hash": "j"}}


def claim(path, parts):
  made_of.claim(path, base.default(), ("look",), parts)


@pytest.fixture
def path(tmp_path):
  workdir.claim(tmp_path, base.default(), ("look",))
  return tmp_path


def fill(path, text="first"):
  """Results as verbs leave them: files and folders."""
  (path / "task").mkdir(exist_ok=True)
  (path / "task" / "result.json").write_text(json.dumps({"text": text}))
  (path / "sheet.png").write_text(text)


def texts(path):
  return {p.name: p.read_text() for p in path.rglob("*.png")}


def names(path):
  hidden = (workdir.CONFIG_NAME, workdir.LOCK_NAME)
  return sorted(p.name for p in path.iterdir() if p.name not in hidden)


def test_results_of_the_same_parts_stay(path, capsys):
  claim(path, FIRST)
  fill(path)
  claim(path, FIRST)
  assert names(path) == [made_of.NAME, "sheet.png", "task"]
  assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["checkpoint", "judge"])
def test_those_of_others_are_kept_aside_in_one_line(path, capsys, name):
  claim(path, FIRST)
  fill(path)
  changed = FIRST | {name: {"hash": "other"}}
  claim(path, changed)
  assert names(path) == [made_of.EARLIER, made_of.NAME]
  aside = path / made_of.EARLIER / "1"
  assert names(aside) == [made_of.NAME, "sheet.png", "task"]
  assert (aside / "task" / "result.json").exists()
  assert json.loads((aside / made_of.NAME).read_text()) == FIRST
  (line,) = capsys.readouterr().out.splitlines()
  assert f"another {name} (" in line and str(aside) in line
  claim(path, changed)
  assert capsys.readouterr().out == ""


def test_nothing_is_lost_on_the_way_there_and_back(path):
  for text, parts in (("1", FIRST), ("2", LATER), ("3", FIRST)):
    claim(path, parts)
    fill(path, text)
  earlier = path / made_of.EARLIER
  assert names(earlier) == ["1", "2"]
  assert texts(earlier / "1") == {"sheet.png": "1"}
  assert texts(earlier / "2") == {"sheet.png": "2"}


def test_without_results_nothing_is_said(path, capsys):
  claim(path, FIRST)
  claim(path, LATER)
  assert names(path) == [made_of.NAME] and capsys.readouterr().out == ""
  assert json.loads((path / made_of.NAME).read_text()) == LATER


def test_a_killed_move_is_finished(path, monkeypatch, capsys):
  claim(path, FIRST)
  fill(path)
  rename, moved = pathlib.Path.rename, []

  def once(self, target):
    if moved:
      raise KeyboardInterrupt
    moved.append(target)
    return rename(self, target)

  with monkeypatch.context() as patch:
    patch.setattr(pathlib.Path, "rename", once)
    with pytest.raises(KeyboardInterrupt):
      claim(path, LATER)
  claim(path, LATER)
  assert names(path) == [made_of.EARLIER, made_of.NAME]
  assert names(path / made_of.EARLIER) == ["1"]
  aside = names(path / made_of.EARLIER / "1")
  assert aside == [made_of.NAME, "sheet.png", "task"]
  assert "another checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("file", "tree"),
  [
    ("shape/result.json", {"backbone": {"hash": "a" * 16, "step": 1, "k": 0}}),
    ("look.json", {"model": {"hash": "a" * 16, "step": 1}, "layer": 2}),
    ("result.json", {"checkpoint": {"hash": "a" * 16, "step": 1}}),
    ("backbone.json", {"hash": "a" * 16, "step": 1, "kind": "checkpoint"}),
  ],
)
def test_results_of_earlier_versions_name_their_checkpoint(path, file, tree):
  (path / file).parent.mkdir(exist_ok=True)
  (path / file).write_text(json.dumps(tree))
  claim(path, FIRST)
  assert (path / file).exists()
  (path / made_of.NAME).unlink()
  claim(path, LATER)
  assert not (path / file).exists()
  assert (path / made_of.EARLIER / "1" / file).exists()


@pytest.mark.parametrize(
  "tree", [{"model": {"hash": "x", "step": None}}, [1], {"backbone": {}}]
)
def test_a_result_that_names_no_checkpoint_stays(path, tree):
  (path / "look.json").write_text(json.dumps(tree))
  claim(path, LATER)
  assert (path / "look.json").exists()


def test_results_of_two_checkpoints_are_those_of_another(path):
  """A killed evaluation went on after more training: tasks of both."""
  for name, parts in (("a", FIRST), ("b", LATER)):
    (path / name).mkdir()
    result = {"backbone": parts["checkpoint"]}
    (path / name / "result.json").write_text(json.dumps(result))
  claim(path, LATER)
  assert names(path / made_of.EARLIER / "1") == ["a", "b", made_of.NAME]


def test_folders_that_people_renamed_are_left_alone(path):
  claim(path, FIRST)
  fill(path)
  claim(path, LATER)
  earlier = path / made_of.EARLIER
  (earlier / "1").rename(earlier / "1-before")
  fill(path)
  claim(path, FIRST)
  assert names(earlier) == ["1", "1-before"]


def test_a_task_that_was_made_again_after_a_killed_move_is_kept(path):
  claim(path, FIRST)
  (path / made_of.EARLIER / "1" / "task").mkdir(parents=True)
  (path / made_of.EARLIER / "1" / "task" / "old").touch()
  fill(path)
  claim(path, LATER)
  assert names(path / made_of.EARLIER) == ["1", "2"]
  assert names(path / made_of.EARLIER / "2") == [
    made_of.NAME,
    "sheet.png",
    "task",
  ]
