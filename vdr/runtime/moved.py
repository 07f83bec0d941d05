"""What a compiled program moves: between chips, and through memory.

Collectives are what chips send one another. All counts are those of one chip.
"""

import dataclasses
import math
import re
from collections.abc import Mapping

from vdr.runtime import hlo

KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
_PRODUCTS = ("convolution", "dot")  # of matrices; TPUs have the former only
# Custom calls that only name memory.
_NAMES = re.compile(r'custom_call_target="(AllocateBuffer|ConcatBitcast)"')
# Without traffic: names of what is there, and ends of what is counted.
_FREE = set(
  "parameter get-tuple-element tuple bitcast constant while conditional call"
  " after-all partition-id replica-id optimization-barrier".split()
)


@dataclasses.dataclass(frozen=True)
class Collective:
  """What one collective moves in a step.

  Attributes:
    kind: one of `KINDS`.
    nbytes: the larger of what it is given and what it gives, on one chip.
    group: chips that take part together.
    times: a step.
    is_async: whether other work runs meanwhile.
  """

  kind: str
  nbytes: int
  group: int
  times: int
  is_async: bool

  @property
  def sent(self) -> float:
    """Bytes that a chip sends in a step, around a ring."""
    if self.kind == "collective-permute":
      return float(self.nbytes * self.times)
    rounds = 2 if self.kind == "all-reduce" else 1
    return rounds * self.nbytes * self.times * (self.group - 1) / self.group


@dataclasses.dataclass(frozen=True)
class Traffic:
  """Bytes through memory in a step, with and without a matrix product."""

  products: float
  others: float


def collectives(module: hlo.Module, num_chips: int) -> list[Collective]:
  """All collectives of a step.

  Args:
    module: the program.
    num_chips: that take part where no groups are named.
  """
  found: dict[tuple, Collective] = {}
  for name, count in hlo.times(module).items():
    for instruction in module.computations[name].values():
      opcode = instruction.opcode.removesuffix("-start")
      if opcode not in KINDS:
        continue
      sizes = [_operand_bytes(module, name, instruction), _output(instruction)]
      scatters = name.startswith("all-reduce-scatter")
      # TPUs spread one collective over several fusions, each with a copy of it
      # and all with the same chain.
      chain = re.search(r'chain_id="(\d+)"', instruction.attributes)
      one = Collective(
        "reduce-scatter" if scatters else opcode,
        max(sizes),
        _group(instruction.attributes, num_chips),
        count,
        bool(chain) or instruction.opcode.endswith("-start"),
      )
      channel = re.search(r"channel_id=(\d+)", instruction.attributes)
      key = (
        (opcode, chain[1], channel[1] if channel else "")
        if chain
        else (name, instruction.name)
      )
      if key not in found or found[key].times < count:
        found[key] = one
  return [c for c in found.values() if c.group > 1]


def _output(instruction: hlo.Instruction) -> int:
  shapes = instruction.shapes
  if instruction.opcode.endswith("-start"):  # (operands, results, contexts)
    return max((s.nbytes for s in shapes), default=0)
  return sum(s.nbytes for s in shapes)


def _operand_bytes(module: hlo.Module, name: str, of: hlo.Instruction) -> int:
  inside = module.computations[name]
  return sum(
    sum(s.nbytes for s in inside[operand].shapes)
    for operand in of.operands
    if operand in inside
  )


def _group(attributes: str, num_chips: int) -> int:
  """Chips of a group, in any of the notations that XLA prints."""
  if found := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
    return found[1].count(",") + 1
  if found := re.search(r"replica_groups=\[(\d+),(\d+)\]", attributes):
    return int(found[2])
  if found := re.search(
    r"replica_groups=\w+\[([^\]]*)\] ?\{([^}]*)\}", attributes
  ):
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
    parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", found[2])
    return math.prod(int(part or sizes[axis]) for axis, part in parts)
  if "source_target_pairs" in attributes:
    return 2
  return num_chips


def traffic(module: hlo.Module) -> Traffic:
  """Bytes that go through memory in a step, by the shapes of operands.

  Fusions read and write once. What a fusion only takes a slice of counts as
  that slice, and what it changes in place as the change.
  """
  products, others = 0.0, 0.0
  counts = hlo.times(module)
  fused = {
    called
    for name in counts
    for i in module.computations[name].values()
    if i.opcode == "fusion" or i.opcode.startswith("async")
    for called in i.called("calls")
  }
  for name, count in counts.items():
    if name in fused:
      continue
    for instruction in module.computations[name].values():
      nbytes = count * _moved(module, name, instruction)
      if _has_product(module, instruction):
        products += nbytes
      else:
        others += nbytes
  return Traffic(products, others)


