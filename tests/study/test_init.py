"""The whole verb, on verbs that take no time; and, slow, on the real ones."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from configs import study as study_config
from tests import many_hosts
from vdr import report, results, study, verbs
from vdr.runtime import errors, launcher
from vdr.runtime.code import Code

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Nothing:
  SECTIONS = ("evaluate",)

  def __init__(self):
    self.jobs = []

  def run(self, config, workdir):
    self.jobs.append(config.job)
    pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def nothing(monkeypatch):
  fake = Nothing()
  monkeypatch.setattr(verbs, "module", lambda job: fake)
  monkeypatch.setattr(verbs, "code", lambda job: Code({}, {}))
  monkeypatch.setattr(
    report, "write", lambda where, out: out.mkdir(exist_ok=True)
  )
  return fake


def test_a_plan_alone_leaves_nothing(nothing, tmp_path, capsys):
  cfg = study_config.get_config("debug")
  cfg.dry_run = True
  study.run(cfg, tmp_path / "study")
  assert not (tmp_path / "study").exists() and not nothing.jobs
  assert "cells to run: about" in capsys.readouterr().out


def test_all_verbs_run_and_then_the_report(nothing, tmp_path):
  cfg = study_config.get_config("debug")
  cfg.runner.kind = "here"
  study.run(cfg, tmp_path)
  assert nothing.jobs[0] == "physics"
  assert {"tokenizer", "train", "evaluate"} <= set(nothing.jobs)
  assert (tmp_path / "report").is_dir()
  told = json.loads((tmp_path / "study.json").read_text())
  assert {cell["state"] for cell in told["cells"]} == {"finished"}
  kinds = {m["kind"]: m["cell"] for m in told["models"]}
  assert set(kinds) == {"video", "image"}


def test_a_failure_is_one_line_and_still_gets_a_report(
  nothing, tmp_path, monkeypatch
):
  def fail(config, workdir):
    if config.job == "train":
      raise errors.UserError("too large")

  monkeypatch.setattr(nothing, "run", fail)
  with pytest.raises(errors.UserError, match="train-.*too large.*more failed"):
    cfg = study_config.get_config("debug")
    cfg.runner.kind = "here"
    study.run(cfg, tmp_path)
  assert (tmp_path / "report").is_dir()


def test_several_hosts_need_a_runner_for_several(
  nothing, monkeypatch, tmp_path
):
  cfg = study_config.get_config("debug")
  cfg.runner.kind = "processes"
  with pytest.raises(errors.UserError, match="processes is for one host"):
    many_hosts.run(
      monkeypatch, 2, lambda index: study.run(cfg, tmp_path / "no")
    )
  assert not (tmp_path / "no").exists()


def test_several_hosts_run_it_together(nothing, monkeypatch, tmp_path):
  cfg = study_config.get_config("debug")
  cfg.runner.kind = "here"
  many_hosts.run(monkeypatch, 2, lambda index: study.run(cfg, tmp_path))
  assert (tmp_path / "report").is_dir()
  told = json.loads((tmp_path / "study.json").read_text())
  for job in {cell["job"] for cell in told["cells"]}:
    each = 2 if job in verbs.SHARED else 1
    cells = [cell for cell in told["cells"] if cell["job"] == job]
    assert nothing.jobs.count(job) == each * len(cells), job


def test_a_strange_directory_is_refused(nothing, tmp_path):
  (tmp_path / "thesis.tex").touch()
  with pytest.raises(errors.UserError, match="thesis.tex"):
    study.run(study_config.get_config("debug"), tmp_path)


def start(path, *options):
  return subprocess.Popen(
    [
      sys.executable,
      "-m",
      "vdr.main",
      f"--config={ROOT}/configs/study.py:debug",
      f"--workdir={path}",
      *(options or ("--config.runner.kind=here",)),
    ],
    cwd=ROOT,
    start_new_session=True,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(process):
  _, told = process.communicate(timeout=600)
  assert process.returncode == 0, told


def found(path):
  """All scores of a study: clips' parts, by folder and name."""
  scores = {}
  for file in sorted(path.glob("cells/*/*/clips.npz")):
    for name, runs in results.read_clips(file.parent).runs.items():
      key = (file.parent.parent.name, file.parent.name, name)
      scores[key] = [(r.numerator, r.denominator) for r in runs]
  assert scores
  return scores


def same(one, other, tolerance=0.0):
  assert one.keys() == other.keys()
  for key, runs in one.items():
    for ours, theirs in zip(runs, other[key], strict=True):
      for x, y in zip(ours, theirs, strict=True):
        if tolerance:
          assert abs(x - y).max() <= tolerance * max(abs(y).max(), 1), key
        else:
          assert (x == y).all(), key


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
  path = tmp_path_factory.mktemp("unbroken") / "study"
  finish(start(path))
  return found(path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_five_times_it_comes_to_the_same(unbroken, tmp_path):
  path, rng = tmp_path / "study", random.Random(0)
  for _ in range(5):
    process = start(path)
    time.sleep(rng.uniform(4, 30))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
  finish(start(path))
  same(found(path), unbroken)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
  "options",
  [
    ("--config.runner.kind=processes",),
    ("--config.runner.kind=submitit", "--config.runner.submitit.cluster=local"),
  ],
  ids=["processes", "submitit"],
)
def test_two_processes_come_to_the_same(unbroken, tmp_path, options):
  """One of them killed midway: a second call completes the rest."""
  if "submitit" in options[0]:
    pytest.importorskip("submitit")
  path = tmp_path / "study"
  process = start(path, *options)
  deadline = time.time() + 120
  while not list(path.glob("cells/train-*/.lock")) and time.time() < deadline:
    time.sleep(0.2)
  (lock, *_) = path.glob("cells/train-*/.lock")
  os.kill(int(lock.read_text()), signal.SIGKILL)
  process.communicate(timeout=600)
  finish(start(path, *options))
  # Processes have other numbers of cores: equal but for rounding.
  same(found(path), unbroken, tolerance=2e-2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hosts_come_to_the_same(unbroken, tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  words = (
    *(f"--config={ROOT}/configs/study.py:debug", f"--workdir={tmp_path}"),
    *("--config.runner.kind=here", "--config.hosts.heartbeat_s=60"),
  )
  assert launcher.launch(words, 2) == 0
  assert (tmp_path / "report" / "index.html").exists()
  evaluated = results.read(
    next(tmp_path.glob("cells/main-*/*/result.json")).parent
  )
  assert evaluated["versions"]["process_count"] == 2
  # Sums over hosts are in another order: equal but for rounding.
  same(found(tmp_path), unbroken, tolerance=2e-2)
