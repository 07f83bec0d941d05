"""The fields of config.look."""

from typing import Any

from vdr.runtime.bounds import (
  count,
  fraction,
  one_of,
  section,
  text,
  whole,
  wholes,
)


@section
def look() -> dict[str, Any]:
  """What is looked at in config.checkpoint's features (vdr/look.py)."""
  return dict(
    backbone=text("checkpoint"),  # or a control (vdr/features/backbone.py)
    which=text("ema"),  # parameters: ema | params | ema/DECAY
    layers=wholes(
      (), length=1
    ),  # one, 0 (embedded tokens) to depth; (): 2/3 of it
    noise_level=fraction(0.1),  # 0 clean … 1 pure noise
    draws=count(1),  # of noise; features are their mean
    frames=one_of("auto", "clip", "every", "latent"),  # of a feature
    split=text("test"),  # of the source
    num_clips=count(64),  # clips whose points are followed
    num_drawn=count(4),  # of them in pictures; at most num_clips
    num_points=count(2, most=4096),  # points of a clip that are drawn
    num_scene_clips=whole(16, least=2),  # simulated clips of each scene
  )
