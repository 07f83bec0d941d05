"""Several processes that do one piece of work: how they find each other.

Every host runs the same program. Only the first one writes files, and whatever
it alone finds out (a directory that can't be used, for example) ends all. A
host that is lost ends all others, within seconds: none can go on without it,
and the same command, started again, does.
"""

import itertools
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Result = TypeVar("Result")

# Waiting for a host that works has no limit: one that died is noticed by its
# heartbeat, and ends the waiting.
_DAY_MS = 24 * 3600 * 1000

# What is gathered is sent in multiples of so many bytes.
_GATHER_STEP = 2**16

_rounds = itertools.count()


def connect(cfg: Config) -> None:
  """Joins the other hosts; does nothing where there is one.

  Args:
    cfg: of `configs/base.py:hosts`. An empty coordinator means one host,
      "auto" whatever Cloud TPU, SLURM, Kubernetes or MPI tell JAX.

  Raises:
    UserError: the fields don't go together, or the others can't be reached.
  """
  if not cfg.coordinator or jax.distributed.is_initialized():
    return
  if cfg.heartbeat_s < 1:
    raise errors.UserError(
      f"hosts.heartbeat_s={cfg.heartbeat_s}: use 1 second or more"
    )
  options: dict[str, Any] = {
    "heartbeat_timeout_seconds": cfg.heartbeat_s,
    # `leave` has waited already.
    "shutdown_timeout_seconds": cfg.heartbeat_s,
  }
  if cfg.coordinator != "auto":
    if not 0 <= cfg.index < cfg.count:
      raise errors.UserError(
        f"hosts.index={cfg.index} is not within 0 to hosts.count - 1 ="
        f" {cfg.count - 1}; give each host its own"
      )
    options |= {
      "coordinator_address": cfg.coordinator,
      "num_processes": cfg.count,
      "process_id": cfg.index,
    }
  # JAX would swallow SIGTERM from here on; `preemption` hears it where
  # something can be saved, and elsewhere it ends the process.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(**options)
  except (RuntimeError, ValueError) as error:
    raise errors.UserError(
      f"hosts.coordinator={cfg.coordinator}: the hosts can't be joined"
      f" ({' '.join(str(error).split())[:300]})"
    ) from error


def leave(status: int, heartbeat_s: int) -> int:
  """Ends together with the other hosts, or at once where they don't.

  After an error of this host alone the others wait for it in a collective
  operation: it must be gone for them to notice. So it waits for others that
  end, too, no longer than the time after which it would be taken for dead.

  Args:
    status: the exit status of this host.
    heartbeat_s: of `configs/base.py:hosts`.

  Returns:
    The status, if all hosts end. Otherwise it does not return.
  """
  if not are_many():
    return status
  if status != errors.TRY_AGAIN:
    try:
      _meet("vdr/end", _DAY_MS if status == 0 else heartbeat_s * 1000)
      jax.distributed.shutdown()  # now: exit handlers take their time
      return status
    except jax.errors.JaxRuntimeError:
      pass  # the others are gone, or at work
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status or errors.TRY_AGAIN)


def are_many() -> bool:
  """Whether there are other hosts; starts no backend of JAX where not."""
  return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
  """Whether this host is the one that writes files."""
  return not are_many() or jax.process_index() == 0


def first_does(work: Callable[[], Result]) -> Result | None:
  """Runs `work` on the first host; all wait until all are here and it is done.

  However long that takes: the hosts meet at their coordinator, not in a
  collective operation, which gives up on latecomers (Gloo after 30 s).

  Returns:
    Its result on the first host, None on the others.

  Raises:
    UserError: `work` raised it; on every host.
  """
  result, failure = None, None
  if is_first():
    try:
      result = work()
    except Exception as error:
      failure = error
  if are_many():
    name = f"vdr/first/{next(_rounds)}"
    if is_first():
      _client().key_value_set(name, "done" if failure is None else "failed")
    _meet(f"{name}/met", _DAY_MS)
    outcome = _client().blocking_key_value_get(name, _DAY_MS)
    if outcome == "failed" and failure is None:
      raise errors.UserError("the first host ended with an error; see there")
  if failure is not None:
    raise failure
  return result


def first_says(text: str = "") -> str:
  """What the first host says, on every host, however long it takes to.

  All hosts call it; what the others say is not heard.
  """
  if not are_many():
    return text
  name = f"vdr/said/{next(_rounds)}"
  if is_first():
    _client().key_value_set(name, text)
    return text
  return _client().blocking_key_value_get(name, _DAY_MS)


def gather(value: Result) -> list[Result]:
  """What every host has, on every host, in their order; bit for bit.

      parts = hosts.gather(ratio)
      whole = accumulators.concatenate(parts)

  All hosts call it, and wait for all however long that takes. It sends bytes,
  as JAX would round float64 to float32.

  Args:
    value: whatever can be pickled; arrays are NumPy's, and may be of other
      shapes on other hosts.
  """
  if not are_many():
    return [value]
  from jax.experimental import multihost_utils

  _meet(f"vdr/gather/{next(_rounds)}", _DAY_MS)
  mine = np.frombuffer(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), np.uint8)
  size = np.array([mine.size], np.int64).view(np.uint8)
  sizes = np.asarray(multihost_utils.process_allgather(size))
  sizes = np.ascontiguousarray(sizes).view(np.int64)[:, 0]
  # Every other shape would be another compilation.
  padded = np.zeros(
    -(-int(sizes.max()) // _GATHER_STEP) * _GATHER_STEP, np.uint8
  )
  padded[: mine.size] = mine
  rows = np.asarray(multihost_utils.process_allgather(padded))
  return [
    pickle.loads(row[:count].data)
    for row, count in zip(rows, sizes, strict=True)
  ]


def fetch(x: jax.Array) -> np.ndarray:
  """The whole of an array, on every host; all of them call it."""
  if x.is_fully_addressable or x.is_fully_replicated:
    return np.asarray(x)
  from jax.experimental import multihost_utils

  return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def _meet(name: str, timeout_ms: int) -> None:
  _client().wait_at_barrier(name, timeout_ms)


def _client() -> Any:
  # JAX has no public name for it; Orbax uses this one, too.
  from jax._src import distributed

  return distributed.global_state.client
