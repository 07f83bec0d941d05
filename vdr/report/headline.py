"""Section 1: by how much the video model is above the image model."""

from collections.abc import Sequence
from typing import Any

from vdr.report import paper, parts, scores, words
from vdr.report import study as study_lib

Json = dict[str, Any]

SAID = {
  "above": "video above",
  "below": "image above",
  "unclear": "no clear difference",
  "missing": "not measured",
}
WHO = {"video": "video model", "image": "image model"}
CONTROLS = {
  "random": "untrained",
  "random_gates": "untrained, blocks at half",
  "latents": "latents",
  "pixels": "pixels",
  "isolated": "frames apart",
  "shuffled": "shuffled",
  "frozen": "frozen",
  "frame": "one frame",
  "blind": "no input",
}


def verdict(rows: Sequence[Json]) -> str:
  """What held and what did not, in one or two sentences."""
  by = {
    key: [row["title"] for row in rows if row["verdict"] == key] for key in SAID
  }
  measured = [row for row in rows if row["verdict"] != "missing"]
  if not measured:
    return "Nothing has been measured of both models yet."
  said = []
  if by["above"]:
    said.append(
      "The video model is above the image model, with an interval clear of"
      f" zero, on {words.listed(by['above'])}"
      + ("." if len(by["above"]) < len(measured) else ": every task measured.")
    )
  else:
    said.append(
      "On no task is the video model above the image model with an interval"
      " clear of zero."
    )
  if by["unclear"]:
    ties = [r["title"] for r in rows if r["verdict"] == "unclear"]
    said.append(f"Not on {words.listed(ties)}, where no gain is shown.")
  if by["below"]:
    said.append(f"The image model is above on {words.listed(by['below'])}.")
  if by["missing"]:
    said.append(f"Not measured yet: {words.listed(by['missing'])}.")
  return " ".join(said)


def covers(rows: Sequence[Json]) -> str:
  """What the intervals cover, and what they do not."""
  return _covered(rows) + _cautions(rows)


def _cautions(rows: Sequence[Json]) -> str:
  """What is wrong with intervals, by task."""
  titles: dict[str, list[str]] = {}
  for row in rows:
    if row["caution"]:
      titles.setdefault(row["caution"], []).append(row["title"])
  return "".join(
    f" On {words.listed(names)} {caution}." for caution, names in titles.items()
  )


def _covered(rows: Sequence[Json]) -> str:
  seeds = max((len(row["by_seed"]) for row in rows), default=0)
  if seeds > 1:
    return (
      f"Intervals cover test clips and {seeds} pretraining seeds of each model;"
      " dots are the seeds by themselves, the number is that of their mean."
    )
  return (
    "One pretraining seed of each model: intervals cover test clips and probes"
    " only. Another seed may move every number by more than they say."
  )


def tiles(rows: Sequence[Json]) -> list[parts.Tile]:
  """The gain of each task, for the top of the page."""
  made = []
  for row in rows:
    gain, state = row["gain"], row["verdict"]
    value = words.percent(_of(gain, "value"))
    note = words.interval(
      words.percent(_of(gain, "low")), words.percent(_of(gain, "high"))
    )
    if state != "missing" and _of(gain, "value") is None:
      value, note = _difference(row)
    known = paper.GAINS.get(row["task"])
    beside = ""
    if known is not None:
      beside = f"paper: {words.percent(known.gain)}"
      beside += f" on {known.data}"
    made.append(
      parts.Tile(row["title"], value, note, SAID[state], beside, state)
    )
  return made


def _difference(row: Json) -> tuple[str, str]:
  """What is told of a task where no gain can be, positive is better."""
  metric, found = row["metric"], row["better"]

  def said(name: str) -> str:
    return words.score(metric, _of(found, name), sign=True)

  unit = words.metric(metric)
  named = "points of accuracy" if unit.unit == "%" else unit.label
  why = "no share of it: the image model may be at chance"
  return said("value"), (
    f"{words.interval(said('low'), said('high'))} in {named}; {why}"
  )


