"""How fast training is, and what share of the device that takes."""

import contextlib
import time
from collections.abc import Iterator

# Peak FLOP/s of one chip in bfloat16, without sparsity, as its maker states it,
# by the beginning of JAX's `device_kind`; the first match counts.
PEAKS = (
  ("TPU v4", 275e12),  # cloud.google.com/tpu/docs/v4
  ("TPU v5 lite", 197e12),  # cloud.google.com/tpu/docs/v5e
  ("TPU v5e", 197e12),
  ("TPU v5", 459e12),  # cloud.google.com/tpu/docs/v5p
  ("TPU v6 lite", 918e12),  # cloud.google.com/tpu/docs/v6e
  ("TPU v6e", 918e12),
  # Data sheets at nvidia.com/data-center; figures "with sparsity" are halved.
  ("NVIDIA A100", 312e12),
  ("NVIDIA H100 PCIe", 756e12),
  ("NVIDIA H100 NVL", 835e12),
  ("NVIDIA H100", 989e12),  # SXM
  ("NVIDIA H200", 989e12),
  ("NVIDIA B200", 2250e12),
  ("NVIDIA L40S", 362e12),
  ("NVIDIA L4", 121e12),
)


def peak_flops(device_kind: str) -> float | None:
  """Peak FLOP/s of a device in bfloat16; None if it is not in the table."""
  for beginning, peak in PEAKS:
    if device_kind.startswith(beginning):
      return peak
  return None


class Throughput:
  """Rates since the last reading, pauses left out.

      rates = Throughput(...)
      for step in range(first + 1, num_steps + 1):
        ...
        if step == first + 1:
          rates.start(step)  # compiling is no training
        if step % 50 == 0:
          logger.scalars(step, {...} | rates.read(step))
        with rates.pause():
          ...  # samples, checkpoints

  A step runs in the background: read the loss before reading the rates.
  """

  def __init__(
    self,
    clips_per_step: int,
    tokens_per_step: int,
    flops_per_step: float,
    device_kind: str,
    device_count: int,
  ):
    """Knows the work; `start` starts the clock.

    Args:
      clips_per_step: of all hosts.
      tokens_per_step: of all hosts.
      flops_per_step: of the model, forward and backward, of all hosts; one
        multiply-add is two, and what is computed twice to save memory is
        counted once. 0: unknown.
      device_kind: `jax.devices()[0].device_kind`.
      device_count: devices of all hosts.
    """
    self._clips, self._tokens = clips_per_step, tokens_per_step
    self._flops = flops_per_step
    peak = peak_flops(device_kind)
    self._peak = peak * device_count if peak else None
    self._step: int | None = None
    self._since = self._waited_s = 0.0

  def start(self, step: int) -> None:
    """Starts the clock anew after `step` steps."""
    self._step, self._since = step, time.perf_counter()

  def read(self, step: int, waited_s: float = 0.0) -> dict[str, float]:
    """The rates from the last reading or start to now.

    Args:
      step: steps done.
      waited_s: seconds that steps waited for their batches, since the process
        began.

    Returns:
      `steps_per_s`, `clips_per_s`, `tokens_per_s`, and `wait_share`, the share
      of the time that went by waiting for batches; where known
      `model_tflops_per_s` of all devices, and `share_of_peak`. Shares are from
      0 to 1. All empty before there is a step to measure.
    """
    new_wait_s = waited_s - self._waited_s
    self._waited_s = waited_s
    if self._step is None or step <= self._step:
      self.start(step)
      return {}
    elapsed = max(time.perf_counter() - self._since, 1e-9)
    rate = (step - self._step) / elapsed
    self.start(step)
    found = {
      "steps_per_s": rate,
      "clips_per_s": rate * self._clips,
      "tokens_per_s": rate * self._tokens,
      "wait_share": new_wait_s / elapsed,
    }
    if self._flops:
      found["model_tflops_per_s"] = rate * self._flops / 1e12
      if self._peak:
        found["share_of_peak"] = rate * self._flops / self._peak
    return found

  @contextlib.contextmanager
  def pause(self) -> Iterator[None]:
    """The clock stands still in this `with` block."""
    start = time.perf_counter()
    try:
      yield
    finally:
      self._since += time.perf_counter() - start
