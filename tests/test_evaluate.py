"""From a checkpoint to result files."""

import re
import shutil

import numpy as np
import pytest

from configs import evaluate as evaluate_config
from tests.data import numbered
from tests.features import models
from vdr import evaluate, probing, results
from vdr.runtime import errors, progress


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  path = tmp_path_factory.mktemp("trained") / "run"
  models.save(path, models.trained_model())
  return path


def config(run, /, **fields):
  cfg = evaluate_config.get_config("debug")
  fields = {
    "checkpoint": str(run),
    "evaluate.tasks": ("action", "pose"),
    "evaluate.layers": (1, 2),
    "evaluate.controls": ("latents", "blind"),
  } | {name.replace("__", "."): value for name, value in fields.items()}
  with cfg.unlocked():
    cfg.update_from_flattened_dict(fields)
  return cfg


@pytest.fixture(scope="module")
def labels():
  """Of all bars that the evaluation shows."""
  return []


@pytest.fixture(scope="module")
def evaluated(checkpoint, labels, tmp_path_factory):
  path, bar = tmp_path_factory.mktemp("evaluated") / "run", progress.bar

  def recorded(total, **options):
    labels.append(options["label"])
    return bar(total, **options)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(progress, "bar", recorded)
    evaluate.run(config(checkpoint), path)
  return path


def test_each_task_has_its_result(evaluated):
  for name, primary in (("action", "top_1"), ("pose", "r_squared")):
    result = results.read(evaluated / name)
    assert result["primary"] == primary
    assert result["n"] == {"train": 16, "select": 8, "test": 8}
    assert [c["layer"] for c in result["cells"]] == [1, 2]
    assert set(result["controls"]) == {"latents", "blind"}
    best = max(result["cells"], key=lambda cell: cell["select"])
    assert result["cells"][result["best"]] == best
    for cell in result["cells"]:
      score = cell["test"][primary]
      assert score["low"] <= score["value"] <= score["high"]
    assert result["backbone"]["hash"]
    assert result["budget"]["num_steps"] == 2
    assert result["budget"]["batch_size"] == 8


def test_scores_follow_from_the_clips(evaluated):
  for name in ("action", "pose"):
    result = results.read(evaluated / name)
    clips, groups = results.read_clips(evaluated / name)
    primary = result["primary"]
    best = result["cells"][result["best"]]["test"][primary]["value"]
    (run,) = clips[f"backbone/{primary}"]
    assert run.num_clips == 8 == len(set(groups))
    assert run.score() == pytest.approx(best)
    for control, found in result["controls"].items():
      (other,) = clips[f"{control}/{primary}"]
      assert found["difference"]["value"] == pytest.approx(
        run.score() - other.score()
      )


def test_finished_tasks_are_left_alone(evaluated, checkpoint, capsys):
  before = (evaluated / "pose" / results.NAME).stat().st_mtime_ns
  evaluate.run(config(checkpoint), evaluated)
  assert (evaluated / "pose" / results.NAME).stat().st_mtime_ns == before
  line = capsys.readouterr().out.splitlines()[-1]
  assert line.startswith("pose: r_squared")
  assert "; probes: 2 steps of 8 clips; the test clips" in line


def test_views_are_one_answer_and_controls_choose_their_place(
  checkpoint, tmp_path, capsys, monkeypatch
):
  """Four test videos of two clips each; one control at both places."""
  places, choose = [], probing.choose_best

  def recorded(*args):
    found = choose(*args)
    places.append([cell.layer for cell in found.cells])
    return found

  monkeypatch.setattr(probing, "choose_best", recorded)
  cfg = config(
    checkpoint,
    evaluate__controls=("random", "latents"),
    evaluate__controls_place="best",
    evaluate__num_shown=0,
    data__sources__main__sampling="uniform",
    data__sources__main__clips_per_video=2,
  )
  evaluate.run(cfg, tmp_path / "run")
  said = capsys.readouterr().out
  for name, rows in (("action", 4), ("pose", 8)):
    result = results.read(tmp_path / "run" / name)
    assert (result["rows"], result["groups"]) == (rows, 4)
    assert result["controls_place"] == "best"
    assert result["n"]["test"] == 8
    clips, groups = results.read_clips(tmp_path / "run" / name)
    assert groups.tolist() == [
      f"physics/test/{i // (rows // 4)}" for i in range(rows)
    ]
    assert {run.num_clips for runs in clips.values() for run in runs} == {rows}
    (line,) = [x for x in said.splitlines() if x.startswith(name)]
    assert "only 4 independent groups" in line and line.endswith("too narrow")
  # Both tasks of the model, of the untrained one, and of latents.
  assert places == [[1, 2]] * 4 + [[0]] * 2


