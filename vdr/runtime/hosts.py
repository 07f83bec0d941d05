"""Several processes that do one piece of work: how they find each other.

Every host runs the same program. Only the first one writes files, and whatever
it alone finds out (a directory that can't be used, for example) ends all.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Result = TypeVar("Result")

# A host that is silent for so long is given up. JAX's default is 100 s.
HEARTBEAT_S = 10


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
  options: dict[str, Any] = {"heartbeat_timeout_seconds": HEARTBEAT_S}
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
  try:
    jax.distributed.initialize(**options)
  except (RuntimeError, ValueError) as error:
    raise errors.UserError(
      f"hosts.coordinator={cfg.coordinator}: the hosts can't be joined"
      f" ({' '.join(str(error).split())[:300]})"
    ) from error


def is_first() -> bool:
  """Whether this host is the one that writes files."""
  return jax.process_index() == 0


def first_does(work: Callable[[], Result]) -> Result | None:
  """Runs `work` on the first host; the others wait for it to end.

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
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    failed = multihost_utils.broadcast_one_to_all(np.array(failure is not None))
    if failed and failure is None:
      raise errors.UserError("the first host ended with an error; see there")
  if failure is not None:
    raise failure
  return result


def fetch(x: jax.Array) -> np.ndarray:
  """The whole of an array, on every host; all of them call it."""
  if x.is_fully_addressable or x.is_fully_replicated:
    return np.asarray(x)
  from jax.experimental import multihost_utils

  return np.asarray(multihost_utils.process_allgather(x, tiled=True))
