"""FLOPs of the matrix products in a compiled program, a multiply-add as two.

Counted in the text of the program, loops as often as they turn, so that nothing
is left out that the compiler or a policy for recomputing made of the model. On
a TPU every product is a convolution: batches are spatial axes there, dilated so
that each place meets one entry of the other side.
"""

import math
import re
from collections.abc import Mapping

import numpy as np

from vdr.runtime import hlo


def flops(module: hlo.Module) -> float:
  """FLOPs of all products of a call; kernels say themselves what they do."""
  total = 0.0
  for name, count in hlo.times(module).items():
    inside = module.computations[name]
    for instruction in inside.values():
      if instruction.opcode == "dot":
        total += count * _of_dot(inside, instruction)
      elif instruction.opcode == "convolution":
        total += count * _of_convolution(inside, instruction)
      else:
        total += count * hlo.kernel_flops(instruction)
  return total


def _of_dot(
  inside: Mapping[str, hlo.Instruction], of: hlo.Instruction
) -> float:
  left = inside[of.operands[0]].shapes[0].dims
  axes = re.search(r"lhs_contracting_dims=\{([\d,]+)\}", of.attributes)
  summed = (left[int(axis)] for axis in (axes[1].split(",") if axes else ()))
  return 2.0 * math.prod(of.shapes[0].dims) * math.prod(summed)


def _of_convolution(
  inside: Mapping[str, hlo.Instruction], of: hlo.Instruction
) -> float:
  """2 · batch · features out · features in · pairs of places that meet."""
  left, right = (inside[name].shapes[0].dims for name in of.operands[:2])
  labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", of.attributes)
  if labels is None:
    raise ValueError(f"{of.name}: a convolution without dim_labels")
  lhs, rhs, out = (
    dict(zip(labels[i], dims, strict=True))
    for i, dims in ((1, left), (2, right), (3, of.shapes[0].dims))
  )
  window = re.search(r"window=\{([^}]*)\}", of.attributes)
  fields = dict(
    part.split("=") for part in (window[1].split() if window else [])
  )
  total = 2.0 * out["b"] * out["f"] * rhs["i"]
  for axis, size in enumerate(fields.get("size", "").split("x")):
    if not size:
      continue
    given = {key: value.split("x")[axis] for key, value in fields.items()}
    before, _, _ = given.get("pad", "0_0").partition("_")
    total *= _meeting(
      lhs[str(axis)],
      int(size),
      out[str(axis)],
      int(before),
      int(given.get("stride", 1)),
      int(given.get("lhs_dilate", 1)),
      int(given.get("rhs_dilate", 1)),
    )
  return total


def _meeting(
  num_in: int,
  num_window: int,
  num_out: int,
  before: int,
  stride: int,
  lhs_dilate: int,
  rhs_dilate: int,
) -> int:
  """How many pairs of a place and a window's entry are no padding."""
  places = np.arange(num_out)[:, None] * stride - before
  places = places + np.arange(num_window)[None] * rhs_dilate
  inside = (places >= 0) & (places <= (num_in - 1) * lhs_dilate)
  return int(np.sum(inside & (places % lhs_dilate == 0)))
