"""How much of its time training waits for data.

  python -m benchmarks.waiting [--steps=60] [--json=PATH]

Trains configs/video_dit.py:local from pixels, from stored latents and from mp4
files of 64 lines, and reads `wait_share` of its `metrics.jsonl`, which is there
in every run: the share of the time, pauses left out, that steps waited for
their batches. Its range is that of the lines of a run; the first line, in whose
time the step is compiled, is left out.
"""

import json
import pathlib
import tempfile
from typing import Any

from absl import app, flags

from benchmarks import material, turns
from configs import base, video_dit
from vdr import train

_STEPS = flags.DEFINE_integer("steps", 60, "Steps of a run.")
_EVERY = flags.DEFINE_integer("every", 10, "Steps of a line.")
_CLIPS = flags.DEFINE_integer("clips", 256, "Simulated clips.")
_VIDEOS = flags.DEFINE_integer("videos", 16, "Videos.")


def config(fields: dict[str, Any]) -> Any:
  """That of a run without pauses, whose sources have these fields."""
  return base.override(
    video_dit.get_config("local"),
    {
      "train.amount": float(_STEPS.value),
      "train.validate_every_steps": 0,
      "log.every_steps": _EVERY.value,
      "log.samples_every_steps": 0,
      "saving.every_steps": 0,
      "saving.budgets_percent": (),
      "tokenizer.fit_clips": 64,
      "runtime.num_workers": -1,
    }
    | {
      f"{group}.sources.main.{name}": value
      for group in ("data", "images")
      for name, value in fields.items()
    },
  )


def wait_shares(fields: dict[str, Any], path: pathlib.Path) -> list[float]:
  """Of every line but the first of a run."""
  with material.quietly():
    train.run(config(fields), path)
  lines = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
  return [line["wait_share"] for line in lines if "wait_share" in line][1:]


def main(argv: list[str]) -> None:
  del argv
  found = []
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    material.simulated(root / "clips", _CLIPS.value, "local")
    material.latents(root / "latents", root / "clips")
    (root / "videos").mkdir()
    for seed in range(_VIDEOS.value):
      material.video(root / "videos" / f"{seed}.mp4", seed, 64, 96, 60)
    for name, fields in {
      "pixels": {"kind": "physics", "path": str(root / "clips")},
      "latents": {"kind": "latents", "path": str(root / "latents")},
      "mp4": {
        "kind": "video_folder",
        "path": str(root / "videos"),
        "split": "all",
      },
    }.items():
      shares = wait_shares(fields, root / "runs" / name)
      found.append(
        turns.Comparison.of(
          f"training from {name}: share of the time that it waits for input",
          (100 * share for share in shares),
          unit="%",
        )
      )
  rows = [line.cells()[:3] for line in found]
  print(turns.table(("run", "share", "range"), rows))
  turns.write(found)


if __name__ == "__main__":
  app.run(main)
