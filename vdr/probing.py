"""One frozen backbone, many tasks: features once, then probes, then scores.

Features of a split are read once for all tasks. Hyper-parameters are chosen on
`select`; so is the best cell, a layer at a noise level. Everything that is
reported comes from `test`, which nothing was chosen on.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vdr import controls, features
from vdr.data import loader
from vdr.metrics import accumulators
from vdr.probes import blocks as blocks_lib
from vdr.probes import choose, engine
from vdr.probes import head as head_lib
from vdr.probes.plan import Plan
from vdr.runtime import errors, progress
from vdr.tasks import Task, task

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Arrays = dict[str, np.ndarray]
SPLITS = ("train", "select", "test")


class Cell(NamedTuple):
  """One place that features are read at."""

  layer: int | None
  noise_level: float | None
  log_snr: float | None
  frame: int | None = None  # of a control that sees one frame


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
    outputs: of the best cell's first seed, for the first test clips.
  """

  cells: list[Cell]
  hypers: list[tuple[float, float] | None]
  select: list[float]
  best: int
  runs: dict[str, list[list[accumulators.Ratio]]]
  outputs: Arrays


class Source:
  """The clips of all splits, with the targets of some tasks.

  Attributes:
    tasks: all of them.
    num_clips: of each split.
    skipped: clips of each split that could not be read.
    shown: video and targets of the first test clips.
  """

  def __init__(self, config: Config, tasks: Sequence[Task]):
    self._config, self.tasks = config, list(tasks)
    self.num_clips: dict[str, int] = {}
    self.skipped: dict[str, int] = {}

  def batches(self, split: str) -> Iterator[Arrays]:
    """Every clip of a split, once, in order; the last batch is filled up."""
    config = self._config
    cfg = config.data.copy_and_resolve_references()
    fields = {name for task in self.tasks for name in task.fields}
    with cfg.unlocked():
      cfg.update(shuffle=False, num_epochs=1)
      for source in cfg.sources.values():
        source.split = config.evaluate.splits[split]
        source.fields = ("video", *sorted(fields))
    most = config.evaluate.num_clips[split]
    with loader.Loader(
      cfg, seed=config.seed, num_workers=config.runtime.num_workers
    ) as batches:
      self.num_clips[split] = min(batches.num_clips, most or 2**62)
      left, bad = self.num_clips[split], 0
      for batch in batches:
        batch["clip_valid"] &= np.arange(len(batch["clip_valid"])) < left
        seen = min(left, int((batch["clip_index"] >= 0).sum()))
        bad += seen - int(batch["clip_valid"].sum())
        yield batch
        left -= seen
        if left <= 0:
          break
    self.skipped[split] = bad

  def targets(self, batch: Arrays) -> Arrays:
    """Targets of all tasks, under "TASK/NAME", and which clips count."""
    found = {"clip_valid": batch["clip_valid"]}
    for one in self.tasks:
      own = one.targets(batch)
      found |= {f"{one.name}/{k}": v for k, v in own.items()}
    return found

  def train_targets(self, task: Task) -> Arrays:
    """One task's targets of all clips to fit on."""
    parts = [
      {k: v[batch["clip_valid"]] for k, v in task.targets(batch).items()}
      for batch in self.batches("train")
    ]
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


class Extraction(NamedTuple):
  """Features of all splits, and where they were read."""

  cells: list[Cell]
  blocks: dict[str, blocks_lib.Blocks]
  frame_times: tuple[int, ...]


