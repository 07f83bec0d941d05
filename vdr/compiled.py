"""What is known of a compiled step, and how it is told."""

import dataclasses
from collections.abc import Iterator
from typing import Any

Overrides = dict[str, Any]  # fields of a config, by dotted name
GB = 1e9


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of one step; all of it is of one chip, unless it says so.

  Attributes:
    step: one of `programs.STEPS`.
    chips: that share it.
    clips: clips and images of a call, over all chips.
    tokens: latent tokens of a call, over all chips.
    fits: whether it compiles, and into the memory of the chip.
    hbm_bytes: memory of the chip.
    needed_bytes: what the program needs of it.
    params_bytes: parameters.
    optimizer_bytes: state of the optimiser and averages.
    temporary_bytes: activations and all else; needed less the two above.
    flops: of the model in a call.
    extra_flops: computed again for the backward pass.
    program_flops: of the products in the compiled program.
    collective_bytes: sent in a call, by kind.
    collective_times: collectives of a call, by kind.
    async_share: of those bytes, what is sent beside other work as compiled.
    memory_traffic_bytes: through the chip's memory in a call.
    times: the clocks of `roofline.Estimate`; null if it does not fit.
    lowering_s: to trace the program, on the machine that compiles.
    compile_s: to compile it there.
    mend: fields that make it fit, if it does not and some were found.
  """

  step: str
  chips: int
  clips: int
  tokens: int
  fits: bool
  hbm_bytes: float
  needed_bytes: float
  params_bytes: int
  optimizer_bytes: int
  temporary_bytes: float
  flops: float
  extra_flops: float
  program_flops: float
  collective_bytes: dict[str, float]
  collective_times: dict[str, int]
  async_share: float
  memory_traffic_bytes: float
  times: dict[str, Any] | None
  lowering_s: float
  compile_s: float
  mend: Overrides = dataclasses.field(default_factory=dict)


def show(changes: Overrides) -> str:
  """Fields as a command line has them."""
  return " ".join(f"--config.{k}={v}" for k, v in changes.items())


def complaint(report: Report) -> str:
  """One line for a step that does not fit."""
  mend = f"it fits with {show(report.mend)}"
  if not report.mend:
    mend = "none of the changes that were tried makes it fit; use more chips"
  return (
    f"step {report.step} needs {report.needed_bytes / GB:.1f} GB of a chip's"
    f" {report.hbm_bytes / GB:.1f} GB,"
    f" {(report.needed_bytes - report.hbm_bytes) / GB:.1f} GB too much; {mend}"
  )


def table(reports: list[Report]) -> str:
  """What people read of it, a block for each step."""
  return "\n".join(line for report in reports for line in _lines(report))


def _lines(r: Report) -> Iterator[str]:
  yield (
    f"{r.step}: {r.clips} clips and images, {r.tokens:,} tokens on"
    f" {r.chips} chip{'s' if r.chips > 1 else ''};"
    f" compiled in {r.lowering_s + r.compile_s:.0f} s"
  )
  yield (
    f"  memory   {r.needed_bytes / GB:6.2f} of {r.hbm_bytes / GB:.1f} GB:"
    f" parameters {r.params_bytes / GB:.2f}, optimiser and averages"
    f" {r.optimizer_bytes / GB:.2f}, temporaries {r.temporary_bytes / GB:.2f}"
    f"{'' if r.fits else '  DOES NOT FIT'}"
  )
  if r.times is None:
    return
  t = r.times
  extra = r.extra_flops / max(r.flops, 1.0)
  yield (
    f"  compute  {r.flops / 1e12:6.1f} TFLOPs, {extra:.0%} more by remat;"
    f" {r.program_flops / 1e12:.1f} in the compiled program"
  )
  sent = sum(r.collective_bytes.values())
  kinds = ", ".join(
    f"{kind} {nbytes / GB:.2f} ({r.collective_times[kind]})"
    for kind, nbytes in sorted(r.collective_bytes.items())
  )
  yield f"  sent     {sent / GB:6.2f} GB{': ' if kinds else ''}{kinds}"
  yield (
    f"  time     {1e3 * t['predicted_s']:6.1f} ms predicted; roofline"
    f" {1e3 * t['roofline_s']:.1f} ms, bound by {t['bound']} (compute"
    f" {1e3 * t['compute_s']:.1f}, HBM {1e3 * t['hbm_s']:.1f}, interconnect"
    f" {1e3 * t['ici_s']:.1f}); {t['share_of_peak']:.0%} of peak"
  )
