"""Sections 4 and 5: along training, and across sizes."""

import pytest

from tests.report import fake_study
from vdr import results
from vdr.report import growth, scores
from vdr.report import study as study_lib


def test_scores_of_earlier_checkpoints_end_with_the_last_at_their_place(whole):
  rows = [
    row
    for row in whole.numbers["tables"]["budget"]
    if (row["task"], row["model"]) == ("depth", "video")
  ]
  assert [r["step"] for r in rows] == list(fake_study.STEPS.values())
  assert {(r["layer"], r["noise_level"]) for r in rows} == {(3, 0.2)}
  folder = whole.study / "cells/main-video-tiny-0-0123abcd/depth"
  (cell,) = [
    c
    for c in results.read(folder)["cells"]
    if (c["layer"], c["noise_level"]) == (3, 0.2)
  ]
  assert rows[-1]["test"] == cell["test"]["abs_rel"]["value"]
  spec = whole.numbers["figures"]["budget"]["depth"]["series"][0]
  assert spec["value"] == [r["test"] for r in rows]


def test_distances_are_those_of_generation(whole):
  rows = whole.numbers["tables"]["generation"]
  assert len(rows) == 8
  for row in rows:
    apart = 3000 if row["model"] == "video" else 2000
    assert row["frechet_frames"] == pytest.approx(5 + apart / row["step"])
    assert (row["frechet_clips"] is None) == (row["model"] == "image")
    assert row["kernel_frames_floor"] == 1.5
  specs = whole.numbers["figures"]["frechet"]
  assert [len(specs[of]["series"]) for of in ("frames", "clips")] == [3, 2]
  assert "frames: patches, Not Inception" in whole.page


def test_what_is_missing_is_said(half):
  assert "No earlier checkpoint has been evaluated yet" in half.page
  assert "budget" not in half.numbers["figures"]
  # The names of what is waiting.
  assert "generation-image-tiny-0-50 (waiting)" in half.page


def test_one_size_says_nothing_of_others(whole):
  assert "This study has one size, tiny" in whole.page


def test_sizes_are_beside_each_other(tmp_path):
  waiting = ("data", "train", "every_frame", "budget", "generation", "look")
  fake_study.make(tmp_path, sizes=("tiny", "small"), waiting=waiting)
  study = study_lib.Study(tmp_path)
  rows = {
    size: scores.headline({"depth": scores.gather(study, size)["depth"]})
    for size in ("tiny", "small")
  }
  section = growth.sizes(study, rows)
  figure, table = section.parts
  assert "2 sizes: tiny and small" in section.lead
  spec = figure.specs["depth"]
  assert spec["categories"] == ["tiny", "small"]
  assert spec["series"][0]["value"] == [r["video"] for r in table.rows]
  none = growth.sizes(study, {"tiny": [], "small": []})
  assert "no task has" in none.parts[0].text
