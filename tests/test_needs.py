"""What tests need: skipped without it, but never in CI."""

import pathlib

import pytest

from tests import needs

ROOT = pathlib.Path(__file__).parent


def test_in_ci_a_missing_reference_is_an_error(monkeypatch):
  monkeypatch.setattr(needs, "IN_CI", False)
  with pytest.raises(pytest.skip.Exception, match="no_such.*dev,metrics"):
    needs.reference("no_such_module")
  monkeypatch.setattr(needs, "IN_CI", True)
  with pytest.raises(ModuleNotFoundError, match="no_such"):
    needs.reference("no_such_module")


def test_metrics_are_compared_in_no_other_way():
  paths = sorted((ROOT / "metrics").glob("test_*.py"))
  assert len(paths) > 5
  assert not [p.name for p in paths if "importorskip" in p.read_text()]
