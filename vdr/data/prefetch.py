"""Batches on their way to the device while the device is busy."""

import queue
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from vdr.data import schema


class DeviceBatch(NamedTuple):
  """A batch, the part of it that devices can hold and the part they can't.

  Attributes:
    arrays: fields on the device, of the dtypes of the batch schema (pixels are
      uint8; they are normalised on the device), but for 64-bit integers, which
      become 32-bit ones. With a sharding over several hosts they are global.
    texts: text fields, on this host: those of its own rows.
  """

  arrays: dict[str, jax.Array]
  texts: dict[str, np.ndarray]


class _Item(NamedTuple):
  """What the thread hands over; exactly one of batch and error is set."""

  batch: DeviceBatch | None
  state: Any
  error: BaseException | None  # StopIteration at the end


class Prefetcher(Iterator[DeviceBatch]):
  """The iterator that `prefetch_to_device` returns.

  Attributes:
    wait_s: seconds that `next` has waited for batches so far; its growth over
      the time of some steps is the share of them lost to waiting.
  """

  def __init__(
    self,
    batches: Iterable[Mapping[str, np.ndarray]],
    sharding: jax.sharding.Sharding | None,
    size: int,
  ):
    if size < 1:
      raise ValueError(f"prefetch size {size} must be at least 1")
    self.wait_s = 0.0
    self._state = _state_of(batches)
    self._error: BaseException | None = None
    self._work = _Work(batches, sharding, size)
    thread = threading.Thread(
      target=self._work.run, name="vdr-prefetch", daemon=True
    )
    thread.start()
    # Also when the prefetcher is dropped: the thread does not refer to it.
    self._finalizer = weakref.finalize(self, _stop, self._work, thread)

  def __next__(self) -> DeviceBatch:
    """The next batch; raises what the thread met, again at each call."""
    if self._error is not None:
      raise self._error
    start = time.perf_counter()
    item = self._work.ready.get()
    self.wait_s += time.perf_counter() - start
    self._work.slots.release()
    if item.batch is None:
      assert item.error is not None
      self._error = item.error
      self._finalizer()
      raise item.error
    self._state = item.state
    return item.batch

  def state(self) -> Any:
    """The loader's state after the batch that `next` returned last.

    The loader itself is ahead by the batches that wait on the device: save this
    state, not the loader's.

    Raises:
      ValueError: the batches don't come from something with a `state()`.
    """
    if self._state is None:
      raise ValueError("these batches come from an iterable without state()")
    return self._state

  def close(self) -> None:
    """Ends the thread, after the batch that it is reading; drops what waits."""
    if self._error is None:
      self._error = ValueError("this prefetcher was closed")
    self._finalizer()

  def __enter__(self) -> "Prefetcher":
    return self

  def __exit__(self, *unused) -> None:
    self.close()


def prefetch_to_device(
  batches: Iterable[Mapping[str, np.ndarray]],
  sharding: jax.sharding.Sharding | None = None,
  size: int = 2,
) -> Prefetcher:
  """Reads and transfers batches in a thread, ahead of need.

  Args:
    batches: this host's rows of each batch, usually a `loader.Loader`, which
      the thread has to itself until `close`.
    sharding: of every field's leading axis, NamedSharding(mesh, P("data")) for
      example; over several hosts each gives its rows. None: one device.
    size: batches that are ready or on their way; 2 is double buffering.

  Returns:
    An iterator of `DeviceBatch`, to be closed (it is a context manager).
  """
  return Prefetcher(batches, sharding, size)


class _Work:
  """What the thread does; free of references to the prefetcher."""

  def __init__(
    self,
    batches: Iterable[Mapping[str, np.ndarray]],
    sharding: jax.sharding.Sharding | None,
    size: int,
  ):
    self.ready: queue.SimpleQueue[_Item] = queue.SimpleQueue()
    self.slots = threading.Semaphore(size)
    self.stopped = False
    self._batches = batches
    self._sharding = sharding

  def run(self) -> None:
    try:
      iterator = iter(self._batches)
      while True:
        self.slots.acquire()  # before reading, so that `size` is exact
        if self.stopped:
          return
        batch = _to_device(next(iterator), self._sharding)
        self.ready.put(_Item(batch, _state_of(self._batches), None))
    except BaseException as error:  # the consumer's to deal with
      self.ready.put(_Item(None, None, error))


def _stop(work: _Work, thread: threading.Thread) -> None:
  work.stopped = True
  work.slots.release()
  if thread is not threading.current_thread():
    thread.join()
  while not work.ready.empty():  # batches that would stay on the device
    work.ready.get()


def _state_of(batches: Iterable) -> Any:
  state = getattr(batches, "state", None)
  return state() if callable(state) else None


def _to_device(
  batch: Mapping[str, np.ndarray], sharding: jax.sharding.Sharding | None
) -> DeviceBatch:
  texts, arrays = {}, {}
  for name, value in batch.items():
    if schema.FIELDS[name].is_text:
      texts[name] = value
    else:
      # JAX would do it silently, as it has no 64-bit integers by default.
      is_long = value.dtype == np.int64
      arrays[name] = value.astype(np.int32) if is_long else value
  if sharding is None or sharding.is_fully_addressable:
    return DeviceBatch(jax.device_put(arrays, sharding), texts)
  return DeviceBatch(
    {
      name: jax.make_array_from_process_local_data(sharding, value)
      for name, value in arrays.items()
    },
    texts,
  )
