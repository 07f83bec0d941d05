"""The fields of config.look."""

from ml_collections import ConfigDict


def look() -> ConfigDict:
  """What is looked at in config.checkpoint's features (vdr/look.py)."""
  return ConfigDict(
    dict(
      backbone="checkpoint",  # or a control, of vdr/features/backbone.py:KINDS
      which="ema",  # parameters: ema | params | ema/DECAY
      layers=(),  # one, 0 (embedded tokens) to depth; (): two thirds of it
      noise_level=0.1,  # 0 clean … 1 pure noise
      draws=1,  # of noise; features are their mean
      frames="auto",  # what a feature frame is: auto | clip | every | latent
      split="test",  # of the source
      num_clips=64,  # clips whose points are followed
      num_drawn=4,  # of them in pictures; at most num_clips
      num_points=2,  # points of a clip whose similarity is drawn
      num_scene_clips=16,  # simulated clips of each scene, 2 or more
    )
  )
