"""What the decoding process imports, and how it answers."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.data import numbered
from vdr.data import decode_child

FAST = {"preset": "ultrafast", "crf": "18"}


@pytest.fixture
def memory():
  fd = os.memfd_create("test")
  yield fd
  os.close(fd)


def read(indices):
  return {
    "indices": indices,
    "box": [0, 0, numbered.HEIGHT, numbered.WIDTH],
    "height": 24,
    "width": 32,
    "mirrored": False,
  }


def test_it_imports_nothing_heavy():
  code = "import vdr.data.decode_child, sys; print(*sys.modules)"
  out = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  loaded = set(out.stdout.split())
  assert not loaded & {"jax", "grain", "ml_collections", "PIL", "scipy"}


def test_answers_carry_frames_in_shared_memory(tmp_path, memory):
  path = str(numbered.write(tmp_path / "a.mp4", 12, options=FAST))
  server = decode_child.Server(memory)
  answer = server.answer({"open": path})
  assert answer == {
    "num_frames": 12,
    "height": numbered.HEIGHT,
    "width": numbered.WIDTH,
    "stored_height": numbered.HEIGHT,
    "stored_width": numbered.WIDTH,
    "crop_steps": (2, 2),
  }
  times_s = np.frombuffer(os.pread(memory, 12 * 8, 0))
  np.testing.assert_allclose(times_s, np.arange(12) / 25)
  server.answer(read([5, 11]))
  shape = (2, 24, 32, 3)
  raw = os.pread(memory, int(np.prod(shape)), 0)
  frames = np.frombuffer(raw, np.uint8).reshape(shape)
  assert [numbered.number_of(f) for f in frames] == [5, 11]


def test_a_changed_file_is_scanned_again(tmp_path, memory):
  path = tmp_path / "a.mp4"
  server = decode_child.Server(memory)
  for num_frames in (12, 7):
    numbered.write(path, num_frames, options=FAST)
    assert server.answer({"open": str(path)})["num_frames"] == num_frames


def test_scans_are_remembered_but_not_forever(tmp_path, memory, monkeypatch):
  monkeypatch.setattr(decode_child, "_MAX_TABLES", 2)
  paths = [
    str(numbered.write(tmp_path / f"{k}.mp4", 3 + k, options=FAST))
    for k in range(4)
  ]
  server = decode_child.Server(memory)
  for _ in range(2):
    for k, path in enumerate(paths):
      assert server.answer({"open": path})["num_frames"] == 3 + k
  assert len(server._tables) == 2


def test_bad_files_and_mistakes_are_told_apart(tmp_path, memory):
  server = decode_child.Server(memory)
  bad = server.answer({"open": str(tmp_path / "missing.mp4")})
  assert bad == {"bad": "No such file or directory"}
  path = str(numbered.write(tmp_path / "a.mp4", 4, options=FAST))
  server.answer({"open": path})
  assert "IndexError" in server.answer(read([4]))["bug"]
