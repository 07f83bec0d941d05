"""The comparison: what the video model scores, and the image model, by task.

Each model stands at its own best cell, chosen on the split `select`; scores are
of `test`, compared clip by clip. All numbers come from `vdr.results`.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from vdr import results
from vdr.metrics import accumulators, statistics
from vdr.report import study as study_lib
from vdr.report import words

Json = dict[str, Any]
Runs = list[accumulators.Ratio]
Groups = results.Groups

SELF = "backbone"  # in clips.npz
RANDOM = ("random", "random_1", "random_2")  # draws of one control


@dataclasses.dataclass(frozen=True)
class Task:
  """One task of both models.

  Attributes:
    name: of the task.
    title: for people.
    results: "video" and "image": (seed of the model, its result); some or all
      may be missing.
    clips: the same: each clip's part in every score.
    groups: of the clips, the same ones for all; see `results.Groups`.
  """

  name: str
  title: str
  results: dict[str, dict[int, Json]]
  clips: dict[str, dict[int, dict[str, Runs]]]
  groups: Groups

  @property
  def any(self) -> Json | None:
    """One of the results, the image model's if it is there."""
    for kind in ("image", "video"):
      for result in self.results[kind].values():
        return result
    return None

  @property
  def primary(self) -> str:
    return self.any["primary"] if self.any else ""

  @property
  def goal(self) -> statistics.Goal:
    """Which way the primary metric is better, and its chance level."""
    found = self.any or {}
    return statistics.Goal(
      bool(found.get("lower_is_better")), found.get("chance")
    )

  @property
  def sign(self) -> int:
    """What makes a difference positive where it is better."""
    return -1 if self.goal.lower_is_better else 1

  @property
  def seeds(self) -> list[int]:
    """Seeds of models of both kinds."""
    return sorted(self.clips["video"].keys() & self.clips["image"].keys())

  def best(self, kind: str, seed: int) -> Json:
    """The cell that was chosen on `select`."""
    result = self.results[kind][seed]
    return result["cells"][result["best"]]

  def runs(self, kind: str, name: str) -> list[Runs]:
    """Scores of a backbone: for each pretrained network its probes.

    Args:
      kind: of the model that it stands beside.
      name: "backbone" or a control; the draws of "random" are three networks.
    """
    names = RANDOM if name == "random" else (name,)
    found = []
    for seed in self.seeds or sorted(self.clips[kind]):
      clips = self.clips[kind].get(seed, {})
      keys = [f"{one}/{self.primary}" for one in names]
      found += [clips[key] for key in keys if key in clips]
    return found

  @functools.cached_property
  def drawn(self) -> statistics.Resampled | None:
    """Both models and all controls, "KIND/NAME", drawn once."""
    runs = {}
    for kind in study_lib.KINDS:
      names = {
        key.split("/")[0] for c in self.clips[kind].values() for key in c
      }
      for name in sorted(names - set(RANDOM[1:])):
        if per_network := self.runs(kind, name):
          runs[f"{kind}/{name}"] = units(per_network)
    return results.resample(runs, self.groups) if runs else None

  def has(self, *names: str) -> bool:
    """Whether these "KIND/NAME" have all been scored."""
    return self.drawn is not None and set(names) <= set(self.drawn.names)

  def score(self, name: str) -> Json | None:
    """A score with its interval; None if "KIND/NAME" is not there."""
    if self.drawn is None or not self.has(name):
      return None
    return _plain(self.drawn.score(name, results.LEVEL))

  def contrast(self, new: str, base: str) -> Json | None:
    """Difference and gain of two; None if one of them is not there."""
    if self.drawn is None or not self.has(new, base):
      return None
    return results.contrast(self.drawn, new, base, self.goal)

  def better(self, new: str, base: str) -> Json | None:
    """The difference, positive where `new` is better."""
    found = self.contrast(new, base)
    return None if found is None else turned(found["difference"], self.sign)


def units(per_network: Sequence[Runs]) -> list[statistics.Run]:
  """What is drawn as a seed: networks, or, of a single one, its probes."""
  if len(per_network) == 1:
    return list(per_network[0])
  return [list(runs) for runs in per_network]


def turned(found: Json, sign: int) -> Json:
  """An estimate times 1 or -1."""
  if sign > 0 or found["value"] is None:
    return dict(found)
  flipped = {"value": "value", "low": "high", "high": "low"}
  return dict(found) | {
    k: None if found[v] is None else -found[v] + 0.0 for k, v in flipped.items()
  }


def gather(
  study: study_lib.Study, size: str, role: str = "main"
) -> dict[str, Task]:
  """Every task of the models of one size, also those with no result yet."""
  return {name: _gather(study, size, role, name) for name in study.tasks()}


