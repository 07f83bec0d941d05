"""The fields of config.generation."""

from typing import Any

from vdr.runtime.bounds import count, positive, section, text, whole


@section
def generation() -> dict[str, Any]:
  """How good a checkpoint's samples are (vdr/quality.py)."""
  return dict(
    # Scores of different numbers can't be compared.
    num=whole(128, least=2),  # samples; twice as many real clips, for a floor
    batch_size=count(32),  # samples at a time
    which=text("ema"),  # parameters: ema | params | ema/DECAY
    step=whole(0),  # of the checkpoint; 0: the last, or the one that is named
    split=text("test"),  # of config.data: real clips, of no training
    # Whose features are compared. Frames: Inception if its weights are named,
    # else the judge; clips: the judge.
    judge=text(""),  # a file of the verb `judge`
    inception=text(""),  # pt_inception-2015-12-05 (vdr/models/inception.py)
    num_drawn=count(6),  # samples in the pictures
    fps=positive(8.0, most=50),  # frames per second of the animation
  )
