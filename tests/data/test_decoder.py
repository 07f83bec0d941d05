"""Decoding in child processes: killed, restarted, shared and left behind."""

import concurrent.futures
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from tests.data import numbered
from vdr.data import decoder, source

FAST = {"preset": "ultrafast", "crf": "18"}


@pytest.fixture(autouse=True)
def fresh_pool():
  decoder.close()
  yield
  decoder.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
  folder = tmp_path_factory.mktemp("videos")
  return str(numbered.write(folder / "a.mp4", 30, options=FAST))


def whole(indices):
  """A plan that reads these frames as they are."""

  def plan(video: decoder.Video) -> decoder.Request:
    return decoder.Request(
      indices=np.asarray(indices),
      box=(0, 0, video.stored_height, video.stored_width),
      height=video.height,
      width=video.width,
    )

  return plan


def numbers(path, indices, timeout_s=60.0) -> list[int]:
  frames, _ = decoder.decode(path, whole(indices), timeout_s)
  return [numbered.number_of(frame) for frame in frames]


def children() -> list[int]:
  found = psutil.Process().children()
  return [p.pid for p in found if "vdr.data.decode_child" in p.cmdline()]


def wait_until(condition) -> None:
  """Returns when it holds; the test's own time limit is the only one."""
  while not condition():
    time.sleep(0.05)


def test_frames_and_times_come_back(path):
  frames, times_s = decoder.decode(path, whole([3, 29, 3]), 60.0)
  assert [numbered.number_of(f) for f in frames] == [3, 29, 3]
  np.testing.assert_allclose(times_s, np.array([3, 29, 3]) / 25)


def test_results_are_not_overwritten_by_later_ones(path):
  first, _ = decoder.decode(path, whole([1]), 60.0)
  numbers(path, [2])
  assert numbered.number_of(first[0]) == 1


def test_nothing_starts_before_it_is_needed():
  decoder.pool()
  assert children() == []


def test_one_child_serves_one_thread(path):
  for k in range(5):
    assert numbers(path, [k]) == [k]
  assert len(children()) == 1


def test_a_hanging_decode_is_killed_and_the_next_one_works(path):
  assert numbers(path, [1]) == [1]
  (child,) = children()
  os.kill(child, signal.SIGSTOP)
  with pytest.raises(source.BadClipError, match="too long"):
    numbers(path, [2], timeout_s=0.2)
  assert not psutil.pid_exists(child)
  assert numbers(path, [3]) == [3]


def test_a_crashing_decoder_is_a_bad_clip(path):
  def plan(video):
    os.kill(child, signal.SIGSEGV)
    return whole([0])(video)

  numbers(path, [0])
  (child,) = children()
  with pytest.raises(source.BadClipError, match="crashed"):
    decoder.decode(path, plan, 60.0)
  assert numbers(path, [4]) == [4]


def test_a_child_killed_while_idle_is_replaced(path):
  numbers(path, [0])
  (child,) = children()
  os.kill(child, signal.SIGKILL)
  os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
  assert numbers(path, [5]) == [5]


def test_bad_files_do_not_cost_the_child(path, tmp_path):
  bad = tmp_path / "bad.mp4"
  bad.write_bytes(b"nothing")
  numbers(path, [0])
  before = children()
  for name in (bad, tmp_path / "missing.mp4", tmp_path):
    with pytest.raises(source.BadClipError):
      numbers(str(name), [0])
  assert numbers(path, [6]) == [6]
  assert children() == before


def test_mistakes_in_the_child_are_no_bad_clips(path):
  with pytest.raises(RuntimeError, match="IndexError"):
    numbers(path, [99])
  assert numbers(path, [7]) == [7]


def test_a_plan_that_fails_leaves_nothing_in_the_pipe(path):
  def plan(video):
    raise KeyError("mine")

  with pytest.raises(KeyError, match="mine"):
    decoder.decode(path, plan, 60.0)
  assert numbers(path, [8]) == [8]


def test_a_child_that_can_not_start_is_no_bad_clip(monkeypatch, path):
  monkeypatch.setattr(sys, "executable", "/bin/false")
  with pytest.raises(RuntimeError, match="does not start"):
    numbers(path, [0])


def test_threads_share_a_few_children(path):
  limit = decoder.pool().limit
  with concurrent.futures.ThreadPoolExecutor(4 * limit) as threads:
    got = list(threads.map(lambda k: numbers(path, [k]), range(24)))
  assert got == [[k] for k in range(24)]
  assert 1 <= len(children()) <= limit


def in_worker(path: str) -> tuple[list[int], list[int]]:
  return numbers(path, [9, 2]), children()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_have_their_own(path, method):
  assert numbers(path, [1]) == [1]
  (mine,) = children()
  context = multiprocessing.get_context(method)
  receiver, sender = context.Pipe(duplex=False)
  worker = context.Process(target=_work, args=(sender, path), daemon=True)
  worker.start()
  got, theirs = receiver.recv()
  assert got == [9, 2]
  assert len(theirs) == 1 and theirs != [mine]
  worker.join()
  assert numbers(path, [2]) == [2]
  assert children() == [mine]
  wait_until(lambda: not _runs(theirs[0]))


def _work(sender, path):
  sender.send(in_worker(path))


def _runs(pid: int) -> bool:
  try:
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
  except psutil.NoSuchProcess:
    return False


def test_children_die_with_a_killed_parent(path):
  code = (
    "import sys, time; from tests.data import test_decoder as t\n"
    "t.numbers(sys.argv[1], [0]); print(*t.children(), flush=True)\n"
    "time.sleep(600)"
  )
  parent = subprocess.Popen(
    [sys.executable, "-c", code, path],
    stdout=subprocess.PIPE,
    text=True,
    cwd=pathlib.Path(__file__).parents[2],
  )
  assert parent.stdout
  child = int(parent.stdout.readline())
  # Stopped, it sees neither the end of its input nor anything else at first.
  os.kill(child, signal.SIGSTOP)
  parent.kill()
  parent.wait()
  parent.stdout.close()
  os.kill(child, signal.SIGCONT)
  wait_until(lambda: not _runs(child))


def test_close_ends_the_children(path):
  numbers(path, [0])
  decoder.close()
  assert children() == []


def test_memory_does_not_grow(path):
  numbers(path, list(range(30)))
  (child,) = children()
  process = psutil.Process(child)

  def cycle():
    for k in range(60):
      numbers(path, [k % 30, 29])

  cycle()
  before = process.memory_info().rss
  files = process.num_fds()
  for _ in range(4):
    cycle()
  # A leaked frame a read would be 240 * 2 * 37 KB = 18 MB.
  assert process.memory_info().rss - before < 6e6
  assert process.num_fds() == files


def test_signals_of_the_terminal_are_the_parents_business(path):
  numbers(path, [0])
  (child,) = children()
  os.kill(child, signal.SIGINT)
  assert numbers(path, [1]) == [1]
  assert children() == [child]


def test_waiting_threads_get_their_turn(path, monkeypatch):
  monkeypatch.setattr(decoder, "_pool", decoder.Pool(limit=1))
  threads = [
    threading.Thread(target=numbers, args=(path, [k])) for k in range(4)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(children()) == 1
  decoder.close()
