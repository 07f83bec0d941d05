"""Section 1: what is said is what was found."""

import pytest

from vdr.report import headline


def row(title, verdict, seeds=1):
  return {
    "title": title,
    "verdict": verdict,
    "by_seed": [{}] * seeds,
    "caution": None,
  }


@pytest.mark.parametrize(
  ("verdicts", "expected"),
  [
    ([], "Nothing has been measured"),
    (["missing"], "Nothing has been measured"),
    (["above", "above"], "clear of zero, on task 0 and task 1: every task"),
    (["above", "unclear"], "on task 0. Not on task 1, where no gain is shown."),
    (["unclear"], "On no task is the video model above"),
    (["below"], "The image model is above on task 0."),
    (["above", "missing"], "Not measured yet: task 1."),
  ],
)
def test_the_sentence_says_what_held_and_what_did_not(verdicts, expected):
  rows = [row(f"task {i}", verdict) for i, verdict in enumerate(verdicts)]
  assert expected in headline.verdict(rows)


def test_one_seed_is_said_to_be_one():
  assert "One pretraining seed" in headline.covers([row("a", "above")])
  assert "2 pretraining seeds" in headline.covers([row("a", "above", 2)])


def test_a_tie_is_told_on_the_page(whole):
  unclear = [
    row["title"]
    for row in whole.numbers["headline"]
    if row["verdict"] == "unclear"
  ]
  assert unclear[-1] == "box tracking" and len(unclear) < 3
  assert f" Not on {' and '.join(unclear)}, where no gain" in whole.page
  (tile,) = [
    t
    for t in headline.tiles(whole.numbers["headline"])
    if t.title == "box tracking"
  ]
  assert (tile.value, tile.says) == (
    "0.0\N{NO-BREAK SPACE}%",
    "no clear difference",
  )


def test_bars_have_the_gains_and_the_papers(whole):
  numbers = whole.numbers
  spec = numbers["figures"]["gain"][""]
  ours, papers = spec["series"]
  assert ours["value"] == [r["gain"]["value"] for r in numbers["headline"]]
  assert ours["low"] == [r["gain"]["low"] for r in numbers["headline"]]
  assert papers["value"] == [0.018, 0.42, 0.16, 0.60, 0.68, 0.23]
  assert papers["note"][1] == "Something-Something v2"


@pytest.mark.parametrize(
  ("high", "expected"),
  [(0.7, (-0.2, 0.7)), (25.0, (-0.2, 0.9))],  # whole; cut at 1.5 x .6
)
def test_an_interval_without_end_leaves_the_picture(high, expected):
  ours = {"value": [0.4, None], "low": [-0.2, None], "high": [high, None]}
  low, high = headline._limits([ours, {"value": [None, 0.6]}])
  margin = 0.05 * (expected[1] - expected[0])
  assert (low, high) == pytest.approx(
    (expected[0] - margin, expected[1] + margin)
  )


def test_without_any_gain_there_is_an_axis():
  none = {"value": [None], "low": [None], "high": [None]}
  low, high = headline._limits([none, {"value": [None]}])
  assert low < 0 < high


def test_the_radar_goes_from_chance_to_the_better_model(whole):
  numbers = whole.numbers
  image, video = numbers["figures"]["radar"][""]["series"]
  for i, found in enumerate(numbers["headline"]):
    above = {
      k: abs(found[k]["value"] - found["chance"]) for k in ("image", "video")
    }
    most = max(above.values())
    assert image["value"][i] == pytest.approx(above["image"] / most)
    assert video["value"][i] == pytest.approx(above["video"] / most)


def test_every_control_is_in_the_table(whole):
  rows = whole.numbers["tables"]["scores"]
  assert len(rows) == 12
  for found in rows:
    known = {n for n in headline.CONTROLS if found[n] is not None}
    of_clips = {"isolated", "shuffled", "frozen", "frame"}
    expected = set(headline.CONTROLS)
    assert known == expected - (of_clips if found["task"] == "shape" else set())


def test_what_is_not_measured_is_named(half):
  numbers = half.numbers
  assert {r["verdict"] for r in numbers["headline"]} == {"missing"}
  assert "No task has a result of both models yet" in half.page
  assert len(numbers["tables"]["scores"]) == 12
  assert set(numbers["figures"]).isdisjoint({"gain", "radar"})
  assert "main-image-tiny-0 (waiting)" in half.page
