"""Sections 6 and 7: pictures of what the models see, draw and were given."""

import pathlib
from collections.abc import Sequence
from typing import Any

from vdr.report import parts, words
from vdr.report import study as study_lib

Json = dict[str, Any]
STILL, MOVING = ".png", ".gif"
ATTENTION = "attention"  # name of the pictures of where probes look
PREDICTIONS = "What probes say of test clips, beside the truth."
WEIGHTS = "Where the probe looks on test clips."


def section(study: study_lib.Study, size: str) -> parts.Section:
  """Features and predictions of both models on the same clips."""
  made: list[parts.Part] = []
  looks = _looks(study, size)
  if looks:
    made.append(_numbers(looks))
    made += _features(looks)
  else:
    late = study.missing("look")
    why = words.listed([c.said for c in late])
    made.append(
      parts.Missing(
        "No pictures of features yet:"
        f" {why or 'the study has no cell that looks'}."
      )
    )
  predictions = _predictions(study, size)
  made += predictions or [
    parts.Missing("No pictures of predictions beside the truth yet.")
  ]
  return parts.Section(
    "looking",
    "Looking",
    "What features look like, whether they follow motion that no single frame"
    " shows, and what probes make of them. Both models see the same clips.",
    made,
  )


def _looks(
  study: study_lib.Study, size: str
) -> list[tuple[study_lib.Model, study_lib.Cell, Json]]:
  found = []
  for model in _first_models(study, size):
    for cell in study.find("look", model.name):
      if (look := study.of_checkpoint(cell, "look.json")) is not None:
        found.append((model, cell, look))
  return found


def _first_models(study: study_lib.Study, size: str) -> list[study_lib.Model]:
  """The video and the image model of the first seed."""
  found: dict[str, study_lib.Model] = {}
  for model in sorted(study.models, key=lambda m: m.seed):
    if model.size == size:
      found.setdefault(model.kind, model)
  return [found[kind] for kind in study_lib.KINDS if kind in found]


def _numbers(
  looks: Sequence[tuple[study_lib.Model, study_lib.Cell, Json]],
) -> parts.Table:
  rows, notes = [], {}
  for model, _, look in looks:
    motion, match = look["motion_sensitivity"], look["correspondence"] or {}
    notes |= {"Motion sensitivity": motion["note"]}
    if match:
      notes |= {"Correspondence": match["note"]}
    row: Json = {"model": model.kind, "seed": model.seed}
    row |= {k: look[k] for k in ("layer", "noise_level")}
    row |= {k: motion.get(k) for k in ("brick_wall", "still", "latents")}
    row |= {k: match.get(k) for k in ("error_px", "copy_error_px", "n")}
    rows.append(row)
  caption = " ".join(
    f"{name}: {note.strip().rstrip('.')}." for name, note in notes.items()
  )
  return parts.Table(
    "looking",
    "Motion and correspondence in numbers",
    caption,
    [
      parts.Column(
        "model",
        lambda r: r["model"],
        lambda r: f"layer {r['layer']}, noise {r['noise_level']:g}",
        False,
      ),
      parts.Column(
        "brick wall, panned over", lambda r: words.number(r["brick_wall"])
      ),
      parts.Column("nothing moves", lambda r: words.number(r["still"])),
      parts.Column(
        "brick wall, latents alone", lambda r: words.number(r["latents"])
      ),
      parts.Column(
        "correspondence, px", lambda r: words.number(r["error_px"], 1)
      ),
      parts.Column(
        "staying in place, px", lambda r: words.number(r["copy_error_px"], 1)
      ),
      parts.Column("points", lambda r: words.count(r["n"])),
    ],
    rows,
  )


def _features(
  looks: Sequence[tuple[study_lib.Model, study_lib.Cell, Json]],
) -> list[parts.Part]:
  """One gallery for each picture that the models share."""
  galleries: dict[str, tuple[Json, list[parts.Picture]]] = {}
  for model, cell, look in looks:
    for picture in look["pictures"]:
      _, pictures = galleries.setdefault(picture["file"], (picture, []))
      still = picture.get("still")
      pictures.append(
        parts.Picture(
          cell.folder / picture["file"],
          f"{model.kind} model",
          still=cell.folder / still if still else None,
          kind=model.kind,
        )
      )
  # Titles go on with the model: "Correspondence: video model, layer 3".
  return [
    parts.Gallery(
      picture["title"].partition(": ")[0], picture["caption"], pictures
    )
    for picture, pictures in galleries.values()
  ]


def _predictions(study: study_lib.Study, size: str) -> list[parts.Part]:
  """TASK/pictures of role `main`, video beside image."""
  found: dict[tuple[str, str], list[parts.Picture]] = {}
  for task in study.tasks():
    for model in _first_models(study, size):
      for cell in study.find("main", model.name):
        for picture in pictures_in(cell.folder / task / "pictures"):
          named = picture._replace(title=f"{model.kind} model", kind=model.kind)
          if picture.path.stem == ATTENTION and picture.still is not None:
            named = named._replace(path=picture.still, still=None)
          found.setdefault((task, picture.path.stem), []).append(named)
  # What is said before where it is looked for: the page's room may run out.
  found = dict(sorted(found.items(), key=lambda item: item[0][1] == ATTENTION))
  return [
    parts.Gallery(
      ": ".join(
        [_title(study, task)] + [name.replace("_", " ")] * (name != task)
      ),
      WEIGHTS if name == ATTENTION else PREDICTIONS,
      pictures,
    )
    for (task, name), pictures in found.items()
  ]


