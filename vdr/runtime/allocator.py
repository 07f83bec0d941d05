"""Memory that one step frees is there for the next one."""

import ctypes
import os
import pathlib
import sys

# Parameters of glibc's `mallopt`, from malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8

# Where Linux shows NVIDIA's and AMD's GPUs and TPUs.
_DEVICES = pathlib.Path("/dev")
_ACCELERATORS = ("nvidia[0-9]*", "kfd", "accel[0-9]*", "vfio/[0-9]*")


def keep_freed() -> bool:
  """Makes the C library keep what is freed, where programs run on a CPU.

  XLA takes the temporaries of every call of a program as one block. By itself,
  glibc gives a block of more than 32 MB back to the kernel as soon as it is
  freed, and threads other than the first never have such a block from anywhere
  else: each step then has its memory mapped and zeroed anew, page by page,
  which took a fifth of the time of a step (docs/performance.md).

  To be called before JAX is used, as it cannot take back the threads' own
  arenas. It does nothing beside an accelerator, where many threads of a host
  allocate and none computes; nor if the user has tuned malloc by environment
  variables; nor without glibc.

  Returns:
    Whether freed memory is kept from now on.
  """
  if not sys.platform.startswith("linux") or _tuned() or not _on_cpu():
    return False
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except AttributeError:  # another C library
    return False
  settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
  return all([mallopt(*setting) for setting in settings])


def _tuned() -> bool:
  """Whether the user's environment says how malloc is to work."""
  return any(
    name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD")
    for name in os.environ
  )


def _on_cpu() -> bool:
  """Whether JAX will run on the CPU; asking JAX would start its threads."""
  platforms = os.environ.get("JAX_PLATFORMS", "")
  if platforms:
    return platforms == "cpu"
  return not any(any(_DEVICES.glob(name)) for name in _ACCELERATORS)
