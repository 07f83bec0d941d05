"""SIGTERM as a wish: finish the step, save, and end well."""

import signal
import threading
from types import FrameType
from typing import Any

import jax
import numpy as np

AGREE_EVERY = 10  # steps between two rounds of agreement of several hosts


class Preemption:
  """A flag that SIGTERM sets and the training loop polls.

      with Preemption() as preemption:
        for step in range(first, num_steps):
          ...
          if preemption.requested(step + 1):
            checkpoints.save(step + 1, ..., force=True)
            break

  Outside the main thread it never hears of a signal, as Python has it.

  Attributes:
    heard: whether this host got the signal.
  """

  def __init__(self) -> None:
    self.heard = False
    self._previous: Any = None
    self._installed = False

  def requested(self, step: int) -> bool:
    """Whether to save and end after `step` steps.

    With several hosts it asks all of them every few steps, so that all give the
    same answer at the same step, whichever of them heard the signal; each calls
    it at every step.
    """
    if jax.process_count() == 1:
      return self.heard
    if step % AGREE_EVERY:
      return False
    from jax.experimental import multihost_utils

    heard = multihost_utils.process_allgather(np.array(self.heard))
    return bool(np.any(heard))

  def __enter__(self) -> "Preemption":
    if threading.current_thread() is threading.main_thread():
      self._previous = signal.signal(signal.SIGTERM, self._hear)
      self._installed = True
    return self

  def __exit__(self, *unused) -> None:
    if self._installed:
      signal.signal(signal.SIGTERM, self._previous)
      self._installed = False

  def _hear(self, number: int, frame: FrameType | None) -> None:
    self.heard = True
