"""Grain's worker processes, so that they start everywhere and never linger."""

import contextlib
import re
import signal

import grain
import numpy as np
from absl import flags

from vdr.runtime import errors, processes


class Reader:
  """Reads a data set in order and ahead of need; to be closed."""

  def __init__(self, data: grain.MapDataset, num_workers: int):
    """Starts reading.

    Args:
      data: batches, read in any order by several workers at once.
      num_workers: processes; 0 reads in one thread of this process for each
        usable core.
    """
    self._iterator: grain.DatasetIterator | None
    if num_workers:
      self._iterator = _in_processes(data, num_workers)
    else:
      threads = processes.usable_cores()
      options = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=threads
      )
      self._iterator = iter(data.to_iter_dataset(options))
    self._copies = num_workers > 0
    self._array_type: type = np.ndarray

  def next(self) -> dict[str, np.ndarray]:
    """The next batch.

    Raises:
      StopIteration: there is none.
      UserError: a worker process died.
    """
    assert self._iterator is not None, "closed"
    try:
      batch = next(self._iterator)
    except RuntimeError as error:
      _explain_death(error)
      raise
    if not self._copies:
      return batch
    # Out of shared memory: there each array holds a file descriptor, and
    # complains when it outlives the interpreter.
    shared = (type(x) for x in batch.values() if _frees_in_a_thread(type(x)))
    self._array_type = next(shared, self._array_type)
    return {name: np.array(value) for name, value in batch.items()}

  def close(self) -> None:
    """Ends the workers."""
    iterator, self._iterator = self._iterator, None
    if iterator is None:
      return
    iterator.close()
    del iterator
    # Grain frees shared memory in a thread; an interpreter that ends first
    # would leave that to Python, which warns. One thread: its turn comes last.
    pool = getattr(self._array_type, "_del_thread_pool", None)
    if pool is not None:
      with contextlib.suppress(ValueError):  # the interpreter is ending
        pool.apply(int)


def _frees_in_a_thread(array_type: type) -> bool:
  """Whether it is Grain's array in shared memory."""
  return hasattr(array_type, "_del_thread_pool")


def _in_processes(
  data: grain.MapDataset, num_workers: int
) -> grain.DatasetIterator:
  _let_grain_read_its_flags()
  read = data.to_iter_dataset(
    grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
  )
  # Each worker has one batch ready in itself and one on this side.
  options = grain.MultiprocessingOptions(
    num_workers=num_workers, per_worker_buffer_size=1
  )
  return iter(read.mp_prefetch(options, worker_init_fn=_init_worker))


def _explain_death(error: BaseException) -> None:
  """Raises a UserError if `error` is Grain's news of a dead worker process."""
  match = re.search(
    r"terminated unexpectedly with exit code (-?\d+)", str(error)
  )
  if not match:
    return
  code = int(match[1])
  how = {
    -signal.SIGKILL: "was killed, most likely for want of memory; lower"
    " runtime.num_workers or data.batch_size",
    -signal.SIGBUS: "could not write to shared memory; enlarge /dev/shm, or"
    " lower runtime.num_workers or data.batch_size",
    1: "failed to start, see its own message above; a program must be a"
    ' script, and use a loader below `if __name__ == "__main__":`',
  }.get(
    code,
    f"crashed with exit code {code}; runtime.num_workers=0 reads in this"
    " process, where the crash can be looked into",
  )
  raise errors.UserError(f"a data worker {how}") from error


def _let_grain_read_its_flags() -> None:
  """Lets Grain see the defaults of its flags where nothing parses them.

  absl refuses to give a flag's value before a command line was parsed, which
  in a notebook, in pytest and in `vdr.main` (it has flags of its own) never
  happens. Only Grain's flags are touched: others still report the mistake.
  """
  if flags.FLAGS.is_parsed():
    return
  for name in flags.FLAGS:
    if name.startswith("grain_"):
      flag = flags.FLAGS[name]
      flag.present = max(flag.present, 1)


def _init_worker(worker_index: int, worker_count: int) -> None:
  """Runs in each worker process before it reads anything."""
  del worker_index, worker_count
  # Ctrl-C reaches the whole process group, and so may SIGTERM where a scheduler
  # ends a job: the parent finishes its step and ends its workers itself.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  processes.exit_with_parent()
