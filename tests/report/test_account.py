"""Section 8: identical architecture is checked, and everything is listed."""

import json

import pytest

from configs import image_dit
from tests.report import fake_study
from vdr.report import account, parts
from vdr.report import study as study_lib

ONLY_TRAINED = ("data", "tokenizer", "main", "every_frame", "budget") + (
  "generation",
  "look",
)


def compare(folder):
  study = study_lib.Study(folder)
  return account.compare(study, *study.models[:2]), study


def test_what_may_differ_is_what_the_configs_say():
  assert account.MAY_DIFFER == image_dit.DIFFERENCES


def test_identical_networks_are_said_to_be_so(whole):
  found, _ = compare(whole.study)
  assert found["identical"] is True
  assert (found["num_arrays"], found["num_params"]) == (1, 12)
  assert {f["field"] for f in found["fields"]} == set(account.MAY_DIFFER)
  assert "Identical architecture, checked" in whole.page


def test_other_networks_are_said_to_be_others(tmp_path):
  fake_study.make(tmp_path, image_width=5, waiting=ONLY_TRAINED)
  found, study = compare(tmp_path)
  assert found["identical"] is False
  assert found["arrays_differ"] == "w"
  texts = [
    p for p in account.section(study).parts if isinstance(p, parts.Missing)
  ]
  assert "NOT the same network: the parameter w" in texts[0].text


def test_other_configs_are_said_to_be_others(tmp_path):
  fake_study.make(tmp_path, waiting=ONLY_TRAINED)
  path = tmp_path / "cells/train-image-tiny-0-0123abcd/config.json"
  config = json.loads(path.read_text())
  config["optimizer"]["learning_rate"] = 0.5
  path.write_text(json.dumps(config))
  found, study = compare(tmp_path)
  assert found["identical"] is False
  (text, *_) = account.section(study).parts
  assert isinstance(text, parts.Missing)
  assert "differ in more" in text.text
  assert "optimizer.learning_rate" in text.text


def test_what_is_not_there_yet_can_not_be_told(half):
  found, _ = compare(half.study)
  assert found["identical"] is None
  assert "can be told once both exist" in half.page


def test_damaged_checkpoints_are_a_problem(tmp_path):
  fake_study.make(tmp_path, waiting=ONLY_TRAINED)
  folder = tmp_path / "cells/train-image-tiny-0-0123abcd/checkpoints"
  folder.rename(folder.with_name("away"))
  folder.mkdir()
  found, study = compare(tmp_path)
  assert found["identical"] is None
  assert "has no whole checkpoint" in study.problems[0]


def test_both_models_are_side_by_side(whole):
  rows = whole.numbers["tables"]["models"]
  assert [r["model"] for r in rows] == ["video-tiny-0", "image-tiny-0"]
  for row in rows:
    assert (row["num_params"], row["tokens"]) == (12, 1536000)
    assert row["flops"] == pytest.approx(8.77e12)
    assert row["tokenizer_hash"] == "860ea4c7cf055652"
    assert len(row["hash"]) == 16


def test_every_cell_has_its_command_and_config(whole):
  told = json.loads((whole.study / "study.json").read_text())
  rows = whole.numbers["tables"]["commands"]
  assert [r["command"] for r in rows] == [c["command"] for c in told["cells"]]
  section = account.section(study_lib.Study(whole.study))
  (details,) = [p for p in section.parts if isinstance(p, parts.Details)]
  assert {f.title for f in details.folds} >= {"train-video-tiny-0"}
