"""Sections 4 and 5: what more training gives, and what a larger model gives."""

from collections.abc import Sequence
from typing import Any

from vdr.report import parts, scores, words
from vdr.report import study as study_lib

Json = dict[str, Any]


def budget(
  study: study_lib.Study, size: str, tasks: dict[str, scores.Task]
) -> parts.Section:
  """Scores and Fréchet distances of checkpoints along training."""
  rows = [r for n in tasks for r in by_step(study, size, n)]
  made: list[parts.Part] = []
  if late := study.missing("budget", "generation"):
    names = words.listed([c.said for c in late])
    made.append(parts.Missing(f"Not finished yet: {names}."))
  if rows:
    made.append(_score_figure(tasks, rows))
  else:
    made.append(parts.Missing("No earlier checkpoint has been evaluated yet."))
  distances, networks = frechet(study, size)
  if distances:
    made += [_distance_figure(distances, networks)]
  else:
    made.append(
      parts.Missing("No checkpoint's samples have been measured yet.")
    )
  if rows:
    made.append(_score_table(rows))
  if distances:
    made.append(_distance_table(distances))
  return parts.Section(
    "budget",
    "Training budget",
    "Does a model that generates better also know more? Probes of checkpoints"
    " along training, read at the same layer and noise level, beside the"
    " distance of their samples from real data.",
    made,
  )


def by_step(study: study_lib.Study, size: str, task: str) -> list[Json]:
  """Scores of a task along training, of both models, in order of steps.

  The last step is that of role `main`, at the place where the earlier
  checkpoints were read.
  """
  rows = []
  for model in study.models:
    if model.size != size:
      continue
    place = None
    for cell in study.find("budget", model.name):
      if (result := study.result(cell, task)) is not None:
        best = result["cells"][result["best"]]
        place = (best["layer"], best["noise_level"])
        rows.append(_at(model, cell, result, best))
    for cell in study.find("main", model.name):
      result = study.result(cell, task)
      if result is None or place is None:
        continue
      same = [
        c for c in result["cells"] if (c["layer"], c["noise_level"]) == place
      ]
      rows += [_at(model, cell, result, c) for c in same]
  return sorted(rows, key=lambda r: (r["model"], r["seed"], r["step"]))


def _at(
  model: study_lib.Model, cell: study_lib.Cell, result: Json, at: Json
) -> Json:
  return {
    "task": result["task"],
    "title": result["title"],
    "metric": result["primary"],
    "model": model.kind,
    "seed": model.seed,
    "step": cell.about["step"],
    "percent": cell.about.get("percent"),
    "layer": at["layer"],
    "noise_level": at["noise_level"],
    **parts.estimate(at["test"][result["primary"]], "test"),
  }


def frechet(
  study: study_lib.Study, size: str
) -> tuple[list[Json], dict[str, Json]]:
  """Distances of samples from real data along training.

  Returns:
    Rows of model, seed, step, percent, n, and of frames and clips the Fréchet
    and kernel distances with their floors; and the networks, by what they look
    at.
  """
  rows, networks = [], {}
  for model in study.models:
    if model.size != size:
      continue
    for cell in study.find("generation", model.name):
      found = study.of_checkpoint(cell, "generation.json")
      if found is None:
        continue
      networks |= found["networks"]
      row: Json = {
        "model": model.kind,
        "seed": model.seed,
        "step": cell.about["step"],
        "percent": cell.about.get("percent"),
        "n": found["n"],
      }
      for measure in ("frechet", "kernel"):
        for of in ("frames", "clips"):
          value = (found.get(measure) or {}).get(of) or {}
          row[f"{measure}_{of}"] = value.get("value")
          row[f"{measure}_{of}_floor"] = value.get("floor")
      rows.append(row)
  return sorted(
    rows, key=lambda r: (r["model"], r["seed"], r["step"])
  ), networks


def _first_seed(rows: Sequence[Json], kind: str) -> list[Json]:
  own = [row for row in rows if row["model"] == kind]
  return [row for row in own if row["seed"] == own[0]["seed"]]


def _score_figure(
  tasks: dict[str, scores.Task], rows: Sequence[Json]
) -> parts.Figure:
  specs = {}
  for name in dict.fromkeys(row["task"] for row in rows):
    said = words.metric(tasks[name].primary)
    series = []
    for kind in study_lib.KINDS:
      own = _first_seed([r for r in rows if r["task"] == name], kind)
      if own:
        series.append(
          {
            "name": f"{kind} model",
            "colour": kind,
            "x": [r["step"] for r in own],
            **parts.ends(own, "test"),
            "note": [_share(r) for r in own],
          }
        )
    specs[name] = {
      "kind": "lines",
      "series": series,
      "axes": ["training step", said.label],
      "digits": said.digits,
      "better": "lower" if tasks[name].goal.lower_is_better else "higher",
      "log": True,
    }
  return parts.Figure(
    "budget",
    "What probes read along training",
    "Scores of test clips with 95 % intervals, at one layer and noise level.",
    specs,
    (parts.Choice("task", [(n, tasks[n].title) for n in specs]),),
    half=True,
  )


