"""Result files: what a probe scored, and everything needed to trust it.

A result is `result.json`, which `result.schema.json` describes, and
`clips.npz` beside it: each clip's part in every score and its group, of which
intervals and differences between any two backbones are resampled.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from vdr.metrics import accumulators, statistics
from vdr.runtime import schemas
from vdr.runtime import workdir as workdirs

NAME, CLIPS_NAME = "result.json", "clips.npz"
VERSION = 2  # of the schema; 1 knew no groups
GROUPS = "groups"  # in clips.npz, beside NAME/SEED/PART
SCHEMA = schemas.Schema(
  pathlib.Path(__file__).with_name("result.schema.json"), "evaluate"
)
LEVEL = 0.95  # of all intervals
NUM_DRAWS = 10_000
_OLD_R2 = (
  "an earlier version took R² against the mean of each batch; evaluate again in"
  " another work directory"
)
METHOD = (
  f"BCa bootstrap, {NUM_DRAWS} draws of groups of clips and of probe seeds,"
  f" {LEVEL:.0%} intervals; checkpoints are taken as they are"
)

Runs = Sequence[accumulators.Ratio]  # of one metric, one for each seed
# Of each row of a Ratio, by name or number; None: every row is its own.
Groups = Shaped[np.ndarray, " n"] | None


class Clips(NamedTuple):
  """What intervals are resampled from.

  Attributes:
    runs: each clip's part in every score, "BACKBONE/METRIC" → a ratio for each
      seed.
    groups: the group of each row; None of results from before these were kept.
  """

  runs: dict[str, list[accumulators.Ratio]]
  groups: Groups


def write(
  folder: pathlib.Path,
  result: Mapping[str, Any],
  clips: Mapping[str, Runs],
  groups: Groups,
) -> None:
  """Writes a result, `result.json` last: where it is, all of it is.

  Args:
    folder: made if it does not exist.
    result: what the schema describes.
    clips: each clip's part, "BACKBONE/METRIC" → a ratio for each seed.
    groups: of the clips.

  Raises:
    ValueError: the result is not what the schema describes.
  """
  plain = json.loads(json.dumps(to_plain(result), allow_nan=False))
  SCHEMA.check(folder / NAME, plain)
  folder.mkdir(parents=True, exist_ok=True)
  arrays = {
    f"{name}/{seed}/{part}": value
    for name, runs in clips.items()
    for seed, ratio in enumerate(runs)
    for part, value in ratio.to_dict().items()
  }
  if groups is not None:
    arrays[GROUPS] = groups
  with workdirs.atomic_path(folder / CLIPS_NAME) as temporary:
    with temporary.open("wb") as file:
      np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
  SCHEMA.write(folder / NAME, plain)


def read(folder: pathlib.Path) -> dict[str, Any]:
  """A result, checked; one of schema version 1 with what it went without.

  Raises:
    UserError: there is none, or it is not what the schema describes.
  """
  found = SCHEMA.read(folder / NAME)
  if found["schema_version"] == 1:
    rows = found["n"]["test"]
    found |= scored(rows, None) | {"controls_place": "same"}
    if found["primary"] == "r_squared":
      found["caution"] = "; ".join(filter(None, (_OLD_R2, found["caution"])))
  return found


def scored(rows: int, groups: Groups) -> dict[str, Any]:
  """What results say of the clips that are resampled.

  Args:
    rows: how many are scored.
    groups: of them.
  """
  count = rows if groups is None else statistics.count_groups(groups)
  caution = None
  if count < statistics.LEAST_GROUPS:
    caution = (
      f"the test clips are of only {count} independent groups (videos or"
      f" scenes); with fewer than {statistics.LEAST_GROUPS} the interval is too"
      " narrow"
    )
  return {"rows": rows, "groups": count, "caution": caution}


def read_clips(folder: pathlib.Path) -> Clips:
  """Each clip's part in every score, and its group."""
  parts: dict[str, dict[int, dict[str, np.ndarray]]] = {}
  groups = None
  with np.load(folder / CLIPS_NAME, allow_pickle=False) as file:
    for key in file.files:
      if key == GROUPS:
        groups = file[key]
        continue
      name, seed, part = key.rsplit("/", 2)
      parts.setdefault(name, {}).setdefault(int(seed), {})[part] = file[key]
  runs = {
    name: [accumulators.ratio_from_dict(seeds[s]) for s in sorted(seeds)]
    for name, seeds in parts.items()
  }
  return Clips(runs, groups)


def estimate(runs: Runs, groups: Groups, seed: int = 0) -> dict[str, Any]:
  """A score with its interval, as results have it."""
  resampled = resample({"score": list(runs)}, groups, seed)
  found = dataclasses.asdict(resampled.score("score", LEVEL))
  by_seed = [run.score() for run in runs]
  return to_plain({k: found[k] for k in ENDS} | {"by_seed": by_seed})


ENDS = ("value", "low", "high")


def compare(
  new: Runs,
  base: Runs,
  goal: statistics.Goal,
  groups: Groups,
  seed: int = 0,
) -> dict[str, Any]:
  """The difference of two backbones on the same clips, and the relative gain.

  Args:
    new: scores of one, a ratio for each seed.
    base: of the other, the same clips in the same order.
    goal: of the metric.
    groups: of the clips.
    seed: of the draws.

  Returns:
    `difference` (new - base, in the metric's own unit, with its p-value) and
    `gain` (relative, positive is better; see `statistics.Goal`), null where
    there is no value.
  """
  drawn = resample({"new": new, "base": base}, groups, seed)
  return contrast(drawn, "new", "base", goal)


def resample(
  runs: Mapping[str, Sequence[statistics.Run]],
  groups: Groups,
  seed: int = 0,
) -> statistics.Resampled:
  """Any number of backbones, drawn once, to be compared two by two.

  Two of them compare as `compare` has it, whoever else is there.

  Args:
    runs: of each, see `statistics.bootstrap`.
    groups: of the clips.
    seed: of the draws.
  """
  return statistics.bootstrap(runs, NUM_DRAWS, seed, groups)


def contrast(
  drawn: statistics.Resampled, new: str, base: str, goal: statistics.Goal
) -> dict[str, Any]:
  """What `compare` gives, of two of those that were drawn together."""
  names = (*ENDS, "p_value")
  parts = {
    "difference": drawn.difference(new, base, LEVEL),
    "gain": drawn.gain(new, base, goal, LEVEL),
  }
  return to_plain(
    {
      name: {k: dataclasses.asdict(part)[k] for k in names}
      for name, part in parts.items()
    }
  )


def to_plain(tree: Any) -> Any:
  """Plain JSON: NaN and infinities are null."""
  if isinstance(tree, Mapping):
    return {str(k): to_plain(v) for k, v in tree.items()}
  if isinstance(tree, list | tuple):
    return [to_plain(v) for v in tree]
  if isinstance(tree, np.ndarray):
    return to_plain(tree.tolist())
  if isinstance(tree, np.generic):
    tree = tree.item()
  if isinstance(tree, float) and not np.isfinite(tree):
    return None
  return tree
