"""Result files are checked both ways."""

import json

import pytest

from vdr.runtime import errors, schemas


@pytest.fixture
def schema(tmp_path):
  path = tmp_path / "schema.json"
  path.write_text(
    json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}})
  )
  return schemas.Schema(path, "count")


def test_what_is_written_is_read(schema, tmp_path):
  schema.write(tmp_path / "a.json", {"n": 3})
  assert schema.read(tmp_path / "a.json") == {"n": 3}


@pytest.mark.parametrize("tree", [{"n": "three"}, {"x": float("nan")}])
def test_what_does_not_fit_is_not_written(schema, tmp_path, tree):
  with pytest.raises(ValueError):
    schema.write(tmp_path / "a.json", tree)
  assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (None, "there is no .*a.json .*; run the verb count"),
    ("{", "no result of this version .*run the verb count again"),
    ('{"n": "three"}', "'three' is not of type 'integer'"),
  ],
)
def test_what_can_not_be_read_is_one_line(schema, tmp_path, text, message):
  if text is not None:
    (tmp_path / "a.json").write_text(text)
  with pytest.raises(errors.UserError, match=message):
    schema.read(tmp_path / "a.json")
