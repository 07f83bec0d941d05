"""Tables between marks replace what stood there, and nothing else."""

import pytest

from benchmarks import __main__ as command
from benchmarks import documents


def test_lines_replace_what_stood_between_the_marks():
  mark, end = documents.mark("x"), documents.END
  text = f"above\n\n{mark}\nold\n{end}\n\nbelow {end}\n"
  new = documents.filled(text, "x", ["| a |", "|---|"])
  assert new == f"above\n\n{mark}\n\n| a |\n|---|\n\n{end}\n\nbelow {end}\n"
  assert documents.filled(new, "x", ["| a |", "|---|"]) == new


@pytest.mark.parametrize("text", ["", "<!-- end -->", "<!-- made by x -->"])
def test_without_marks_it_is_an_error(text):
  with pytest.raises(ValueError, match="no <!-- made by x -->"):
    documents.filled(text, "x", [])


def test_the_document_has_the_marks_of_the_command():
  text = command.DOCUMENT.read_text()
  assert "new line" in documents.filled(text, command.COMMAND, ["new line"])


def test_rows_that_failed_are_in_the_table():
  line = {"what": "x", "value": 2.0, "least": 1.0, "most": 3.0, "at_least": 1.0}
  found = {"good": {"comparisons": [line]}, "bad": {"error": "said why"}}
  assert command.table(found).splitlines()[2:] == [
    "| good | x | 2 | 1 to 3 | ≥ 1.00 | yes |",
    "| bad | failed |  |  |  |  |",
  ]
