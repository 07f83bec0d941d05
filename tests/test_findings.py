"""What is told of one task: scores, controls, and how sure they are."""

import numpy as np
import pytest

from vdr import controls, findings, probing, results, splits, tasks
from vdr.data.physics import clip
from vdr.metrics import accumulators
from vdr.probes.plan import Plan
from vdr.tasks import scoring

PLAN = Plan(num_steps=7, batch_size=4, learning_rates=(0.1,))
N, VIEWS = 60, 3  # clips, and clips of a video


@pytest.fixture
def known():
  rng = np.random.default_rng(0)
  video = np.arange(N) // VIEWS
  names = np.array([f"video {v}" for v in video])
  poses = rng.normal(size=(N, 3, 4)).astype(np.float32)
  one = splits.Known({"pose": poses}, scoring.Clips(np.arange(N), video, names))
  return {split: one for split in splits.SPLITS}


def probed(known, noise, select=(0.1, 0.5)):
  """Two cells; the second one is the best."""
  one = tasks.make("pose", clip.CLASS_NAMES, 5)
  scorer = scoring.Scorer(one, *known["test"])
  rng = np.random.default_rng(int(10 * noise))
  pose = known["test"].targets["pose"]
  runs = [
    scorer.whole({"pose": pose + much * noise * rng.normal(size=pose.shape)})
    for much in (2, 1)
  ]
  return probing.Probed(
    cells=[probing.Cell(layer, 0.1, 3.0) for layer in (1, 2)],
    hypers=[(0.1, 0.0), None],
    select=list(select),
    best=1,
    runs={name: [[run[name]] for run in runs] for name in runs[0]},
    drawn=None,
    plan=PLAN,
  )


def collect(known):
  one = tasks.make("pose", clip.CLASS_NAMES, 5)
  found = findings.Found({"kind": "checkpoint"}, probed(known, 0.3))
  beside = {"random": findings.Found({"kind": "random"}, probed(known, 0.6))}
  return findings.collect(one, known, found, beside, with_blind=True)


def test_scores_and_controls_are_those_of_the_best_cells(known):
  about, clips, groups = collect(known)
  assert (about["rows"], about["groups"], about["caution"]) == (60, 20, None)
  assert set(about["controls"]) == {"random", controls.BLIND}
  assert [cell["layer"] for cell in about["cells"]] == [1, 2]
  runs = clips["backbone/r_squared"]
  own = about["cells"][1]["test"]["r_squared"]
  assert own == results.estimate(runs, groups)
  assert own["value"] == pytest.approx(runs[0].score())
  random = about["controls"]["random"]
  assert random["cell"]["layer"] == 2 and random["difference"]["low"] > 0
  (other,) = clips["random/r_squared"]
  expected = results.compare(
    runs,
    [other],
    tasks.make("pose", clip.CLASS_NAMES, 5).goal,
    groups,
  )
  assert random["difference"] == expected["difference"]
  # Who says the mean of `train`, here that of `test`, explains nothing.
  blind = about["controls"][controls.BLIND]["cell"]
  assert blind["layer"] is None and blind["select"] is None
  value = blind["test"]["r_squared"]["value"]
  assert value == pytest.approx(0.0, abs=1e-6)


def test_the_console_tells_of_too_few_groups(known):
  about = collect(known).about
  assert findings.line(about).startswith("pose: r_squared 0.9")
  probes = "at layer 2, noise 0.1; probes: 7 steps of 4 clips"
  assert findings.line(about).endswith(probes)
  few = about | results.scored(N, np.arange(N) % 4)
  assert "of only 4 independent groups" in findings.line(few)


def test_a_single_group_has_no_interval_and_a_line():
  run = accumulators.Ratio(np.ones(4), np.ones(4))
  score = results.estimate([run], np.zeros(4, int))
  cell = {"layer": 3, "noise_level": 0.1, "test": {"iou": score}}
  result = {"task": "boxes", "primary": "iou", "cells": [cell], "best": 0}
  result |= results.scored(4, np.zeros(4, int))
  assert findings.line(result).startswith("boxes: iou 1.000 [none, none] at")
