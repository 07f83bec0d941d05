"""Section 8: how it was done, so that it can be done again and be trusted."""

import json
from typing import Any

from vdr.report import parts, words
from vdr.report import study as study_lib
from vdr.runtime import architecture, checkpoints, errors, plain_configs

Json = dict[str, Any]

# The only fields in which the configs of the two models may differ; it is
# `configs.image_dit.DIFFERENCES`, a test holds the two together.
MAY_DIFFER = (
  "data.batch_size",
  "images.batch_size",
  "model.spatiotemporal_blocks",
)
ABSENT = "absent"


def section(study: study_lib.Study) -> parts.Section:
  """Architecture, models, machine, cells, configs."""
  made: list[parts.Part] = []
  pairs = _pairs(study)
  checked = [compare(study, *pair) for pair in pairs]
  for found in checked:
    text = _said(found)
    made.append(parts.Text(text) if found["identical"] else parts.Missing(text))
  if not pairs:
    made.append(
      parts.Missing("The study has no image model beside a video model.")
    )
  differing = [row for found in checked for row in found["fields"]]
  if differing:
    made.append(_differences(differing))
  rows = [row for m in study.models if (row := _model(study, m)) is not None]
  if rows:
    made.append(_models(rows))
  made += [_facts(study), _cells(study)]
  if configs := _configs(study):
    made.append(configs)
  if study.problems:
    made.append(
      parts.Missing(f"Could not be read: {'; '.join(study.problems)}.")
    )
  return parts.Section(
    "account", "How it was done", "Everything it takes to do it again.", made
  )


def _pairs(
  study: study_lib.Study,
) -> list[tuple[study_lib.Model, study_lib.Model]]:
  """Video and image models of the same size and seed."""
  at = {(m.kind, m.size, m.seed): m for m in study.models}
  return [
    (model, at["image", model.size, model.seed])
    for model in study.models
    if model.kind == "video" and ("image", model.size, model.seed) in at
  ]


def compare(
  study: study_lib.Study, video: study_lib.Model, image: study_lib.Model
) -> Json:
  """Whether two models are the same network, trained on the same terms.

  Returns:
    `identical` (null where it can't be known yet), `num_params`, `num_arrays`,
    `arrays_differ` (a path, or null), and `fields`: every field in which the
    configs of training differ, and whether it may.
  """
  found: Json = {
    "video": video.name,
    "image": image.name,
    "identical": None,
    "num_params": None,
    "num_arrays": None,
    "arrays_differ": None,
    "fields": [],
  }
  configs = [
    config
    for model in (video, image)
    if (config := _config(study, model)) is not None
  ]
  networks = [_architecture(study, model) for model in (video, image)]
  if len(configs) < 2:
    return found
  flat = [plain_configs.flatten(config) for config in configs]
  for name in sorted(flat[0].keys() | flat[1].keys()):
    values = [f.get(name, ABSENT) for f in flat]
    if values[0] != values[1]:
      found["fields"].append(
        {
          "pair": f"{video.name}, {image.name}",
          "field": name,
          "video": values[0],
          "image": values[1],
          "may_differ": name in MAY_DIFFER,
        }
      )
  if networks[0] is None or networks[1] is None:
    return found
  shapes = [network.shapes for network in networks if network]
  names = sorted(shapes[0].keys() | shapes[1].keys())
  differ = [n for n in names if shapes[0].get(n) != shapes[1].get(n)]
  fields = [f["field"] for f in found["fields"] if not f["may_differ"]]
  return found | {
    "num_params": networks[0].num_params,
    "num_arrays": len(shapes[0]),
    "arrays_differ": differ[0] if differ else None,
    "identical": not differ and not fields,
  }


def _said(found: Json) -> str:
  who = f"{found['video']} and {found['image']}"
  if found["identical"] is None:
    return f"Whether {who} are the same network can be told once both exist."
  if found["arrays_differ"] is not None:
    return (
      f"{who} are NOT the same network: the parameter {found['arrays_differ']}"
      " differs. Nothing on this page compares training alone."
    )
  same = (
    f"Identical architecture, checked: {who} have the same"
    f" {found['num_arrays']} parameter arrays, name by name and shape by shape,"
    f" {found['num_params']:,} numbers each."
  )
  strangers = [f["field"] for f in found["fields"] if not f["may_differ"]]
  if strangers:
    return (
      f"{same} But their configs differ in more than clips against images, and"
      f" whether blocks look across time: {words.listed(strangers)}."
    )
  allowed = [f["field"] for f in found["fields"]]
  return f"{same} Their configs differ in {words.listed(allowed)} only."


def _config(study: study_lib.Study, model: study_lib.Model) -> Json | None:
  cell = study.named(model.cell)
  return study.config(cell) if cell else None


