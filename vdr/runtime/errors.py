"""Ends that are not a bug: the exception for people, and lost hosts."""

import re

# sysexits.h's "try again": the exit status of a host that lost another one.
TRY_AGAIN = 75

LOST_A_HOST = (
  "another host was lost; start all of them again: the same command goes on"
)

OUT_OF_MEMORY = (
  "out of memory; use smaller batches, clips or networks, or fewer at a time"
)

# What XLA, Gloo and the coordination service say of a host that is gone.
_LOST = re.compile(
  r"heartbeat|Connection (closed|reset|refused)|Broken pipe|Gloo|NCCL"
  r"|coordination.?service|distributed service detected",
  re.IGNORECASE,
)


class UserError(Exception):
  """Bad input that the person who started vdr can mend.

  The message names the value, the place and the mend. `vdr.main` prints it as
  one line, without a traceback, and exits with status 2. A value in it may have
  line breaks, the message has none.
  """

  def __init__(self, message: str):
    super().__init__(" ".join(message.splitlines()))


class Stopped(Exception):
  """A wish to end was heard, and what there was is saved: it is not done.

  `vdr.main` prints the message and ends well; the same command goes on. A study
  ends with status 75, so that no cluster takes a cell of it for finished.
  """


def tells_of_a_lost_host(text: str) -> bool:
  """Whether an error, or what a process wrote before it died, does."""
  return _LOST.search(text) is not None


def tells_of_no_memory(error: BaseException) -> bool:
  """Whether an allocation failed, on this host or on a device."""
  said = ("RESOURCE_EXHAUSTED", "Out of memory")  # by XLA
  return isinstance(error, MemoryError) or any(s in str(error) for s in said)
