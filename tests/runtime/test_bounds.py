"""A field's rule takes what it says, and a complaint names field and bounds."""

import math

import pytest
from ml_collections import ConfigDict

from vdr.runtime import bounds, errors

# A declaration, values that it takes, and values that it refuses.
CASES = {
  "whole": (bounds.whole(0), [0, 7, 2**31 - 1], [-1, 2**31, 1.0, True, "1"]),
  "whole from": (bounds.whole(-1, least=-1, most=3), [-1, 3], [-2, 4]),
  "count": (bounds.count(2), [1, 2], [0, -1, math.inf, None]),
  "count or": (bounds.count(-1, also=-1), [-1, 1], [0, -2]),
  "real": (bounds.real(0.0), [-1e9, 3], [math.nan, math.inf, 1e300, True]),
  "real from": (bounds.real(0.5, least=0, most=2), [0.0, 2], [-1e-9, 2.1]),
  "positive": (bounds.positive(1.0), [1e-30, 5], [0.0, -1.0, -math.inf]),
  "fraction": (bounds.fraction(0.0), [0.0, 1, 1.0], [1.01, -0.01, math.nan]),
  "fraction below": (bounds.fraction(0.0, below=1), [0.0, 0.99], [1.0]),
  "fraction within": (
    bounds.fractions((0.5,), above=0, below=1),
    [(0.1, 0.9)],
    [(0.0,), (1.0,), ()],
  ),
  "one of": (bounds.one_of("a", "b"), ["a", "b"], ["", "c", 1, None, ()]),
  "one of numbers": (bounds.one_of(1, 2), [1, 2], [3, True, 1.0, "1"]),
  "text": (bounds.text(""), ["", "x"], [1, None, ("x",)]),
  "texts": (bounds.texts(("x",)), [("x", "y")], [(), ("x", "x"), (1,), "x"]),
  "options": (bounds.options(), [(), ("a=1", "a=1")], ["a=1", (1,)]),
  "pair": (
    bounds.fractions((0.3, 1.0), above=0, length=2, rising=True),
    [(0.3, 0.3), [0.1, 1]],
    [(1.0, 0.3), (0.0, 1.0), (0.3,), (0.1, 0.2, 0.3), (), 0.3],
  ),
  "empty by default": (bounds.wholes(()), [(), (0, 3)], [(-1,), (1, 1)]),
  "empty, too": (bounds.counts((1,), empty=True), [(), (4,)], [(0,)]),
  "equal ones": (bounds.counts((2, 2), repeats=True), [(2, 2)], [()]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rule_takes_what_is_in_bounds_and_nothing_else(case):
  field, good, bad = CASES[case]
  assert [x for x in good if not field.rule.takes(x)] == []
  assert [x for x in bad if field.rule.takes(x)] == []


@pytest.mark.parametrize(
  ("field", "allowed"),
  [
    (bounds.count(8), "a whole number of 1 or more"),
    (bounds.count(8, also=-1), "a whole number of 1 or more, or -1"),
    (bounds.whole(20, least=16, most=64), "a whole number from 16 to 64"),
    (bounds.positive(8.0, most=50), "a finite number above 0 and at most 50"),
    (bounds.fraction(0.1, below=1), "a finite number of 0 or more and below 1"),
    (bounds.real(0.0), "a finite number"),
    (bounds.one_of("a", "b"), "one of a, b"),
    (
      bounds.reals((0.75, 1.3), above=0, length=2, rising=True),
      "a tuple of 2, each a finite number above 0, none less than the one"
      " before",
    ),
    (
      bounds.wholes(()),
      "a tuple, each a whole number of 0 or more, none twice",
    ),
  ],
)
def test_a_rule_says_what_it_takes(field, allowed):
  assert field.rule.allowed.removesuffix(", or ()") == allowed


def test_a_default_out_of_its_own_bounds_can_not_be_declared():
  with pytest.raises(ValueError, match="0 is not a whole number of 1 or more"):
    bounds.count(0)


@bounds.section
def source():
  return dict(weight=bounds.real(1.0, least=0), flip=False)


@bounds.section
def default():
  return dict(
    seed=bounds.whole(0),
    data=dict(size=bounds.count(8)),
    sources=bounds.each(main=source),
  )


def test_defaults_are_plain_values_of_their_own():
  first, second = default(), default()
  assert first.to_dict() == {
    "seed": 0,
    "data": {"size": 8},
    "sources": {"main": {"weight": 1.0, "flip": False}},
  }
  first.sources.main.weight = 2.0
  assert second.sources.main.weight == 1.0


@pytest.mark.parametrize(
  ("change", "complaint"),
  [
    ({"seed": -1}, "config.seed=-1: give a whole number of 0 or more"),
    ({"data": {"size": 0}}, "config.data.size=0: give a whole number of 1"),
    ({"data": 3}, "config.data=3: give a group of fields"),
    (
      {"sources": {"main": {"flip": 1}}},
      "config.sources.main.flip=1: give True or False",
    ),
    (
      {"sources": {"other": {"weight": math.nan}}},
      "config.sources.other.weight=nan: give a finite number of 0 or more",
    ),
  ],
)
def test_a_complaint_names_the_field_the_value_and_the_bounds(
  change, complaint
):
  config = ConfigDict(default().to_dict() | change)
  with pytest.raises(errors.UserError) as caught:
    bounds.check(config, default.fields)
  assert str(caught.value).startswith(complaint)


def test_fields_that_are_not_declared_are_not_looked_at():
  bounds.check(ConfigDict({"seed": 1, "mine": {"seed": -1}}), default.fields)
