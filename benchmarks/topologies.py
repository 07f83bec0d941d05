"""Whether the training steps of the study fit real TPU slices, and how fast.

  python -m benchmarks.topologies [--cache=runs/topologies] [--rows=video_dit]

Compiles the training step of both models in both sizes for every slice below
(vdr/compile.py; needs the extra `tpu` and no TPU) and writes the tables of
docs/scaling.md. A row takes three minutes of one core, and more the more chips.
Rows lie in the cache and are compiled once: the command goes on where it was
stopped.
"""

import dataclasses
import json
import pathlib
from typing import Any

from absl import app, flags

from benchmarks import documents
from configs import base, image_dit, video_dit
from vdr import compile as compile_lib
from vdr import compiled
from vdr.runtime import chips, versions, workdir

DOCUMENT = documents.ROOT / "docs" / "scaling.md"

_CACHE = flags.DEFINE_string("cache", "runs/topologies", "Folder of the rows.")
_ROWS = flags.DEFINE_string("rows", "", "Only rows whose name has this.")

CONFIGS = {"video_dit": video_dit, "image_dit": image_dit}
SIZES = ("walt_1p9b", "walt_284m")
TOPOLOGIES = ("v5e:4x4", "v5e:16x16", "v5p:4x4x4", "v6e:16x16")
VARIANT_CHIPS = 16  # that the batches of the variants are meant for
TITLE = (
  "| model | slice | chips | clips + images | memory, GB | TFLOPs | remat |"
  " sent, GB | bound | time, ms | share of peak |"
)


def rows() -> dict[str, tuple[str, str, str]]:
  """Config, size and topology of every row, the largest model first."""
  return {
    f"{name}-{size}-{topology}": (name, size, topology)
    for size in SIZES
    for name in CONFIGS
    for topology in TOPOLOGIES
  }


def config_of(name: str, size: str, topology: str) -> Any:
  """The config of a row: on a chip there is as much whatever the slice."""
  cfg = CONFIGS[name].get_config(size)
  _, count = chips.parse(topology)
  changes = {
    f"{group}.batch_size": cfg[group].batch_size * count // VARIANT_CHIPS
    for group in ("data", "images")
  }
  if cfg.mesh.fsdp == -1:
    # By 256 chips each would have ten rows of a matrix, in tiles of eight.
    changes |= {"mesh.data": -1, "mesh.fsdp": VARIANT_CHIPS}
  return base.override(cfg, changes | {"topology": topology})


def make(row: tuple[str, str, str]) -> dict[str, Any]:
  """Compiles a row."""
  config = config_of(*row)
  chip, _ = chips.parse(config.topology)
  devices = chips.devices(config.topology)
  report, _ = compile_lib.compile_step("train", config, devices, chip)
  print(compiled.table([report]), flush=True)
  return {
    "clips": config.data.batch_size,
    "images": config.images.batch_size,
    "efficiency": config.compile.efficiency,
    "report": dataclasses.asdict(report),
    "versions": versions.collect(),
  }


def line(row: tuple[str, str, str], found: dict[str, Any]) -> str:
  """A row of the table."""
  name, size, topology = row
  r = found["report"]
  cells = [
    f"`{name}:{size}`",
    topology,
    r["chips"],
    f"{found['clips']} + {found['images']}",
    f"{r['needed_bytes'] / 1e9:.1f} of {r['hbm_bytes'] / 1e9:.1f}",
    f"{r['flops'] / 1e12:.1f}",
    f"{r['extra_flops'] / r['flops']:.0%}",
  ]
  if r["fits"]:
    t = r["times"]
    sent = sum(r["collective_bytes"].values())
    cells += [
      f"{sent / 1e9:.1f}",
      t["bound"],
      f"{1e3 * t['predicted_s']:.0f}",
      f"{t['share_of_peak']:.0%}",
    ]
  else:
    cells += ["", "does not fit", "", ""]
  return f"| {' | '.join(map(str, cells))} |"


def scaling(done: dict[str, dict[str, Any]]) -> list[str]:
  """Work of a chip in the large slice over that in the small one."""
  found = [
    "| model | FLOPs | sent | memory traffic | time |",
    "|---|---|---|---|---|",
  ]
  for size in SIZES:
    for name in CONFIGS:
      pair = [done.get(f"{name}-{size}-{t}") for t in TOPOLOGIES[:2]]
      if None in pair or not all(p["report"]["fits"] for p in pair if p):
        continue
      small, large = (p["report"] for p in pair if p)
      ratios = [
        measure(large) / measure(small)
        for measure in (
          lambda r: r["flops"] + r["extra_flops"],
          lambda r: sum(r["collective_bytes"].values()),
          lambda r: r["memory_traffic_bytes"],
          lambda r: r["times"]["predicted_s"],
        )
      ]
      cells = " | ".join(f"{ratio:.3f}" for ratio in ratios)
      found.append(f"| `{name}:{size}` | {cells} |")
  return found


def document(done: dict[str, dict[str, Any]]) -> None:
  """Writes both tables between the marks of the document."""
  lines = [TITLE, "|---" * (TITLE.count("|") - 1) + "|"]
  lines += [line(row, done[key]) for key, row in rows().items() if key in done]
  lines += [
    "",
    "The same step on 256 chips (v5e:16x16) over that on 16, for each chip:",
  ]
  lines += ["", *scaling(done)]
  missing = [f"`{key}`" for key in rows() if key not in done]
  if missing:
    lines += ["", f"Not compiled yet: {', '.join(missing)}."]
  documents.fill(DOCUMENT, "benchmarks/topologies.py", lines)


def main(argv: list[str]) -> None:
  del argv
  compile_lib.use_no_device()
  cache = pathlib.Path(_CACHE.value)
  cache.mkdir(parents=True, exist_ok=True)
  done = {}
  for key in rows():
    if (file := cache / f"{key}.json").exists():
      done[key] = json.loads(file.read_text())
  for key, row in rows().items():
    if key in done or _ROWS.value not in key:
      continue
    print(key, flush=True)
    done[key] = make(row)
    workdir.write_text(cache / f"{key}.json", json.dumps(done[key], indent=2))
    document(done)
  document(done)


if __name__ == "__main__":
  app.run(main)
