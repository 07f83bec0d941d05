"""A benchmark in a process of its own, where memory and start-up are clean."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
LAST_LINES = 3  # of what a failed process said


class FailedError(Exception):
  """A process ended with an error; its last lines say which."""


def run(
  module: str,
  args: Sequence[str] = (),
  environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
  """Runs `python -m MODULE --json=…` and returns what it wrote there.

  Args:
    module: by dotted name; it writes with `turns.write`.
    args: of its command line. What it prints is not shown.
    environment: variables that it gets beside those of this process.

  Raises:
    FailedError: it ended with an error, or wrote nothing.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "figures.json"
    command = [sys.executable, "-m", module, *args, f"--json={path}"]
    done = subprocess.run(
      command,
      cwd=ROOT,
      env={**os.environ, **(environment or {})},
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    if done.returncode or not path.exists():
      said = [line for line in done.stderr.splitlines() if line.strip()]
      told = " / ".join(said[-LAST_LINES:]) or "no word"
      raise FailedError(f"{module} ended with {done.returncode}: {told}")
    return json.loads(path.read_text())
