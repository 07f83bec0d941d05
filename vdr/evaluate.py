"""The `evaluate` verb: frozen features → probes → one result for each task.

A work directory gets, for each task, a folder with `result.json`, `clips.npz`
(see `vdr.results`) and pictures of predictions beside the truth. Tasks that
this checkpoint has a result of stay. Several hosts share the clips and probes.
"""

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax

from vdr import controls as controls_lib
from vdr import (
  features,
  findings,
  predictions,
  probing,
  results,
  splits,
  trained,
)
from vdr import tasks as tasks_lib
from vdr.data import held_out
from vdr.data import source as source_lib
from vdr.probes import make
from vdr.runtime import (
  errors,
  hosts,
  made_of,
  plain_configs,
  progress,
  versions,
)
from vdr.tasks import Task, classes, task

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

SECTIONS = ("data", "evaluate", "probe", "checkpoint")  # they decide

PICTURES = "pictures"


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Evaluates what is not there yet.

  Raises:
    UserError: the config can't be carried out.
  """
  cfg = config.evaluate
  controls = controls_lib.named(tuple(cfg.controls))
  model = trained.load(config.checkpoint, cfg.which)
  _check_clips(config, model)
  tasks = _tasks(config)
  labels = {one.label for one in tasks if isinstance(one, classes.Classes)}
  splits.check(config, model.config, labels)
  backbone = features.build(cfg.backbone, model)
  spec = backbone.resolve(_spec(cfg, backbone))
  path = pathlib.Path(workdir).expanduser()

  def unfinished() -> set[str]:
    made_of.claim(path, config, SECTIONS, model.made_of)
    return {
      one.name for one in tasks if not (path / one.name / results.NAME).exists()
    }

  missing = hosts.gather(hosts.first_does(unfinished))[0] or set()
  groups = _groups([one for one in tasks if one.name in missing], controls)
  place = cfg.controls_place
  parts = progress.Parts(sum(_units(spec, *group, place) for group in groups))
  for group, beside in groups:
    _Evaluation(config, path, model, group, parts).run(backbone, spec, beside)
  if hosts.is_first():
    for one in tasks:
      print(findings.line(results.read(path / one.name)))


def _tasks(config: Config) -> list[Task]:
  if not config.evaluate.tasks:
    raise errors.UserError(
      f"evaluate.tasks is empty; name some of {', '.join(tasks_lib.TASKS)}"
    )
  (name, *more) = sorted(config.data.sources)
  if more:
    raise errors.UserError(
      f"data.sources has {', '.join((name, *more))}: tasks take their clips"
      " from one source"
    )
  data = held_out.of_split(config.data, config.evaluate.splits.train)
  source = data.sources[name]
  names = source_lib.open_source(source).class_names
  return [
    tasks_lib.make(task_name, names, source.num_frames)
    for task_name in config.evaluate.tasks
  ]


def _check_clips(config: Config, model: trained.Trained) -> None:
  """Refuses clips of another size than those of training."""
  (source,) = list(config.data.sources.values())[:1]
  (seen,) = list(model.config.data.sources.values())[:1]
  for name in ("height", "width"):
    if source[name] != seen[name]:
      raise errors.UserError(
        f"data.sources.*.{name}={source[name]}, but the model was trained on"
        f" {seen[name]} pixels; set it to that"
      )


def _spec(cfg: Config, backbone: features.Backbone) -> features.FeatureSpec:
  """The places that the config names, or one at two thirds of the depth."""
  layers = tuple(cfg.layers) or (backbone.two_thirds,)
  return features.FeatureSpec(
    layers=layers,
    noise_levels=tuple(cfg.noise_levels),
    draws=cfg.draws,
    frames=cfg.frames,
  )


def _groups(
  tasks: list[Task], controls: list[controls_lib.Control]
) -> list[tuple[list[Task], list[controls_lib.Control]]]:
  """Tasks that look at the same, images or clips, with their controls."""
  groups = []
  for is_image in (True, False):
    group = [one for one in tasks if one.is_image == is_image]
    beside = [one for one in controls if not (is_image and one.is_for_clips)]
    if group:
      groups.append((group, beside))
  return groups


def _units(
  spec: features.FeatureSpec,
  tasks: list[Task],
  controls: list[controls_lib.Control],
  place: str,
) -> int:
  """Of work, for progress: reading a place is one, each task there another."""
  places = _num_places(spec)
  places += sum(_control_places(spec, control, place) for control in controls)
  return places * (1 + len(tasks))


def _control_places(
  spec: features.FeatureSpec, control: controls_lib.Control, place: str
) -> int:
  """Places that a control is read at, as far as progress is told."""
  chooses = place == controls_lib.BEST and control.has_layers
  return _num_places(spec) if chooses else 1


def _num_places(spec: features.FeatureSpec) -> int:
  return len(spec.layers) * len(spec.noise_levels)


class _Evaluation:
  """Tasks that look at the same clips, or at the same images of them."""

  def __init__(
    self,
    config: Config,
    path: pathlib.Path,
    model: trained.Trained,
    tasks: list[Task],
    parts: progress.Parts,
  ):
    self._config, self._path, self._model = config, path, model
    self._parts = parts
    self._splits = splits.Splits(config, tasks)
    self._tasks = {one.name: one for one in tasks}
    (self._clips,) = config.data.sources.values()
    self._plan = make.plan(config.probe, config.seed)
    self._start = time.perf_counter()

  def run(
    self,
    backbone: features.Backbone,
    spec: features.FeatureSpec,
    controls: list[controls_lib.Control],
  ) -> None:
    kind, units = self._config.evaluate.backbone, _num_places(spec)
    shown = self._num_shown()
    found = self._probe(backbone, spec, "clip", kind, units=units, shown=shown)
    beside: dict[str, dict[str, findings.Found]] = {
      name: {} for name in self._tasks
    }
    for control in controls:
      for name, one in self._control(control, spec, found).items():
        beside[name][control.name] = one
    for name, one in self._tasks.items():
      hosts.first_does(
        lambda name=name, one=one: self._write(one, found[name], beside[name])
      )

  def _control(
    self,
    control: controls_lib.Control,
    spec: features.FeatureSpec,
    found: dict[str, findings.Found],
  ) -> dict[str, findings.Found]:
    """A control, probed where each task's backbone is best, or everywhere.

    Where it is probed where backbones are best, it is read once, at all those
    places; else it chooses one of all places, as they do.
    """
    cfg = self._config.evaluate
    kind = control.kind
    if kind == "checkpoint":
      kind = cfg.backbone
    other = features.build(kind, self._model, control.seed, control.gates)
    if not other.layers:  # pixels and latents have but one place
      at = features.FeatureSpec(frames=spec.frames)
      return self._probe(other, at, control.view, control.name)
    if cfg.controls_place == controls_lib.BEST:
      units = _num_places(spec)
      return self._probe(other, spec, control.view, control.name, units=units)
    places = {}
    for name, one in found.items():
      best = one.probed.cells[one.probed.best]
      places[name] = (best.layer, best.noise_level)
    layers, levels = map(set, zip(*places.values(), strict=True))
    at = dataclasses.replace(
      spec,
      layers=tuple(sorted(layers)),
      noise_levels=tuple(sorted(levels)),
      log_snrs=(),
    )
    return self._probe(other, at, control.view, control.name, places)

  def _probe(
    self,
    backbone: features.Backbone,
    spec: features.FeatureSpec,
    view: str,
    label: str,
    places: Mapping[str, tuple] | None = None,
    units: int = 1,
    shown: int = 0,
  ) -> dict[str, findings.Found]:
    """All tasks on one backbone; each at its place, or at all there are.

    `units` of work are to be shown for reading features and for each task, and
    what the best probe says of `shown` test clips is kept.
    """
    clips = self._clips
    extraction = probing.extract(
      self._splits,
      backbone,
      spec,
      view,
      self._plan,
      clips.num_frames,
      self._parts.label(label, units),
    )
    shape = task.Shape(
      1 if self._splits.is_image else clips.num_frames,
      clips.height,
      clips.width,
      extraction.frame_times,
    )
    fits, turn = {}, 0
    for name, one in self._tasks.items():
      at = [(cell.layer, cell.noise_level) for cell in extraction.cells]
      only = range(len(at))
      if places is not None:
        only = [i for i in only if at[i] == places[name]]
      fits[name] = probing.fit(
        one,
        extraction,
        self._config.probe,
        shape,
        self._plan,
        self._splits.known(one),
        probing.mine(extraction, only, turn),
        label=self._parts.label(f"{name}, {label}", units),
        shown=shown,
      )
      turn += len(only)
    parts = hosts.gather(fits)
    about = backbone.about | {"view": view}
    return {
      name: findings.Found(
        about,
        probing.choose_best(one, extraction, [part[name] for part in parts]),
      )
      for name, one in self._tasks.items()
    }

  def _num_shown(self) -> int:
    return min(self._config.evaluate.num_shown, self._splits.count("test"))

  def _write(
    self, one: Task, found: findings.Found, beside: dict[str, findings.Found]
  ) -> None:
    """The result of one task, once everything about it is known."""
    cfg = self._config.evaluate
    made = findings.collect(
      one,
      self._splits.known(one),
      found,
      beside,
      controls_lib.BLIND in cfg.controls,
    )
    result = {
      "schema_version": results.VERSION,
      **made.about,
      "controls_place": cfg.controls_place,
      "checkpoint": str(self._config.checkpoint),
      "split": cfg.splits.test,
      "n": self._splits.num_read,
      "skipped": self._splits.skipped,
      "seeds": list(self._plan.seeds),
      "config": plain_configs.to_json(self._config),
      "versions": versions.collect(
        jax.devices()[0].device_kind, jax.device_count(), jax.process_count()
      ),
      "seconds": round(time.perf_counter() - self._start, 1),
    }
    folder, drawn = self._path / one.name, found.probed.drawn
    if drawn is not None:
      video = self._splits.first_clips(self._num_shown())
      predictions.write(folder / PICTURES, one, video, *drawn)
    results.write(folder, result, made.clips, made.groups)
