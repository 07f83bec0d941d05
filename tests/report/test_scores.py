"""The comparison is that of `vdr.results`, whatever stands beside it."""

import shutil

import numpy as np
import pytest

from tests.report import fake_study
from vdr import results
from vdr.metrics import accumulators, statistics
from vdr.report import headline, scores
from vdr.report import study as study_lib


def gather(whole, size="tiny", role="main"):
  return scores.gather(study_lib.Study(whole.study), size, role)


def test_the_headline_is_the_comparison_of_results(whole):
  rows = {row["task"]: row for row in whole.numbers["headline"]}
  assert set(rows) == set(fake_study.TASKS)
  for task, row in rows.items():
    folders = [
      whole.study / f"cells/main-{kind}-tiny-0-0123abcd" / task
      for kind in ("video", "image")
    ]
    result = results.read(folders[1])
    metric = result["primary"]
    runs = [results.read_clips(f).runs[f"backbone/{metric}"] for f in folders]
    goal = statistics.Goal(result["lower_is_better"], result["chance"])
    expected = results.compare(*runs, goal, None)
    assert row["difference"] == expected["difference"]
    assert row["gain"] == expected["gain"]
    assert row["by_seed"] == [{"seed": 0, **expected}]
    assert row["p_value"] == expected["difference"]["p_value"]
    mean = np.mean([run.score() for run in runs[0]])
    assert row["video"]["value"] == pytest.approx(mean)


def test_p_values_are_corrected_over_all_tasks(whole):
  rows = whole.numbers["headline"]
  corrected = statistics.holm(np.array([row["p_value"] for row in rows]))
  assert [row["p_holm"] for row in rows] == corrected.tolist()


def test_better_is_positive_also_where_lower_is_better(whole):
  rows = {row["task"]: row for row in whole.numbers["headline"]}
  for name in ("depth", "points"):
    row = rows[name]
    assert row["lower_is_better"]
    assert row["difference"]["high"] < 0 < row["better"]["low"]
    assert row["better"]["low"] == -row["difference"]["high"]
    assert row["gain"]["value"] > 0
    assert row["verdict"] == "above"


def test_a_perfect_tie_is_no_gain(whole):
  (row,) = [r for r in whole.numbers["headline"] if r["task"] == "boxes"]
  assert row["difference"]["value"] == row["difference"]["high"] == 0
  assert row["gain"]["value"] == 0
  assert row["p_holm"] == 1
  assert row["verdict"] == "unclear"


@pytest.mark.parametrize(
  ("low", "high", "expected"),
  [
    (0.1, 0.2, "above"),
    (-0.2, -0.1, "below"),
    (-0.1, 0.1, "unclear"),
    (0.0, 0.0, "unclear"),
    (0.0, 0.1, "unclear"),
    (None, None, "missing"),
  ],
)
def test_verdicts(low, high, expected):
  assert scores.verdict({"low": low, "high": high}) == expected


def test_turning_swaps_the_ends():
  found = {"value": 1.0, "low": 0.5, "high": 3.0, "p_value": 0.1}
  assert scores.turned(found, 1) == found
  turned = {"value": -1.0, "low": -3.0, "high": -0.5, "p_value": 0.1}
  assert scores.turned(found, -1) == turned


def test_draws_of_the_untrained_network_are_pooled(whole):
  task = gather(whole)["action"]
  runs = task.runs("video", "random")
  assert [len(several) for several in runs] == [2, 2, 2]
  mean = np.mean([run.score() for several in runs for run in several])
  found = task.score("video/random")
  assert found is not None and found["value"] == pytest.approx(mean)
  assert not task.has("video/random_1")


def test_probes_of_one_network_are_seeds_and_networks_of_several():
  one = accumulators.Ratio(np.ones(3), np.ones(3))
  assert scores.units([[one, one]]) == [one, one]
  assert scores.units([[one], [one]]) == [[one], [one]]


