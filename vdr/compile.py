"""The `compile` verb: proof that a run fits a TPU slice, without one.

The programs of a config (`vdr/programs.py`) are compiled by the compiler of the
real machine for the topology `config.topology`, with the shardings of the real
run, and what it made of them is read: memory of each chip, what chips send one
another, and how long a step takes at the least (`vdr/runtime/roofline.py` says
what that assumes). A work directory gets `compile.json`.

A step that does not fit is an error, which names the first change that makes it
fit; it was found by compiling that, too.
"""

import dataclasses
import json
import math
import os
import pathlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from vdr import compiled, programs
from vdr.runtime import chips, errors, hlo, moved, products, roofline, versions
from vdr.runtime import mesh as mesh_lib
from vdr.runtime import workdir as workdirs

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any

SECTIONS = (
  "data",
  "images",
  "tokenizer",
  "model",
  "diffusion",
  "train",
  "optimizer",
  "mesh",
  "extract",
  "sample",
  "sampler",
  "topology",
  "compile",
)
NAME = "compile.json"


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Compiles the steps and writes what was found.

  Raises:
    UserError: the config can't be carried out, or a step does not fit.
  """
  _check(config)
  chip, _ = chips.parse(config.topology)
  use_no_device()
  devices = chips.devices(config.topology)
  path = workdirs.claim(workdir, config, SECTIONS)
  reports = []
  print(f"{config.model.size} on {config.topology} ({chip.device_kind})")
  for name in config.compile.steps:
    report, text = compile_step(name, config, devices, chip)
    if config.compile.save_hlo and text:
      workdirs.write_text(path / f"{name}.hlo.txt", text)
    if not report.fits:
      mend = find_mend(name, config, devices, chip, report)
      report = dataclasses.replace(report, mend=mend)
    reports.append(report)
    print(compiled.table([report]), flush=True)
  _write(path, config, reports)
  if misfits := [compiled.complaint(r) for r in reports if not r.fits]:
    raise errors.UserError("; ".join(misfits))


def use_no_device() -> None:
  """Leaves TPUs and GPUs of this machine alone; programs are compiled anew."""
  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_enable_compilation_cache", False)
  compilation_cache.reset_cache()  # it remembers whether it is in use


def _check(config: Config) -> None:
  cfg = config.compile
  problem = None
  if not config.topology:
    problem = "topology is empty; name a TPU slice, for example v5e:4x4"
  elif not set(cfg.steps) <= set(programs.STEPS):
    problem = (
      f"compile.steps={cfg.steps}: choose from {', '.join(programs.STEPS)}"
    )
  if problem:
    raise errors.UserError(problem)


def compile_step(
  name: str, config: Config, devices: list[Any], chip: chips.Chip
) -> tuple[compiled.Report, str]:
  """Compiles one step.

  Args:
    name: one of `programs.STEPS`.
    config: of the run.
    devices: to compile for.
    chip: what they are.

  Returns:
    What was found, and the text of the compiled program ("" if it is none).

  Raises:
    UserError: the parts of the config do not go together.
  """
  program = programs.make(name, config, devices)
  start = time.perf_counter()
  lowered = program.lower()
  lowering_s = time.perf_counter() - start
  try:
    executable = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    executable, needed = None, needed_bytes(str(error), chip)
  compile_s = time.perf_counter() - start - lowering_s
  params, state = _bytes(program.params), _bytes(program.optimizer)
  found: dict[str, Any] = dict(
    step=name,
    chips=program.chips,
    clips=program.clips,
    tokens=program.tokens,
    hbm_bytes=chip.hbm_bytes,
    params_bytes=params,
    optimizer_bytes=state,
    flops=program.flops / program.chips,
    extra_flops=program.extra_flops / program.chips,
    lowering_s=lowering_s,
    compile_s=compile_s,
  )
  text = ""
  if executable is not None:
    memory = executable.memory_analysis()
    needed = (
      memory.argument_size_in_bytes
      + memory.output_size_in_bytes
      - memory.alias_size_in_bytes
      + memory.temp_size_in_bytes
      + memory.generated_code_size_in_bytes
    )
    text = executable.as_text()
  fits = executable is not None and needed <= chip.hbm_bytes
  found |= dict(
    fits=fits,
    needed_bytes=float(needed),
    temporary_bytes=float(max(needed - params - state, 0)),
  )
  efficiency = config.compile.efficiency
  return compiled.Report(
    **found, **_moves(program, text, chip, efficiency, fits)
  ), text


def _moves(
  program: programs.Program,
  text: str,
  chip: chips.Chip,
  efficiency: float,
  fits: bool,
) -> dict[str, Any]:
  """What the program moves, and how long a call takes by that."""
  times, sent, counts, is_async = None, {}, {}, 0.0
  traffic, computed = moved.Traffic(0.0, 0.0), 0.0
  if text:
    module = hlo.parse(text)
    traffic, computed = moved.traffic(module), products.flops(module)
    for one in moved.collectives(module, program.chips):
      sent[one.kind] = sent.get(one.kind, 0.0) + one.sent
      counts[one.kind] = counts.get(one.kind, 0) + one.times
      is_async += one.sent * one.is_async
  total = sum(sent.values(), 0.0)
  if fits:
    work = roofline.Work(
      program.flops / program.chips,
      program.extra_flops / program.chips,
      traffic.products,
      traffic.others,
      total,
    )
    times = dataclasses.asdict(roofline.estimate(work, chip, efficiency))
  return dict(
    program_flops=computed,
    collective_bytes=sent,
    collective_times=counts,
    async_share=is_async / total if total else 0.0,
    memory_traffic_bytes=traffic.products + traffic.others,
    times=times,
  )


def needed_bytes(message: str, chip: chips.Chip) -> float:
  """What XLA says a program needs when it refuses it; NaN-free.

  Args:
    message: of RESOURCE_EXHAUSTED.
    chip: whose memory was too small.
  """
  size = r"\(?([\d.]+)([KMGT]?)\)?"
  found = re.search(rf"{size} exceeds available HBM", message) or re.search(
    rf"Used {size} of [\d.]+[KMGT]? hbm", message
  )
  if not found:
    return chip.hbm_bytes  # at the least; it says nothing more
  return float(found[1]) * 1024 ** (" KMGT".index(found[2] or " "))


def _bytes(tree: PyTree) -> int:
  """Bytes of a tree of shapes with shardings, on one chip."""
  return sum(
    leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape))
    for leaf in jax.tree.leaves(tree)
  )


def find_mend(
  name: str,
  config: Config,
  devices: list[Any],
  chip: chips.Chip,
  report: compiled.Report,
) -> compiled.Overrides:
  """The first change of the config that makes a step fit; {}: none was found.

  Changes are tried in the order of what they cost, each on top of those before,
  and every one is compiled.
  """
  found: compiled.Overrides = {}
  tried = 0
  sizes = mesh_lib.make_mesh(config.mesh, devices).shape
  for change in candidates(name, config, report, sizes):
    if tried == config.compile.max_candidates:
      break
    tried += 1
    found = found | change
    changed = config.copy_and_resolve_references().unlock()
    changed.update_from_flattened_dict(found)
    print(f"  does not fit; trying {compiled.show(found)}", flush=True)
    if compile_step(name, changed.lock(), devices, chip)[0].fits:
      return found
  return {}


def candidates(
  name: str,
  config: Config,
  report: compiled.Report,
  sizes: Mapping[str, int],
) -> Iterator[compiled.Overrides]:
  """Changes that make a step need less memory, the cheapest first."""
  if name != "train":
    field = "compile.clips" if name == "extract" else "sample.batch_size"
    clips = report.clips
    while clips > 1:
      clips //= 2
      yield {field: clips}
    return
  share = {"mesh.data": 1, "mesh.fsdp": -1}
  whole = report.params_bytes + report.optimizer_bytes
  must_share = sizes["data"] > 1 and whole > report.hbm_bytes / 2
  if must_share:
    yield share
  if config.model.remat != "block":
    yield {"model.remat": "block"}
  parts = config.optimizer.accumulation_steps
  rows = sizes["data"] * sizes["fsdp"]
  groups = [config.data.batch_size, config.images.batch_size]
  for _ in range(3):
    parts *= 2
    if any(size % (rows * parts) for size in groups):
      break
    yield {"optimizer.accumulation_steps": parts}
  if sizes["data"] > 1 and not must_share:
    yield share
  for tensor in (2, 4):
    yield {"mesh.tensor": tensor * sizes["tensor"]} | share


def _write(
  path: pathlib.Path, config: Config, reports: list[compiled.Report]
) -> None:
  chip, count = chips.parse(config.topology)
  found = {
    "topology": config.topology,
    "chips": count,
    "chip": dataclasses.asdict(chip) | {"peak_flops": chip.peak_flops},
    "efficiency": config.compile.efficiency,
    "steps": [dataclasses.asdict(report) for report in reports],
    "versions": versions.collect(),
  }
  text = json.dumps(found, indent=2, allow_nan=False) + "\n"
  workdirs.write_text(path / NAME, text)
