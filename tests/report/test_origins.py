"""Section 2: every difference is the one it is called after."""

import numpy as np
import pytest

from tests.report import fake_study
from vdr import results
from vdr.report import origins


def mean(whole, task, kind, *names):
  folder = whole.study / f"cells/main-{kind}-tiny-0-0123abcd" / task
  metric, clips = fake_study.TASKS[task][1], results.read_clips(folder).runs
  runs = [run for name in names for run in clips[f"{name}/{metric}"]]
  return np.mean([run.score() for run in runs])


@pytest.mark.parametrize("task", ["action", "points"])
def test_differences_by_hand(whole, task):
  rows = {
    row["origin"]: row
    for row in whole.numbers["tables"]["origins"]
    if row["task"] == task
  }
  random = ("random", "random_1", "random_2")
  expected = {
    "total": (("video", "backbone"), ("image", "backbone")),
    "tokenizer": (("video", "latents"), ("image", "latents")),
    "architecture": (("video", *random), ("image", *random)),
    "attention": (("video", "backbone"), ("video", "isolated")),
    "training_video": (("video", "backbone"), ("video", *random)),
    "training_image": (("image", "backbone"), ("image", *random)),
  }
  assert set(rows) == set(expected)
  sign = -1 if fake_study.TASKS[task][2] else 1
  for name, (new, base) in expected.items():
    value = sign * (mean(whole, task, *new) - mean(whole, task, *base))
    row = rows[name]
    assert row["difference"] == pytest.approx(value)
    assert row["difference_low"] <= value <= row["difference_high"]
    total = rows["total"]["difference"]
    assert row["share"] == pytest.approx(value / total)
  assert rows["total"]["share"] == rows["total"]["share_low"] == 1


def test_no_share_of_a_total_that_may_be_zero(whole):
  rows = [r for r in whole.numbers["tables"]["origins"] if r["task"] == "boxes"]
  assert len(rows) == len(origins.ORIGINS)
  assert {row["share"] for row in rows} == {None}


def test_images_have_no_difference_across_frames(whole):
  found = whole.numbers["tables"]["origins"]
  assert "attention" not in {r["origin"] for r in found if r["task"] == "shape"}


def test_who_sees_less_is_beside_every_task_of_clips(whole):
  rows = whole.numbers["tables"]["leaks"]
  assert {r["task"] for r in rows} == set(fake_study.TASKS) - {"shape"}
  for row in rows:
    for name, _ in origins.LEAKS:
      value = mean(whole, row["task"], row["model"], name)
      assert row[name] == pytest.approx(value)


def test_the_image_model_with_other_frames(whole):
  rows = whole.numbers["tables"]["frames"]
  assert [row["task"] for row in rows] == list(fake_study.TASKS)
  for row in rows:
    folder = (
      whole.study / "cells/every_frame-image-tiny-0-0123abcd" / row["task"]
    )
    result = results.read(folder)
    best = result["cells"][result["best"]]["test"][row["metric"]]
    assert row["every_frame"] == pytest.approx(best["value"])
    assert row["latent_frames"] == pytest.approx(
      mean(whole, row["task"], "image", "backbone")
    )
  assert "has it with latent frames only" in whole.page


def test_first_and_later_frames_of_the_tokenizer(whole):
  (row,) = whole.numbers["tables"]["tokenizer"]
  assert (row["psnr_first_db"], row["psnr_later_db"]) == (37.57, 30.44)


def test_what_is_missing_is_said(half):
  assert "every_frame-image-tiny-0 (waiting)" in half.page
  rows = half.numbers["tables"]["origins"]
  assert {r["origin"] for r in rows} == {"attention", "training_video"}
