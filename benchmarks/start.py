"""How long until something happens: import, first step, going on.

  python -m benchmarks.start [--rounds=3] [--json=PATH]

Everything is a fresh process, timed from its start. `python -m vdr.main` trains
the debug variant of the video model, on clips that it simulates, until its
first step is in `metrics.jsonl`, and is stopped there by SIGTERM:

* **cold**, with an empty compilation cache;
* **cached**, in another work directory, with the cache that the cold start left
  (it is on by default: `vdr/runtime/compilation.py`);
* **resumed**, in the work directory of the cached start, from the checkpoint
  that SIGTERM left.
"""

import contextlib
import functools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from absl import app, flags

from benchmarks import fresh, turns
from vdr.runtime import logs

_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds; medians are printed.")
_LIMIT = flags.DEFINE_float("limit_s", 300.0, "Time after which it failed.")

LOOK_S = 0.02  # between two looks at the log
IMPORTS = {
  "import vdr": "import vdr",
  "import vdr.train": "import vdr.train",
  "import jax": "import jax",
}


def seconds_of(code: str) -> float:
  """Of a fresh Python that runs one line."""
  start = time.perf_counter()
  subprocess.run([sys.executable, "-c", code], cwd=fresh.ROOT, check=True)
  return time.perf_counter() - start


def first_step_s(workdir: pathlib.Path, cache: pathlib.Path) -> float:
  """Seconds to the first step that is logged; the run is stopped then.

  Raises:
    FailedError: training ended before, or took too long.
  """
  log = workdir / logs.METRICS_NAME
  before = _num_lines(log)
  command = [sys.executable, "-m", "vdr.main"]
  command += ["--config=configs/video_dit.py:debug", f"--workdir={workdir}"]
  command += ["--config.train.amount=1e6"]
  environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
  start = time.perf_counter()
  with subprocess.Popen(
    command,
    cwd=fresh.ROOT,
    env=environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  ) as process:
    try:
      while _num_lines(log) <= before:
        if process.poll() is not None:
          raise fresh.FailedError(f"training ended: {process.returncode}")
        if time.perf_counter() - start > _LIMIT.value:
          raise fresh.FailedError(f"no step within {_LIMIT.value:.0f} s")
        time.sleep(LOOK_S)
      seconds = time.perf_counter() - start
      process.send_signal(signal.SIGTERM)
      process.wait(_LIMIT.value)
      return seconds
    finally:
      process.kill()


def _num_lines(log: pathlib.Path) -> int:
  with contextlib.suppress(FileNotFoundError):
    return log.read_text().count('"loss"')
  return 0


def round_of_starts(folder: pathlib.Path) -> dict[str, float]:
  """A cold start, and the two that profit from it."""
  cache = folder / "cache"
  return {
    "cold": first_step_s(folder / "cold", cache),
    "cached": first_step_s(folder / "cached", cache),
    "resumed": first_step_s(folder / "cached", cache),
  }


def main(argv: list[str]) -> None:
  del argv
  runs: dict[str, Callable[[], float]] = {
    name: functools.partial(seconds_of, code) for name, code in IMPORTS.items()
  }
  seconds = turns.take(runs, _ROUNDS.value)
  for _ in range(_ROUNDS.value):
    with tempfile.TemporaryDirectory() as folder:
      for name, value in round_of_starts(pathlib.Path(folder)).items():
        seconds.setdefault(name, []).append(value)
  rows = []
  for name, times in seconds.items():
    middle, least, most = turns.spread(times)
    rows.append([name, f"{middle:.2f}", f"{least:.2f} to {most:.2f}"])
  print(turns.table(("start", "s", "range"), rows))
  found = [
    turns.Comparison.of(f"start: {what}", seconds[name], unit="s")
    for name, what in (
      ("import vdr", "import vdr, in a fresh Python"),
      ("cold", "first training step, nothing compiled"),
      ("cached", "first training step, compiled before"),
      ("resumed", "first training step of a resumed run"),
    )
  ]
  for name in ("cached", "resumed"):
    ratio = turns.ratios(seconds[name], seconds["cold"])
    found.append(turns.Comparison.of(f"start: {name} over cold", ratio))
  turns.write(found, {"seconds": seconds})


if __name__ == "__main__":
  app.run(main)
