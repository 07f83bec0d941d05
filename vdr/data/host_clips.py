"""The clips of one host's rows: read, checked, and masked where they fail."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from vdr.data import failures as failures_lib
from vdr.data import order as order_lib
from vdr.data import schema
from vdr.data import source as source_lib
from vdr.runtime import errors

# Shape and dtype of every field that a source yields.
Spec = dict[str, tuple[tuple[int, ...], np.dtype]]

# How many clips of a source are tried, spread evenly over it, before it is
# called unreadable: a decode may take until its time limit.
MAX_SPEC_READS = 64

# Clips of an endless stream: as many as floats count exactly, as Grain does.
_ENDLESS = 2**53


@dataclasses.dataclass(frozen=True)
class HostClips:
  """The clips of one host, in the order of its rows; picklable.

  Item i is row i % rows of batch i // rows.
  """

  names: tuple[str, ...]
  sources: tuple[source_lib.Source, ...]
  order: order_lib.Order
  num_positions: int | None  # None: endless
  batch_size: int
  process_index: int
  process_count: int
  spec: Spec

  @property
  def rows(self) -> int:
    """This host's share of a batch."""
    return self.batch_size // self.process_count

  @property
  def num_batches(self) -> int | None:
    if self.num_positions is None:
      return None
    return -(-self.num_positions // self.batch_size)

  def __len__(self) -> int:
    if self.num_batches is None:
      return _ENDLESS // self.rows * self.rows
    return self.num_batches * self.rows

  def __getitem__(self, index: int) -> schema.Example:
    position = self._position(index)
    if self.num_positions is not None and position >= self.num_positions:
      return self._blank(-1, "", "")
    number, clip_index = self.order.locate(position)
    source = self.sources[number]
    clip_id = source.clip_id(clip_index)
    try:
      read = source.read(clip_index, self.order.rng(position))
    except source_lib.BadClipError as error:
      reason = " ".join(str(error).split()) or "no reason given"
      return self._blank(clip_index, clip_id, reason)
    except Exception as error:
      error.add_note(f"while reading {clip_id} of {self.names[number]!r}")
      raise
    example = _normalise(read)
    misfit = _first_difference(_spec(example), self.spec)
    if misfit is not None:
      return self._blank(clip_index, clip_id, misfit)
    return example | _clip_fields(True, clip_index, clip_id, "")

  def group(self, index: int) -> tuple[str, str]:
    """The source of an item, and its group there."""
    number, clip_index = self.order.locate(self._position(index))
    return self.names[number], self.sources[number].group_of(clip_index)

  def failure(self, index: int, reason: str) -> failures_lib.Failure:
    """The failure of an item that could not be read."""
    number, clip_index = self.order.locate(self._position(index))
    return failures_lib.Failure(
      source=self.names[number],
      clip_index=clip_index,
      clip_id=self.sources[number].clip_id(clip_index),
      reason=reason,
    )

  def _position(self, index: int) -> int:
    """Where in the stream of all hosts an item of this host stands."""
    batch, row = divmod(index, self.rows)
    return batch * self.batch_size + self.process_index * self.rows + row

  def _blank(self, index: int, clip_id: str, reason: str) -> schema.Example:
    zeros = {
      k: np.zeros(shape, dtype) for k, (shape, dtype) in self.spec.items()
    }
    return zeros | _clip_fields(False, index, clip_id, reason)


def _clip_fields(
  valid: bool, index: int, clip_id: str, error: str
) -> schema.Example:
  return {
    "clip_valid": np.array(valid),
    "clip_index": np.array(index, np.int64),
    "clip_id": schema.text(clip_id),
    "error": schema.text(error),
  }


def _normalise(example: Mapping[str, np.ndarray]) -> schema.Example:
  """Arrays throughout; text at one of two widths, as rows must be alike."""
  arrays = {}
  for name, value in example.items():
    value = np.asarray(value)
    if value.dtype.kind == "S":
      is_short = value.itemsize <= schema.MAX_TEXT_BYTES
      width = schema.MAX_TEXT_BYTES if is_short else schema.MAX_JSON_BYTES
      value = value.astype(f"S{width}", copy=False)
    arrays[name] = value
  return arrays


def _spec(example: schema.Example) -> Spec:
  return {name: (value.shape, value.dtype) for name, value in example.items()}


def _first_difference(spec: Spec, other: Spec) -> str | None:
  """The first field that differs, as "FIELD is …, not …"; None if none does."""
  for name in schema.FIELDS:
    if name in spec and name in other and spec[name] != other[name]:
      return f"{name} is {_describe(spec[name])}, not {_describe(other[name])}"
    if (name in spec) != (name in other):
      return f"{name} is " + (
        "there, but not elsewhere" if name in spec else "missing"
      )
  return None


def _describe(entry: tuple[tuple[int, ...], np.dtype]) -> str:
  shape, dtype = entry
  return f"{'×'.join(map(str, shape)) or 'scalar'} {dtype}"


def _read_spec(name: str, source: source_lib.Source) -> Spec:
  """Shapes and dtypes of a source, from its first readable clip.

  Raises:
    UserError: no clip of those tried can be read.
  """
  tries = min(len(source), MAX_SPEC_READS)
  first_reason = ""
  for i in range(tries):
    index = i * len(source) // tries
    try:
      example = source.read(index, np.random.default_rng(0))
    except source_lib.BadClipError as error:
      first_reason = first_reason or f"{source.clip_id(index)}: {error}"
      continue
    schema.check(example)
    return _spec(_normalise(example))
  raise errors.UserError(
    f"source {name!r}: none of {tries} clips tried, of {len(source)}, can be"
    f" read; the first was {first_reason}"
  )


def _num_frames(spec: Spec) -> int:
  """Frames of a clip, or of its latents where it has no pixels."""
  name = "video" if "video" in spec else "latents"
  return spec[name][0][0]


def common_spec(sources: Mapping[str, source_lib.Source]) -> Spec:
  """The shapes that all sources share.

  Raises:
    UserError: they differ, or a source can't be read.
  """
  specs = {name: _read_spec(name, source) for name, source in sources.items()}
  (first, spec), *others = specs.items()
  for name, other in others:
    frames, other_frames = _num_frames(spec), _num_frames(other)
    if frames != other_frames:
      raise errors.UserError(
        f"sources {first!r} and {name!r} don't go into one batch: {frames} and"
        f" {other_frames} frames a clip; set the same num_frames, or use one"
        " loader for each length (images have 1 frame)"
      )
    difference = _first_difference(other, spec)
    if difference:
      raise errors.UserError(
        f"sources {first!r} and {name!r} don't go into one batch: in {name!r}"
        f" {difference}; give both the same fields, height and width"
      )
  return spec
