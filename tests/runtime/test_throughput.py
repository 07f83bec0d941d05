"""Rates are work over time, pauses left out."""

import pytest

from vdr.runtime import throughput


@pytest.fixture
def clock(monkeypatch):
  """A clock in seconds that only the test moves."""

  class Clock:
    now = 100.0

    def perf_counter(self):
      return self.now

  clock = Clock()
  monkeypatch.setattr(throughput, "time", clock)
  return clock


def meter(**overrides):
  fields = dict(
    clips_per_step=8,
    tokens_per_step=100,
    flops_per_step=1e12,
    device_kind="NVIDIA H100 80GB HBM3",
    device_count=2,
  )
  return throughput.Throughput(**fields | overrides)


def test_rates_are_of_all_devices_and_the_share_is_of_all_their_peaks(clock):
  rates = meter()
  rates.start(10)
  clock.now += 4.0
  assert rates.read(30) == pytest.approx(
    {
      "steps_per_s": 5.0,
      "clips_per_s": 40.0,
      "tokens_per_s": 500.0,
      "wait_share": 0.0,
      "model_tflops_per_s": 5.0,
      "share_of_peak": 5.0 / (2 * 989),
    }
  )
  clock.now += 1.0
  assert rates.read(31)["steps_per_s"] == pytest.approx(1.0)


def test_pauses_are_no_training(clock):
  rates = meter()
  rates.start(0)
  clock.now += 1.0
  with pytest.raises(KeyError), rates.pause():
    clock.now += 100.0
    raise KeyError
  clock.now += 1.0
  assert rates.read(2)["steps_per_s"] == pytest.approx(1.0)


def test_waiting_is_told_as_a_share_of_the_time_it_was_part_of(clock):
  rates = meter()
  rates.start(0)
  clock.now += 4.0
  assert rates.read(1, waited_s=1.0)["wait_share"] == pytest.approx(0.25)
  clock.now += 2.0
  with rates.pause():
    clock.now += 100.0
  assert rates.read(2, waited_s=2.5)["wait_share"] == pytest.approx(0.75)
  clock.now += 2.0
  assert rates.read(3, waited_s=2.5)["wait_share"] == 0.0


def test_without_a_step_there_is_no_rate(clock):
  rates = meter()
  assert rates.read(3) == {}
  clock.now += 1.0
  assert rates.read(3) == {}
  clock.now += 1.0
  assert rates.read(4)["steps_per_s"] == pytest.approx(1.0)


def test_unknown_devices_have_no_share_and_unknown_work_no_flops(clock):
  for rates, unknown in (
    (meter(device_kind="cpu"), {"share_of_peak"}),
    (meter(flops_per_step=0.0), {"share_of_peak", "model_tflops_per_s"}),
  ):
    rates.start(0)
    clock.now += 1.0
    assert not unknown & rates.read(1).keys()


@pytest.mark.parametrize(
  ("kind", "tflops"),
  [
    ("TPU v4", 275),
    ("TPU v5 lite", 197),
    ("TPU v5", 459),
    ("TPU v5p", 459),
    ("TPU v6 lite", 918),
    ("NVIDIA A100-SXM4-80GB", 312),
    ("NVIDIA H100 PCIe", 756),
    ("NVIDIA H100 80GB HBM3", 989),
    ("NVIDIA L4", 121),
    ("NVIDIA L40S", 362),
  ],
)
def test_the_longest_name_of_a_device_wins(kind, tflops):
  assert throughput.peak_flops(kind) == tflops * 1e12


def test_a_cpu_has_no_peak():
  assert throughput.peak_flops("cpu") is None
