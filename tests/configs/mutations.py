"""What a field is set to by mistake: one table for each type of field."""

import math
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys

from vdr.runtime import command_line

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRIME = 999_999_937  # a number that nothing divides by, and too large

WHOLE = (-PRIME, -3, -1, 0, 1, PRIME, 2**31, 10**30)
REAL = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-30, 1.5, 1e300)
TEXT = ("", "no_such_name", "/no/such/file", "a=b, c", "ü\u2028")
GOOD = ("ran", "refused", "long")  # outcomes
LONGEST = 40  # items
MEMORY = 12 * 2**30  # bytes of address space of a verb


def of(value):
  """Other values for a field that has this one; many make no sense."""
  match value:
    case bool():
      return (not value,)
    case int():
      return WHOLE
    case float():
      return REAL
    case str():
      return TEXT
    case ():
      return ((-1,), (0, 0), (PRIME,), (math.nan,), (1.5,), ("no_such_name",))
    case tuple():
      return _tuples(value)
  raise TypeError(type(value))


def _tuples(value):
  """Each item wrong in turn; too few, too many, in another order."""
  items = [x for x in of(value[0]) if x != value[0]]
  found = [(), value[:-1], value + value, value[::-1], value[:1] * LONGEST]
  found += [(x,) * len(value) for x in items]
  found += [(*value[:-1], x) for x in items]
  return tuple(x for x in dict.fromkeys(found) if x != value)


def cases(config):
  """Every field with each of its mutations: (dotted name, value)."""
  return [
    (name, value)
    for name, before in command_line.flatten(config).items()
    for value in of(before)
  ]


def draw(config, count, seed, sections=()):
  """Some of the cases: `count` fields, each with one mutation.

  Args:
    config: whose fields are mutated.
    count: how many; those that there are, if they are fewer.
    seed: of the draw.
    sections: to draw from; all, if none is named.
  """
  rng = random.Random(seed)
  fields = {
    name: value
    for name, value in command_line.flatten(config).items()
    if not sections or name.partition(".")[0] in sections
  }
  names = rng.sample(sorted(fields), min(count, len(fields)))
  return [(name, rng.choice(of(fields[name]))) for name in names]


def option(name, value):
  """A case as it is typed."""
  return f"--config.{name}={value}"


def _limit_memory():
  """So that what is too large fails, and not the machine."""
  resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def outcome(config, options, limit_s, workdir):
  """What becomes of a verb with these options, in a process of its own.

  Args:
    config: of the command line.
    options: of the command line.
    limit_s: seconds after which it is interrupted.
    workdir: of the command line.

  Returns:
    "ran", "refused" (one line, status 2), "long" (it was interrupted, and had
    said how long it would take), or else what is wrong with it.
  """
  command = [sys.executable, "-m", "vdr.main", f"--config={config}"]
  child = subprocess.Popen(
    [*command, *options, f"--workdir={workdir}"],
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    preexec_fn=_limit_memory,
    start_new_session=True,
  )
  try:
    said = child.communicate(timeout=limit_s)[1]
  except subprocess.TimeoutExpired:
    child.terminate()
    try:
      said = child.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
      os.killpg(child.pid, signal.SIGKILL)  # and what it started
      return f"never ended, not even by SIGTERM: {child.communicate()[1]}"
    return "long" if " left" in said else f"never ended: {said[-2000:]}"
  last = said.splitlines()[-1:]
  if "Traceback" in said:
    return f"traceback: {said[-2000:]}"
  if child.returncode == 0:
    return "ran"
  if child.returncode == 2 and last and last[0].startswith("vdr: "):
    return "refused"
  return f"status {child.returncode}: {said[-2000:]}"
