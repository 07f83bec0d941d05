"""How often the parts of a program run, in programs written by hand."""

from tests.runtime import texts
from vdr.runtime import hlo


def test_a_loop_counts_as_often_as_it_turns():
  module = hlo.parse(texts.LOOP)
  assert hlo.times(module) == {"main": 1, "body": 12, "slice_of_it": 12}


def test_a_counter_may_take_two_steps_in_a_turn():
  grows = "%two = s32[] constant(2)\n  %then = s32[] add(%i, %two)\n  ROOT"
  two = texts.LOOP.replace("ROOT %out", f"{grows} %out").replace(
    "tuple(%i, %x, %w)", "tuple(%then, %x, %w)"
  )
  assert hlo.times(hlo.parse(two))["body"] == 6


def test_a_stated_number_of_turns_counts():
  stated = texts.LOOP.replace(
    "body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"7"}}'
  )
  assert hlo.times(hlo.parse(stated))["body"] == 7