def section(
  study: study_lib.Study, tasks: dict[str, scores.Task], rows: list[Json]
) -> parts.Section:
  """The section; `rows` are those of `scores.headline`."""
  made: list[parts.Part] = []
  if late := study.missing("main"):
    names = words.listed([c.said for c in late])
    made.append(parts.Missing(f"Evaluations that are not finished: {names}."))
  if any(row["verdict"] != "missing" for row in rows):
    made += [_bars(rows), *_radar(rows), _gains(rows)]
    made.append(
      parts.Text(
        "A gain is the improvement over the image model, divided by how far the"
        " image model is from what knowing nothing scores (chance, or the probe"
        " without input). The plain gain divides by the image model's score"
        " itself, as published gains commonly do; how the paper divides is not"
        " known to us. p-values are two-sided, corrected after Holm over all"
        " tasks."
      )
    )
  else:
    made.append(parts.Missing("No task has a result of both models yet."))
  if any(task.drawn is not None for task in tasks.values()):
    made.append(_absolute(tasks))
  return parts.Section("headline", "The comparison", _lead(study, rows), made)


def _lead(study: study_lib.Study, rows: Sequence[Json]) -> str:
  """How the comparison was made."""
  measured = [row for row in rows if row["n"] is not None]
  if not measured:
    return f"The study has {words.plural(len(study.models), 'model')}."

  def listed(field: str) -> str:
    return " or ".join(f"{n:,}" for n in sorted({r[field] for r in measured}))

  clips = f"{listed('n')} test clips"
  if any(row["groups"] < row["n"] for row in measured):
    clips += f" of {listed('groups')} videos or scenes, which intervals draw"
  return (
    f"Light probes on frozen features, scored on {clips}, the same ones for"
    " both models. Each model is read at the layer and noise level that served"
    " it best on other clips."
  )


def _bars(rows: Sequence[Json]) -> parts.Figure:
  shown = [row for row in rows if row["verdict"] != "missing"]
  series = [
    {
      "name": "here",
      "colour": "video",
      "value": [_of(row["gain"], "value") for row in shown],
      "low": [_of(row["gain"], "low") for row in shown],
      "high": [_of(row["gain"], "high") for row in shown],
      "dots": [
        [seed["gain"]["value"] for seed in row["by_seed"]]
        if len(row["by_seed"]) > 1
        else []
        for row in shown
      ],
      "note": [SAID[row["verdict"]] for row in shown],
    },
    {
      "name": "the paper's, on other data",
      "colour": "paper",
      "value": [
        paper.GAINS[r["task"]].gain if r["task"] in paper.GAINS else None
        for r in shown
      ],
      "note": [
        paper.GAINS[r["task"]].data if r["task"] in paper.GAINS else ""
        for r in shown
      ],
    },
  ]
  spec = {
    "kind": "bars",
    "categories": [row["title"] for row in shown],
    "series": series,
    "axis": "relative gain of the video model",
    "percent": True,
    "limits": _limits(series),
  }
  return parts.Figure(
    "gain",
    "Relative gain of the video model over the image model",
    "Bars with 95 % intervals are measured here. Diamonds are what the"
    f" paper reports for its own models and data: {paper.TITLE}. An interval"
    " that leaves the picture is in the table.",
    {"": spec},
  )


def _limits(series: Sequence[Json]) -> tuple[float, float]:
  """What the axis shows: all values, and intervals half as far again.

  A gain over a model that is hardly above chance has an interval of thousands
  of per cent, beside which nothing else would be seen.
  """

  def all_of(*names: str) -> list[float]:
    found = [v for one in series for name in names for v in one.get(name, [])]
    return [v for v in found if v is not None] + [0.0]

  values, ends = all_of("value"), all_of("value", "low", "high")
  reach = 1.5 * max(map(abs, values))
  low, high = max(min(ends), -reach), min(max(ends), reach)
  margin = 0.05 * (high - low) or 1.0  # no gain at all is an axis, too
  return low - margin, high + margin


def _radar(rows: Sequence[Json]) -> list[parts.Part]:
  """Each score as a share of the way from chance to the better model's."""
  shown = [
    row
    for row in rows
    if row["verdict"] != "missing" and row["chance"] is not None
  ]
  if len(shown) < 3:  # a line is no area
    return []
  shares: dict[str, list[float | None]] = {"video": [], "image": []}
  for row in shown:
    above = {
      kind: abs(row[kind]["value"] - row["chance"])
      if (row[kind]["value"] > row["chance"]) != row["lower_is_better"]
      else 0.0
      for kind in shares
    }
    most = max(above.values())
    for kind in shares:
      shares[kind].append(above[kind] / most if most else 0.0)
  spec = {
    "kind": "radar",
    "categories": [row["title"] for row in shown],
    "series": [
      {"name": WHO[kind], "colour": kind, "value": shares[kind]}
      for kind in ("image", "video")
    ],
  }
  caption = (
    "Each score on its way from knowing nothing (the centre) to the better of"
    " the two models (the rim)."
  )
  return [parts.Figure("radar", "Both models at a glance", caption, {"": spec})]


