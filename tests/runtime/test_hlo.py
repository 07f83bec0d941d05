"""How often the parts of a program run, in programs written by hand."""

import pytest

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


@pytest.mark.parametrize(
  ("shape", "nbytes"),
  [
    ("f32[20,100]{1,0}", 4 * 20 * 100),
    ("f32[20,100]{1,0:T(8,128)}", 4 * 24 * 128),
    ("bf16[20,128,3]{1,0,2:T(8,128)(2,1)}", 2 * 24 * 128 * 3),
    ("bf16[20,128,3]{1,0,2:T(8,128)(2,1)S(1)}", 2 * 24 * 128 * 3),
    ("f32[100]{0:T(1024)}", 4 * 1024),
    ("s32[]{:T(128)}", 4),
  ],
)
def test_tiles_of_the_innermost_axes_are_filled_up(shape, nbytes):
  module = texts.entry(f"ROOT %x = {shape} parameter(0)")
  (found,) = module.computations["main"]["x"].shapes
  assert found.nbytes == nbytes
  assert found.in_hbm == ("S(1)" not in shape)
