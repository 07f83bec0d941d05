"""Section 3: at which layer and noise level the features are best."""

from collections.abc import Sequence
from typing import Any

from vdr.report import parts, scores, words
from vdr.report import study as study_lib

Json = dict[str, Any]
BEST = "best"  # in place of a layer or a noise level: the best one, on `select`


def section(tasks: dict[str, scores.Task]) -> parts.Section:
  """The section, of the first seed of each model."""
  rows = [row for task in tasks.values() for row in cells(task)]
  made: list[parts.Part] = []
  if not rows:
    made.append(parts.Missing("No evaluation over layers is finished yet."))
  else:
    made += [_maps(tasks), _chosen(tasks), _curves(tasks), _table(rows)]
  return parts.Section("places", "Layers and noise levels", _lead(tasks), made)


def cells(task: scores.Task) -> list[Json]:
  """Every cell of both models: the primary metric of `test` and of `select`."""
  rows = []
  for kind in study_lib.KINDS:
    for seed, result in sorted(task.results[kind].items()):
      for index, cell in enumerate(result["cells"]):
        row: Json = {
          "task": task.name,
          "title": task.title,
          "metric": task.primary,
          "model": kind,
          "seed": seed,
        }
        row |= {k: cell[k] for k in ("layer", "noise_level", "log_snr")}
        row |= parts.estimate(cell["test"][task.primary], "test")
        row |= {"select": cell["select"], "is_best": index == result["best"]}
        rows.append(row)
  return rows


def _first(task: scores.Task, kind: str) -> list[Json]:
  """The cells of the first seed of a model."""
  rows = [row for row in cells(task) if row["model"] == kind]
  return [row for row in rows if row["seed"] == rows[0]["seed"]]


def _lead(tasks: dict[str, scores.Task]) -> str:
  lead = (
    "Features are read after some of the blocks, from a clip with some noise."
    " Where they serve best is chosen on the split “select”; shown are"
    " scores of “test”."
  )
  best = [r for t in tasks.values() for r in cells(t) if r["is_best"]]
  layers = sorted({r["layer"] for r in best if r["layer"] is not None})
  levels = [r["noise_level"] for r in best if r["noise_level"] is not None]
  if not layers or not levels:
    return lead
  return (
    f"{lead} Chosen were layers {words.listed([str(x) for x in layers])} and"
    f" noise levels from {min(levels):g} to {max(levels):g}."
  )


def _chosen(tasks: dict[str, scores.Task]) -> parts.Table:
  """The place of both models in each task."""
  rows = []
  for task in tasks.values():
    best = {
      row["model"]: row
      for kind in study_lib.KINDS
      for row in _first(task, kind)
      if row["is_best"]
    }
    row: Json = {"task": task.name, "title": task.title, "metric": task.primary}
    for kind in study_lib.KINDS:
      for field in ("layer", "noise_level", "log_snr"):
        row[f"{kind}_{field}"] = best[kind][field] if kind in best else None
    rows.append(row)

  def column(kind: str, field: str, digits: int, title: str) -> parts.Column:
    def show(row: Json) -> str:
      return words.number(row[f"{kind}_{field}"], digits)

    return parts.Column(f"{kind}, {title}", show)

  return parts.Table(
    "chosen",
    "Where each model is best",
    "",
    [
      parts.task_column(),
      *(
        column(kind, field, digits, title)
        for kind in study_lib.KINDS
        for field, digits, title in (
          ("layer", 0, "layer"),
          ("noise_level", 2, "noise"),
          ("log_snr", 1, "log-SNR"),
        )
      ),
    ],
    rows,
  )


def _place(row: Json) -> str:
  if row["noise_level"] is None:
    return f"layer {row['layer']}"
  return f"layer {row['layer']} at noise {row['noise_level']:g}"


def _maps(tasks: dict[str, scores.Task]) -> parts.Figure:
  specs = {}
  for name, task in tasks.items():
    panels = [
      panel
      for kind in study_lib.KINDS
      if (panel := _panel(task, kind)) is not None
    ]
    if panels:
      said = words.metric(task.primary)
      specs[name] = {
        "kind": "maps",
        "panels": panels,
        "axes": ["layer", "noise level"],
        "scale": said.label,
        "digits": said.digits,
        "lower_is_better": task.goal.lower_is_better,
      }
  return parts.Figure(
    "maps",
    "Layer by noise level",
    "Scores of test clips; a ring marks the place that was chosen, on other"
    " clips. Both models share one scale, and the strongest colour is best.",
    specs,
    (parts.Choice("task", [(n, tasks[n].title) for n in specs]),),
  )


