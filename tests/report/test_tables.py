"""Tables as files: all digits for programs, few for people."""

import csv
import io
import json

from vdr.report import parts, tables

TABLE = parts.Table(
  "scores",
  "Scores",
  "A caption.",
  [
    parts.Column("task", lambda r: r["task"], None, False),
    parts.scored("test", "test | split"),
  ],
  [
    {"task": "a, b", "metric": "top_1", "test": 1 / 3, "test_low": 0.1}
    | {"test_high": 0.5},
    {"task": "c", "metric": "iou", "test": None, "test_low": None}
    | {"test_high": None},
  ],
)


def test_csv_and_json_have_all_digits():
  rows = list(csv.DictReader(io.StringIO(tables.to_csv(TABLE))))
  assert float(rows[0]["test"]) == 1 / 3
  assert (rows[0]["task"], rows[1]["test"]) == ("a, b", "")
  assert json.loads(tables.to_json(TABLE))["rows"] == list(TABLE.rows)


def test_markdown_is_what_people_see():
  lines = tables.to_markdown(TABLE).splitlines()
  assert lines[0] == "# Scores"
  assert lines[2] == "A caption."
  assert lines[4:] == [
    "| task | test \\| split |",
    "| --- | ---: |",
    "| a, b | 33.3 (10.0 to 50.0) |",
    "| c | – (–) |",
  ]


def test_three_files_are_written(tmp_path):
  tables.write(tmp_path, TABLE)
  found = sorted(path.name for path in tmp_path.iterdir())
  assert found == ["scores.csv", "scores.json", "scores.md"]
