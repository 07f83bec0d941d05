"""Workers: their number, and their end when their parent is killed."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from vdr.runtime import errors, processes


def test_minus_one_is_every_usable_core():
  assert processes.resolve(-1) == processes.usable_cores() >= 1
  assert processes.resolve(0) == 0
  assert processes.resolve(3) == 3


def test_what_no_memory_holds_is_refused(monkeypatch):
  monkeypatch.setattr(processes, "memory_bytes", lambda: 2 * 10**9)
  processes.check_memory(2 * 10**9, "n=4 clips", "use fewer")
  with pytest.raises(errors.UserError) as caught:
    processes.check_memory(3 * 10**9, "n=6 clips", "use fewer")
  assert str(caught.value) == (
    "n=6 clips take 3 GB, and this machine has 2 GB of memory; use fewer"
  )


def test_outside_of_multiprocessing_there_is_no_parent_to_wait_for():
  processes.exit_with_parent()  # must not end the test's own process


PARENT = """
  import multiprocessing, time
  from vdr.runtime import processes

  def work():
    processes.exit_with_parent()
    time.sleep(600)

  if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start()
    print(child.pid, flush=True)
    time.sleep(600)
"""


def test_a_worker_ends_when_its_parent_is_killed(tmp_path):
  script = tmp_path / "parent.py"
  script.write_text(textwrap.dedent(PARENT))
  with subprocess.Popen(
    [sys.executable, str(script)],
    stdout=subprocess.PIPE,
    env=os.environ | {"PYTHONPATH": os.getcwd()},
    text=True,
  ) as parent:
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.send_signal(signal.SIGKILL)
  deadline = time.monotonic() + 60
  while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
    assert time.monotonic() < deadline, "the worker outlived its parent"
    time.sleep(0.05)
