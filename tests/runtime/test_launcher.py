"""Processes of one launcher: what they get, say, and end with."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from vdr.runtime import errors, launcher

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What a launcher starts here instead of vdr: it does what the first word says.
PROGRAM = """\
import os, signal, sys, time
what, options = sys.argv[1], sys.argv[2:]
index = int(options[-1].rpartition("=")[2]) if options else 0
print(*options, flush=True)
if what == "mistake":
  print("vdr: --workdir=x is a file", file=sys.stderr)
  sys.exit(2)
if what == "bug" and index == 0:
  print("Traceback (most recent call last):\\nKeyError: 3", file=sys.stderr)
  sys.exit(1)
if what == "benign":
  print("E1124 cuda_dnn.cc] already registered", file=sys.stderr)
  print("fitting: 3 of 4 clips", file=sys.stderr)
  print("Traceback (most recent call last): of a thread", file=sys.stderr)
if what == "patient":
  signal.signal(signal.SIGTERM, lambda *unused: sys.exit(0))
  print("ready", flush=True)
  time.sleep(60)
if what == "crash":
  os.kill(os.getpid(), signal.SIGSEGV)
if what in ("bug", "killed"):
  if what == "killed" and index == 1:
    os.kill(os.getpid(), signal.SIGKILL)
  time.sleep(0.2)
  print("F1124 client.h:80] Terminating: JAX distributed service detected"
        " fatal errors.\\n*** Check failure stack trace: ***\\n    @ 0x7f3",
        file=sys.stderr, flush=True)
  os.abort()
"""


@pytest.fixture
def launch(monkeypatch, capfd):
  """Runs the program on so many hosts; its status and what was said."""
  monkeypatch.setattr(launcher, "PROGRAM", ("-c", PROGRAM))

  def launch(what, count):
    status = launcher.main(["launcher", f"--processes={count}", "--", what])
    out, said = capfd.readouterr()
    return status, out, said

  return launch


def test_one_process_gets_its_options_and_no_others(monkeypatch, capfd):
  monkeypatch.setattr(launcher, "PROGRAM", ("-c", PROGRAM))
  options = ["--config=c", "--workdir=a b", "--config.hosts.index=0"]
  assert launcher.main(["launcher", "--", "none", *options]) == 0
  assert capfd.readouterr() == (" ".join(options) + "\n", "")


def test_each_of_several_is_told_who_it_is(launch):
  status, out, said = launch("none", 3)
  assert (status, said) == (0, "")
  lines = [line.split() for line in sorted(out.splitlines())]
  assert len({line[0] for line in lines}) == 1
  assert lines[0][0].startswith("--config.hosts.coordinator=localhost:")
  assert [line[1] for line in lines] == ["--config.hosts.count=3"] * 3
  indices = sorted(line[2] for line in lines)
  assert indices == [f"--config.hosts.index={i}" for i in range(3)]


def test_a_mistake_of_all_is_told_once(launch):
  status, _, said = launch("mistake", 3)
  assert (status, said) == (2, "vdr: --workdir=x is a file\n")


def test_what_survivors_say_is_one_line_and_a_file(launch):
  status, _, said = launch("killed", 2)
  assert status == errors.TRY_AGAIN
  assert said.count("\n") == 1
  assert said.startswith(
    "vdr: host 1 of 2 was ended by SIGKILL; the same command goes on"
  )
  path = pathlib.Path(said.rpartition(": ")[2].removesuffix(")\n"))
  assert "Check failure stack trace" in path.read_text()
  path.unlink()


def test_a_survivor_whose_fellows_are_elsewhere_says_so(launch, monkeypatch):
  program = PROGRAM.replace("index == 1", "False")
  monkeypatch.setattr(launcher, "PROGRAM", ("-c", program))
  status, _, said = launch("killed", 1)
  assert status == errors.TRY_AGAIN
  assert said.startswith(f"vdr: {errors.LOST_A_HOST} (last words")
  assert said.count("\n") == 1


def test_the_traceback_of_a_bug_is_shown_and_not_what_follows_from_it(launch):
  status, _, said = launch("bug", 2)
  assert status == 1
  assert said == "Traceback (most recent call last):\nKeyError: 3\n"


def test_a_crash_is_named(launch):
  status, _, said = launch("crash", 1)
  assert status == errors.TRY_AGAIN
  assert said == (
    "vdr: this host was ended by SIGSEGV; the same command goes on\n"
  )


def test_what_a_good_end_says_is_all_shown(launch):
  status, _, said = launch("benign", 1)
  assert status == 0
  assert [line.split()[0] for line in said.splitlines()] == [
    *("E1124", "fitting:", "Traceback")
  ]


def test_one_that_outlives_the_others_is_killed(launch, monkeypatch):
  monkeypatch.setattr(launcher, "GRACE_S", 0.5)
  program = PROGRAM.replace("os.abort()", "time.sleep(60)")
  monkeypatch.setattr(launcher, "PROGRAM", ("-c", program))
  before = time.monotonic()
  status, _, said = launch("killed", 2)
  assert time.monotonic() - before < 30
  assert status == errors.TRY_AGAIN
  assert "was ended by SIGKILL" in said


def test_sigterm_is_passed_on_and_is_not_done():
  script = (
    "import sys; from vdr.runtime import launcher;"
    f"launcher.PROGRAM = ('-c', {PROGRAM!r});"
    "sys.exit(launcher.main(['', '--processes=2', '--', 'patient']))"
  )
  with subprocess.Popen(
    [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
  ) as process:
    assert process.stdout is not None
    ready = 0
    while ready < 2:
      ready += process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == launcher.STOPPED == 143


@pytest.mark.parametrize(
  "words",
  [
    ["--config=c"],
    ["--processes=0", "--"],
    ["--processes=two", "--"],
    ["--processes=2", "--processes=2", "--"],
    [],
  ],
)
def test_a_mistake_is_one_line(words, capfd):
  assert launcher.main(["launcher", *words]) == 2
  _, said = capfd.readouterr()
  assert said.startswith("launcher: use it as python -m vdr.runtime.launcher")
  assert said.count("\n") == 1


@pytest.mark.parametrize(
  "index, how, status",
  [
    (0, "killed", errors.TRY_AGAIN),  # the one where they all meet
    (1, "killed", errors.TRY_AGAIN),
    (1, "failed", 2),
  ],
)
def test_a_lost_host_ends_the_other_within_seconds(
  index, how, status, monkeypatch, capfd
):
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(launcher, "PROGRAM", ("-m", "tests.runtime.on_two_hosts"))
  assert launcher.launch([str(index), how], 2) == status
  out, said = capfd.readouterr()
  assert time.time() - json.loads(out)["lost_s"] < 30
  assert said.count("\n") == 1, said
  if how == "failed":
    assert said == "vdr: too many clips of this host are bad\n"
  else:
    assert f"vdr: host {index} of 2 was ended by SIGKILL" in said
