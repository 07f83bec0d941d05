"""Workers start everywhere, never linger, and their end is no hang."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from tests.data import fakes
from vdr.runtime import errors


def test_a_killed_worker_is_an_error_and_not_a_hang():
  batches = fakes.make(fakes.Killed(20), workers=1, shuffle=False)
  with pytest.raises(errors.UserError, match="memory"):
    fakes.take(
      batches, 5
    )  # batch 0 may be lost too: the kill can come before it


def test_a_bug_in_a_worker_reaches_the_consumer_with_its_clip():
  for num_workers in (0, 1):
    batches = fakes.make(fakes.Buggy(20), workers=num_workers, shuffle=False)
    with pytest.raises(KeyError, match="a bug") as caught:
      fakes.take(batches, 5)
    assert any("clip5" in note for note in caught.value.__notes__)


def test_clips_without_pixels_come_out_of_workers_as_out_of_threads():
  there, here = (
    fakes.take(fakes.make(fakes.Stored(20), workers=n), 2) for n in (1, 0)
  )
  fakes.assert_same(there, here)


SCRIPT = """
from tests.data import fakes
from vdr.data import schema
with fakes.make(fakes.Pid(20), workers=1) as batches:
  print(schema.untext(next(batches)["caption"][0]), flush=True)
  {then}
"""


def script(then):
  return subprocess.Popen(
    [sys.executable, "-c", SCRIPT.format(then=then)],
    cwd=pathlib.Path(__file__).resolve().parents[2],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_workers_start_where_no_flags_were_parsed_and_leave_nothing_behind():
  process = script("pass")
  out, err = process.communicate(timeout=100)
  assert process.returncode == 0, err
  assert int(out) != process.pid and err == ""


def test_workers_die_with_a_killed_parent():
  process = script("import time; time.sleep(100)")
  assert process.stdout is not None
  worker = int(process.stdout.readline())
  os.kill(worker, 0)  # alive
  process.kill()
  process.communicate()
  for _ in range(300):
    if not is_running(worker):
      break
    time.sleep(0.1)
  assert not is_running(worker)


def is_running(pid):
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rpartition(")")[2].split()[0] != "Z"
  except FileNotFoundError:
    return False
