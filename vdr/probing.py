"""One frozen backbone, many tasks: features once, then probes, then scores.

Features of a split are read once for all tasks. Hyper-parameters are chosen on
`select`; so is the best cell, a layer at a noise level. Everything that is
reported comes from `test`, which nothing was chosen on.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vdr import controls, features, splits
from vdr.metrics import accumulators
from vdr.probes import blocks as blocks_lib
from vdr.probes import choose, engine
from vdr.probes import head as head_lib
from vdr.probes import readout as readout_lib
from vdr.probes.plan import Plan
from vdr.runtime import errors, progress
from vdr.tasks import Task, task

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Arrays = dict[str, np.ndarray]


class Cell(NamedTuple):
  """One place that features are read at."""

  layer: int | None
  noise_level: float | None
  log_snr: float | None
  frame: int | None = None  # of a control that sees one frame


class Drawn(NamedTuple):
  """What one probe says of some clips.

  Attributes:
    targets: of the task, as `Task.score` takes them.
    outputs: likewise.
    attention: what it looks at; None of heads without attention.
  """

  targets: Arrays
  outputs: Arrays
  attention: Float[np.ndarray, "b q t h w"] | None


@dataclasses.dataclass(frozen=True)
class Probed:
  """What probes on one backbone scored in one task.

  Attributes:
    cells: where features were read.
    hypers: learning rate and weight decay that `select` chose, by cell; None
      where all of them diverged.
    select: primary metric on `select`, by cell, a mean over seeds.
    best: the cell that `select` chose.
    runs: on `test`: metric → cell → a ratio for each seed.
    drawn: what the best cell's first seed says of the first test clips.
  """

  cells: list[Cell]
  hypers: list[tuple[float, float] | None]
  select: list[float]
  best: int
  runs: dict[str, list[list[accumulators.Ratio]]]
  drawn: Drawn | None


class Extraction(NamedTuple):
  """Features of all splits, and where they were read."""

  cells: list[Cell]
  blocks: dict[str, blocks_lib.Blocks]
  frame_times: tuple[int, ...]


def extract(
  clips: splits.Splits,
  backbone: features.Backbone,
  spec: features.FeatureSpec,
  view: str,
  plan: Plan,
  num_frames: int,
  label: str,
) -> Extraction:
  """Features of every split, in memory if they fit the plan's budget.

  Args:
    clips: of all splits.
    backbone: what reads them.
    spec: where.
    view: see `controls.show`; "frame" makes a cell of each of three frames,
      the first, the middle and the last one.
    plan: of the probes.
    num_frames: pixel frames of a clip.
    label: for the progress bar.
  """
  spec = backbone.resolve(spec)
  levels = spec.levels(backbone.schedule)
  frames: list[int | None] = [None]
  if view == "frame":
    frames = [0, num_frames // 2, num_frames - 1]
  cells = [
    Cell(layer, level, log_snr, frame)
    for frame in frames
    for layer in spec.layers
    for level, log_snr in zip(*levels, strict=True)
  ]

  def read(batch: tuple[Arrays, Arrays]) -> tuple[Any, Any]:
    video, index = batch[0]["video"], batch[0]["clip_index"].astype(np.int32)
    parts = []
    for frame in frames:
      seen = clips.seen(controls.show(view, video, index, frame or 0))
      found = backbone.features(seen, spec, index)
      parts += [
        found[layer, level]
        for layer in spec.layers
        for level in levels.noise_levels
      ]
    return jnp.stack(parts), batch[1]

  def shown(split: str) -> Iterator[tuple[Arrays, Arrays]]:
    total = clips.count(split)
    with progress.bar(total, unit="clip", label=f"{label}, {split}") as bar:
      for batch in clips.batches(split):
        yield batch
        bar.advance(int(batch[1]["clip_valid"].sum()))

  blocks: dict[str, blocks_lib.Blocks] = {}
  for split in splits.SPLITS:
    blocks[split] = blocks_lib.open_blocks(
      lambda split=split: shown(split),
      read,
      head_lib.tokens,
      plan,
      clips.count(split),
    )
  seen_frames = 1 if clips.is_image or view == "frame" else num_frames
  times = backbone.frame_times(seen_frames, spec=spec)[:, 1]
  if view == "frame":  # it stands for the whole clip
    times = np.array([num_frames - 1])
  return Extraction(cells, blocks, tuple(int(t) for t in times))


def probe(
  one: Task,
  extraction: Extraction,
  cfg: Config,
  shape: task.Shape,
  plan: Plan,
  train: Arrays,
  only: Sequence[int] | None = None,
  label: str = "",
  shown: int = 0,
) -> Probed:
  """Fits probes of one task, chooses on `select`, scores on `test`.

  Args:
    one: the task.
    extraction: features of all splits.
    cfg: config.probe.
    shape: of clips and features.
    plan: how probes are fitted.
    train: the task's targets of the clips to fit on.
    only: cells to probe; all by default.
    label: for the progress bar.
    shown: test clips whose outputs and attention are kept, to be drawn.

  Raises:
    UserError: all probes diverged.
  """
  chosen_cells = range(len(extraction.cells)) if only is None else only
  blocks = {
    split: _for_task(part, one, chosen_cells)
    for split, part in extraction.blocks.items()
  }
  readout = one.readout(cfg, shape, train)
  plan = dataclasses.replace(
    plan, batch_size=readout.batch_size, num_steps=readout.num_steps
  )
  fitted = engine.fit(
    readout.head,
    readout.loss,
    blocks["train"],
    plan,
    draw=readout.draw,
    label=label or one.name,
  )
  scores = _scores(one, readout.head, fitted.params, blocks["select"], plan)
  primary = scores[one.primary]
  select = np.array([[[r.score() for r in s] for s in h] for h in primary])
  worse = one.goal.lower_is_better
  best_hyper = choose.choose(select, worse, fitted.diverged)
  if (best_hyper == choose.NONE).all():
    raise errors.UserError(
      f"all probes of task {one.name} diverged; lower probe.learning_rates"
    )
  by_cell = select[np.arange(len(select)), np.maximum(best_hyper, 0)].mean(1)
  by_cell = np.where(best_hyper == choose.NONE, np.nan, by_cell)
  best = int(np.nanargmin(by_cell) if worse else np.nanargmax(by_cell))
  params = choose.take(fitted.params, best_hyper)
  test = _scores(one, readout.head, params, blocks["test"], plan)
  drawn = _outputs(readout.head, params, blocks["test"], best, shown)
  hypers = plan.hypers
  return Probed(
    cells=[extraction.cells[i] for i in chosen_cells],
    hypers=[hypers[h] if h != choose.NONE else None for h in best_hyper],
    select=by_cell.tolist(),
    best=best,
    runs={k: [cell[0] for cell in v] for k, v in test.items()},
    drawn=drawn,
  )


# Metric → cells → hypers → seeds.
Runs = dict[str, list[list[list[accumulators.Ratio]]]]


def _scores(
  one: Task, head: Any, params: Any, blocks: blocks_lib.Blocks, plan: Plan
) -> Runs:
  parts: dict[tuple[str, int, int, int], list[accumulators.Ratio]] = {}
  cells, hypers, seeds = jax.tree.leaves(params)[0].shape[:3]
  for raw, targets in engine.predict(head, params, blocks, plan):
    found = {k: np.asarray(v) for k, v in raw.items()}
    valid = targets.pop("clip_valid")
    for place in np.ndindex(cells, hypers, seeds):
      own = {k: v[place] for k, v in found.items()}
      for name, ratio in one.score(own, targets).items():
        parts.setdefault((name, *place), []).append(ratio.keep(valid))
  joined = {k: accumulators.concatenate(v) for k, v in parts.items()}
  return {
    name: [
      [[joined[name, c, h, s] for s in range(seeds)] for h in range(hypers)]
      for c in range(cells)
    ]
    for name in {key[0] for key in joined}
  }


def _outputs(
  head: Any, params: Any, blocks: blocks_lib.Blocks, cell: int, count: int
) -> Drawn | None:
  """What the first seed of a cell says of the first clips."""
  if not count:
    return None
  block = next(iter(blocks))
  own = jax.tree.map(lambda x: jnp.asarray(x[cell, 0, 0]), params)
  x = block.features[cell][:count].astype(jnp.float32)
  targets = {k: v[:count] for k, v in block.targets.items()}
  attention = readout_lib.attention(head, own, x, targets)
  outputs = jax.jit(head.apply)(own, x, targets)
  targets.pop("clip_valid")
  return Drawn(*jax.tree.map(np.asarray, (targets, outputs, attention)))


def _for_task(
  blocks: blocks_lib.Blocks, one: Task, cells: Sequence[int]
) -> blocks_lib.Blocks:
  """The targets of one task, and the features of some cells."""

  def cut(block: blocks_lib.Block) -> blocks_lib.Block:
    targets = splits.own_targets(one, block.targets)
    kept = tuple(block.features[i] for i in cells)
    return blocks_lib.Block(kept, targets)

  if isinstance(blocks, blocks_lib.Block):
    return cut(blocks)
  return blocks_lib.Stream(lambda: map(cut, blocks))


def blind(one: Task, train: Arrays, test: Arrays) -> task.Scores:
  """Scores of who never saw a clip: targets are those of clips that count."""
  return one.score(one.blind(train, test), test)
