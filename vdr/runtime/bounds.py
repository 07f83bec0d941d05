"""The bounds of config fields: each is declared beside its default.

    @bounds.section
    def loader():
      return dict(
        batch_size=count(8),  # clips of a batch
        crop=one_of("center", "none", "random"),
        sources=each(main=source),  # sections by a name of one's own
      )

`loader()` is a ConfigDict of plain values; `check` holds a config against what
`loader.fields` declares. Numbers are finite and fit 32 bits: JAX has no others.
"""

import dataclasses
import functools
import numbers
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from vdr.runtime import errors

Limit = int | float | None  # of numbers; None: there is none

_LARGEST = {int: 2**31 - 1, float: 3.4e38}  # of 32 bits
_TYPES = {int: numbers.Integral, float: numbers.Real}
_NOUNS = {int: "a whole number", float: "a finite number"}


@dataclasses.dataclass(frozen=True)
class Rule:
  """What a value may be.

  Attributes:
    allowed: in words, as in "give a whole number of 1 or more".
    takes: whether a value is one of those.
  """

  allowed: str
  takes: Callable[[Any], bool]


@dataclasses.dataclass(frozen=True)
class Field:
  """One field: its default, a plain value, and what else it may be."""

  default: Any
  rule: Rule

  def __post_init__(self):
    if not self.rule.takes(self.default):
      raise ValueError(f"{self.default!r} is not {self.rule.allowed}")


class Section:
  """A function that declares fields, as `section` makes it.

  Attributes:
    fields: by name: a `Field`, a bare bool, another section, or a dict of
      such.
  """

  def __init__(self, declare: Callable[[], dict[str, Any]]):
    self._declare = declare
    functools.update_wrapper(self, declare)

  @functools.cached_property
  def fields(self) -> dict[str, Any]:
    return self._declare()

  def __call__(self) -> ConfigDict:
    """The defaults, unlocked."""
    return ConfigDict(_defaults(self.fields))


class Each(dict):
  """Sections by names that a config chooses, all with the same fields."""


def section(declare: Callable[[], dict[str, Any]]) -> Section:
  """Makes a section of the function that declares it."""
  return Section(declare)


def each(**named: Section) -> Each:
  """Sections by name; a config may have others, of the first one's fields."""
  return Each(named)


def _defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
  found = {}
  for name, declared in fields.items():
    match declared:
      case Field():
        found[name] = declared.default
      case bool():
        found[name] = declared
      case _:
        found[name] = _defaults(_inner(declared))
  return found


def _inner(declared: Section | Mapping[str, Any]) -> Mapping[str, Any]:
  return declared.fields if isinstance(declared, Section) else declared


def check(config: Any, fields: Mapping[str, Any]) -> None:
  """Holds a config against the declaration of its fields.

  Fields that are not declared are not looked at.

  Args:
    config: an `ml_collections.ConfigDict`.
    fields: of the section that declares it.

  Raises:
    UserError: a field is out of its bounds.
  """
  for name, value, rule in pairs(config, fields):
    if not rule.takes(value):
      shown = value if value != "" else "''"
      raise errors.UserError(f"config.{name}={shown}: give {rule.allowed}")


def pairs(
  config: Any, fields: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, Any, Rule]]:
  """The dotted name, the value and the rule of each field that is declared.

  Args:
    config: as in `check`.
    fields: as in `check`.
    above: what stands before the names.
  """
  for name, value in config.items():
    declared = fields.get(name)
    if isinstance(fields, Each):
      declared = next(iter(fields.values()))
    match declared:
      case None:
        pass
      case Field():
        yield f"{above}{name}", value, declared.rule
      case bool():
        yield f"{above}{name}", value, _FLAG
      case _ if isinstance(value, ConfigDict):
        yield from pairs(value, _inner(declared), f"{above}{name}.")
      case _:
        yield f"{above}{name}", value, _GROUP


def text(default: str) -> Field:
  """Any text: a path, a title, or a name that its verb looks up."""
  return Field(default, _TEXT)


def texts(default: Sequence[str], **shape: Any) -> Field:
  """A tuple of texts; `shape` as in `_tuple`."""
  return _tuple(_TEXT, default, **shape)


def options() -> Field:
  """Options as on the command line, without "--config."; none by default."""
  return texts((), repeats=True)


def one_of(default: str | int, *others: str | int) -> Field:
  """One of the choices that are named here."""
  choices = (default, *others)
  allowed = f"one of {', '.join(map(str, choices))}"
  return Field(
    default,
    Rule(allowed, lambda x: type(x) is type(default) and x in choices),
  )


def whole(
  default: int,
  *,
  least: int = 0,
  most: int | None = None,
  also: int | None = None,
) -> Field:
  """A whole number of `least` or more.

  Args:
    default: its plain value.
    least: the smallest.
    most: the largest; None: what 32 bits hold.
    also: one more value, which stands for something else.
  """
  return Field(default, _number(int, least=least, most=most, also=also))


