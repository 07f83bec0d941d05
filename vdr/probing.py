"""One frozen backbone, many tasks: features once, then probes, then scores.

Features of a split are read once for all tasks. Hyper-parameters are chosen on
`select`; so is the best cell, a layer at a noise level. Everything that is
reported comes from `test`, which nothing was chosen on.

Several hosts share the reading, batch by batch, and the probes, cell by cell:

    extraction = extract(...)  # what all have read, on every host
    fits = fit(task, ..., mine(extraction, cells))
    probed = choose_best(task, extraction, hosts.gather(fits))
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from vdr.runtime import errors, hosts, progress
from vdr.tasks import Task, scoring, task

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
    reference: likewise.
    attention: what it looks at; None of heads without attention.
  """

  targets: Arrays
  outputs: Arrays
  reference: Arrays
  attention: Float[np.ndarray, "b q t h w"] | None


class Fit(NamedTuple):
  """What probes at one cell scored in one task.

  Attributes:
    cell: its number in the extraction.
    hyper: that `select` chose; None where all of them diverged.
    select: primary metric on `select`, a mean over seeds.
    runs: on `test`: metric → a ratio for each seed.
    drawn: of the best cell of those fitted together, if it is to be drawn.
    plan: how the probes were fitted.
  """

  cell: int
  hyper: tuple[float, float] | None
  select: float
  runs: dict[str, list[accumulators.Ratio]]
  drawn: Drawn | None
  plan: Plan


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
    plan: how the probes were fitted.
  """

  cells: list[Cell]
  hypers: list[tuple[float, float] | None]
  select: list[float]
  best: int
  runs: dict[str, list[list[accumulators.Ratio]]]
  drawn: Drawn | None
  plan: Plan


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
    title, quiet = f"{label}, {split}", not hosts.is_first()
    with progress.bar(total, unit="clip", label=title, quiet=quiet) as bar:
      for batch in clips.batches(split):
        yield batch
        rows = jax.process_count() * len(batch[1]["clip_valid"])
        bar.advance(min(rows, total - bar.done))

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


def mine(
  extraction: Extraction, cells: Sequence[int], turn: int = 0
) -> list[int]:
  """Those of some cells at which this host fits probes.

  Hosts take turns. Features that are streamed are made by all hosts together,
  so there each host fits all probes: they must ask for the same clips.

  Args:
    extraction: features of all splits.
    cells: which.
    turn: cells that were shared out before, of other tasks.
  """
  parts = extraction.blocks.values()
  if not all(isinstance(part, blocks_lib.Block) for part in parts):
    return list(cells)
  index, count = jax.process_index(), jax.process_count()
  return [cell for i, cell in enumerate(cells, turn) if i % count == index]


def fit(
  one: Task,
  extraction: Extraction,
  cfg: Config,
  shape: task.Shape,
  plan: Plan,
  known: Mapping[str, splits.Known],
  cells: Sequence[int],
  label: str = "",
  shown: int = 0,
) -> list[Fit]:
  """Fits probes of one task, chooses hypers on `select`, scores on `test`.

  Args:
    one: the task.
    extraction: features of all splits.
    cfg: config.probe.
    shape: of clips and features.
    plan: how probes are fitted.
    known: of the task and of each split.
    cells: at which; there may be none.
    label: for the progress bar.
    shown: test clips whose outputs and attention are kept, to be drawn.
  """
  if not cells:
    return []
  blocks = {
    split: _for_task(part, one, cells)
    for split, part in extraction.blocks.items()
  }
  readout = one.readout(cfg, shape, known["train"].targets)
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
    quiet=not hosts.is_first(),
  )
  scores = _scores(
    one, known["select"], readout.head, fitted.params, blocks["select"], plan
  )
  primary = scores[one.primary]
  select = np.array([[[r.score() for r in s] for s in h] for h in primary])
  worse = one.goal.lower_is_better
  hypers = choose.choose(select, worse, fitted.diverged)
  by_cell = select[np.arange(len(select)), np.maximum(hypers, 0)].mean(1)
  by_cell = np.where(hypers == choose.NONE, np.nan, by_cell)
  best = _best(one, by_cell)
  params = choose.take(fitted.params, hypers)
  test = _scores(one, known["test"], readout.head, params, blocks["test"], plan)
  reference = one.reference(known["test"].targets)
  drawn = _outputs(readout.head, params, blocks["test"], reference, best, shown)
  return [
    Fit(
      cell,
      plan.hypers[hypers[i]] if hypers[i] != choose.NONE else None,
      float(by_cell[i]),
      {name: runs[i][0] for name, runs in test.items()},
      drawn if i == best else None,
      plan,
    )
    for i, cell in enumerate(cells)
  ]


def choose_best(
  one: Task, extraction: Extraction, parts: Sequence[Iterable[Fit]]
) -> Probed:
  """What was found at all cells, and the best of them.

  Args:
    one: the task.
    extraction: what was probed.
    parts: what each host found; of a cell in several, the first one counts.

  Raises:
    UserError: all probes diverged.
  """
  found = {fit.cell: fit for fit in itertools.chain(*reversed(parts))}
  fits = [found[cell] for cell in sorted(found)]
  if all(fit.hyper is None for fit in fits):
    raise errors.UserError(
      f"all probes of task {one.name} diverged; lower probe.learning_rates"
    )
  select = [fit.select for fit in fits]
  best = _best(one, np.array(select))
  return Probed(
    cells=[extraction.cells[fit.cell] for fit in fits],
    hypers=[fit.hyper for fit in fits],
    select=select,
    best=best,
    runs={name: [fit.runs[name] for fit in fits] for name in fits[0].runs},
    drawn=fits[best].drawn,
    plan=fits[0].plan,
  )


def _best(one: Task, select: Float[np.ndarray, " cells"]) -> int:
  """The number of the best cell; the first where all of them diverged."""
  if np.isnan(select).all():
    return 0
  return int(
    np.nanargmin(select) if one.goal.lower_is_better else np.nanargmax(select)
  )


# Metric → cells → hypers → seeds.
Runs = dict[str, list[list[list[accumulators.Ratio]]]]


def _scores(
  one: Task,
  known: splits.Known,
  head: Any,
  params: Any,
  blocks: blocks_lib.Blocks,
  plan: Plan,
) -> Runs:
  cells, hypers, seeds = jax.tree.leaves(params)[0].shape[:3]
  batches = (
    ({k: np.asarray(v) for k, v in raw.items()}, targets)
    for raw, targets in engine.predict(head, params, blocks, plan)
  )
  found = scoring.Scorer(one, *known).score(batches, num_axes=3)
  return {
    name: [
      [[joined[c, h, s] for s in range(seeds)] for h in range(hypers)]
      for c in range(cells)
    ]
    for name, joined in found.items()
  }


def _outputs(
  head: Any,
  params: Any,
  blocks: blocks_lib.Blocks,
  reference: Arrays,
  cell: int,
  count: int,
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
  targets, outputs, attention = jax.tree.map(
    np.asarray, (targets, outputs, attention)
  )
  del targets[scoring.VALID], targets[scoring.INDEX]
  return Drawn(targets, outputs, reference, attention)


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
