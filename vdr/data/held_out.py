"""Clips that are held out: every verb that says so asks here first.

A number is of held-out clips only if no video, and no group of videos, is among
those that something was learned or chosen from, too.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from vdr.data import folders, loader
from vdr.data import source as source_lib
from vdr.runtime import errors, hosts

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Opened = dict[str, list[source_lib.Source]]


def of_split(data: Config, split: str, **fields: Any) -> Config:
  """A loader's config whose sources read a split.

  Args:
    data: the loader's config.
    split: the split.
    **fields: other fields of the loader that differ.
  """
  data = data.copy_and_resolve_references()
  with data.unlocked():
    data.update(fields)
    for source in data.sources.values():
      source.split = split
  return data


def check(
  parts: Mapping[str, Sequence[Config]],
  most: Mapping[str, int] | None = None,
  labels: Sequence[str] = (),
) -> None:
  """Refuses parts that share clips, and classes that nobody could learn.

  Args:
    parts: loaders' configs, by the field of the config that names their split,
      as in "train.validation_split=select". The first part is learned from.
    most: how many items of a part's sources are read; 0 and no entry: all.
    labels: fields of labels that are learned.

  Raises:
    UserError: a split does not exist or is empty, two parts share a video or a
      group, or a class is missing in the first part.
  """
  opened = {field: _open(field, data) for field, data in parts.items()}
  found = {
    field: [
      source.contents((most or {}).get(field) or None) for source in sources
    ]
    for field, sources in opened.items()
  }
  _refuse_shared(found)
  _tell(parts, found)
  for label in labels:
    _check_classes(label, opened, found, most or {})


def _refuse_shared(found: Mapping[str, Sequence[source_lib.Contents]]) -> None:
  for (field, own), (other, theirs) in itertools.combinations(found.items(), 2):
    for one, two in itertools.product(own, theirs):
      example, count = _shared(one, two)
      if count:
        raise errors.UserError(
          f"{field} and {other} have {count} clips or groups in common, such"
          f" as {example}, so that nothing is held out; name splits that share"
          " none (of folders: split_by=hash, or {split} in path or index)"
        )


def check_unseen(trained: Config, field: str, data: Config) -> None:
  """Refuses clips that a model was trained on.

  Args:
    trained: the config that the model was trained with.
    field: what names the split, as in `check`.
    data: the loader's config of the clips.

  Raises:
    UserError: the clips can't be opened, or training has seen some of them.
  """
  seen = []
  cfgs = [cfg for cfg in (trained.data, trained.images) if cfg.batch_size > 0]
  for source in _sources(cfgs):
    try:
      seen.append(source_lib.open_source(source).contents())
    except errors.UserError as error:  # another machine, or clips are gone
      if hosts.is_first():
        print(
          f"it can't be told whether training saw clips of {field}: {error}"
        )
  if not seen:
    return
  _refuse_shared(
    {
      "training of the checkpoint": seen,
      field: [x.contents() for x in _open(field, [data])],
    }
  )


def two_sets(
  batches: loader.Loader, size: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
  """Clips of two sets that share no group, up to `size` in each."""
  sets: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
  set_of: dict[tuple[str, str], int] = {}
  for batch in batches:
    valid = np.flatnonzero(batch["clip_valid"])
    for row, group in zip(valid, batches.groups(valid), strict=True):
      # A new group goes to the smaller set: where groups take turns, all of
      # them would be in the first one before it is full.
      smaller = int(len(sets[1]) < len(sets[0]))
      chosen = set_of.setdefault(group, smaller)
      if len(sets[chosen]) < size:
        sets[chosen].append(batch["video"][row])
    if min(map(len, sets)) == size:
      break
  return sets


def _sources(data: Sequence[Config]) -> list[Config]:
  """The configs of the sources that are read, in the order of their names."""
  return [
    source
    for cfg in data
    for _, source in sorted(cfg.sources.items())
    if source.weight > 0
  ]


def _open(field: str, data: Sequence[Config]) -> list[source_lib.Source]:
  try:
    return [source_lib.open_source(source) for source in _sources(data)]
  except errors.UserError as error:
    raise errors.UserError(f"{field}: {error}") from error


def _shared(
  one: source_lib.Contents, two: source_lib.Contents
) -> tuple[str, int]:
  """An example of what both hold, and how many there are."""
  for place in one.names.keys() & two.names.keys():
    own, theirs = one.names[place], two.names[place]
    if isinstance(own, frozenset) and isinstance(theirs, frozenset):
      both = own & theirs
      if both:
        return repr(min(both)), len(both)
    else:
      overlaps = [
        range(max(a.start, b.start), min(a.stop, b.stop))
        for a in own
        for b in theirs
        if isinstance(a, range) and isinstance(b, range)
      ]
      count = sum(map(len, overlaps))
      if count:
        first = min(x.start for x in overlaps if x)
        return f"number {first} of {place}", count
  return "", 0


def _tell(
  parts: Mapping[str, Sequence[Config]],
  found: Mapping[str, Sequence[source_lib.Contents]],
) -> None:
  """Says how a hash has divided folders: nobody named those splits."""
  counts: dict[str, dict[str, int]] = {}
  for field, data in parts.items():
    for source, contents in zip(_sources(data), found[field], strict=True):
      if folders.is_hashed(source):
        count = len(contents.names["files"])
        counts.setdefault(source.path, {})[source.split] = count
  if hosts.is_first():
    for path, splits in counts.items():
      numbers = ", ".join(f"{name} {n}" for name, n in splits.items())
      print(f"{path}: files by a hash of their names: {numbers}")


def _check_classes(
  label: str,
  opened: Opened,
  found: Mapping[str, Sequence[source_lib.Contents]],
  most: Mapping[str, int],
) -> None:
  """Refuses classes that are scored and not learned; tells what is missing."""
  counts: dict[str, Int[np.ndarray, " classes"]] = {}
  for field, contents in found.items():
    known = [x.counts[label] for x in contents if label in x.counts]
    if len(known) != 1 or len(contents) != 1:
      return
    counts[field] = known[0]
  names = next(iter(opened.values()))[0].class_names[label]
  (first, learned), *others = counts.items()
  total = np.sum(list(counts.values()), axis=0)
  for i in np.flatnonzero((learned == 0) & (total > 0)).tolist():
    limit, fix = most.get(first), "add files of it"
    if limit:
      fix = f"read more than the first {limit} clips, {fix}"
    raise errors.UserError(
      f"class {names[i]!r} is absent from {first} ({_show(counts, i)}), so it"
      f" could not be learned; {fix}, or remove it from the others"
    )
  for field, own in others:
    missing = np.flatnonzero((own == 0) & (total > 0)).tolist()
    if len(missing) and hosts.is_first():
      shown = "; ".join(
        f"{names[i]!r} ({_show(counts, i)})" for i in missing[:3]
      )
      print(
        f"{len(missing)} of {int((total > 0).sum())} classes are absent from"
        f" {field}: {shown}{'; …' if len(missing) > 3 else ''}"
      )


def _show(counts: Mapping[str, Int[np.ndarray, " classes"]], i: int) -> str:
  return ", ".join(f"{field}: {int(own[i])}" for field, own in counts.items())
