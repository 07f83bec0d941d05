"""What a study tells while it runs, and `study.json`, which reports read."""

import datetime
import json
import os
import pathlib
import platform
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vdr.runtime import progress, versions
from vdr.runtime import workdir as workdirs
from vdr.study import cluster, estimates
from vdr.study.cells import Cell, explain

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
    self._work = self._rest({})

  def __enter__(self) -> "Book":
    count = len(self._cells)
    print(
      f"study: {count - self._finished} of {count} cells to run, about"
      f" {progress.duration(self._work)} on one core at a time"
    )
    if why := explain(self._cells, self._study):
      print(f"study: {why}")
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
    elapsed = now - self._start
    running = {}
    for cell in self._cells:
      if not cell.is_finished(self._study):
        line = last_progress(cell.log(self._study), elapsed)
        if line:
          running[cell.name] = line
    print(
      f"study: {finished} of {len(self._cells)} cells,"
      f" {progress.duration(elapsed)}, about"
      f" {progress.duration(self._left(elapsed, running))} left"
    )
    lines = (f"  {name}: {line}" for name, line in running.items())
    print("\n".join(lines), flush=True)

  def _left(self, elapsed: float, running: Mapping[str, str]) -> float:
    """Seconds that the rest takes at the pace since this start."""
    rest = self._rest(running)
    done = self._work - rest
    return elapsed * rest / done if done > 0 else rest

  def _rest(self, running: Mapping[str, str]) -> float:
    """Estimated seconds of what is not done, cells that run in part."""
    return sum(
      estimates.seconds(cell) * (1 - progress.share(running.get(cell.name, "")))
      for cell in self._cells
      if not cell.is_finished(self._study)
    )

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
