"""How a compiled step is told."""

import dataclasses

from vdr import compiled
from vdr.runtime import chips, roofline

WORK = roofline.Work(197e12, 197e12 / 4, 0.0, 819e9 / 4, 20e9)


def make_report(**fields):
  times = roofline.estimate(WORK, chips.CHIPS["v5e"], 1.0)
  given = dict(
    step="train",
    chips=16,
    clips=8,
    tokens=10_240,
    fits=True,
    hbm_bytes=16e9,
    needed_bytes=12e9,
    params_bytes=10**9,
    optimizer_bytes=3 * 10**9,
    temporary_bytes=8e9,
    flops=WORK.flops,
    extra_flops=WORK.extra_flops,
    program_flops=250e12,
    collective_bytes={"all-gather": 15e9, "reduce-scatter": 5e9},
    collective_times={"all-gather": 24, "reduce-scatter": 12},
    async_share=0.5,
    memory_traffic_bytes=819e9 / 4,
    times=dataclasses.asdict(times),
    lowering_s=1.0,
    compile_s=60.0,
  )
  return compiled.Report(**(given | fields))


def test_a_table_has_everything_once():
  text = compiled.table([make_report()])
  for part in (
    "train: 8 clips and images, 10,240 tokens on 16 chips; compiled in 61 s",
    "12.00 of 16.0 GB: parameters 1.00, optimiser and averages 3.00",
    "temporaries 8.00",
    "197.0 TFLOPs, 25% more by remat; 250.0 in the compiled program",
    "20.00 GB: all-gather 15.00 (24), reduce-scatter 5.00 (12)",
    "1500.0 ms predicted; roofline 1250.0 ms, bound by compute",
    "67% of peak",
  ):
    assert text.count(part) == 1, part


def test_a_step_that_does_not_fit_has_no_times():
  text = compiled.table([make_report(fits=False, times=None)])
  assert "DOES NOT FIT" in text
  assert "predicted" not in text
