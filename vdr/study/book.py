"""What a study tells while it runs, and `study.json`, which reports read."""

import datetime
import json
import os
import pathlib
import platform
import re
import time
from collections.abc import Sequence
from typing import Any

from vdr.runtime import progress, versions
from vdr.runtime import workdir as workdirs
from vdr.study import cluster, estimates
from vdr.study.cells import Cell

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
NAME = "study.json"
TAIL_BYTES = 4096  # of a log, in which its last line of progress is


class Book:
  """Keeps the record of a study; to be used in a `with` block."""

  def __init__(self, study: pathlib.Path, config: Config, cells: list[Cell]):
    self._study, self._config, self._cells = study, config, cells
    self._start = self._shown = time.perf_counter()
    self._before = _earlier(study)
    self._finished = self._count()

  def __enter__(self) -> "Book":
    left = [c for c in self._cells if not c.is_finished(self._study)]
    seconds = sum(estimates.seconds(cell) for cell in left)
    print(
      f"study: {len(left)} of {len(self._cells)} cells to run, about"
      f" {progress.duration(seconds)} on one core at a time"
    )
    self._write()
    return self

  def __exit__(self, *unused: object) -> None:
    self._write()

  def started(self, cell: Cell) -> None:
    """A cell begins in this process; its verb tells the rest."""
    self._write()
    about = progress.duration(estimates.seconds(cell))
    done, of = self._count(), len(self._cells)
    print(f"== {cell.name} ({done + 1} of {of}, about {about})", flush=True)

  def look(self) -> None:
    """Tells, now and then, what cells in other processes do."""
    finished, now = self._count(), time.perf_counter()
    if finished > self._finished:
      self._finished = finished
      self._write()
    if now - self._shown < self._config.runner.progress_s:
      return
    self._shown = now
    running = []
    for cell in self._cells:
      if cell.is_finished(self._study):
        continue
      line = last_progress(cell.log(self._study), now - self._start)
      if line:
        running.append(f"  {cell.name}: {line}")
    elapsed = progress.duration(now - self._start)
    left = progress.duration(self._left(now - self._start))
    print(
      f"study: {finished} of {len(self._cells)} cells, {elapsed}, about {left}"
      " left"
    )
    print("\n".join(running), flush=True)

  def _left(self, elapsed: float) -> float:
    """Seconds that the rest takes at the pace so far."""
    todo = sum(
      estimates.seconds(c)
      for c in self._cells
      if not c.is_finished(self._study)
    )
    total = sum(map(estimates.seconds, self._cells))
    return elapsed * todo / max(total - todo, 1e-9) if todo < total else todo

  def _count(self) -> int:
    return sum(cell.is_finished(self._study) for cell in self._cells)

  def _write(self) -> None:
    started, seconds = self._before
    seconds += time.perf_counter() - self._start
    book = record(self._study, self._config, self._cells, started, seconds)
    workdirs.write_text(self._study / NAME, json.dumps(book, indent=2) + "\n")


def record(
  study: pathlib.Path,
  config: Config,
  cells: Sequence[Cell],
  started: str,
  seconds: float,
) -> dict[str, Any]:
  """What `study.json` holds: the graph, and how far it is."""
  return {
    "schema_version": 1,
    "title": config.study.title,
    "seed": config.seed,
    "command": f"python -m vdr.main --config={study / workdirs.CONFIG_NAME}"
    f" --workdir={study}",
    "started": started,
    "seconds": round(seconds, 1),
    "machine": machine(),
    "versions": versions.collect(),
    "models": [
      {
        "name": cell.about["model"],
        "kind": cell.about["kind"],
        "size": cell.about["size"],
        "seed": cell.about["seed"],
        "cell": cell.name,
      }
      for cell in cells
      if cell.about["role"] == "train"
    ],
    "cells": [_entry(study, cell) for cell in cells],
  }


def _entry(study: pathlib.Path, cell: Cell) -> dict[str, Any]:
  failure = cell.failure(study)
  state = "finished" if cell.is_finished(study) else "waiting"
  return {
    "name": cell.name,
    "job": cell.job,
    "folder": str(cell.folder(study).relative_to(study)),
    "key": cell.key,
    "inputs": [one.name for one in cell.inputs],
    "state": "failed" if failure and state != "finished" else state,
    "failure": failure,
    "seconds": cell.seconds(study),
    "command": cluster.command(cell, study),
    "about": cell.about,
  }


def machine() -> dict[str, Any]:
  """What it ran on."""
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  return {
    "system": platform.platform(),
    "cpu": _cpu(),
    "cores": os.cpu_count() or 1,
    "memory_gb": round(memory / 2**30),
  }


def _cpu() -> str:
  try:
    text = pathlib.Path("/proc/cpuinfo").read_text()
  except OSError:
    return platform.processor()
  found = re.search(r"model name\s*: (.+)", text)
  return found[1] if found else platform.processor()


def _earlier(study: pathlib.Path) -> tuple[str, float]:
  """When it was first started, and the seconds that it has taken since."""
  try:
    book = json.loads((study / NAME).read_text())
    return str(book["started"]), float(book["seconds"])
  except (OSError, ValueError, KeyError):
    now = datetime.datetime.now(datetime.UTC)
    return now.isoformat(timespec="seconds"), 0.0


def last_progress(log: pathlib.Path, within_s: float) -> str:
  """The newest line of a log that tells progress; "" if it is an old one."""
  try:
    if time.time() - log.stat().st_mtime > within_s + 60:
      return ""
    with log.open("rb") as file:
      file.seek(max(0, log.stat().st_size - TAIL_BYTES))
      text = file.read().decode(errors="replace")
  except OSError:
    return ""
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  told = [line for line in lines if re.search(r"\d+ of \d|\d%", line)]
  return (told or lines or [""])[-1]
