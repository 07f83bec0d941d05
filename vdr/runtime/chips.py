"""TPU chips as their maker states them, and slices of them that are not there.

A topology is a chip's name and the shape of a slice, as in `v5e:4x4`. Programs
are compiled for it by libtpu (the extra `tpu`) on any machine.
"""

import dataclasses
import importlib.util
import math
import os
from typing import Any

import jax

from vdr.runtime import errors, throughput


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip.

  Attributes:
    name: in front of a topology's colon.
    device_kind: as JAX has it.
    hbm_bytes: memory.
    hbm_bytes_per_s: of its memory.
    ici_bytes_per_s: that a chip can send to its neighbours, all links together;
      it can receive as much at the same time.
    dims: of a slice's shape.
  """

  name: str
  device_kind: str
  hbm_bytes: float
  hbm_bytes_per_s: float
  ici_bytes_per_s: float
  dims: int

  @property
  def peak_flops(self) -> float:
    """FLOP/s in bfloat16."""
    peak = throughput.peak_flops(self.device_kind)
    assert peak is not None  # the table there has every chip of this one
    return peak


# cloud.google.com/tpu/docs/v5e, /v5p and /v6e, tables "System architecture".
# Memory is stated in GB; XLA counts it in GiB.
CHIPS = {
  chip.name: chip
  for chip in (
    Chip("v5e", "TPU v5 lite", 16.0 * 2**30, 819e9, 1600e9 / 8, 2),
    Chip("v5p", "TPU v5", 95.0 * 2**30, 2765e9, 4800e9 / 8, 3),
    Chip("v6e", "TPU v6 lite", 32.0 * 2**30, 1640e9, 3584e9 / 8, 2),
  )
}


def parse(topology: str) -> tuple[Chip, int]:
  """The chip of a topology, and how many there are.

  Raises:
    UserError: it is no topology.
  """
  name, _, shape = topology.partition(":")
  sides = shape.split("x")
  if name not in CHIPS or not all(s.isdigit() and int(s) for s in sides):
    raise errors.UserError(
      f"topology={topology!r} is unknown; give a chip ({', '.join(CHIPS)}) and"
      " the shape of a slice, for example v5e:4x4 or v5p:4x4x4"
    )
  chip = CHIPS[name]
  if len(sides) != chip.dims:
    raise errors.UserError(
      f"topology={topology!r}: slices of {name} have {chip.dims} sides, for"
      f" example {name}:{'x'.join(['4'] * chip.dims)}"
    )
  return chip, math.prod(map(int, sides))


def devices(topology: str) -> list[Any]:
  """The devices of a slice, to compile for; they can't run anything.

  Raises:
    UserError: libtpu is not installed, or knows no such slice.
  """
  parse(topology)
  if importlib.util.find_spec("libtpu") is None:
    raise errors.UserError(
      f"topology={topology!r} needs libtpu, which compiles for TPUs; install it"
      " with `pip install jax[tpu]`"
    )
  # There is no TPU to ask what it is, and no metadata server to wait for.
  for name, value in (
    ("TPU_SKIP_MDS_QUERY", "1"),
    ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
    ("TPU_WORKER_HOSTNAMES", "localhost"),
    ("TPU_ACCELERATOR_TYPE", "v5litepod-1"),
  ):
    os.environ.setdefault(name, value)
  from jax.experimental import topologies

  try:
    found = topologies.get_topology_desc(platform="tpu", topology_name=topology)
  except (jax.errors.JaxRuntimeError, ValueError, RuntimeError) as error:
    raise errors.UserError(
      f"topology={topology!r} can't be had:"
      f" {' '.join(str(error).split())[:200]}"
    ) from error
  return list(found.devices)
