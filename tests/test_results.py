"""Result files: what is written is read, checked and compared."""

import json

import numpy as np
import pytest

from vdr import results
from vdr.metrics import accumulators, statistics
from vdr.runtime import errors

RNG = np.random.default_rng(0)


def ratio(mean, n=200):
  return accumulators.Ratio(RNG.random(n) < mean, np.ones(n))


RUNS = [ratio(0.7), ratio(0.7)]
GROUPS = np.arange(200).astype(str)


def make(**fields):
  estimate = results.estimate(RUNS, None)
  cell = {
    "layer": 2,
    "noise_level": 0.1,
    "log_snr": 3.0,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "select": 0.7,
    "test": {"top_1": estimate},
  }
  return {
    "schema_version": results.VERSION,
    **results.scored(200, GROUPS),
    "controls_place": "same",
    "task": "action",
    "title": "action recognition",
    "primary": "top_1",
    "lower_is_better": False,
    "chance": 0.125,
    "backbone": {"kind": "checkpoint", "hash": "0123"},
    "checkpoint": "runs/video",
    "split": "test",
    "n": {"train": 3, "select": 2, "test": 200},
    "skipped": {"test": 0},
    "seeds": [0, 1],
    "method": results.METHOD,
    "cells": [cell],
    "best": 0,
    "controls": {},
    "config": {},
    "versions": {},
    "seconds": 1.0,
  } | fields


def test_what_is_written_is_read(tmp_path):
  clips = {"backbone/top_1": RUNS}
  results.write(tmp_path / "action", make(), clips, GROUPS)
  assert results.read(tmp_path / "action") == results.to_plain(make())
  read = results.read_clips(tmp_path / "action")
  np.testing.assert_array_equal(read.groups, GROUPS)
  (found,) = read.runs.values()
  for a, b in zip(found, RUNS, strict=True):
    np.testing.assert_array_equal(a.numerator, b.numerator)
    assert a.score() == b.score()


def test_what_does_not_fit_the_schema_is_never_written(tmp_path):
  with pytest.raises(ValueError, match="'best'"):
    bad = make()
    del bad["best"]
    results.write(tmp_path / "action", bad, {}, None)
  with pytest.raises(ValueError, match="extra"):
    results.write(tmp_path / "action", make(extra=1), {}, None)
  assert not (tmp_path / "action").exists()


def test_results_of_version_1_are_read_with_what_they_went_without(tmp_path):
  clips = {"backbone/top_1": RUNS}
  new = make()
  old = {k: v for k, v in new.items() if k not in NEW} | {"schema_version": 1}
  results.write(tmp_path, old, clips, None)
  found = results.read(tmp_path)
  told = {"rows": 200, "groups": 200, "caution": None, "controls_place": "same"}
  assert {k: found[k] for k in NEW} == told
  assert results.read_clips(tmp_path).groups is None
  with pytest.raises(ValueError, match="is a required property"):
    results.write(tmp_path, old | {"schema_version": 2}, clips, None)


NEW = ("rows", "groups", "caution", "controls_place")


def test_few_groups_are_told():
  groups = np.arange(200) % 19
  told = results.scored(200, groups)
  assert (told["rows"], told["groups"]) == (200, 19)
  assert told["caution"].startswith("the test clips are of only 19 independent")
  assert results.scored(200, np.arange(200) % 20)["caution"] is None
  assert results.scored(5, None)["caution"]


def test_groups_widen_intervals():
  """Clips of a group are copies: there are as many as groups."""
  once = ratio(0.7, 50)
  often = once.take(np.arange(50).repeat(4))
  groups = np.arange(50).repeat(4)
  expected = results.estimate([once], None)
  found = results.estimate([often], groups)
  for end in results.ENDS:
    assert found[end] == pytest.approx(expected[end])
  naive = results.estimate([often], None)
  width = found["high"] - found["low"]
  assert naive["high"] - naive["low"] < 0.6 * width


def test_missing_and_damaged_results_are_told(tmp_path):
  with pytest.raises(errors.UserError, match="run the verb evaluate"):
    results.read(tmp_path)
  (tmp_path / results.NAME).write_text(json.dumps(make(n=3)))
  with pytest.raises(errors.UserError, match="no result of this version"):
    results.read(tmp_path)


def test_a_better_backbone_is_better_for_sure():
  goal = statistics.Goal(chance=0.125)
  found = results.compare([ratio(0.9)], [ratio(0.5)], goal, None)
  assert 0 < found["difference"]["low"] < found["difference"]["value"]
  assert found["difference"]["p_value"] < 0.01
  assert found["gain"]["value"] > 0.5
  same = results.compare(RUNS, RUNS, goal, None)
  assert same["difference"]["value"] == 0


def test_two_of_many_compare_as_two_alone():
  goal = statistics.Goal(chance=0.125)
  runs = {name: [ratio(mean)] for name, mean in (("a", 0.8), ("b", 0.6))}
  many = results.resample(runs | {"c": [ratio(0.4), ratio(0.4)]}, None)
  alone = results.compare(runs["a"], runs["b"], goal, None)
  assert results.contrast(many, "a", "b", goal) == alone
  other = results.contrast(many, "a", "c", goal)
  assert other["difference"]["value"] > alone["difference"]["value"]


def test_numbers_that_are_none_are_null():
  tree = {"a": np.float32("nan"), "b": (np.inf, np.int64(3)), "c": np.eye(1)}
  assert results.to_plain(tree) == {"a": None, "b": [None, 3], "c": [[1.0]]}
