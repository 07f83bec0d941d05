"""SIGTERM sets a flag, and only there where it should."""

import os
import signal
import threading

import jax
import numpy as np
from jax.experimental import multihost_utils

from vdr.runtime import preemption


def test_the_signal_sets_the_flag_and_nothing_else():
  before = signal.getsignal(signal.SIGTERM)
  with preemption.Preemption() as wish:
    assert not wish.requested(1)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # a second one does no harm
    assert wish.heard
    assert wish.requested(2)
  assert signal.getsignal(signal.SIGTERM) == before


def test_another_thread_does_without():
  before = signal.getsignal(signal.SIGTERM)
  answers = []

  def run():
    with preemption.Preemption() as wish:
      answers.append(wish.requested(1))

  thread = threading.Thread(target=run)
  thread.start()
  thread.join()
  assert answers == [False]
  assert signal.getsignal(signal.SIGTERM) == before


def test_hosts_agree_every_few_steps(monkeypatch):
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  asked = []

  def allgather(mine):  # the other host has heard the signal
    asked.append(bool(mine))
    return np.array([mine, True])

  monkeypatch.setattr(multihost_utils, "process_allgather", allgather)
  with preemption.Preemption() as wish:
    every = preemption.AGREE_EVERY
    steps = [s for s in range(1, 2 * every + 1) if wish.requested(s)]
  assert steps == [every, 2 * every]
  assert asked == [False, False]
