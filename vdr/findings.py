"""What an evaluation found in one task, as results have it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from vdr import controls, probing, results, splits
from vdr.probes.plan import Plan
from vdr.tasks import Task, scoring

SELF = "backbone"  # in clips.npz
NOWHERE = dict.fromkeys(
  ("layer", "noise_level", "log_snr", "learning_rate", "weight_decay", "select")
)


class Found(NamedTuple):
  """One backbone with one view in one task."""

  about: dict[str, Any]
  probed: probing.Probed


class Findings(NamedTuple):
  """What is written of one task.

  Attributes:
    about: fields of the result.
    clips: each answer's part in every score, see `results.write`.
    groups: of the answers.
  """

  about: dict[str, Any]
  clips: dict[str, results.Runs]
  groups: results.Groups


def collect(
  one: Task,
  known: Mapping[str, splits.Known],
  found: Found,
  beside: Mapping[str, Found],
  with_blind: bool,
) -> Findings:
  """Scores with their intervals, and how they compare with the controls'.

  Args:
    one: the task.
    known: its targets, of every split.
    found: of the backbone.
    beside: of every control.
    with_blind: whether the answers of who sees nothing are a control, too.
  """
  scorer = scoring.Scorer(one, *known["test"])
  groups = scorer.groups
  blind = scorer.whole(one.blind(known["train"].targets, known["test"].targets))
  goal = one.goal
  if goal.chance is None:  # who sees nothing knows as much
    goal = dataclasses.replace(goal, chance=blind[one.primary].score())
  probed = found.probed
  runs = {k: v[probed.best] for k, v in probed.runs.items()}
  clips: dict[str, results.Runs] = {f"{SELF}/{k}": v for k, v in runs.items()}
  told = {}

  def tell(
    name: str,
    title: str,
    about: dict[str, Any],
    cell: dict[str, Any],
    own: Mapping[str, results.Runs],
  ) -> None:
    clips.update({f"{name}/{k}": list(v) for k, v in own.items()})
    compared = results.compare(
      runs[one.primary], own[one.primary], goal, groups
    )
    told[name] = {"title": title, "backbone": about, "cell": cell, **compared}

  for name, other in beside.items():
    best = other.probed.best
    own = {k: v[best] for k, v in other.probed.runs.items()}
    title = controls.CONTROLS[name].title
    tell(name, title, other.about, _cell(other.probed, best, groups), own)
  if with_blind:
    seeds = len(runs[one.primary])
    own = {k: [v] * seeds for k, v in blind.items()}
    test = {k: results.estimate(v, groups) for k, v in own.items()}
    cell = NOWHERE | {"test": test}
    tell(controls.BLIND, "no input at all", {"kind": "blind"}, cell, own)
  about = {
    "task": one.name,
    "title": one.title,
    "primary": one.primary,
    "lower_is_better": goal.lower_is_better,
    "chance": goal.chance,
    "backbone": found.about,
    **results.scored(scorer.num_rows, groups),
    "method": results.METHOD,
    "budget": _budget(probed.plan),
    "cells": [_cell(probed, i, groups) for i in range(len(probed.cells))],
    "best": probed.best,
    "controls": told,
  }
  return Findings(about, clips, groups)


def line(result: Mapping[str, Any]) -> str:
  """A result on the console."""
  best = result["cells"][result["best"]]
  score = best["test"][result["primary"]]
  value, low, high = (
    "none" if score[k] is None else f"{score[k]:.3f}" for k in results.ENDS
  )
  text = (
    f"{result['task']}: {result['primary']} {value} [{low}, {high}] at layer"
    f" {best['layer']}, noise {best['noise_level']}"
  )
  if "budget" in result:  # results of earlier versions don't say
    text += "; probes: {num_steps} steps of {batch_size} clips".format(
      **result["budget"]
    )
  return f"{text}; {result['caution']}" if result["caution"] else text


def _budget(plan: Plan) -> dict[str, Any]:
  """What every probe of a task was given, as results have it."""
  return {
    "num_steps": plan.num_steps,
    "batch_size": plan.batch_size,
    "learning_rates": list(plan.learning_rates),
    "weight_decays": list(plan.weight_decays),
  }


def _cell(
  probed: probing.Probed, index: int, groups: results.Groups
) -> dict[str, Any]:
  """A cell as results have it: every metric with its interval."""
  cell, hyper = probed.cells[index], probed.hypers[index]
  found = {
    "layer": cell.layer,
    "noise_level": cell.noise_level,
    "log_snr": cell.log_snr,
    "learning_rate": hyper[0] if hyper else None,
    "weight_decay": hyper[1] if hyper else None,
    "select": probed.select[index],
    "test": {
      name: results.estimate(runs[index], groups)
      for name, runs in probed.runs.items()
    },
  }
  return found | ({} if cell.frame is None else {"frame": cell.frame})
