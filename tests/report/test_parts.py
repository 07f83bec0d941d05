"""Figures know their files, rows their intervals."""

from vdr.report import parts


def test_files_are_named_after_selections():
  specs = {"a|x": {"kind": "dots"}, "a|y": {"kind": "lines"}}
  figure = parts.Figure("name", "", "", specs)
  assert list(figure.files()) == ["name-a-x", "name-a-y"]
  figure = parts.Figure("name", "", "", specs, drawn=("a|y",))
  assert figure.files() == {"name-a-y": {"kind": "lines"}}
  alone = parts.Figure("name", "", "", {"": {"kind": "bars"}})
  assert list(alone.files()) == ["name"]


def test_an_estimate_is_three_fields():
  found = {"value": 1.0, "low": 0.5, "high": 2.0, "p_value": 0.1}
  expected = {"x": 1.0, "x_low": 0.5, "x_high": 2.0}
  assert parts.estimate(found, "x") == expected
  assert parts.estimate(None, "x") == dict.fromkeys(expected)


def test_a_series_is_on_the_scale_of_its_axis():
  rows = [{"metric": "top_1", **parts.estimate({"value": 0.5}, "x")}]
  assert parts.ends(rows, "x") == {
    "value": [50.0],
    "low": [None],
    "high": [None],
  }


def test_a_score_has_its_interval_beside_it():
  found = {"value": -0.5, "low": -0.6, "high": 0.25}
  row = {"metric": "iou", "title": "boxes", **parts.estimate(found, "x")}
  column = parts.scored("x", "score", True)
  assert column.show(row) == "−0.500"
  assert column.note is not None and column.note(row) == "−0.600 to +0.250"
  task = parts.task_column()
  assert (task.show(row), task.note and task.note(row)) == ("boxes", "IoU")
