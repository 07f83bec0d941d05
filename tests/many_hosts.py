"""Hosts that are threads of one process: for what they tell each other.

What they compute runs on the same device, and they meet at a barrier of Python:
real ones are in `tests/runtime/on_two_hosts.py`, and in the slow tests.
"""

import concurrent.futures
import pickle
import queue
import threading

import jax

from vdr.runtime import errors, hosts

WAIT_S = 120.0  # for the others; a lonely host fails


class _Hosts:
  """As `vdr.runtime.hosts` has them."""

  def __init__(self, count):
    self.count = count
    self._own = threading.local()
    self._barrier = threading.Barrier(count)
    self._values = [b""] * count
    self._said = [queue.Queue() for _ in range(count)]

  def index(self):
    return getattr(self._own, "index", 0)

  def start(self, index, work):
    self._own.index = index
    try:
      return work(index)
    except BaseException:
      self._barrier.abort()
      raise

  def gather(self, value):
    self._values[self.index()] = pickle.dumps(value)
    self._barrier.wait(WAIT_S)
    found = [pickle.loads(sent) for sent in self._values]
    self._barrier.wait(WAIT_S)
    return found

  def first_says(self, text=""):
    if self.index():
      return self._said[self.index()].get(timeout=WAIT_S)
    for other in self._said[1:]:
      other.put(text)
    return text

  def first_does(self, work):
    found, failure = None, None
    if self.index() == 0:
      try:
        found = work()
      except Exception as error:
        failure = error
    if self.gather(failure is not None)[0]:
      raise failure or errors.UserError("the first host ended with an error")
    return found


def run(monkeypatch, count, work):
  """What `work(index)` returns on each of so many hosts, in their order."""
  fake = _Hosts(count)
  with monkeypatch.context() as patch:
    patch.setattr(jax, "process_count", lambda: count)
    patch.setattr(jax, "process_index", fake.index)
    patch.setattr(hosts, "are_many", lambda: count > 1)
    for name in ("gather", "first_says", "first_does"):
      patch.setattr(hosts, name, getattr(fake, name))
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
      started = [pool.submit(fake.start, i, work) for i in range(count)]
    # Of a host that failed the others only tell that it did not come.
    for lonely in (False, True):
      for one in started:
        error = one.exception()
        if error and isinstance(error, threading.BrokenBarrierError) == lonely:
          raise error
    return [one.result() for one in started]
