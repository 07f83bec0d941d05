"""Sources that are read together number their classes alike, by name."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int32

from vdr.data import schema
from vdr.data import source as source_lib
from vdr.runtime import errors


def unite(
  sources: Mapping[str, source_lib.Source],
) -> dict[str, source_lib.Source]:
  """The sources, with one number for each name of a class.

  Names are numbered in sorted order; but if one source knows all of them, its
  numbers hold for the others.

  Raises:
    UserError: one source names its classes and another one numbers them.
  """
  found = dict(sources)
  fields = {name for x in sources.values() for name in x.class_names}
  for field in sorted(fields):
    known = {
      key: names
      for key, source in sources.items()
      if (names := source.class_names.get(field))
    }
    if len(set(known.values())) < 2:
      continue
    common = _union(field, known)
    for key in known:
      found[key] = Renumbered(found[key], field, common)
  return found


def _union(field: str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
  are_numbers = {
    key: names == tuple(map(str, range(len(names))))
    for key, names in known.items()
  }
  if len(set(are_numbers.values())) > 1:
    numbered = min(key for key, is_number in are_numbers.items() if is_number)
    named = min(key for key, is_number in are_numbers.items() if not is_number)
    raise errors.UserError(
      f"sources {numbered!r} and {named!r}: {field!r} is a number in the first"
      f" and a name such as {known[named][0]!r} in the second, and which is"
      " which can't be told; write the names into classes.txt of the first"
    )
  together = set().union(*known.values())
  longest = max(known.values(), key=len)
  return longest if len(longest) == len(together) else tuple(sorted(together))


class Renumbered:
  """A source with other numbers of its classes."""

  def __init__(
    self, source: source_lib.Source, field: str, names: tuple[str, ...]
  ):
    """Takes a source.

    Args:
      source: everything else stays.
      field: of the label.
      names: of all classes in their new order.
    """
    self._source, self._field, self._names = source, field, names
    places = {name: place for place, name in enumerate(names)}
    own = source.class_names[field]
    self._numbers: Int32[np.ndarray, " classes"] = np.array(
      [places[name] for name in own], np.int32
    )

  def __len__(self) -> int:
    return len(self._source)

  @property
  def class_names(self) -> dict[str, tuple[str, ...]]:
    return self._source.class_names | {self._field: self._names}

  def clip_id(self, index: int) -> str:
    return self._source.clip_id(index)

  def video_of(self, index: int) -> str:
    return self._source.video_of(index)

  def group_of(self, index: int) -> str:
    return self._source.group_of(index)

  def contents(self, most: int | None = None) -> source_lib.Contents:
    """See `vdr.data.source.Source`; the classes are counted anew."""
    found = self._source.contents(most)
    if self._field not in found.counts:
      return found
    counts = np.zeros(len(self._names), np.int64)
    counts[self._numbers] = found.counts[self._field]
    return found._replace(counts={**found.counts, self._field: counts})

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    """Item `index`; see `vdr.data.source.Source.read`."""
    example = self._source.read(index, rng)
    label = example.get(self._field)
    if label is None or label < 0:
      return example
    return example | {self._field: np.asarray(self._numbers[label])}
