"""From a shell: help, exit status, and one line for every mistake."""

import pathlib
import re
import subprocess
import sys

import pytest

from vdr import main
from vdr.runtime import errors

ROOT = pathlib.Path(__file__).resolve().parents[1]
PHYSICS = f"--config={ROOT}/configs/physics.py"


def shell(*args, cwd=ROOT):
  """Starts `python -m vdr.main` as a person does."""
  return subprocess.run(
    [sys.executable, "-m", "vdr.main", *map(str, args)],
    capture_output=True,
    text=True,
    cwd=cwd,
    timeout=60,
  )


def call(*args):
  return main.main(["vdr", *map(str, args)])


@pytest.fixture
def started(monkeypatch):
  """Replaces the verbs by one that notes how it was called."""
  calls = []
  monkeypatch.setattr(main, "_verb", lambda job: lambda *a: calls.append(a))
  return calls


def test_help_is_short_and_names_every_verb():
  done = shell("--help")
  assert done.returncode == 0
  assert done.stderr == ""
  lines = done.stdout.splitlines()
  assert len(lines) < 40
  assert all(len(line) <= 80 for line in lines)
  for job in main.JOBS:
    assert f"\n  {job} " in done.stdout


@pytest.mark.parametrize("option", ["-h", "--helpfull"])
def test_other_words_for_help(option, capsys):
  assert call(PHYSICS, option) == 0
  assert capsys.readouterr().out.startswith("vdr:")


def test_a_mistake_is_one_line_and_status_2_in_a_shell(tmp_path):
  done = shell(PHYSICS, f"--workdir={tmp_path}", "--config.physics.fsp=3")
  assert done.returncode == 2
  assert done.stdout == ""
  assert done.stderr == (
    "vdr: --config.physics.fsp: config.physics has no field 'fsp'; did you"
    " mean config.physics.fps?\n"
  )


def test_it_starts_from_any_directory(tmp_path):
  done = shell(PHYSICS, "--workdir=x", "--config.job=no", cwd=tmp_path)
  assert done.returncode == 2
  assert done.stderr.startswith("vdr: config.job='no' is no verb; choose from")
  assert done.stderr.count("\n") == 1
  assert not list(tmp_path.iterdir())


def test_a_mistake_needs_no_heavy_import(tmp_path):
  script = (
    "import sys; from vdr import main;"
    f"main.main(['vdr', {PHYSICS!r}]); print(*sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, "-c", script], capture_output=True, text=True, check=True
  )
  assert not {"jax", "flax", "tensorflow"} & set(done.stdout.split())


def test_it_can_be_called_twice(started):
  assert call(PHYSICS, "--workdir=a", "--config.seed=4") == 0
  assert call(f"{PHYSICS}:debug", "--workdir=b") == 0
  (first, first_dir), (second, second_dir) = started
  assert (first.seed, first_dir) == (4, "a")
  assert (second.seed, second_dir) == (0, "b")


@pytest.mark.parametrize("job", ["", "Physics", "train it"])
def test_an_unknown_verb_names_the_verbs(job, capsys):
  assert call(PHYSICS, "--workdir=x", f"--config.job={job}") == 2
  captured = capsys.readouterr()
  assert captured.err.count("\n") == 1
  assert repr(job) in captured.err
  for known in main.JOBS:
    assert known in captured.err


@pytest.mark.parametrize("job", main.JOBS)
def test_every_verb_is_there(job):
  assert callable(main._verb(job))


def test_what_a_verb_refuses_is_one_line(capsys, monkeypatch):
  def refuse(config, workdir):
    raise errors.UserError("--workdir=x is a file")

  monkeypatch.setattr(main, "_verb", lambda job: refuse)
  assert call(PHYSICS, "--workdir=x") == 2
  assert capsys.readouterr().err == "vdr: --workdir=x is a file\n"


def test_an_interruption_is_one_line(capsys, monkeypatch):
  def interrupt(config, workdir):
    raise KeyboardInterrupt

  monkeypatch.setattr(main, "_verb", lambda job: interrupt)
  assert call(PHYSICS, "--workdir=x") == 130
  assert re.fullmatch(r"vdr: interrupted;.+\n", capsys.readouterr().err)


@pytest.mark.parametrize(("job", "status"), [("physics", 0), ("study", 75)])
def test_who_is_stopped_ends_well_but_for_a_study(
  job, status, capsys, monkeypatch
):
  def stop(config, workdir):
    raise errors.Stopped("stopped after step 3")

  monkeypatch.setattr(main, "_verb", lambda job: stop)
  assert call(PHYSICS, "--workdir=x", f"--config.job={job}") == status
  assert capsys.readouterr().out == "stopped after step 3\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
  def fail(config, workdir):
    raise ZeroDivisionError

  monkeypatch.setattr(main, "_verb", lambda job: fail)
  with pytest.raises(ZeroDivisionError):
    call(PHYSICS, "--workdir=x")


def test_too_little_memory_is_one_line_and_status_2(monkeypatch, capsys):
  def run_out(*args):
    raise MemoryError("Unable to allocate 52.2 TiB")

  monkeypatch.setattr(main, "_verb", lambda job: run_out)
  assert call(PHYSICS, "--workdir=x") == 2
  assert capsys.readouterr().err == f"vdr: {errors.OUT_OF_MEMORY}\n"
