"""All benchmarks, one after the other, and one table of what they found.

  python -m benchmarks [--quick] [--only=NAME,…] [--json=PATH] [--document]

Each row is a process of its own, so that memory and start-up are clean, and
compares ways that take turns within it; figures are medians with their range.
`--quick` takes a quarter of an hour on two cores; what it leaves out, and what
needs PyTorch where there is none, is said in a line. `--document` writes the
table into docs/performance.md. Rows, their modules and settings:
`benchmarks/rows.py`.
"""

import contextlib
import datetime
import importlib.util
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from typing import Any

from absl import app, flags

from benchmarks import documents, fresh, rows, turns
from vdr.runtime import processes, versions, workdir

_QUICK = flags.DEFINE_bool("quick", False, "Fewer rounds, smaller networks.")
_ONLY = flags.DEFINE_list("only", "", "Names of rows; none: all.")
_DOCUMENT = flags.DEFINE_bool("document", False, "Write docs/performance.md.")
_LIST = flags.DEFINE_bool("list", False, "Only say which rows there are.")

DOCUMENT = documents.ROOT / "docs" / "performance.md"
COMMAND = "python -m benchmarks --document"
QUIET = 0.3  # cores that are busy on a machine that is quiet
HEAD = ("row", "what is compared", "median", "range", "target", "held")
# Asked in a process of its own: JAX takes most of a GPU's memory.
ASK = (
  "import jax; print(jax.default_backend());"
  " print(jax.devices()[0].device_kind)"
)


def machine() -> rows.Machine:
  """What this one has."""
  done = subprocess.run(
    [sys.executable, "-c", ASK], capture_output=True, text=True, check=True
  )
  backend, device = done.stdout.splitlines()[-2:]
  if backend == "cpu":
    device = processor()
  has_torch = importlib.util.find_spec("torch") is not None
  return rows.Machine(backend, device, has_torch)


def processor() -> str:
  """The name of this machine's processor, as Linux tells it."""
  with contextlib.suppress(OSError):
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
      if line.startswith("model name"):
        return line.partition(":")[2].strip()
  return platform.processor() or "a processor"


def run(chosen: dict[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
  """Runs rows; those that fail have an `error` and nothing else."""
  found: dict[str, dict[str, Any]] = {}
  for name, args in chosen.items():
    print(f"\n{name}: {' '.join(args)}", file=sys.stderr, flush=True)
    start = time.perf_counter()
    try:
      module = f"benchmarks.{rows.ROWS[name].module}"
      found[name] = fresh.run(module, args)
    except fresh.FailedError as error:
      found[name] = {"error": str(error)}
      print(error, file=sys.stderr, flush=True)
    found[name] |= {"args": list(args)}
    found[name] |= {"seconds": round(time.perf_counter() - start, 1)}
    for line in found[name].get("comparisons", ()):
      cells = turns.Comparison(**line).cells()
      print("  " + ", ".join(filter(None, cells)), file=sys.stderr, flush=True)
  return found


def table(found: dict[str, dict[str, Any]]) -> str:
  """All comparisons of all rows."""
  lines = []
  for name, figures in found.items():
    for line in figures.get("comparisons", ()):
      lines.append([name, *turns.Comparison(**line).cells()])
    if "error" in figures:
      lines.append([name, "failed", "", "", "", ""])
  return turns.table(HEAD, lines)


def about(
  device: str, cores: int, load: float, quick: bool, made: dict[str, Any]
) -> str:
  """Where and when figures were made, in a line."""
  day = datetime.date.today().isoformat()
  with_ = f"JAX {made['jax']}, vdr {made['git'][:12] or made['vdr']}"
  how = ", `--quick`" if quick else ""
  busy = f"{load:.1f} busy with other work before"
  return f"{day}, {device}, {cores} usable cores, {busy}, {with_}{how}."


def main(argv: list[str]) -> int:
  del argv
  if _LIST.value:
    cells = ([name, row.about] for name, row in rows.ROWS.items())
    print(turns.table(("row", "about"), cells))
    return 0
  here = machine()
  try:
    chosen, left_out = rows.choose(_ONLY.value, _QUICK.value, here)
  except ValueError as error:
    print(f"benchmarks: {error}", file=sys.stderr)
    return 2
  load = os.getloadavg()[0]
  if load > QUIET:
    print(
      f"other programs keep {load:.1f} cores busy: figures against PyTorch,"
      " whose threads wait for one another, are then worth nothing",
      file=sys.stderr,
    )
  found = run(chosen)
  made = versions.collect(here.device)
  cores = processes.usable_cores()
  title = about(here.device, cores, load, _QUICK.value, made)
  lines = [title, "", table(found), *(f"\n{line}." for line in left_out)]
  print("\n".join(lines))
  if _DOCUMENT.value:
    documents.fill(DOCUMENT, COMMAND, lines)
  if turns.JSON.value:
    whole = {
      "device": here.device,
      "backend": here.backend,
      "cores": cores,
      "load": load,
      "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
      "quick": _QUICK.value,
      "versions": made,
      "left_out": left_out,
      "rows": found,
    }
    path = pathlib.Path(turns.JSON.value)
    workdir.write_text(path, json.dumps(whole, indent=2) + "\n")
  return int(any("error" in figures for figures in found.values()))


if __name__ == "__main__":
  app.run(main)
