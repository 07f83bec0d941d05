"""Huge pages are asked for where they help, and the program stays the same."""

import os
import pathlib
import subprocess
import sys

import pytest

from vdr.runtime import huge_pages

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Fills and frees a block, as XLA does in every step. Told are the arguments,
# the setting, and how many pages the kernel had to map for a block.
PROGRAM = """
import ctypes, os, resource, sys

if __name__ == "__main__":
  from vdr.runtime import huge_pages
  huge_pages.use("program")

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def use(size=64 << 20):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  block = libc.malloc(size)
  ctypes.memset(block, 1, size)
  libc.free(block)
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

use()
print(os.getpid(), sys.argv[1:], os.environ.get("GLIBC_TUNABLES"), use())
"""


@pytest.fixture
def asked(monkeypatch, tmp_path):
  """Where huge pages can be asked for; what was started instead."""
  mode = tmp_path / "enabled"
  mode.write_text("always [madvise] never\n")
  (tmp_path / "dev" / "vfio").mkdir(parents=True)
  (tmp_path / "dev" / "vfio" / "vfio").touch()  # Linux with an IOMMU has it
  started = []
  monkeypatch.setattr(huge_pages, "_MODE", mode)
  monkeypatch.setattr(huge_pages, "_DEVICES", tmp_path / "dev")
  monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36", raising=False)
  monkeypatch.setattr(os, "execve", lambda *args: started.append(args))
  monkeypatch.setattr(
    sys, "orig_argv", ["python", "-u", "-m", "vdr.main", "--config=x"]
  )
  for name in ("GLIBC_TUNABLES", "JAX_PLATFORMS"):
    monkeypatch.delenv(name, raising=False)
  return started


def test_the_same_command_is_started(asked):
  huge_pages.use("vdr.main")
  ((program, command, environment),) = asked
  assert program == command[0] == sys.executable
  assert command[1:] == ["-u", "-m", "vdr.main", "--config=x"]
  assert environment["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
  assert environment.items() >= os.environ.items()


@pytest.mark.parametrize(
  "command, runs",
  [
    (["python", "-m", "vdr.main"], True),
    (["python", "-m", "vdr.mainly"], False),
    (["python", "-m", "pdb", "-m", "vdr.main"], False),
    (["pytest", "tests"], False),
    (["python"], False),
    (["python", "-m", "vdr.main.part"], True),
  ],
)
def test_only_that_command_is_started_again(asked, monkeypatch, command, runs):
  monkeypatch.setattr(sys, "orig_argv", command)
  huge_pages.use("vdr.main")
  assert bool(asked) == runs


@pytest.mark.parametrize("tunables", ["", "glibc.malloc.arena_max=1"])
def test_the_users_own_setting_stands(asked, monkeypatch, tunables):
  monkeypatch.setenv("GLIBC_TUNABLES", tunables)
  huge_pages.use("vdr.main")
  assert not asked


def test_beside_an_accelerator_nothing_is_changed(asked, monkeypatch, tmp_path):
  (tmp_path / "dev" / "vfio" / "0").touch()
  huge_pages.use("vdr.main")
  assert not asked
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  huge_pages.use("vdr.main")
  assert asked


def test_nor_where_jax_is_told_to_use_one(asked, monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cuda")
  huge_pages.use("vdr.main")
  assert not asked


@pytest.mark.parametrize(
  "library", [None, "", "musl 1.2", "glibc 2.31", "glibc"]
)
def test_nor_where_the_library_cannot_ask(asked, monkeypatch, library):
  monkeypatch.setattr(os, "confstr", lambda name: library, raising=False)
  huge_pages.use("vdr.main")
  assert not asked


@pytest.mark.parametrize("mode", ["[always] madvise never", "[never]", None])
def test_nor_where_the_kernel_gives_them_to_all_or_none(asked, tmp_path, mode):
  (tmp_path / "enabled").unlink()
  if mode:
    (tmp_path / "enabled").write_text(mode)
  huge_pages.use("vdr.main")
  assert not asked


@pytest.mark.skipif(
  not huge_pages._can_be_asked_for(), reason="no huge pages here"
)
def test_a_block_takes_few_pages_and_the_process_stays(tmp_path):
  (tmp_path / "program.py").write_text(PROGRAM)
  clean = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
  clean |= {"PYTHONPATH": f"{ROOT}:{tmp_path}", "JAX_PLATFORMS": "cpu"}
  pages = {}
  for name, extra in (("huge", {}), ("small", {"GLIBC_TUNABLES": ""})):
    process = subprocess.Popen(
      [sys.executable, "-m", "program", "one", "two words"],
      env=clean | extra,
      stdout=subprocess.PIPE,
      text=True,
    )
    said = process.communicate()[0]
    expected = "glibc.malloc.hugetlb=1" if name == "huge" else ""
    start = f"{process.pid} ['one', 'two words'] {expected} "
    assert said.startswith(start)
    pages[name] = int(said.removeprefix(start))
  assert pages["huge"] < pages["small"] / 10
