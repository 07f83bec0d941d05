"""Directories that an earlier version wrote still open: see stored/README."""

import json
import pathlib
import shutil

import numpy as np
import pytest

import vdr
from configs import video_dit
from vdr import evaluate, report, results, study, train, trained
from vdr.report import compose
from vdr.runtime import checkpoints, command_line, workdir
from vdr.study import plan

STORED = pathlib.Path(__file__).with_name("stored")


@pytest.fixture
def stored(tmp_path, monkeypatch):
  """A copy to work in; paths in its configs are relative to it."""
  shutil.copytree(STORED, tmp_path, dirs_exist_ok=True)
  monkeypatch.chdir(tmp_path)
  return tmp_path


def load_config(name):
  return command_line.load_config(f"{name}/{workdir.CONFIG_NAME}")


def test_a_checkpoint_opens_and_its_features_are_the_same(stored):
  model = vdr.load("run")
  assert (model.num_frames, model.height, model.width) == (5, 32, 32)
  ramp = np.arange(5 * 32 * 32 * 3) % 251
  video = ramp.reshape(5, 32, 32, 3).astype(np.uint8)
  # Without noise no draw decides them: what commit 753d598 gives.
  found = model.features(video, layers=[2], noise_level=0.0)
  (values,) = found.values.values()
  assert values.shape == (2, 4, 4, 64)
  assert values.mean() == pytest.approx(0.33513635, rel=1e-4)
  assert values.std() == pytest.approx(2.1425667, rel=1e-4)


def test_a_checkpoint_from_before_some_fields_existed_opens(stored, caplog):
  """One warning for the checkpoint, one for the tokenizer beside it."""
  meta = stored / "run/checkpoints/1/meta/metadata"
  tree = json.loads(meta.read_text())
  was = tree["model"]["adaln_rank"]
  for model in (tree["model"], tree["config"]["model"]):
    del model["adaln_rank"]
  del tree["config"]["train"]["amount"], tree["config"]["extract"]
  tree["config"]["train"]["gone"] = 1
  meta.write_text(json.dumps(tree))
  model = trained.load("run")
  assert model.model.adaln_rank == was  # the default
  assert model.config.train.amount == 100_000.0
  (record,) = [r for r in caplog.records if "version" in r.getMessage()]
  line = record.getMessage()
  assert "run is of another version of vdr: it lacks" in line
  for part in ("model.adaln_rank=2", "extract.dtype=", "train.gone=1"):
    assert line.count(part) == 1


def test_a_killed_training_run_is_resumed_and_evaluated_anew(stored, capsys):
  train.run(load_config("run"), "run")
  assert checkpoints.read_meta(pathlib.Path("run"))["step"] == 2
  lines = [
    json.loads(line)
    for line in (stored / "run" / "metrics.jsonl").read_text().splitlines()
  ]
  assert [x["step"] for x in lines if "loss" in x] == [1, 2]
  evaluate.run(load_config("evaluation"), "evaluation")
  out = capsys.readouterr().out
  assert (
    "another checkpoint (step 1, hash" in out and "now (step 2, hash" in out
  )
  result = results.read(stored / "evaluation" / "shape")
  assert result["backbone"]["step"] == 2
  assert result["backbone"]["hash"] == trained.load("run").meta["hash"]
  kept = stored / "evaluation/earlier/1/shape"
  for name in (results.NAME, results.CLIPS_NAME):
    old = STORED / "evaluation" / "shape" / name
    assert (kept / name).read_bytes() == old.read_bytes()


def test_a_config_written_today_is_that_of_the_stored_directory(stored):
  cfg = video_dit.get_config("debug")
  command_line.override(
    cfg,
    [
      "--config.saving.budgets_percent=(50,100)",
      "--config.log.samples_every_steps=0",
      "--config.data.sources.main.num_frames=5",
    ],
  )
  assert workdir.claim("run", cfg, train.SECTIONS) == pathlib.Path("run")


def test_a_finished_evaluation_is_not_run_again(stored, capsys):
  before = (stored / "evaluation/shape/result.json").read_bytes()
  evaluate.run(load_config("evaluation"), "evaluation")
  assert (stored / "evaluation/shape/result.json").read_bytes() == before
  assert "shape: top_1 0.000" in capsys.readouterr().out


def test_a_report_is_written_of_an_old_study(stored):
  report.write(stored / "study", stored / "report")
  found = json.loads((stored / "report" / "report.json").read_text())
  assert found["problems"] == []
  assert [row["task"] for row in found["headline"]] == ["shape", "action"]
  assert found["headline"][0]["video"]["value"] == 0.25
  assert len(found["tables"]["cells"]) == 16


def test_a_report_does_not_show_results_of_another_checkpoint(stored):
  (meta,) = stored.glob("study/cells/train-video-*/checkpoints/2/meta/metadata")
  tree = json.loads(meta.read_text())
  tree["hashes"] = dict.fromkeys(tree["hashes"], "0" * 16)
  meta.write_text(json.dumps(tree))
  found = compose.make(stored / "study")
  problems = found.study.problems
  said = {problem.partition(" is of")[0] for problem in problems}
  assert said == {
    "main-video-micro-0: shape",
    "main-video-micro-0: action",
    "generation-video-micro-0-100: generation.json",
    "look-video-micro-0: look.json",
  }
  assert len(problems) == 4
  for row in found.rows:
    assert row["video"] is None and row["image"] is not None


def test_an_old_study_says_that_its_cells_are_of_other_code(stored, capsys):
  cfg = load_config("study")
  with cfg.unlocked():
    cfg.dry_run = True
  study.run(cfg, "study")
  lines = capsys.readouterr().out.splitlines()
  assert sum(line.endswith("to run (other code)") for line in lines) == 16
  assert lines[-1].startswith("cells finished by other code: 16 (an earlier")


def test_the_plan_of_an_old_study_is_that_of_today(stored):
  cells = plan.make(load_config("study"))
  told = json.loads((stored / "study" / "study.json").read_text())
  assert {c.name for c in cells} == {c["name"] for c in told["cells"]}