def _gains(rows: Sequence[Json]) -> parts.Table:
  def text(field: str) -> Any:
    return lambda row: words.percent(row[field])

  def between(field: str) -> Any:
    return lambda row: words.interval(
      words.percent(row[f"{field}_low"]), words.percent(row[f"{field}_high"])
    )

  flat = []
  for row in rows:
    known = paper.GAINS.get(row["task"])
    flat.append(
      {k: row[k] for k in ("task", "title", "metric", "verdict")}
      | parts.estimate(row["gain"], "gain")
      | parts.estimate(row["gain_plain"], "plain_gain")
      | parts.estimate(row["better"], "difference_better")
      | {"p_value": row["p_value"], "p_holm": row["p_holm"]}
      | {
        "paper_gain": known.gain if known else None,
        "paper_data": known.data if known else "",
      }
    )
  return parts.Table(
    "gains",
    "The numbers behind it",
    "Differences are in the metric's unit and positive where the video model is"
    " better.",
    [
      parts.Column("task", lambda r: r["title"], _metric_note, False),
      parts.Column("gain", text("gain"), between("gain")),
      parts.Column("plain gain", text("plain_gain"), between("plain_gain")),
      parts.scored("difference_better", "difference", True),
      parts.Column("p (Holm)", lambda r: words.p_value(r["p_holm"])),
      parts.Column("it says", lambda r: SAID[r["verdict"]], None, False),
      parts.Column(
        "the paper's", text("paper_gain"), lambda r: r["paper_data"]
      ),
    ],
    flat,
  )


def _absolute(tasks: dict[str, scores.Task]) -> parts.Table:
  """Scores of both models and of every control."""
  known = {
    name.split("/")[1]
    for task in tasks.values()
    if task.drawn is not None
    for name in task.drawn.names
  }
  controls = {n: title for n, title in CONTROLS.items() if n in known}
  for name in sorted(known - {scores.SELF, *CONTROLS}):
    controls[name] = name.replace("_", " ")
  rows = []
  for task in tasks.values():
    for kind in study_lib.KINDS:
      row: Json = {
        "task": task.name,
        "title": task.title,
        "metric": task.primary,
        "lower_is_better": task.goal.lower_is_better,
        "chance": task.goal.chance,
        "model": kind,
      } | _place(task, kind)
      for name in (scores.SELF, *controls):
        row |= parts.estimate(task.score(f"{kind}/{name}"), name)
      rows.append(row)

  return parts.Table(
    "scores",
    "Every score, and what every control scored",
    "Scores of test clips with 95 % intervals; every control has probes of its"
    f" own{_control_places(tasks)}. Untrained is the mean over several draws of"
    " random weights.",
    [
      parts.Column("task", lambda r: r["title"], _metric_note, False),
      parts.Column("model", lambda r: r["model"], _place_note, False),
      parts.scored(scores.SELF, "trained"),
      *(parts.scored(name, title) for name, title in controls.items()),
    ],
    rows,
  )


PLACES = {
  "same": "at the layer and noise level where the trained model is best",
  "best": "at the layer and noise level that served it best on other clips",
}


def _control_places(tasks: dict[str, scores.Task]) -> str:
  """Where controls were read."""
  found = {task.any["controls_place"] for task in tasks.values() if task.any}
  said = " or ".join(PLACES[place] for place in PLACES if place in found)
  return f" and is read {said}" if said else ""


def _place(task: scores.Task, kind: str) -> Json:
  """Where the first of the models was read; several seeds may differ."""
  cells = [task.best(kind, seed) for seed in sorted(task.results[kind])]
  names = ("layer", "noise_level", "log_snr")
  return {name: cells[0][name] if cells else None for name in names}


def _place_note(row: Json) -> str:
  if row["layer"] is None:
    return ""
  return f"layer {row['layer']}, noise {row['noise_level']:g}"


def _metric_note(row: Json) -> str:
  """The metric of a row, and which way it is better."""
  if not row["metric"]:
    return ""
  arrow = "lower" if row.get("lower_is_better") else "higher"
  label = words.metric(row["metric"]).label
  return f"{label}; {arrow} is better" if "lower_is_better" in row else label


def _of(found: Json | None, name: str) -> float | None:
  return None if found is None else found[name]