def test_results_of_another_checkpoint_are_not_shown(
  evaluated, checkpoint, tmp_path, capsys
):
  """Also where only one of two tasks was evaluated before."""
  path = tmp_path / "run"
  path.mkdir()
  shutil.copy(evaluated / "config.json", path)
  shutil.copytree(evaluated / "pose", path / "pose")
  old = results.read(path / "pose")
  old["backbone"] |= {"hash": "0" * 16, "step": 7}
  results.SCHEMA.write(path / "pose" / results.NAME, old)
  evaluate.run(config(checkpoint), path)
  assert "another checkpoint (step 7" in capsys.readouterr().out
  for name in ("action", "pose"):
    new, same = results.read(path / name), results.read(evaluated / name)
    assert new["backbone"] == same["backbone"]
    assert new["cells"] == same["cells"]
  assert results.read(path / "earlier" / "1" / "pose") == old


def test_bars_say_which_part_of_the_whole_they_are(evaluated, labels):
  found = [re.match(r"\[(\d+)-(\d+)%\] ", label) for label in labels]
  parts = list(dict.fromkeys(tuple(map(int, part.groups())) for part in found))
  # Two places and one control, each read and then probed in two tasks.
  assert parts == [(0, 22), (22, 44), (44, 67), (67, 78), (78, 89), (89, 100)]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(evaluate__tasks=()), "evaluate.tasks is empty"),
    (dict(evaluate__tasks=("flow",)), "task 'flow' is unknown"),
    (dict(evaluate__tasks=("label",)), "the data have 0"),
    (dict(evaluate__layers=(3,)), "layer 3 does not exist"),
    (dict(evaluate__noise_levels=(1.5,)), "1.5 is not within 0"),
    (dict(evaluate__controls=("luck",)), "control 'luck' is unknown"),
    (dict(data__sources__main__height=64), "trained on 32 pixels"),
    (dict(checkpoint=""), "no checkpoint is named"),
  ],
)
def test_what_can_not_be_evaluated_is_refused(
  checkpoint, fields, message, tmp_path
):
  with pytest.raises(errors.UserError, match=message):
    evaluate.run(config(checkpoint, **fields), tmp_path / "no")
  assert not (tmp_path / "no").exists()


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
  """Videos of noise with labels that a coin decided."""
  folder = tmp_path_factory.mktemp("noise")
  rng = np.random.default_rng(0)
  lines = ["path,label"]
  for i in range(64):
    pictures = list(rng.integers(0, 256, (5, 32, 32, 3), np.uint8))
    numbered.write(folder / f"{i}.mp4", pictures=pictures)
    lines.append(f"{i}.mp4,{('heads', 'tails')[rng.integers(2)]}")
  (folder / "labels.csv").write_text("\n".join(lines))
  return folder


def of_noise(checkpoint, path, /, **fields):
  source = {
    "kind": "video_folder",
    "path": str(path),
    "index": "labels.csv",
    "num_frames": 5,
    "sampling": "middle",
    "split_fractions.train": 0.5,
    "split_fractions.select": 0.2,
    "split_fractions.test": 0.3,
  }
  fields = {
    **{f"data.sources.main.{k}": v for k, v in source.items()},
    **{f"evaluate.num_clips.{k}": 0 for k in ("train", "select", "test")},
    "evaluate.tasks": ("label",),
    "evaluate.layers": (2,),
    "evaluate.controls": (),
    "evaluate.num_shown": 0,
    "probe.num_steps": 200,
    "probe.warmup_steps": 5,
    "probe.learning_rates": (1e-2,),
    **fields,
  }
  return config(checkpoint, **fields)


def top_1(path):
  result = results.read(path / "label")
  return result["cells"][result["best"]]["test"]["top_1"]


def test_random_labels_of_a_folder_score_chance(noise, checkpoint, tmp_path):
  evaluate.run(of_noise(checkpoint, noise), tmp_path / "held_out")
  score = top_1(tmp_path / "held_out")
  assert score["low"] <= 0.5 <= score["high"]
  assert 0.2 < score["value"] < 0.8
  # The probe can learn such labels: of copies it knows all. Copies of a file
  # are not found out, links and the file itself are.
  lines = (noise / "labels.csv").read_text().split("\n")[:25]
  for split in ("train", "select", "test"):
    folder = shutil.copytree(noise, tmp_path / "copies" / split)
    (folder / "labels.csv").write_text("\n".join(lines))
  copies = of_noise(checkpoint, tmp_path / "copies" / "{split}")
  evaluate.run(copies, tmp_path / "copied")
  assert top_1(tmp_path / "copied")["value"] == 1


@pytest.mark.parametrize("split", ["train", "pretrain", "all"])
def test_equal_splits_of_a_folder_are_refused(
  noise, checkpoint, tmp_path, split
):
  fields = {"evaluate.splits.test": split}
  with pytest.raises(errors.UserError, match="nothing is held out"):
    evaluate.run(of_noise(checkpoint, noise, **fields), tmp_path / "no")
  assert not (tmp_path / "no").exists()
