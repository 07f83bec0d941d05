"""The fields of config.extract."""

from typing import Any

from vdr.runtime.bounds import (
  count,
  fractions,
  one_of,
  reals,
  section,
  text,
  whole,
  wholes,
)


@section
def extract() -> dict[str, Any]:
  """What is read of config.checkpoint for each clip (vdr/extract.py)."""
  return dict(
    backbone=text("checkpoint"),  # or a control (vdr/features/backbone.py)
    which=text("ema"),  # parameters: ema | params | ema/DECAY
    layers=wholes(()),  # 0 (embedded tokens) to depth; (): one, 2/3 of it
    noise_levels=fractions((0.2,), empty=True),  # 0 clean … 1 pure noise
    log_snrs=reals(()),  # the same as log-SNRs, instead
    draws=count(1),  # of noise; features are averaged over them
    latent=one_of("mean", "sample"),  # of the tokenizer's posterior
    frames=one_of("auto", "clip", "every", "latent"),  # of a feature
    still_frames=whole(0, most=4097),  # of an image, repeated; 0: one frame
    dtype=one_of("float32", "float16"),  # of the files
    max_clips=whole(0),  # the first ones; 0: all
  )
