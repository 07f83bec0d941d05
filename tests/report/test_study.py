"""What is missing or damaged is noted; what is no study is refused."""

import json

import pytest

from tests.report import fake_study
from vdr.report import study as study_lib
from vdr.runtime import errors


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (None, "there is no .*study.json.*report.study"),
    ("{", "is no JSON"),
    ('{"schema_version": 2}', "schema_version 2, this vdr reads 1"),
  ],
)
def test_what_is_no_study_is_refused(text, message, tmp_path):
  if text is not None:
    (tmp_path / "study.json").write_text(text)
  with pytest.raises(errors.UserError, match=message):
    study_lib.Study(tmp_path)


def test_cells_are_found_by_role_and_model(whole):
  study = study_lib.Study(whole.study)
  assert [m.kind for m in study.models] == ["video", "image"]
  assert len(study.find("budget")) == 6
  (main,) = study.find("main", "video-tiny-0")
  assert study.named(main.name) is main
  assert study.model("image-tiny-0") is study.models[1]
  assert study.named("no") is study.model("no") is None
  assert study.missing("main", "budget") == []


def test_tasks_are_known_before_they_are_run(half):
  study = study_lib.Study(half.study)
  assert study.tasks() == list(fake_study.TASKS)
  (main,) = study.find("main", "video-tiny-0")
  assert study.result(main, "pose") is None
  assert study.result(main, "action") is not None
  assert not study.problems


def test_damaged_files_are_noted_once(tmp_path):
  fake_study.make(tmp_path, waiting=("train", "budget", "every_frame", "look"))
  study = study_lib.Study(tmp_path)
  (main,) = study.find("main", "video-tiny-0")
  (main.folder / "action" / "result.json").write_text("{")
  (main.folder / "depth" / "clips.npz").write_bytes(b"no")
  (main.folder / "pose" / "clips.npz").unlink()
  (main.folder / "config.json").write_text("[")
  for _ in range(2):
    assert study.result(main, "action") is None
    for task in ("action", "depth", "pose"):
      assert not study.clips(main, task).runs
  assert len(study.problems) == 3
  assert study.read_json(main, "config.json") is None
  assert study.read_json(main, "other.json", expected=False) is None
  assert study.read_json(main, "other.json") is None
  assert "config.json can't be read" in study.problems[3]
  assert "is finished, but has no other.json" in study.problems[4]


def test_states_follow_the_file_and_not_the_folder(whole, tmp_path):
  told = json.loads((whole.study / "study.json").read_text())
  told["cells"][0]["state"] = "failed"
  (tmp_path / "study.json").write_text(json.dumps(told))
  study = study_lib.Study(tmp_path)
  assert [c.name for c in study.missing("data")] == ["data"]
