"""What arXiv 2502.07001 reports, to stand beside what was measured here.

Relative gains of its video model over its image model. Its models are hundreds
of times larger, its data are real and its heads others: the two are shown side
by side because they ask the same question, not because they must agree.
"""

from typing import NamedTuple

TITLE = (
  "From Image to Video: An Empirical Study of Diffusion Representations"
  " (arXiv 2502.07001, ICCV 2025)"
)


class Gain(NamedTuple):
  """A gain of the paper's; 0.42 is 42 %."""

  gain: float
  data: str


# Its task nearest to each of ours.
GAINS = {
  "shape": Gain(0.018, "ImageNet"),
  "action": Gain(0.42, "Something-Something v2"),
  "depth": Gain(0.16, "ScanNet"),
  "pose": Gain(0.60, "RealEstate10K"),
  "points": Gain(0.68, "Perception Test"),
  "boxes": Gain(0.23, "Waymo Open"),
}
