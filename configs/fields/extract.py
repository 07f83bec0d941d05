"""The fields of config.extract."""

from ml_collections import ConfigDict


def extract() -> ConfigDict:
  """What is read of config.checkpoint for each clip (vdr/extract.py)."""
  return ConfigDict(
    dict(
      backbone="checkpoint",  # or a control, of vdr/features/backbone.py:KINDS
      which="ema",  # parameters: ema | params | ema/DECAY
      layers=(),  # 0 (embedded tokens) to depth; (): one at two thirds of it
      noise_levels=(0.2,),  # 0 clean … 1 pure noise
      log_snrs=(),  # the same as log-SNRs, instead
      draws=1,  # of noise; features are averaged over them
      latent="mean",  # mean | sample, of the tokenizer's posterior
      frames="auto",  # auto | clip | every | latent (vdr/features/spec.py)
      still_frames=0,  # an image is repeated to so many frames; 0: it is not
      dtype="float32",  # of the files: float32 | float16
      max_clips=0,  # the first ones; 0: all
    )
  )
