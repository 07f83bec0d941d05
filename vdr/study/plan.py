"""Which cells a study has: from the config to the graph.

    data ── tokenizer ── (latents) ── train ─┬─ evaluate, of each checkpoint
      └──── judge ───────────────────────────┼─ generation
                                             └─ look

The image model and the video model get the same of everything but
`study.overrides.image` and `.video`. Random numbers of data, probes and samples
come from config.seed, those of pretraining from study.seeds.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from vdr.runtime import checkpoints, command_line, errors
from vdr.study import cells as cells_lib
from vdr.study.cells import MARK, Cell

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
KINDS = ("video", "image")
TOKENIZER, JUDGE = f"{MARK}tokenizer/tokenizer.npz", f"{MARK}judge/judge.npz"
# Those that say nothing of an image model, or are one check of our own choice.
VIDEO_CONTROLS = ("isolated", "random_gates")
SIMULATED, FOLDER = "simulated", "folder:"  # of config.data.pretrain
# By section of a loader and name of a source: fields that differ from `main`'s.
Sources = Mapping[str, Mapping[str, Mapping[str, Any]]]


def make(config: Config) -> list[Cell]:
  """All cells, inputs before what needs them.

  Raises:
    UserError: the config makes no study.
  """
  _check(config)
  return _Plan(config).cells


def _check(config: Config) -> None:
  cfg = config.study
  for name in ("sizes", "seeds"):
    if not cfg[name]:
      raise errors.UserError(f"study.{name} is empty; name one or more")
  saved = config.saving.budgets_percent
  for percent in cfg.budgets_percent:
    if percent not in saved or percent >= 100:
      raise errors.UserError(
        f"study.budgets_percent={cfg.budgets_percent}: {percent} % is no"
        f" checkpoint that is kept; choose from saving.budgets_percent={saved},"
        " without 100"
      )
  if cfg.budgets_percent and config.train.budget != "steps":
    raise errors.UserError(
      f"train.budget={config.train.budget!r}: a study counts steps, so that"
      " both models have the same; set train.budget=steps"
    )
  _pretrain_sources(config)


class _Plan:
  """Adds one cell after another."""

  def __init__(self, config: Config):
    self._config, self.cells = config, []
    self._by_name: dict[str, Cell] = {}
    self._shared()
    for size in config.study.sizes:
      for seed in config.study.seeds:
        for kind in KINDS:
          self._train(kind, size, seed)
    models = [c for c in self.cells if c.about["role"] == "train"]
    # The long ones first, so that nothing long is left alone at the end.
    for model in models:
      self._main(model)
    if config.study.generation:
      self._judge()
    for model in models:
      self._others(model)

  def _add(
    self,
    name: str,
    job: str,
    role: str,
    inputs: Sequence[str],
    fields: Mapping[str, Any],
    options: Sequence[str] = (),
    sources: Sources | None = None,
    is_wide: bool = False,
    **about: Any,
  ) -> None:
    config = self._config.copy_and_resolve_references()
    # What only studies read decides nothing in their cells.
    fields = {"job": job, "data.pretrain": SIMULATED, **fields}
    with config.unlocked():
      config.update_from_flattened_dict(fields)
      for section, named in (sources or {}).items():
        template = config[section].sources.main
        config[section].sources = {
          one: {**template.to_dict(), **changed}
          for one, changed in named.items()
        }
    try:
      command_line.override(config, [f"--config.{text}" for text in options])
    except errors.UserError as error:
      raise errors.UserError(f"study.overrides, {name}: {error}") from error
    self._by_name[name] = cell = cells_lib.make(
      name,
      config,
      {one: self._by_name[one] for one in inputs},
      {"role": role, **about},
      is_wide,
    )
    self.cells.append(cell)

  def _shared(self) -> None:
    cfg, overrides = self._config.study, self._config.study.overrides
    workers = {"runtime.num_workers": -1}
    self._add("data", "physics", "data", (), workers, is_wide=True)
    size = {"data.batch_size": cfg.batch_size}
    sources = {"data": _pretrain_sources(self._config)}
    name = "tokenizer"
    self._add(
      name, name, name, ("data",), size, overrides[name], sources, is_wide=True
    )
    if cfg.latents:
      name = "latents"
      fields = size | {"tokenizer.path": TOKENIZER}
      inputs = ("data", "tokenizer")
      self._add(name, name, name, inputs, fields, (), sources)

  def _judge(self) -> None:
    name, options = "judge", self._config.study.overrides.judge
    self._add(name, name, name, ("data",), {}, options, self._simulated())

  def _train(self, kind: str, size: str, seed: int) -> None:
    config, inputs = self._config, ["data", "tokenizer"]
    named = _pretrain_sources(config)
    if config.study.latents:
      inputs.append("latents")
      named = {"main": {"kind": "latents", "path": "@latents"}}
    self._add(
      f"train-{kind}-{size}-{seed}",
      "train",
      "train",
      inputs,
      {"tokenizer.path": TOKENIZER, "model.size": size, "seed": seed},
      config.study.overrides[kind],
      {"data": named, "images": named},
      model=f"{kind}-{size}-{seed}",
      kind=kind,
      size=size,
      seed=seed,
    )

  def _evaluate(
    self,
    model: Cell,
    role: str,
    percent: int,
    options: Sequence[str],
    **fields: Any,
  ) -> None:
    name = model.about["model"]
    step = _step(self._config, percent)
    path = f"{MARK}{model.name}"
    if percent < 100:
      path += f"/{checkpoints.FOLDER}/{step}"
    self._add(
      f"{role}-{name}" + (f"-{percent}" if role == "budget" else ""),
      "evaluate",
      role,
      ("data", model.name),
      self._clips_at_a_time() | {"checkpoint": path} | fields,
      options,
      self._simulated(),
      model=name,
      step=step,
      percent=percent,
    )

  def _main(self, model: Cell) -> None:
    """The grid; the image model gets the frames that latents stand for."""
    options, cfg = self._config.study.overrides.main, self._config.evaluate
    fields: dict[str, Any] = {"evaluate.frames": "clip"}
    if model.about["kind"] == "image":
      # Side by side, one compiles the first tasks' probes, the other the last
      # ones', and each finds the rest in the cache.
      fields = {
        "evaluate.frames": "latent",
        "evaluate.tasks": tuple(reversed(cfg.tasks)),
        "evaluate.controls": tuple(
          name for name in cfg.controls if name not in VIDEO_CONTROLS
        ),
      }
    self._evaluate(model, "main", 100, options, **fields)

  def _others(self, model: Cell) -> None:
    cfg = self._config.study
    overrides = cfg.overrides
    kind, name = model.about["kind"], model.about["model"]
    frames = {"evaluate.frames": "latent" if kind == "image" else "clip"}
    if cfg.every_frame and kind == "image":
      fields = {"evaluate.frames": "every"}
      options = overrides.every_frame
      self._evaluate(model, "every_frame", 100, options, **fields)
    for percent in cfg.budgets_percent:
      self._evaluate(model, "budget", percent, overrides.budget, **frames)
    for percent in (*cfg.budgets_percent, 100) if cfg.generation else ():
      step = _step(self._config, percent)
      fields = {
        "checkpoint": f"{MARK}{model.name}/{checkpoints.FOLDER}/{step}",
        "generation.judge": JUDGE,
      }
      self._add(
        f"generation-{name}-{percent}",
        "generation",
        "generation",
        ("data", "judge", model.name),
        self._clips_at_a_time() | fields,
        overrides.generation,
        self._simulated(),
        model=name,
        step=step,
        percent=percent,
      )
    if cfg.look:
      self._add(
        f"look-{name}",
        "look",
        "look",
        ("data", model.name),
        self._clips_at_a_time() | {"checkpoint": f"{MARK}{model.name}"},
        overrides.look,
        self._simulated(),
        model=name,
      )

  def _simulated(self) -> Sources:
    """The simulated clips, which have labels; verbs choose the split."""
    return {"data": {"main": {"kind": "physics", "path": "@data"}}}

  def _clips_at_a_time(self) -> dict[str, Any]:
    return {"data.batch_size": self._config.study.batch_size}


def _pretrain_sources(config: Config) -> dict[str, dict[str, Any]]:
  """What both models and their tokenizer are trained on: config.data.pretrain.

  "simulated", "folder:DIR", or both, "simulated+folder:DIR", half of each.
  Videos are cut to the frame rate of the simulated clips.

  Raises:
    UserError: it is none of these.
  """
  text = config.data.pretrain
  first, plus, second = text.partition(f"+{FOLDER}")
  simulated = {"kind": "physics", "path": "@data", "split": "pretrain"}
  named = {}
  if first == SIMULATED:
    named["main"] = simulated
    folder = f"{FOLDER}{second}" if plus else ""
  else:
    folder = text
  if folder:
    path = folder.removeprefix(FOLDER)
    if not folder.startswith(FOLDER) or not path:
      raise errors.UserError(
        f"data.pretrain={text!r} is unknown; use simulated, folder:DIR or"
        " simulated+folder:DIR"
      )
    named["folder" if named else "main"] = {
      "kind": "video_folder",
      "split": "pretrain",
      "path": str(pathlib.Path(path).expanduser()),
      "fps": config.physics.fps,
      "sampling": "random",
      "crop": "center",
    }
  return named


def _step(config: Config, percent: int) -> int:
  num_steps = round(config.train.amount)
  return checkpoints.budgets(num_steps, (percent,))[percent]
