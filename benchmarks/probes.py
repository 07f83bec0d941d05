"""What one engine saves over separate fits, and what each head costs.

  python -m benchmarks.probes [--rounds=3] [--only=engine|heads] [--json=PATH]

First: 8 layers x 4 pairs of learning rate and weight decay x 2 seeds of an
attentive probe on a random `small` network, in one fit whose forward pass runs
once a batch, and as 64 fits that each run the same compiled forward again; also
64 that stop it at their own layer. Start-up and compilation are excluded, and
the ways take turns.

Then: seconds of a fit by head, for 12 cells x 2 rates x 1 seed of features
[5 8 8 128] in memory, with the sizes of config.probe.

Seconds are of the wall and of the processor: on a shared machine only the
latter tell much.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import frozen, turns
from configs import base
from vdr.probes import blocks, dense, engine, head, heads, losses, make
from vdr.probes.plan import Plan
from vdr.runtime import processes

_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds; medians are printed.")
_CLIPS = flags.DEFINE_integer("clips", 2048, "Clips in memory, by head.")
_ONLY = flags.DEFINE_enum("only", "", ["", "engine", "heads"], "One part.")
_SIZE = flags.DEFINE_string("size", "small", "Network of the first part.")
_STEPS = flags.DEFINE_integer("steps", 2, "Steps of a fit of the first part.")

WARM_UP, MEASURED = 5, 10  # steps of a fit by head
ENGINE_TARGET = 8.0  # times faster than fits one by one


def _engine() -> list[turns.Comparison]:
  """The first part."""
  study = frozen.Separate(
    _SIZE.value,
    num_steps=_STEPS.value,
    learning_rates=(1e-3, 3e-3),
    weight_decays=(1e-4, 1e-2),
    seeds=(0, 1),
  )
  num = len(study.members())
  print(
    f"\n{num} probes on layers {study.layers} of"
    f" {_SIZE.value!r}, {_STEPS.value} steps of {frozen.BATCH} clips"
  )
  study.together()  # compiles
  one = dataclasses.replace(
    study.plan, learning_rates=(1e-3,), weight_decays=(1e-4,), seeds=(0,)
  )
  study.fit(one, study.layers, slice(0, 1))
  for layer in study.layers:
    study.fit(one, (layer,), slice(None))
  ways = {
    "one engine": study.together,
    f"{num} fits": functools.partial(study.apart, False),
    f"{num} fits, to their own layer": functools.partial(study.apart, True),
  }
  runs = turns.each_timed(ways)
  times = turns.take(runs, _ROUNDS.value)
  first, rows, found = times["one engine"], [], []
  for way, values in times.items():
    wall, processor = turns.medians(values)
    longer = [
      turns.ratios((t[i] for t in values), (t[i] for t in first))
      for i in (0, 1)
    ]
    middles = (f"{turns.spread(ratio).middle:.1f}" for ratio in longer)
    rows.append([way, f"{wall:.1f}", f"{processor:.1f}", ", ".join(middles)])
    if way != "one engine":
      what = f"probes, {_SIZE.value}: {way}, over one engine"
      # The target is that of fits which share nothing.
      target = {} if "own" in way else {"at_least": ENGINE_TARGET}
      found.append(turns.Comparison.of(what, longer[0], **target))
  head_ = ("way", "wall s", "processor s", "times as long (wall, processor)")
  print(f"\n{turns.table(head_, rows)}", flush=True)
  return found


def _targets(n: int) -> dict[str, jax.Array]:
  rng = np.random.default_rng(1)
  xy = rng.uniform(0.1, 0.9, (n, 64, frozen.NUM_FRAMES, 2))
  yxyx = rng.uniform(0.1, 0.9, (n, 4, frozen.NUM_FRAMES, 4))
  found = {
    "label": rng.integers(8, size=n).astype(np.int32),
    "pose": rng.normal(size=(n, 3, 4)),
    "depth_m": rng.uniform(1, 9, (n, len(frozen.FRAME_TIMES), 32, 32)),
    "points_xy": xy,
    "points_visible": rng.uniform(size=xy.shape[:3]) < 0.8,
    "query_visible": np.ones((n, 64), bool),
    "boxes_yxyx": yxyx,
    "boxes_valid": np.ones((n, 4, frozen.NUM_FRAMES), bool),
    "object_valid": np.ones((n, 4), bool),
    "points_query": xy[:, :, 0],
    "boxes_query": yxyx[:, :, 0],
  }
  return {
    k: jnp.asarray(v, jnp.float32 if v.dtype == np.float64 else v.dtype)
    for k, v in found.items()
  }


Case = tuple[head.Head, Any, Any, tuple[str, ...]]


def _cases() -> dict[str, Case]:
  """Head, loss, draw, and the targets they read, by name."""
  cfg, where = base.probe(), (frozen.FRAME_TIMES, frozen.NUM_FRAMES)
  depth, patches = make.dense(
    cfg,
    *where,
    frames=frozen.FRAME_TIMES,
    height=32,
    width=32,
    names=("depth_m",),
  )
  cases: dict[str, Case] = {
    "linear": (
      heads.Linear(8),
      losses.CrossEntropy("label"),
      None,
      ("label",),
    ),
    "attentive": (
      make.attentive(cfg, 8, *where),
      losses.CrossEntropy("label"),
      None,
      ("label",),
    ),
    "pose": (make.pose(cfg, *where), losses.Pose(), None, ("pose",)),
    "dense": (depth, losses.Depth(), patches, ("depth_m",)),
  }
  for kind in make.TRACKERS:
    cfg.track.kind = kind
    names = ("points_xy", "points_visible")
    own, draw = make.track(
      cfg, "points", *where, query_dim=2, names=names, valid="query_visible"
    )
    loss = losses.Points(32.0, query_visible="query_visible")
    read = (*names, "query_visible", "points_query")
    cases[f"points, {kind}"] = own, loss, draw, read
    names = ("boxes_yxyx", "boxes_valid")
    own, draw = make.track(
      cfg, "boxes", *where, query_dim=4, names=names, valid="object_valid"
    )
    read = (*names, "object_valid", "boxes_query")
    cases[f"boxes, {kind}"] = own, losses.Boxes(), draw, read
  return cases


def _plan(case: Case, num_steps: int) -> Plan:
  cfg = base.probe()
  is_dense, draw = isinstance(case[0], dense.Dense), case[2]
  batch = cfg.batch_size if draw is None else cfg.track.batch_size
  batch = cfg.dense.batch_size if is_dense else batch
  plan = make.plan(cfg, 0, batch)
  return dataclasses.replace(plan, num_steps=num_steps, steps_per_call=MEASURED)


def _heads() -> None:
  """The second part."""
  num, cells = _CLIPS.value, 12
  rng = np.random.default_rng(0)
  shape = (num, *frozen.GRID, 128)
  one = rng.standard_normal(shape, np.float32).astype(np.float16)
  features = tuple(jnp.array(one) for _ in range(cells))
  targets, cfg = _targets(num), base.probe()
  print(
    f"\n{cells} cells x {len(cfg.learning_rates)} rates, {num} clips of"
    f" {[*frozen.GRID, 128]} in {cfg.store}\n"
  )
  print("| head | parameters | clips a step | ms a step (processor) |", end="")
  print(f" s for {cfg.num_steps} steps | first call, s |")
  print("|---|---|---|---|---|---|")
  for name, case in _cases().items():
    own, *_, read = case
    held = {"query" if k.endswith("_query") else k: targets[k] for k in read}
    x = features
    if own.prepare is head.mean:
      x = tuple(cell.astype(jnp.float32).mean((1, 2, 3)) for cell in features)
    _line(name, case, blocks.Block(x, held))


def _line(name: str, case: Case, block: blocks.Block) -> None:
  """One row of the table: long fits less short ones."""
  own, loss, draw, _ = case

  def fit(num_steps: int) -> Any:
    plan = _plan(case, num_steps)
    return engine.fit(own, loss, block, plan, draw=draw, quiet=True).params

  first, _ = turns.timed(lambda: fit(WARM_UP))
  rounds = []
  for _ in range(_ROUNDS.value):
    short, long = (
      turns.timed(functools.partial(fit, n))
      for n in (WARM_UP, WARM_UP + MEASURED)
    )
    both = zip(short, long, strict=True)
    rounds.append(turns.Seconds(*((b - a) / MEASURED for a, b in both)))
  wall, processor = turns.medians(rounds)
  num_params = own.num_params(block.features[0].shape[1:])
  cfg = base.probe()
  print(
    f"| {name} | {num_params:,} | {_plan(case, 1).batch_size} |"
    f" {wall * 1e3:.0f} ({processor * 1e3:.0f}) | {wall * cfg.num_steps:.0f} |"
    f" {first:.1f} |",
    flush=True,
  )


def main(argv: list[str]) -> None:
  del argv
  print(f"{processes.usable_cores()} usable cores, {jax.default_backend()}")
  found = _engine() if _ONLY.value != "heads" else []
  if _ONLY.value != "engine":
    _heads()
  turns.write(found)


if __name__ == "__main__":
  app.run(main)
