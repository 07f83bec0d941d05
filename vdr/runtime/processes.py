"""Worker processes: how many, and that none outlives its parent."""

import multiprocessing
import multiprocessing.connection
import os
import threading

from vdr.runtime import errors


def cores() -> list[int]:
  """The numbers of the cores that this process may run on."""
  if hasattr(os, "sched_getaffinity"):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))  # macOS


def usable_cores() -> int:
  """How many cores this process may run on."""
  return len(cores())


def memory_bytes() -> int:
  """The memory of this machine."""
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(needed: int, what: str, mend: str) -> None:
  """Refuses what this machine can't hold.

  Args:
    needed: bytes.
    what: the field and what it stands for, as the beginning of a sentence.
    mend: what makes it smaller, in words.

  Raises:
    UserError: the machine has less memory.
  """
  there = memory_bytes()
  if needed > there:
    raise errors.UserError(
      f"{what} take {needed / 1e9:,.0f} GB, and this machine has"
      f" {there / 1e9:,.0f} GB of memory; {mend}"
    )


def resolve(num_workers: int) -> int:
  """The number of worker processes that config.runtime.num_workers means."""
  return usable_cores() if num_workers < 0 else num_workers


def exit_with_parent() -> None:
  """Ends this process as soon as its parent is gone, even if that was killed.

  To be called once in a process that `multiprocessing` started; elsewhere it
  does nothing.
  """
  parent = multiprocessing.parent_process()
  if parent is None:
    return

  def watch() -> None:
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
