"""Huge pages for large blocks of memory, where programs run on a CPU."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Sequence

_SETTING = "glibc.malloc.hugetlb=1"
_FIRST_GLIBC = (2, 35)  # that knows the setting
_MODE = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")

# Where Linux shows NVIDIA's and AMD's GPUs and TPUs.
_DEVICES = pathlib.Path("/dev")
_ACCELERATORS = ("nvidia[0-9]*", "kfd", "accel[0-9]*", "vfio/[0-9]*")


def use(module: str) -> None:
  """Starts this program again, in the same process, with huge pages.

  XLA takes the temporaries of every call of a program as one block. glibc lets
  the kernel map such a block anew each time, and the kernel zeroes it page by
  page: with pages of 4 kB that is a fifth of the time of a small step
  (docs/performance.md). For huge pages glibc has to be asked before it starts.

  To be called before anything else. Nothing happens

  * unless the command was `python -m MODULE`, or a module of that package, so
    that debuggers and tests stay what they are;
  * where the user has set `GLIBC_TUNABLES`, even to nothing;
  * beside an accelerator, and where JAX is told to use one;
  * where the kernel gives huge pages to all or to none, or glibc can't ask.
  """
  command = sys.orig_argv
  if (
    _runs(command, module)
    and "GLIBC_TUNABLES" not in os.environ
    and _on_cpu()
    and _can_be_asked_for()
  ):
    environment = os.environ | {"GLIBC_TUNABLES": _SETTING}
    # Not by the name that was typed: that may lead to another Python.
    os.execve(sys.executable, [sys.executable, *command[1:]], environment)


def _runs(command: Sequence[str], module: str) -> bool:
  """Whether it is `python [-flags] -m MODULE…`."""
  rest = list(command[1:])
  while rest and rest[0].startswith("-") and rest[0] != "-m":
    rest.pop(0)
  return rest[:1] == ["-m"] and f"{rest[1]}.".startswith(f"{module}.")


def _on_cpu() -> bool:
  """Whether JAX will run on the CPU; JAX itself is not there yet."""
  platforms = os.environ.get("JAX_PLATFORMS", "")
  if platforms:
    return platforms == "cpu"
  return not any(any(_DEVICES.glob(name)) for name in _ACCELERATORS)


def _can_be_asked_for() -> bool:
  """Whether kernel and C library give huge pages to who asks."""
  with contextlib.suppress(OSError, ValueError, AttributeError):
    name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    known = tuple(map(int, version.split("."))) >= _FIRST_GLIBC
    return name == "glibc" and known and "[madvise]" in _MODE.read_text()
  return False