def extract(
  source: Source,
  backbone: features.Backbone,
  spec: features.FeatureSpec,
  view: str,
  plan: Plan,
  num_frames: int,
  is_image: bool,
  label: str,
) -> Extraction:
  """Features of every split, in memory if they fit the plan's budget.

  Args:
    source: of the clips.
    backbone: what reads them.
    spec: where.
    view: see `controls.show`; "frame" makes a cell of each of some frames.
    plan: of the probes.
    num_frames: pixel frames of a clip.
    is_image: only the middle frame is shown.
    label: for the progress bar.
  """
  spec = backbone.resolve(spec)
  levels = spec.levels(backbone.schedule)
  frames: list[int | None] = [None]
  if view == "frame":
    frames = list(range(0, num_frames, 4))
  cells = [
    Cell(layer, level, log_snr, frame)
    for frame in frames
    for layer in spec.layers
    for level, log_snr in zip(*levels, strict=True)
  ]
  middle = num_frames // 2

  def read(batch: Arrays) -> tuple[Any, Any]:
    video, index = batch["video"], batch["clip_index"].astype(np.int32)
    parts = []
    for frame in frames:
      seen = controls.show(view, video, index, frame or 0)
      if is_image:
        seen = seen[:, middle : middle + 1]
      found = backbone.features(seen, spec, index)
      parts += [
        found[layer, level]
        for layer in spec.layers
        for level in levels.noise_levels
      ]
    return jnp.stack(parts), source.targets(batch)

  def shown(split: str) -> Iterable[Arrays]:
    total = source.num_clips.get(split)
    with progress.bar(total, unit="clip", label=f"{label}, {split}") as bar:
      for batch in source.batches(split):
        yield batch
        bar.advance(int(batch["clip_valid"].sum()))

  blocks: dict[str, blocks_lib.Blocks] = {}
  for split in SPLITS:
    blocks[split] = blocks_lib.open_blocks(
      lambda split=split: shown(split),
      read,
      head_lib.tokens,
      plan,
      source.num_clips.get(split, 0),
    )
  seen_frames = 1 if is_image or view == "frame" else num_frames
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

  Raises:
    UserError: all probes diverged.
  """
  chosen_cells = range(len(extraction.cells)) if only is None else only
  blocks = {
    split: _for_task(part, one, chosen_cells)
    for split, part in extraction.blocks.items()
  }
  readout = one.readout(cfg, shape, train)
  plan = dataclasses.replace(plan, batch_size=readout.batch_size)
  fitted = engine.fit(
    readout.head,
    readout.loss,
    blocks["train"],
    plan,
    draw=readout.draw,
    label=label or one.name,
  )
  scores = _scores(one, readout.head, fitted.params, blocks["select"], plan)
  primary = scores.runs[one.primary]
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
  test = _scores(one, readout.head, params, blocks["test"], plan, shown=best)
  hypers = plan.hypers
  return Probed(
    cells=[extraction.cells[i] for i in chosen_cells],
    hypers=[hypers[h] if h != choose.NONE else None for h in best_hyper],
    select=by_cell.tolist(),
    best=best,
    runs={k: [cell[0] for cell in v] for k, v in test.runs.items()},
    outputs=test.outputs,
  )


class _Scored(NamedTuple):
  """Metric → cells → hypers → seeds; and outputs of the first clips."""

  runs: dict[str, list[list[list[accumulators.Ratio]]]]
  outputs: Arrays


def _scores(
  one: Task,
  head: Any,
  params: Any,
  blocks: blocks_lib.Blocks,
  plan: Plan,
  shown: int | None = None,
) -> _Scored:
  parts: dict[tuple[str, int, int, int], list[accumulators.Ratio]] = {}
  outputs: Arrays = {}
  size: tuple[int, int, int] | None = None
  for raw, targets in engine.predict(head, params, blocks, plan):
    found = {k: np.asarray(v) for k, v in raw.items()}
    valid = targets.pop("clip_valid")
    size = next(iter(found.values())).shape[:3]
    assert len(size) == 3
    if shown is not None and not outputs:
      outputs = {k: v[shown, 0, 0] for k, v in found.items()}
    for place in np.ndindex(*size):
      own = {k: v[place] for k, v in found.items()}
      for name, ratio in one.score(own, targets).items():
        parts.setdefault((name, *place), []).append(ratio.keep(valid))
  joined = {k: accumulators.concatenate(v) for k, v in parts.items()}
  cells, hypers, seeds = size if size else (0, 0, 0)
  runs = {
    name: [
      [[joined[name, c, h, s] for s in range(seeds)] for h in range(hypers)]
      for c in range(cells)
    ]
    for name in {key[0] for key in joined}
  }
  return _Scored(runs, outputs)


def _for_task(
  blocks: blocks_lib.Blocks, one: Task, cells: Sequence[int]
) -> blocks_lib.Blocks:
  """The targets of one task, and the features of some cells."""

  def cut(block: blocks_lib.Block) -> blocks_lib.Block:
    prefix = f"{one.name}/"
    targets = {
      k.removeprefix(prefix): v
      for k, v in block.targets.items()
      if k.startswith(prefix) or k == "clip_valid"
    }
    kept = tuple(block.features[i] for i in cells)
    return blocks_lib.Block(kept, targets)

  if isinstance(blocks, blocks_lib.Block):
    return cut(blocks)
  return blocks_lib.Stream(lambda: map(cut, blocks))


def blind(one: Task, train: Arrays, test: Mapping[str, np.ndarray]) -> Any:
  """Scores of who never saw a clip, metric → ratio."""
  valid = test["clip_valid"]
  own = {k: v[valid] for k, v in test.items() if k != "clip_valid"}
  return one.score(one.blind(train, own), own)
