"""How long a step takes at the least, from what it computes and moves.

Three clocks run: that of the matrix unit, that of the memory (HBM) and that of
the links between chips (ICI). The prediction assumes:

* matrix products reach `efficiency` of the published peak; their operands are
  read from memory meanwhile;
* everything else (norms, activations, softmax, optimiser) takes the time in
  which its operands go through memory, after the products and not beside them;
* what chips send one another, on all links at their full rate, is hidden behind
  both as far as they reach.

The roofline itself, where all three clocks run at once, is the lower bound.
"""

import dataclasses

from vdr.runtime import chips

BOUNDS = ("compute", "HBM", "interconnect")


@dataclasses.dataclass(frozen=True)
class Work:
  """What one chip does in a step.

  Attributes:
    flops: of the model, without what is computed again.
    extra_flops: computed again for the backward pass.
    product_bytes: through memory by instructions with a matrix product.
    other_bytes: through memory by all others.
    ici_bytes: sent to other chips.
  """

  flops: float
  extra_flops: float
  product_bytes: float
  other_bytes: float
  ici_bytes: float


@dataclasses.dataclass(frozen=True)
class Estimate:
  """Seconds of a step.

  Attributes:
    compute_s: of the matrix products, at the assumed efficiency.
    hbm_s: of all that goes through memory.
    ici_s: of all that goes through the links.
    roofline_s: the largest of the three: a lower bound.
    predicted_s: by the assumptions above.
    bound: which of the three is the largest.
    share_of_peak: model FLOPs of the predicted step over those of the peak;
      what is computed again does not count.
  """

  compute_s: float
  hbm_s: float
  ici_s: float
  roofline_s: float
  predicted_s: float
  bound: str
  share_of_peak: float


def estimate(work: Work, chip: chips.Chip, efficiency: float) -> Estimate:
  """The time of a step on one chip.

  Args:
    work: what the chip does.
    chip: which one.
    efficiency: share of the peak that matrix products reach.
  """
  compute = (work.flops + work.extra_flops) / (chip.peak_flops * efficiency)
  products = work.product_bytes / chip.hbm_bytes_per_s
  others = work.other_bytes / chip.hbm_bytes_per_s
  ici = work.ici_bytes / chip.ici_bytes_per_s
  clocks = (compute, products + others, ici)
  predicted = max(max(compute, products) + others, ici)
  return Estimate(
    *clocks,
    roofline_s=max(clocks),
    predicted_s=predicted,
    bound=BOUNDS[clocks.index(max(clocks))],
    share_of_peak=work.flops / (predicted * chip.peak_flops),
  )
