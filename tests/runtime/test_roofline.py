"""The arithmetic of the roofline, by hand."""

import pytest

from vdr.runtime import chips, roofline

# 197e12 FLOP/s, 819e9 bytes/s of memory, 200e9 bytes/s of links.
V5E = chips.CHIPS["v5e"]


def estimate(efficiency=1.0, **work):
  given = dict(
    flops=0.0,
    extra_flops=0.0,
    product_bytes=0.0,
    other_bytes=0.0,
    ici_bytes=0.0,
  )
  return roofline.estimate(roofline.Work(**(given | work)), V5E, efficiency)


def test_a_second_of_products():
  found = estimate(flops=197e12)
  assert found.predicted_s == found.roofline_s == found.compute_s == 1.0
  assert (found.bound, found.share_of_peak) == ("compute", 1.0)


def test_products_at_half_the_peak_take_twice_as_long():
  found = estimate(0.5, flops=197e12)
  assert found.predicted_s == 2.0
  assert found.share_of_peak == 0.5


def test_what_is_computed_again_takes_time_and_is_no_work():
  found = estimate(flops=197e12, extra_flops=197e12 / 4)
  assert found.predicted_s == 1.25
  assert found.share_of_peak == 0.8


def test_other_traffic_comes_after_the_products_and_theirs_meanwhile():
  found = estimate(flops=197e12, product_bytes=819e9 / 2, other_bytes=819e9 / 4)
  assert found.predicted_s == 1.25
  assert found.roofline_s == 1.0
  assert found.hbm_s == 0.75


def test_products_may_wait_for_memory():
  found = estimate(flops=197e12, product_bytes=819e9 * 2)
  assert found.predicted_s == 2.0
  assert found.bound == "HBM"


def test_links_are_hidden_until_they_are_the_slowest():
  found = estimate(flops=197e12, ici_bytes=100e9)
  assert (found.ici_s, found.predicted_s) == (0.5, 1.0)
  found = estimate(flops=197e12, ici_bytes=800e9)
  assert (found.ici_s, found.predicted_s) == (4.0, 4.0)
  assert found.bound == "interconnect"


@pytest.mark.parametrize("name", chips.CHIPS)
def test_the_bound_of_a_chip_is_the_roofline_of_its_numbers(name):
  chip = chips.CHIPS[name]
  work = roofline.Work(chip.peak_flops, 0.0, 0.0, 0.0, 0.0)
  assert roofline.estimate(work, chip, 1.0).roofline_s == 1.0
