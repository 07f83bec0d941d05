"""The fields of config.generation."""

from ml_collections import ConfigDict


def generation() -> ConfigDict:
  """How good a checkpoint's samples are (vdr/quality.py)."""
  return ConfigDict(
    dict(
      # Scores of different numbers can't be compared.
      num=128,  # samples, and as many real clips, twice: once for the floor
      batch_size=32,  # samples at a time
      which="ema",  # parameters: ema | params | ema/DECAY
      step=0,  # of the checkpoint; 0: the last, or the one that is named
      split="test",  # of config.data: real clips, of no training
      # Whose features are compared. Frames: Inception if its weights are named,
      # else the judge; clips: the judge.
      judge="",  # a file of the verb `judge`
      inception="",  # pt_inception-2015-12-05 (vdr/models/inception.py)
      num_drawn=6,  # samples in the pictures
      fps=8.0,  # frames per second of the animation
    )
  )
