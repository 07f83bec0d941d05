"""What benchmarks make of times: turns, medians, targets, tables."""

import json

import pytest
from absl import flags
from absl.testing import flagsaver

from benchmarks import turns


@pytest.fixture(autouse=True)
def flags_are_parsed():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


def ways(called):
  def way(name):
    def run():
      called.append(name)
      return len(called)

    return run

  return {name: way(name) for name in "abc"}


def test_ways_take_turns_and_every_second_round_is_reversed():
  called = []
  found = turns.take(ways(called), 2)
  assert "".join(called) == "abccba"
  assert found == {"a": [1, 6], "b": [2, 5], "c": [3, 4]}


def test_beside_pairs_each_way_with_the_reference_next_to_it():
  called = []
  own = ways(called)
  reference = own.pop("c")
  found = turns.beside(own, reference, 2)
  assert "".join(called) == "acbc" + "cacb"
  # (own, reference), whichever came first.
  assert found == {"a": [(1, 2), (6, 5)], "b": [(3, 4), (8, 7)]}


def test_ratios_are_taken_within_a_round():
  # The machine was half as fast in the second round; the ratio is the same.
  assert turns.ratios([1.0, 2.0], [4.0, 8.0]) == [0.25, 0.25]
  with pytest.raises(ValueError):
    turns.ratios([1.0], [1.0, 2.0])


def test_a_spread_is_median_least_and_most():
  assert turns.spread(x for x in (5.0, 1.0, 2.0)) == (2.0, 1.0, 5.0)
  times = [turns.Seconds(1, 9), turns.Seconds(2, 8), turns.Seconds(9, 1)]
  assert turns.medians(times) == turns.Seconds(2, 8)


def test_repeat_leaves_out_the_first_step_and_waits_for_the_last():
  now, pending, steps = [0.0], [], []

  def step():
    steps.append(None)
    pending.append(4.0 if len(steps) == 1 else 1.0)  # the first wakes threads
    return len(steps)

  def wait(result):
    assert result == len(steps)
    now[0] += sum(pending)
    pending.clear()

  assert turns.repeat(step, wait, 20.0, lambda: now[0]) == 1.0
  assert len(steps) == 1 + 5


@pytest.mark.parametrize(
  ("target", "value", "words", "held"),
  [
    ({"at_least": 1.2}, 1.2, "≥ 1.20", "yes"),
    ({"at_least": 1.2}, 1.19, "≥ 1.20", "no"),
    ({"at_most": 0.5}, 0.4, "≤ 0.50", "yes"),
    ({"at_most": 0.5}, 0.6, "≤ 0.50", "no"),
    ({"at_least": 1.0, "at_most": 2.0}, 3.0, "≥ 1.00, ≤ 2.00", "no"),
    ({"at_least": 1.0}, float("nan"), "≥ 1.00", "no"),
    ({}, 3.0, "", ""),
  ],
)
def test_a_target_is_held_by_the_median(target, value, words, held):
  line = turns.Comparison("x", value, value - 1, value + 1, **target)
  assert (line.target, line.held) == (words, held)


def test_a_comparison_as_cells():
  line = turns.Comparison.of("x", [1234.5, 0.12345, 2.0], unit="s")
  assert line.cells() == ["x", "2 s", "0.123 to 1,234", "", ""]


def test_a_table_is_markdown():
  assert turns.table(("a", "b"), [(1, "x"), (2, "y")]).splitlines() == [
    "| a | b |",
    "|---|---|",
    "| 1 | x |",
    "| 2 | y |",
  ]


def test_sides_that_differ_are_not_compared():
  assert turns.check("x", [1.0, 2.0], [1.0, 2.5], 0.5) == 0.5
  for wrong in (2.6, float("nan")):
    with pytest.raises(SystemExit, match="can't be compared"):
      turns.check("x", [1.0, 2.0], [1.0, wrong], 0.5)


def test_figures_are_written_where_asked(tmp_path):
  path = tmp_path / "figures.json"
  turns.write([])  # nowhere
  line = turns.Comparison("x", 1.0, 0.5, 2.0, at_least=1.0)
  with flagsaver.flagsaver(json=str(path)):
    turns.write([line], {"seconds": [1.0]})
  found = json.loads(path.read_text())
  assert turns.Comparison(**found["comparisons"][0]) == line
  assert found["about"] == {"seconds": [1.0]}
  assert found["versions"]["jax"] and found["cores"] >= 1