def _panel(task: scores.Task, kind: str) -> Json | None:
  rows = _first(task, kind)
  if not rows:
    return None
  layers = sorted({row["layer"] for row in rows}, key=lambda x: x or 0)
  levels = sorted({row["noise_level"] for row in rows}, key=lambda x: x or 0)
  at = {(row["layer"], row["noise_level"]): row for row in rows}
  (best,) = [row for row in rows if row["is_best"]]
  return {
    "title": f"{kind} model",
    "x": layers,
    "y": levels,
    "z": [
      [
        words.scaled(task.primary, at[x, y]["test"]) if (x, y) in at else None
        for x in layers
      ]
      for y in levels
    ],
    "best": [layers.index(best["layer"]), levels.index(best["noise_level"])],
  }


def _curves(tasks: dict[str, scores.Task]) -> parts.Figure:
  """Scores by layer, at a noise level; and by noise level, at a layer."""
  specs, drawn = {}, []
  levels = _values(tasks, "noise_level")
  layers = _values(tasks, "layer")
  places = [(f"noise {v:g}", "noise_level", v) for v in levels]
  places += [(f"layer {v}", "layer", v) for v in layers]
  for name, task in tasks.items():
    if not cells(task):
      continue
    for axis, _ in AXES:
      fixed = "noise_level" if axis == "layer" else "layer"
      specs[f"{name}|{axis}|{BEST}"] = _curve(task, axis, None)
      drawn.append(f"{name}|{axis}|{BEST}")
      for label, field, value in places:
        if field == fixed:
          specs[f"{name}|{axis}|{label}"] = _curve(task, axis, value)
  return parts.Figure(
    "curves",
    "One at a time",
    "Scores of test clips with 95 % intervals. At its best: for every"
    " point the other coordinate is the best one on other clips. log-SNR is the"
    " coordinate that compares across noise schedules.",
    specs,
    (
      parts.Choice(
        "task", [(n, t.title) for n, t in tasks.items() if cells(t)]
      ),
      parts.Choice("against", list(AXES)),
      parts.Choice("at", [(BEST, "its best"), *((p[0], p[0]) for p in places)]),
    ),
    tuple(drawn),
  )


AXES = (
  ("layer", "layer"),
  ("noise_level", "noise level"),
  ("log_snr", "log-SNR"),
)


def _values(tasks: dict[str, scores.Task], field: str) -> list[Any]:
  found = {row[field] for task in tasks.values() for row in cells(task)}
  return sorted(value for value in found if value is not None)


def _curve(task: scores.Task, axis: str, fixed: float | None) -> parts.Spec:
  said = words.metric(task.primary)
  other = "noise_level" if axis == "layer" else "layer"
  series = []
  for kind in study_lib.KINDS:
    rows = [
      row
      for row in _first(task, kind)
      if row[axis] is not None and (fixed is None or row[other] == fixed)
    ]
    rows = _best_each(rows, axis, task.sign)
    if rows:
      series.append(
        {
          "name": f"{kind} model",
          "colour": kind,
          "x": [row[axis] for row in rows],
          **parts.ends(rows, "test"),
          "note": [_place(row) for row in rows],
        }
      )
  return {
    "kind": "lines",
    "series": series,
    "axes": [dict(AXES)[axis], said.label],
    "digits": said.digits,
    "better": "lower" if task.goal.lower_is_better else "higher",
    "whole": axis == "layer",
  }


def _best_each(rows: Sequence[Json], axis: str, sign: int) -> list[Json]:
  """For each value of an axis the row that is best on `select`."""
  best: dict[Any, Json] = {}
  for row in rows:
    known = best.get(row[axis])
    if known is None or _selected(row, sign) > _selected(known, sign):
      best[row[axis]] = row
  return [best[value] for value in sorted(best)]


def _selected(row: Json, sign: int) -> float:
  return float("-inf") if row["select"] is None else sign * row["select"]


def _table(rows: Sequence[Json]) -> parts.Table:
  return parts.Table(
    "cells",
    "Every cell",
    "All layers and noise levels of all models.",
    [
      parts.task_column(),
      parts.Column("model", lambda r: f"{r['model']}-{r['seed']}", None, False),
      parts.Column("layer", lambda r: str(r["layer"])),
      parts.Column("noise", lambda r: words.number(r["noise_level"], 2)),
      parts.Column("log-SNR", lambda r: words.number(r["log_snr"], 2)),
      parts.Column("select", lambda r: words.score(r["metric"], r["select"])),
      parts.scored("test", "test"),
      parts.Column("chosen", lambda r: "chosen" if r["is_best"] else "", None),
    ],
    rows,
  )