def _title(study: study_lib.Study, task: str) -> str:
  for cell in study.find("main"):
    if (result := study.result(cell, task)) is not None:
      return result["title"]
  return words.task_title(task)


def pictures_in(folder: pathlib.Path) -> list[parts.Picture]:
  """Pictures of a folder; an animation with the still of the same name."""
  if not folder.is_dir():
    return []
  files = sorted(folder.iterdir())
  found = []
  for path in files:
    still, moving = path.with_suffix(STILL), path.with_suffix(MOVING)
    if path.suffix == MOVING:
      found.append(parts.Picture(path, still=still if still in files else None))
    elif path.suffix == STILL and moving not in files:
      found.append(parts.Picture(path))
  return found


def samples(study: study_lib.Study, size: str) -> parts.Section:
  """What both models draw, what the tokenizer keeps, how training went."""
  made: list[parts.Part] = []
  drawn = _samples(study, size)
  made += drawn or [parts.Missing("No samples have been drawn yet.")]
  curves = losses(study, size)
  made.append(curves or parts.Missing("No training has told its losses yet."))
  kept = [
    parts.Picture(cell.folder / "reconstructions.png", cell.name)
    for cell in study.find("tokenizer")
    if (cell.folder / "reconstructions.png").exists()
  ]
  made.append(
    parts.Gallery(
      "What the tokenizer keeps",
      "Held-out clips, and the same from their latents.",
      kept,
      1,
    )
    if kept
    else parts.Missing("The tokenizer has drawn no reconstructions yet.")
  )
  data = [
    picture
    for cell in study.find("data")
    for picture in pictures_in(cell.folder)
  ]
  made.append(
    parts.Gallery("Data", "Clips of the data set.", data, 1)
    if data
    else parts.Text(
      "To see clips of the data set with their depth, tracks and boxes: python"
      " -m vdr.main --config=configs/preview.py --workdir=runs/preview"
      " --config.data.sources.main.path=DATA"
    )
  )
  return parts.Section(
    "samples",
    "Samples and training",
    "What each model draws from noise, what the tokenizer lets through, and how"
    " training went. Pictures are the first ones, not chosen ones.",
    made,
  )


def _samples(study: study_lib.Study, size: str) -> list[parts.Part]:
  """Of the last checkpoint: of role `generation`, or what training drew."""
  galleries: dict[str, tuple[str, list[parts.Picture]]] = {}
  for model in _first_models(study, size):
    cells = study.find("generation", model.name)
    cells.sort(key=lambda c: c.about["step"])
    last = study.of_checkpoint(cells[-1], "generation.json") if cells else None
    for picture in (last or {}).get("pictures", ()):
      _, pictures = galleries.setdefault(
        picture["title"], (picture["caption"], [])
      )
      pictures.append(
        parts.Picture(
          cells[-1].folder / picture["file"],
          f"{model.kind} model",
          kind=model.kind,
        )
      )
    train = study.named(model.cell)
    if last is not None or train is None:
      continue
    by_group = {
      p.path.stem.rpartition("-")[0]: p
      for p in pictures_in(train.folder / "samples")
    }
    for group, picture in by_group.items():  # the last step's of each
      _, pictures = galleries.setdefault(
        f"Samples: {group}", ("Drawn at the end of training.", [])
      )
      named = picture._replace(title=f"{model.kind} model", kind=model.kind)
      pictures.append(named)
  return [
    parts.Gallery(title, caption, pictures)
    for title, (caption, pictures) in galleries.items()
  ]


def losses(study: study_lib.Study, size: str) -> parts.Figure | None:
  """Loss curves of training, by what is measured."""
  specs = {}
  for key, label in LOSSES.items():
    series = []
    for model in _first_models(study, size):
      cell = study.named(model.cell)
      lines = study.metrics(cell) if cell else []
      known = [line for line in lines if line.get(key) is not None]
      if known:
        series.append(
          {
            "name": f"{model.kind} model",
            "colour": model.kind,
            "x": [line["step"] for line in known],
            "value": [line[key] for line in known],
          }
        )
    if series:
      specs[key.replace("/", "_")] = {
        "kind": "lines",
        "series": series,
        "axes": ["training step", label],
        "digits": 4,
        "better": "lower",
      }
  if not specs:
    return None
  names = {key.replace("/", "_"): label for key, label in LOSSES.items()}
  return parts.Figure(
    "losses",
    "Training",
    "Mean squared error of the prediction, over all noise levels. Losses on"
    " held-out clips use the same noise every time. The two models answer"
    " different questions: their training losses do not compare, those on"
    " held-out images do.",
    specs,
    (parts.Choice("of", [(name, names[name]) for name in specs]),),
  )


LOSSES = {
  "loss": "training loss",
  "validation/clips": "held-out clips",
  "validation/images": "held-out images",
}