def count(
  default: int, *, most: int | None = None, also: int | None = None
) -> Field:
  """A whole number of 1 or more; see `whole`."""
  return whole(default, least=1, most=most, also=also)


def channels(default: int, *, least: int = 1) -> Field:
  """How wide a part of a network is: no network has more than 65,536."""
  return whole(default, least=least, most=2**16)


def wholes(
  default: Sequence[int],
  *,
  least: int = 0,
  most: int | None = None,
  **shape: Any,
) -> Field:
  """A tuple of whole numbers; `shape` as in `_tuple`."""
  rule = _number(int, least=least, most=most)
  return _tuple(rule, default, **shape)


def counts(
  default: Sequence[int], *, most: int | None = None, **shape: Any
) -> Field:
  """A tuple of whole numbers of 1 or more; `shape` as in `_tuple`."""
  return wholes(default, least=1, most=most, **shape)


def real(
  default: float,
  *,
  least: Limit = None,
  above: Limit = None,
  most: Limit = None,
  below: Limit = None,
) -> Field:
  """A finite number within these bounds, each of which may be missing."""
  return Field(
    default, _number(float, least=least, above=above, most=most, below=below)
  )


def positive(default: float, *, most: Limit = None) -> Field:
  """A finite number above 0."""
  return real(default, above=0, most=most)


def fraction(default: float, **ends: Any) -> Field:
  """A number from 0 to 1; `above=0` or `below=1` leaves out an end."""
  return Field(default, _fraction(**ends))


def reals(
  default: Sequence[float],
  *,
  least: Limit = None,
  above: Limit = None,
  **shape: Any,
) -> Field:
  """A tuple of finite numbers; `shape` as in `_tuple`."""
  rule = _number(float, least=least, above=above)
  return _tuple(rule, default, **shape)


def fractions(
  default: Sequence[float],
  *,
  above: Limit = None,
  below: Limit = None,
  **shape: Any,
) -> Field:
  """A tuple of numbers from 0 to 1; `shape` as in `_tuple`."""
  rule = _fraction(above=above, below=below)
  return _tuple(rule, default, **shape)


def _fraction(*, above: Limit = None, below: Limit = None) -> Rule:
  return _number(
    float,
    least=0 if above is None else None,
    above=above,
    most=1 if below is None else None,
    below=below,
  )


def _number(
  kind: type,
  *,
  least: Limit = None,
  above: Limit = None,
  most: Limit = None,
  below: Limit = None,
  also: Limit = None,
) -> Rule:
  limits = (least, operator.ge), (above, operator.gt)
  limits += ((below, operator.lt),)
  largest = _LARGEST[kind] if most is None else most
  limits += (largest, operator.le), (-_LARGEST[kind], operator.ge)

  def takes(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, _TYPES[kind]):
      return False
    if value == also:
      return True
    return all(x is None or holds(value, x) for x, holds in limits)

  low = None if least is None else f"of {least} or more"
  if above is not None:
    low = f"above {above}"
  high = None if most is None else f"at most {most}"
  if below is not None:
    high = f"below {below}"
  words = " and ".join(filter(None, (low, high)))
  if least is not None and most is not None:
    words = f"from {least} to {most}"
  allowed = f"{_NOUNS[kind]} {words}".rstrip()
  return Rule(allowed + (f", or {also}" if also is not None else ""), takes)


def _tuple(
  item: Rule,
  default: Sequence[Any],
  *,
  length: int | None = None,
  empty: bool = False,
  rising: bool = False,
  repeats: bool = False,
) -> Field:
  """A tuple.

  Args:
    item: of each of its items.
    default: its plain value.
    length: how many items; None: one or more.
    empty: whether it may be empty, too; if its default is, it may.
    rising: whether no item is less than the one before it.
    repeats: whether items may be equal; those of a fixed length always may.
  """
  repeats = repeats or length is not None
  empty = empty or not default

  def takes(value: Any) -> bool:
    if not isinstance(value, tuple | list) or not all(map(item.takes, value)):
      return False
    if not value:
      return empty
    if rising and list(value) != sorted(value):
      return False
    is_long = length in (None, len(value))
    return is_long and (repeats or len(set(value)) == len(value))

  noun = "a tuple" if length is None else f"a tuple of {length}"
  allowed = f"{noun}, each {item.allowed}"
  allowed += ", none less than the one before" * rising
  allowed += ", none twice" * (not repeats)
  return Field(tuple(default), Rule(allowed + ", or ()" * empty, takes))


_FLAG = Rule("True or False", lambda value: isinstance(value, bool))
_TEXT = Rule("a text", lambda value: isinstance(value, str))
_GROUP = Rule("a group of fields", lambda value: False)
