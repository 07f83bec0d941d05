"""The verb: where it reads, where it writes, what it refuses."""

import pytest

from configs import report as report_config
from vdr import report
from vdr.runtime import errors


def config(**fields):
  cfg = report_config.get_config("debug")
  with cfg.unlocked():
    cfg.report.update(fields)
  return cfg


@pytest.fixture
def written(monkeypatch):
  calls = []
  monkeypatch.setattr(report, "write", lambda *args: calls.append(args))
  return calls


def test_a_named_study_is_read_and_the_work_directory_written(
  tmp_path, written
):
  study, out = tmp_path / "study", tmp_path / "study" / "report"
  report.run(config(study=str(study)), out)
  assert written == [(study, out, 40, 15.0)]


def test_without_a_name_the_work_directory_is_the_study(tmp_path, written):
  report.run(config(max_mb=3.0), tmp_path)
  assert written == [(tmp_path, tmp_path / "report", 40, 3.0)]


def test_a_study_can_not_be_its_own_report(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match="is --workdir itself"):
    report.run(config(study="."), tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_what_is_no_study_leaves_nothing(tmp_path):
  with pytest.raises(errors.UserError, match="there is no .*study.json"):
    report.run(config(), tmp_path)
  assert list(tmp_path.iterdir()) == []