def _moved(module: hlo.Module, name: str, of: hlo.Instruction) -> int:
  if of.opcode in _FREE or of.opcode.endswith(("-done", "-update")):
    return 0
  if of.opcode == "custom-call" and _NAMES.search(of.attributes):
    return 0
  inside = module.computations[name]
  operands = [inside[o].shapes for o in of.operands if o in inside]
  if of.opcode.endswith("-start"):  # a copy between memories, or inside one
    ends = [s for s in of.shapes if s.nbytes > 8]  # contexts are smaller
    moved = min((s.nbytes for s in ends), default=0)
    return moved * sum(s.in_hbm for s in ends[:2])
  if of.opcode == "dynamic-slice":
    return 2 * sum(s.traffic for s in of.shapes)
  if of.opcode == "dynamic-update-slice":
    return 2 * sum(s.traffic for s in operands[1])
  if of.opcode == "fusion":
    (called,) = of.called("calls")
    return _fusion_moved(module.computations[called], of, operands)
  return sum(s.traffic for s in of.shapes) + sum(
    s.traffic for shapes in operands for s in shapes
  )


def _fusion_moved(
  body: Mapping[str, hlo.Instruction],
  of: hlo.Instruction,
  operands: list[tuple[hlo.Shape, ...]],
) -> int:
  """What a fusion reads and writes."""
  # Results that are operands passed on; nothing of them moves.
  passed = re.findall(r"\{(\d*)\}: \((\d+), \{", of.attributes)
  out, into = {a for a, _ in passed}, {int(b) for _, b in passed}
  out |= _changed_in_place(body, len(of.shapes))
  users: dict[str, list[hlo.Instruction]] = {}
  for instruction in body.values():
    for operand in instruction.operands:
      users.setdefault(operand, []).append(instruction)
  total = 0
  for inner in body.values():
    if inner.opcode == "dynamic-update-slice":
      change = body.get(inner.operands[1])
      total += sum(s.nbytes for s in change.shapes) if change else 0
  for inner in body.values():
    if inner.opcode != "parameter":
      continue
    index = int(inner.literal)
    if index in into or index >= len(operands):
      continue
    read = _read(body, users, inner.name)
    whole = sum(s.traffic for s in operands[index])
    total += whole if read is None else min(whole, read)
  for index, shape in enumerate(of.shapes):
    is_passed = (str(index) if len(of.shapes) > 1 else "") in out
    total += 0 if is_passed else shape.traffic
  return total


def _changed_in_place(
  body: Mapping[str, hlo.Instruction], num_results: int
) -> set[str]:
  """Results that are an operand, carried on in a loop, with a slice changed."""

  def opcode(name: str) -> str:
    while body[name].opcode == "bitcast":
      name = body[name].operands[0]
    inner = body[name]
    if inner.opcode == "dynamic-update-slice":
      return f"{inner.opcode} of {opcode(inner.operands[0])}"
    return inner.opcode

  (root,) = [i for i in body.values() if i.is_root]
  results = root.operands if root.opcode == "tuple" else (root.name,)
  return {
    str(index) if num_results > 1 else ""
    for index, name in enumerate(results)
    if opcode(name) == "dynamic-update-slice of parameter"
  }


def _read(
  body: Mapping[str, hlo.Instruction],
  users: Mapping[str, list[hlo.Instruction]],
  name: str,
) -> int | None:
  """Bytes that are read of a fusion's operand; None: all of it."""
  total = 0
  for user in users.get(name, []):
    if user.opcode in ("bitcast", "get-tuple-element"):
      inner = _read(body, users, user.name)
      if inner is None:
        return None
      total += inner
    elif user.opcode in ("dynamic-slice", "slice"):
      total += sum(s.nbytes for s in user.shapes)
    elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
      total += 0
    else:
      return None
  return total


def _has_product(module: hlo.Module, of: hlo.Instruction) -> bool:
  if of.opcode in _PRODUCTS or hlo.kernel_flops(of):
    return True
  return of.opcode == "fusion" and any(
    _has_product(module, inner)
    for called in of.called("calls")
    for inner in module.computations[called].values()
  )