def _architecture(
  study: study_lib.Study, model: study_lib.Model
) -> architecture.Architecture | None:
  cell = study.named(model.cell)
  if cell is None or not (cell.folder / checkpoints.FOLDER).is_dir():
    return None
  try:
    return architecture.read(cell.folder)
  except errors.UserError as error:
    study.problems.append(f"{cell.name}: {error}")
    return None


def _differences(rows: list[Json]) -> parts.Table:
  return parts.Table(
    "differences",
    "All that differs between the two",
    "Every field of the training configs that is not the same.",
    [
      parts.Column("models", lambda r: r["pair"], None, False),
      parts.Column("field", lambda r: r["field"], None, False),
      parts.Column("video", lambda r: str(r["video"]), None, False),
      parts.Column("image", lambda r: str(r["image"]), None, False),
      parts.Column(
        "meant", lambda r: "yes" if r["may_differ"] else "no", None, False
      ),
    ],
    rows,
  )


def _model(study: study_lib.Study, model: study_lib.Model) -> Json | None:
  """What a model's last checkpoint says of itself."""
  cell = study.named(model.cell)
  network = _architecture(study, model)
  if cell is None or network is None:
    return None
  meta = checkpoints.read_meta(cell.folder)
  hashes = meta["hashes"]
  return {
    "model": model.name,
    "kind": model.kind,
    "size": model.size,
    "seed": model.seed,
    "step": meta["step"],
    "num_steps": meta["num_steps"],
    "num_params": network.num_params,
    "tokens": meta["budget"]["tokens"],
    "flops": meta["budget"]["flops"],
    "seconds": cell.seconds,
    "hash": hashes[max(hashes)],  # of the average, if there is one
    "tokenizer_hash": meta["tokenizer_hash"],
    "device": meta["versions"].get("device_kind", ""),
  }


def _models(rows: list[Json]) -> parts.Table:
  return parts.Table(
    "models",
    "Both models side by side",
    "FLOPs are those of training, forward and backward, a multiply-add counted"
    " as two.",
    [
      parts.Column("model", lambda r: r["model"], None, False),
      parts.Column("parameters", lambda r: words.count(r["num_params"])),
      parts.Column("steps", lambda r: words.count(r["num_steps"])),
      parts.Column("latent tokens", lambda r: words.count(r["tokens"])),
      parts.Column("training FLOPs", lambda r: words.count(r["flops"])),
      parts.Column("wall time", lambda r: words.seconds(r["seconds"])),
      parts.Column("device", lambda r: str(r["device"]), None, False),
      parts.Column("parameters' hash", lambda r: r["hash"], None, False),
      parts.Column(
        "tokenizer's hash", lambda r: r["tokenizer_hash"], None, False
      ),
    ],
    rows,
  )


def _facts(study: study_lib.Study) -> parts.Table:
  told = study.json
  rows = [
    {"what": "study", "is": told["title"]},
    {"what": "command", "is": told["command"]},
    {"what": "seed", "is": told["seed"]},
    {"what": "started", "is": told["started"]},
    {"what": "wall time so far", "is": words.seconds(told["seconds"])},
  ]
  for group in ("machine", "versions"):
    rows += [
      {"what": f"{group}: {name}", "is": value}
      for name, value in told[group].items()
    ]
  return parts.Table(
    "facts",
    "Machine and versions",
    "",
    [
      parts.Column("what", lambda r: r["what"], None, False),
      parts.Column("is", lambda r: str(r["is"]), None, False),
    ],
    rows,
  )


def _cells(study: study_lib.Study) -> parts.Table:
  rows = [
    {
      "cell": cell.name,
      "job": cell.job,
      "role": cell.role,
      "state": cell.state,
      "seconds": cell.seconds,
      "command": cell.command,
    }
    for cell in study.cells
  ]
  return parts.Table(
    "commands",
    "Every piece of work, and the command that does it",
    "",
    [
      parts.Column("cell", lambda r: r["cell"], None, False),
      parts.Column("role", lambda r: r["role"], None, False),
      parts.Column("state", lambda r: r["state"], None, False),
      parts.Column("wall time", lambda r: words.seconds(r["seconds"])),
      parts.Column("command", lambda r: r["command"], None, False),
    ],
    rows,
  )


def _configs(study: study_lib.Study) -> parts.Details | None:
  folds = []
  for cell in study.cells:
    config = study.read_json(cell, "config.json", expected=False)
    if config is not None:
      text = json.dumps(config, indent=1, sort_keys=True)
      folds.append(parts.Fold(cell.name, text))
  if not folds:
    return None
  return parts.Details("Configs", "Resolved, as each cell was run.", folds)