def _distance_figure(
  rows: Sequence[Json], networks: dict[str, Json]
) -> parts.Figure:
  specs = {}
  for of in ("frames", "clips"):
    series = []
    for kind in study_lib.KINDS:
      own = [
        r for r in _first_seed(rows, kind) if r[f"frechet_{of}"] is not None
      ]
      if own:
        series.append(
          {
            "name": f"{kind} model",
            "colour": kind,
            "x": [r["step"] for r in own],
            "value": [r[f"frechet_{of}"] for r in own],
            "note": [_share(r) for r in own],
          }
        )
        floor = [r[f"frechet_{of}_floor"] for r in own]
        if kind == "video" and None not in floor:
          series.append(
            {
              "name": "real against real",
              "colour": "muted",
              "dash": True,
              "x": [r["step"] for r in own],
              "value": floor,
            }
          )
    if series:
      specs[of] = {
        "kind": "lines",
        "series": series,
        "axes": ["training step", f"Fréchet distance of {of}"],
        "digits": 1,
        "better": "lower",
        "log": True,
      }
  known = [f"{of}: {_named(networks[of])}" for of in specs if networks.get(of)]
  return parts.Figure(
    "frechet",
    "How far samples are from real data",
    "Fréchet distances of the same checkpoints in the features of a network"
    f" ({'; '.join(known) or 'not named'}). They compare with each other only:"
    " another network gives other numbers. Of so few samples the distance of"
    " real data from real data is not zero.",
    specs,
    (parts.Choice("of", [(of, of) for of in specs]),),
    half=True,
  )


def _named(network: Json) -> str:
  note = network.get("note", "").strip().rstrip(".")
  return f"{network['name']}, {note}" if note else str(network["name"])


def _score_table(rows: Sequence[Json]) -> parts.Table:
  return parts.Table(
    "budget",
    "Scores along training",
    "",
    [
      parts.task_column(),
      parts.Column("model", lambda r: f"{r['model']}-{r['seed']}", None, False),
      parts.Column("step", lambda r: words.count(r["step"]), _share),
      parts.Column(
        "layer, noise", lambda r: f"{r['layer']}, {r['noise_level']:g}"
      ),
      parts.scored("test", "test"),
    ],
    rows,
  )


def _distance_table(rows: Sequence[Json]) -> parts.Table:
  def column(field: str, title: str) -> parts.Column:
    def floor(row: Json) -> str:
      least = row[f"{field}_floor"]
      return "" if least is None else f"real: {least:.3g}"

    def value(row: Json) -> str:
      return words.NONE if row[field] is None else f"{row[field]:.3g}"

    return parts.Column(title, value, floor)

  return parts.Table(
    "generation",
    "Distances of samples",
    "Below each, in small: two halves of real data of the same number.",
    [
      parts.Column("model", lambda r: f"{r['model']}-{r['seed']}", None, False),
      parts.Column("step", lambda r: words.count(r["step"]), _share),
      parts.Column("n", lambda r: words.count(r["n"])),
      column("frechet_frames", "Fréchet, frames"),
      column("frechet_clips", "Fréchet, clips"),
      column("kernel_frames", "kernel, frames"),
      column("kernel_clips", "kernel, clips"),
    ],
    rows,
  )


def _share(row: Json) -> str:
  return "" if row["percent"] is None else f"{row['percent']} % of training"


def sizes(
  study: study_lib.Study, by_size: dict[str, list[Json]]
) -> parts.Section:
  """What larger models score.

  Args:
    study: for the names.
    by_size: of each size the rows of `scores.headline`.
  """
  title = "Model size"
  if len(by_size) < 2:
    only = next(iter(by_size), "none")
    return parts.Section(
      "sizes",
      title,
      f"This study has one size, {only}: it says nothing about larger models.",
      [],
    )
  rows = [
    {"size": size, "task": row["task"], "title": row["title"]}
    | {"metric": row["metric"], "lower_is_better": row["lower_is_better"]}
    | parts.estimate(row["video"], "video")
    | parts.estimate(row["image"], "image")
    | parts.estimate(row["gain"], "gain")
    for size, found in by_size.items()
    for row in found
    if row["verdict"] != "missing"
  ]
  if not rows:
    made: list[parts.Part] = [
      parts.Missing(
        f"The study has the sizes {words.listed(list(by_size))}; no task has"
        " results of both models yet."
      )
    ]
  else:
    made = [_size_figure(rows, list(by_size)), _size_table(rows)]
  lead = f"The study has {len(by_size)} sizes: {words.listed(list(by_size))}."
  return parts.Section("sizes", title, lead, made)


def _size_figure(rows: Sequence[Json], names: list[str]) -> parts.Figure:
  specs = {}
  for row in rows:
    name, said = row["task"], words.metric(row["metric"])
    own = [r for r in rows if r["task"] == name]
    specs[name] = {
      "kind": "dots",
      "categories": [n for n in names if n in {r["size"] for r in own}],
      "series": [
        {
          "name": f"{kind} model",
          "colour": kind,
          **parts.ends(own, kind),
        }
        for kind in study_lib.KINDS
      ],
      "axis": said.label,
      "digits": said.digits,
    }
  titles = {row["task"]: row["title"] for row in rows}
  return parts.Figure(
    "sizes",
    "Scores by size",
    "Scores of test clips with 95 % intervals, each at its own best place.",
    specs,
    (parts.Choice("task", [(n, titles[n]) for n in specs]),),
  )


def _size_table(rows: Sequence[Json]) -> parts.Table:
  return parts.Table(
    "sizes",
    "The same in numbers",
    "",
    [
      parts.task_column(),
      parts.Column("size", lambda r: r["size"], None, False),
      parts.scored("video", "video"),
      parts.scored("image", "image"),
      parts.Column(
        "gain",
        lambda r: words.percent(r["gain"]),
        lambda r: words.interval(
          words.percent(r["gain_low"]), words.percent(r["gain_high"])
        ),
      ),
    ],
    rows,
  )