def _gather(study: study_lib.Study, size: str, role: str, name: str) -> Task:
  found: dict[str, dict[int, Json]] = {kind: {} for kind in study_lib.KINDS}
  clips: dict[str, dict[int, Any]] = {kind: {} for kind in study_lib.KINDS}
  for model in study.models:
    for cell in study.find(role, model.name):
      result = study.result(cell, name)
      if model.size != size or model.kind not in found or result is None:
        continue
      found[model.kind][model.seed] = result
      rows = study.clips(cell, name)
      if f"{SELF}/{result['primary']}" in rows.runs:
        clips[model.kind][model.seed] = rows
  groups = _keep_comparable(study, name, clips)
  title = next(
    (r["title"] for f in found.values() for r in f.values()),
    words.task_title(name),
  )
  runs = {
    kind: {seed: rows.runs for seed, rows in own.items()}
    for kind, own in clips.items()
  }
  return Task(name, title, found, runs, groups)


def _keep_comparable(
  study: study_lib.Study,
  name: str,
  clips: dict[str, dict[int, results.Clips]],
) -> Groups:
  """Leaves out models that were scored on other clips than the first one.

  Returns:
    The clips' groups; results from before these were kept have those of others.
  """
  first: set[int] | None = None
  groups: Groups = None
  for kind in study_lib.KINDS:
    for seed, rows in sorted(clips[kind].items()):
      n = {run.num_clips for runs in rows.runs.values() for run in runs}
      first = n if first is None else first
      groups = rows.groups if groups is None else groups
      problem = ""
      if n != first:
        problem = f"{sorted(n)} clips, others on {sorted(first)}"
      elif (
        rows.groups is not None
        and groups is not None
        and not np.array_equal(rows.groups, groups)
      ):
        problem = "clips of other videos or scenes than others"
      if problem:
        study.problems.append(
          f"{name}: the {kind} model of seed {seed} was scored on {problem}; it"
          " is left out"
        )
        del clips[kind][seed]
  return groups


def headline(tasks: dict[str, Task]) -> list[Json]:
  """Video over image, by task; `p_holm` is corrected over all of them.

  Returns:
    Of each task: name, title, metric, goal, n, `groups` of these clips and
    `caution` about intervals (see `results`), `video` and `image` (scores),
    `difference`, `better` (the same, positive is better), `gain`,
    `gain_plain` (over the score itself, whatever chance scores), `by_seed`,
    `p_value`, `p_holm` and `verdict`: above | below | unclear | missing.
  """
  rows = [_compare(task) for task in tasks.values()]
  p_values = [
    np.nan if row["p_value"] is None else row["p_value"] for row in rows
  ]
  corrected = statistics.holm(np.array(p_values, np.float64))
  for row, p_holm in zip(rows, corrected, strict=True):
    row["p_holm"] = results.to_plain(p_holm)
  return rows


def _compare(task: Task) -> Json:
  new, base = (f"{kind}/{SELF}" for kind in study_lib.KINDS)
  row: Json = {
    "task": task.name,
    "title": task.title,
    "metric": task.primary,
    "lower_is_better": task.goal.lower_is_better,
    "chance": task.goal.chance,
    "n": task.any["n"]["test"] if task.any else None,
    "groups": task.any["groups"] if task.any else None,
    "caution": task.any["caution"] if task.any else None,
    "video": task.score(new),
    "image": task.score(base),
    "difference": None,
    "better": None,
    "gain": None,
    "gain_plain": None,
    "p_value": None,
    "by_seed": [],
    "verdict": "missing",
  }
  found = task.contrast(new, base) if task.seeds else None
  if found is None or task.drawn is None:
    return row
  better = turned(found["difference"], task.sign)
  plain = statistics.Goal(task.goal.lower_is_better)
  return row | {
    "difference": found["difference"],
    "better": better,
    "gain": found["gain"],
    "gain_plain": _plain(task.drawn.gain(new, base, plain, results.LEVEL)),
    "p_value": found["difference"]["p_value"],
    "by_seed": [_of_seed(task, seed) for seed in task.seeds],
    "verdict": verdict(better),
  }


def verdict(better: Json | None) -> str:
  """What an interval says of a difference: above | below | unclear."""
  if better is None or better["low"] is None:
    return "missing"
  if better["low"] > 0:
    return "above"
  return "below" if better["high"] < 0 else "unclear"


def _of_seed(task: Task, seed: int) -> Json:
  """The comparison of the two models of one seed."""
  new, base = (
    task.clips[kind][seed][f"{SELF}/{task.primary}"] for kind in study_lib.KINDS
  )
  return {"seed": seed, **results.compare(new, base, task.goal, task.groups)}


def _plain(found: statistics.Estimate) -> Json:
  return results.to_plain(dataclasses.asdict(found))