def test_seeds_are_compared_one_by_one_and_together(tmp_path):
  fake_study.make(tmp_path / "study", seeds=(0, 1), waiting=WAITING)
  study = study_lib.Study(tmp_path / "study")
  tasks = scores.gather(study, "tiny")
  (row,) = [r for r in scores.headline(tasks) if r["task"] == "action"]
  assert [r["seed"] for r in row["by_seed"]] == [0, 1]
  apart = [r["difference"]["value"] for r in row["by_seed"]]
  assert apart[0] != apart[1]
  assert row["difference"]["value"] == pytest.approx(np.mean(apart))
  video, image = (
    tasks["action"].runs(k, "backbone") for k in ("video", "image")
  )
  expected = results.resample({"video": video, "image": image}, None)
  found = results.contrast(expected, "video", "image", tasks["action"].goal)
  assert row["gain"] == found["gain"]


WAITING = (
  *(
    "train",
    "every_frame",
    "budget",
    "generation",
    "look",
    "data",
    "tokenizer",
  ),
  *(
    f"{kind}-tiny-{seed}/{task}"
    for kind in ("video", "image")
    for seed in (0, 1)
    for task in ("shape", "depth", "pose", "points", "boxes")
  ),
)


def test_models_with_other_clips_are_left_out_and_said(tmp_path):
  fake_study.make(tmp_path / "study", waiting=WAITING)
  folder = tmp_path / "study/cells/main-image-tiny-0-0123abcd/action"
  result, clips = results.read(folder), results.read_clips(folder)
  fewer = {
    k: [r.keep(np.arange(fake_study.N) < 9) for r in v]
    for k, v in clips.runs.items()
  }
  results.write(folder, result, fewer, clips.groups[:9])
  study = study_lib.Study(tmp_path / "study")
  tasks = scores.gather(study, "tiny")
  rows = {row["task"]: row for row in scores.headline(tasks)}
  assert rows["action"]["verdict"] == "missing"
  assert any("on [9] clips" in problem for problem in study.problems)


def regroup(whole, tmp_path, groups_of):
  """A copy of the study whose `action` has other groups, by kind of model."""
  folder = tmp_path / "study"
  shutil.copytree(whole.study, folder)
  for kind in ("video", "image"):
    path = folder / f"cells/main-{kind}-tiny-0-0123abcd/action"
    result, clips = results.read(path), results.read_clips(path)
    groups = groups_of[kind]
    result |= results.scored(fake_study.N, groups)
    results.write(path, result, clips.runs, groups)
  study = study_lib.Study(folder)
  task = scores.gather(study, "tiny")["action"]
  (row,) = scores.headline({"action": task})
  return study, task, row


FEW = np.arange(fake_study.N) % 16


def test_groups_are_drawn_as_results_draw_them(whole, tmp_path):
  groups = FEW.astype(str)
  both = {"video": groups, "image": groups}
  study, task, row = regroup(whole, tmp_path, both)
  runs = [task.clips[k][0][f"backbone/{task.primary}"] for k in both]
  expected = results.compare(*runs, task.goal, groups)
  assert row["difference"] == expected["difference"]
  assert row["by_seed"] == [{"seed": 0, **expected}]
  (plain,) = [r for r in whole.numbers["headline"] if r["task"] == "action"]
  assert row["difference"]["low"] != plain["difference"]["low"]
  assert row["groups"] == 16 and not study.problems
  said = headline.covers([row])
  assert "On action recognition the test clips are of only 16" in said
  assert "the interval is too narrow" in said
  lead = headline._lead(study, [row])
  assert "160 test clips of 16 videos or scenes" in lead
  assert "too narrow" not in headline.covers([plain])


def test_old_results_have_the_groups_of_those_beside_them(whole, tmp_path):
  study, task, _ = regroup(whole, tmp_path, {"video": None, "image": FEW})
  assert not study.problems
  np.testing.assert_array_equal(task.groups, FEW)


def test_models_with_other_groups_are_left_out_and_said(whole, tmp_path):
  other = {"video": FEW, "image": FEW + 1}
  study, _, row = regroup(whole, tmp_path, other)
  assert row["verdict"] == "missing"
  assert any("of other videos or scenes" in p for p in study.problems)
