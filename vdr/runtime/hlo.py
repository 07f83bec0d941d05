"""A compiled program, read from its text, and how often its parts run.

XLA's own `cost_analysis` counts the body of a loop once, however often it runs;
what reads programs here (`moved.py`, `products.py`) counts every instruction as
often as its loop turns.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

# Others end with their number of bits; a `token` has none.
_BITS = {"pred": 8, "bf16": 16}


@dataclasses.dataclass(frozen=True)
class Shape:
  """An array: its bytes, padding included, and whether they lie in HBM."""

  nbytes: int
  dims: tuple[int, ...]
  in_hbm: bool = True

  @property
  def traffic(self) -> int:
    return self.nbytes if self.in_hbm else 0


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a program."""

  name: str
  opcode: str
  shapes: tuple[Shape, ...]  # one, or those of a tuple
  operands: tuple[str, ...]
  attributes: str
  is_root: bool
  literal: str  # between the brackets, as it stands there

  def called(self, *names: str) -> list[str]:
    """The computations that attributes of these names refer to."""
    found = []
    for name in names:
      for one, many in re.findall(
        rf"\b{name}=(?:%([\w.\-]+)|\{{([^}}]*)\}})", self.attributes
      ):
        found += [one] if one else re.findall(r"%([\w.\-]+)", many)
    return found


@dataclasses.dataclass(frozen=True)
class Module:
  """A program: its computations by name, and the one that it starts with."""

  computations: Mapping[str, Mapping[str, Instruction]]
  entry: str


def parse(text: str) -> Module:
  """Reads `compiled.as_text()`."""
  computations: dict[str, dict[str, Instruction]] = {}
  entry, current = "", {}
  for line in text.splitlines():
    head = re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line)
    if head and not line.startswith(" "):
      current = computations.setdefault(head[2], {})
      if head[1]:
        entry = head[2]
    elif found := _instruction(line):
      current[found.name] = found
  return Module(computations, entry)


def _instruction(line: str) -> Instruction | None:
  line = re.sub(r"/\*.*?\*/", "", line)
  head = re.match(r"\s+(ROOT )?%?([\w.\-]+) = (.*)", line)
  if not head:
    return None
  body = head[3]
  opcode = re.search(r"(?:^|\s)([a-z][\w\-]*)\(", body)
  if not opcode:
    return None
  depth, end = 1, opcode.end()
  while depth and end < len(body):
    depth += {"(": 1, ")": -1}.get(body[end], 0)
    end += 1
  inside = body[opcode.end() : end - 1]
  return Instruction(
    name=head[2],
    opcode=opcode[1],
    shapes=tuple(_shapes(body[: opcode.start()])),
    operands=tuple(re.findall(r"%([\w.\-]+)", inside)),
    attributes=body[end:],
    is_root=bool(head[1]),
    literal=inside,
  )


def _shapes(text: str) -> Iterator[Shape]:
  for kind, dims, layout in re.findall(
    r"\b([a-z]+\d*\w*)\[([\d,<=]*)\](\{[^}]*\})?", text
  ):
    sizes = tuple(int(d.lstrip("<=")) for d in dims.split(",") if d)
    count = math.prod(_padded(sizes, layout))
    bits = _BITS.get(kind) or int((re.findall(r"\d+", kind) or [0])[0])
    # S(1) is the vector memory, others hold scalars and semaphores.
    space = re.search(r"\bS\((\d+)\)", layout)
    is_in_hbm = space is None or space[1] == "0"
    yield Shape(count * bits // 8, sizes, is_in_hbm)


def _padded(sizes: tuple[int, ...], layout: str) -> list[int]:
  """Sizes as they lie in memory: TPUs fill tiles of the innermost axes up."""
  padded = list(sizes)
  tiled = re.match(r"\{([\d,]+):T\(([\d,]+)\)", layout)
  if tiled:
    axes, tile = ([int(x) for x in part.split(",")] for part in tiled.groups())
    for axis, side in zip(axes, reversed(tile), strict=False):
      padded[axis] = -(-padded[axis] // side) * side
  return padded


def kernel_flops(of: Instruction) -> float:
  """FLOPs of a Pallas kernel by its own estimate; 0 for what is none."""
  if of.opcode != "custom-call":
    return 0.0
  found = re.search(r'"cost_estimate":\{"flops":"(\d+)"', of.attributes)
  return float(found[1]) if found else 0.0


def times(module: Module) -> dict[str, int]:
  """How often each computation runs in a step, fused ones too."""
  found: dict[str, int] = {}

  def visit(name: str, count: int) -> None:
    found[name] = found.get(name, 0) + count
    for instruction in module.computations[name].values():
      inner = instruction.called(
        "calls", "branch_computations", "true_computation", "false_computation"
      )
      if instruction.opcode == "call":
        inner += instruction.called("to_apply")
      turns = 1
      if instruction.opcode == "while":
        inner += instruction.called("body")
        turns = _turns(module, instruction)
      for one in inner:
        visit(one, count * turns)

  visit(module.entry, 1)
  return found


def _turns(module: Module, loop: Instruction) -> int:
  """How often a loop turns: stated, or the bound of its condition by steps."""
  stated = re.search(r"known_trip_count\W+n\W+(\d+)", loop.attributes)
  if stated:
    return int(stated[1])
  (name,) = loop.called("condition")
  condition = module.computations[name]
  bounds = [b for b in map(_integer, condition.values()) if b is not None]
  return math.ceil(max([1, *bounds]) / _step(module, loop, condition))


def _step(
  module: Module, loop: Instruction, condition: Mapping[str, Instruction]
) -> int:
  """By how much a loop's counter grows in a turn; 1 where that is not seen.

  TPUs take a product and what is sent of it in turns, two of them in the body.
  """
  places = [
    index[1]
    for i in condition.values()
    if i.opcode == "get-tuple-element"
    and (index := re.search(r"index=(\d+)", i.attributes))
  ]
  (name,) = loop.called("body")
  body = module.computations[name]
  (root,) = [i for i in body.values() if i.is_root]
  if len(places) != 1 or root.opcode != "tuple":
    return 1
  counter = body.get(root.operands[int(places[0])])
  if counter is None or counter.opcode != "add":
    return 1
  steps = [_integer(body[o]) for o in counter.operands if o in body]
  return max([1, *(step for step in steps if step is not None)])


def _integer(of: Instruction) -> int | None:
  """The whole number that a constant is."""
  is_whole = of.opcode == "constant" and of.literal.lstrip("-").isdigit()
  return int(of.literal) if is_whole else None
