"""From a checkpoint to result files."""

import re

import pytest

from configs import evaluate as evaluate_config
from tests.features import models
from vdr import evaluate, results
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


def test_scores_follow_from_the_clips(evaluated):
  for name in ("action", "pose"):
    result = results.read(evaluated / name)
    clips = results.read_clips(evaluated / name)
    primary = result["primary"]
    best = result["cells"][result["best"]]["test"][primary]["value"]
    (run,) = clips[f"backbone/{primary}"]
    assert run.num_clips == 8
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
  assert "pose: r_squared" in capsys.readouterr().out


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
