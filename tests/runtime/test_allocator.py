"""Freed memory is kept where programs run on a CPU, and only there."""

import os
import subprocess
import sys

import pytest

from vdr.runtime import allocator

# A thread fills and frees a block, as XLA does in every step. Told is how many
# pages the kernel had to map for the blocks after the first.
PROGRAM = """
import ctypes, resource, sys, threading
from vdr.runtime import allocator

kept = sys.argv[1] == "keep" and allocator.keep_freed()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def faults():
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use(times, size=181 << 20):
  for _ in range(times):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)

def work():
  global told
  use(1)
  before = faults()
  use(3)
  told = faults() - before

thread = threading.Thread(target=work)
thread.start()
thread.join()
print(int(kept), told)
"""


def start(how, **environment):
  """Whether freed memory is kept, and the pages that were mapped."""
  clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM, how],
    env=clean | {"JAX_PLATFORMS": "cpu"} | environment,
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  kept, told = map(int, done.stdout.split())
  return bool(kept), told


def test_a_block_that_was_freed_needs_no_new_pages():
  kept, mapped = start("keep")
  if not kept:
    pytest.skip("another C library")
  assert mapped < start("leave")[1] / 10


def test_the_users_own_settings_stand():
  assert not start("keep", MALLOC_ARENA_MAX="4")[0]


def test_beside_an_accelerator_nothing_is_changed(monkeypatch, tmp_path):
  monkeypatch.setattr(allocator, "_DEVICES", tmp_path)
  monkeypatch.delenv("JAX_PLATFORMS", raising=False)
  assert allocator._on_cpu()
  (tmp_path / "vfio").mkdir()
  (tmp_path / "vfio" / "vfio").touch()  # every Linux with IOMMUs has it
  assert allocator._on_cpu()
  (tmp_path / "vfio" / "0").touch()
  assert not allocator._on_cpu()
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  assert allocator._on_cpu()
  monkeypatch.setenv("JAX_PLATFORMS", "cuda")
  assert not allocator._on_cpu()
