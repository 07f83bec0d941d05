"""Section 2: where the gain comes from, and whether it comes honestly."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdr import results
from vdr.metrics import statistics
from vdr.report import parts, scores, words
from vdr.report import study as study_lib

Json = dict[str, Any]

TOTAL = ("total", "all of it", "video/backbone", "image/backbone")
# Differences that each say one thing; they need not add up to the total.
ORIGINS = (
  TOTAL,
  ("tokenizer", "tokenizer", "video/latents", "image/latents"),
  ("architecture", "architecture, untrained", "video/random", "image/random"),
  ("attention", "looking across frames", "video/backbone", "video/isolated"),
  ("training_video", "training, video model", "video/backbone", "video/random"),
  ("training_image", "training, image model", "image/backbone", "image/random"),
)
MEANING = (
  "All of it: trained video model less trained image model. Tokenizer: what it"
  " gives for whole clips less what it gives for single frames, with no network"
  " at all. Architecture: the untrained networks. Looking across frames: the"
  " video model less itself with every latent frame apart. Training: each model"
  " less itself untrained. These are differences, not parts of a sum."
)
# What sees less of a clip than the model does.
LEAKS = (
  ("backbone", "whole clip"),
  ("shuffled", "frames in random order"),
  ("frozen", "first frame, repeated"),
  ("frame", "best single frame"),
  ("blind", "no input"),
)


def section(
  study: study_lib.Study,
  tasks: dict[str, scores.Task],
  latent_frames: dict[str, scores.Task],
) -> parts.Section:
  """The section.

  Args:
    study: for the tokenizer, and what is missing.
    tasks: of role `main`.
    latent_frames: of role `frames`: the image model with latent frames only.
  """
  rows = [row for task in tasks.values() for row in differences(task)]
  made: list[parts.Part] = []
  if rows:
    made += [_figure(tasks, rows), _table(rows)]
  else:
    made.append(parts.Missing("No evaluation with controls is finished yet."))
  leaks = [row for task in tasks.values() for row in _leaks(task)]
  if leaks:
    made += [_leak_figure(tasks, leaks), _leak_table(leaks)]
  made.append(_frames(study, tasks, latent_frames))
  made.append(_tokenizer(study))
  return parts.Section(
    "origins", "Where the gain comes from", _lead(rows), made
  )


def differences(task: scores.Task) -> list[Json]:
  """The differences of a task, positive where better, as far as known.

  Returns:
    Rows of task, title, metric, origin, label, `difference` with its interval
    and p_value, and `share` of the total, null where the total may be 0.
  """
  rows = []
  total = task.better(*TOTAL[2:])
  for name, label, new, base in ORIGINS:
    found = task.better(new, base)
    if found is None or found["value"] is None:
      continue
    clear = scores.verdict(total) in ("above", "below")
    share = _share(task, new, base) if clear else None
    rows.append(
      {
        "task": task.name,
        "title": task.title,
        "metric": task.primary,
        "origin": name,
        "label": label,
        **parts.estimate(found, "difference"),
        "p_value": found["p_value"],
        **parts.estimate(share, "share"),
      }
    )
  return rows


def _share(task: scores.Task, new: str, base: str) -> Json | None:
  """A difference over the total, with an interval."""
  drawn = task.drawn
  if drawn is None:
    return None
  i, j, above, below = map(drawn.names.index, (new, base, *TOTAL[2:]))

  def share(s: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
      return (s[..., i] - s[..., j]) / (s[..., above] - s[..., below])

  return _plain(drawn.estimate(share, results.LEVEL))


def _plain(found: statistics.Estimate) -> Json:
  return results.to_plain(
    {"value": found.value, "low": found.low, "high": found.high}
  )


def _lead(rows: Sequence[Json]) -> str:
  """What stands out, in a sentence or two."""
  lead = (
    "A higher score may come from what the model learned, from what it is built"
    " of, or from what it is given."
  )
  across = [r["title"] for r in rows if _clear(r, "attention")]
  given = [r["title"] for r in rows if _clear(r, "tokenizer")]
  if across:
    lead += (
      f" Looking across frames helps, with an interval clear of zero, on"
      f" {words.listed(across)}."
    )
  if given:
    lead += (
      " The tokenizer alone, without any network, already gives clips an"
      f" advantage on {words.listed(given)}."
    )
  return lead


def _clear(row: Json, origin: str) -> bool:
  low = row["difference_low"]
  return row["origin"] == origin and low is not None and low > 0


def _task_choice(names: Sequence[str], tasks: dict[str, Any]) -> parts.Choice:
  return parts.Choice("task", [(n, tasks[n].title) for n in names])


def _figure(
  tasks: dict[str, scores.Task], rows: Sequence[Json]
) -> parts.Figure:
  specs = {}
  for name, task in tasks.items():
    own = [row for row in rows if row["task"] == name]
    if not own:
      continue
    said = words.metric(task.primary)
    specs[name] = {
      "kind": "dots",
      "categories": [row["label"] for row in own],
      "series": [
        {
          "name": "difference",
          "colour": "video",
          **parts.ends(own, "difference"),
        }
      ],
      "axis": f"difference in {said.label}; to the right is better",
      "digits": said.digits,
    }
  return parts.Figure(
    "origins",
    "What each step adds",
    MEANING,
    specs,
    (_task_choice(list(specs), tasks),),
  )


def _table(rows: Sequence[Json]) -> parts.Table:
  return parts.Table(
    "origins",
    "The same in numbers",
    "In the metric's unit, positive where it is better; the share is of all of"
    " the difference between the models, where that is clear of zero.",
    [
      parts.Column("task", lambda r: r["title"], None, False),
      parts.Column("difference", lambda r: r["label"], None, False),
      parts.scored("difference", "value", True),
      parts.Column("p", lambda r: words.p_value(r["p_value"])),
      parts.Column(
        "share of all",
        lambda r: words.percent(r["share"], sign=False),
        lambda r: words.interval(
          words.percent(r["share_low"], sign=False),
          words.percent(r["share_high"], sign=False),
        ),
      ),
    ],
    rows,
  )


def _leaks(task: scores.Task) -> list[Json]:
  """Scores of who sees less, of tasks that are asked of clips."""
  if not task.has("video/frozen") and not task.has("image/frozen"):
    return []
  rows = []
  for kind in study_lib.KINDS:
    row: Json = {
      "task": task.name,
      "title": task.title,
      "metric": task.primary,
      "model": kind,
    }
    for name, _ in LEAKS:
      row |= parts.estimate(task.score(f"{kind}/{name}"), name)
    rows.append(row)
  return rows


def _leak_figure(
  tasks: dict[str, scores.Task], rows: Sequence[Json]
) -> parts.Figure:
  specs = {}
  for name in dict.fromkeys(row["task"] for row in rows):
    said = words.metric(tasks[name].primary)
    own = [row for row in rows if row["task"] == name]
    specs[name] = {
      "kind": "dots",
      "categories": [label for _, label in LEAKS],
      "series": [
        {
          "name": f"{row['model']} model",
          "colour": row["model"],
          **_along(row, [leak for leak, _ in LEAKS]),
        }
        for row in own
      ],
      "axis": said.label,
      "digits": said.digits,
    }
  return parts.Figure(
    "leaks",
    "No leaks",
    "A task about motion must not be solved by whoever sees a single frame, or"
    " frames in no order. Every view has probes of its own.",
    specs,
    (_task_choice(list(specs), tasks),),
  )


def _along(row: Json, fields: Sequence[str]) -> dict[str, list[float | None]]:
  """Several fields of one row as a series."""
  found = [parts.ends([row], field) for field in fields]
  return {end: [f[end][0] for f in found] for end in found[0]}


def _leak_table(rows: Sequence[Json]) -> parts.Table:
  return parts.Table(
    "leaks",
    "Scores of who sees less",
    "Scores of test clips with 95 % intervals.",
    [
      parts.task_column(),
      parts.Column("model", lambda r: r["model"], None, False),
      *(parts.scored(name, label) for name, label in LEAKS),
    ],
    rows,
  )


def _frames(
  study: study_lib.Study,
  tasks: dict[str, scores.Task],
  latent_frames: dict[str, scores.Task],
) -> parts.Part:
  """The image model with all frames, and with latent frames only."""
  self = f"image/{scores.SELF}"
  rows = []
  for name, task in tasks.items():
    few = latent_frames[name].score(self) if name in latent_frames else None
    if few is None:
      continue
    row = {"task": name, "title": task.title, "metric": task.primary}
    row |= parts.estimate(task.score(self), "every_frame")
    row |= parts.estimate(few, "latent_frames")
    rows.append(row | parts.estimate(task.score("video/backbone"), "video"))
  if not rows:
    late = words.listed(
      [f"{c.name} ({c.state})" for c in study.cells if c.role == "frames"]
    )
    return parts.Missing(
      "How the image model does with only the frames that latent frames stand"
      f" for is not known yet: {late or 'the study has no such evaluation'}."
    )

  return parts.Table(
    "frames",
    "As many features as the video model has",
    "The image model reads every frame of a clip, the video model a quarter as"
    " many latent frames. Here the image model has only the frames that those"
    " stand for, beside itself with all of them.",
    [
      parts.task_column(),
      parts.scored("every_frame", "image, every frame"),
      parts.scored("latent_frames", "image, latent frames"),
      parts.scored("video", "video"),
    ],
    rows,
  )


def _tokenizer(study: study_lib.Study) -> parts.Part:
  """How much of first and of later frames comes back."""
  rows = []
  for cell in study.find("tokenizer"):
    scored = (study.read_json(cell, "result.json") or {}).get("scores", {})
    if scored:
      rows.append({"tokenizer": cell.name, **scored})
  if not rows:
    return parts.Missing("The tokenizer is not finished yet.")

  def column(field: str, label: str, digits: int) -> parts.Column:
    return parts.Column(
      label, lambda r: words.number(r.get(field), digits), None
    )

  return parts.Table(
    "tokenizer",
    "What the tokenizer keeps",
    "The first frame of a clip is encoded alone, the others four at a time:"
    " both models see the first kind, only the video model the second.",
    [
      parts.Column("tokenizer", lambda r: r["tokenizer"], None, False),
      column("psnr_first_db", "first frame, PSNR dB", 1),
      column("psnr_later_db", "later frames, PSNR dB", 1),
      column("ssim_first", "first frame, SSIM", 3),
      column("ssim_later", "later frames, SSIM", 3),
      column("num_clips", "clips", 0),
    ],
    rows,
  )
