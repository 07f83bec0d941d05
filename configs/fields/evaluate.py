"""The fields of config.evaluate."""

from ml_collections import ConfigDict


def evaluate() -> ConfigDict:
  """Probes on the frozen features of config.checkpoint (vdr/evaluate.py)."""
  return ConfigDict(
    dict(
      tasks=(),  # of vdr/tasks; each gets a folder with its result
      backbone="checkpoint",  # or a control, of vdr/features/backbone.py:KINDS
      which="ema",  # parameters: ema | params | ema/DECAY
      # Where features are read: every layer at every noise level is a cell.
      layers=(),  # 0: embedded tokens … depth; (): two thirds of the depth
      noise_levels=(0.1,),  # 0 clean … 1 pure noise
      draws=1,  # of noise; features are their mean
      frames="auto",  # what a feature frame is: auto | clip | every | latent
      # Beside every score, each with probes of its own.
      controls=("random", "latents", "frozen", "blind"),  # of vdr/controls.py
      num_shown=8,  # test clips that predictions are drawn of; 0: no pictures
      splits=dict(  # of the source
        train="train",  # probes are fitted to it
        select="select",  # hyper-parameters and cells are chosen on it
        test="test",  # all that is reported
      ),
      num_clips=dict(  # the first ones of each split; 0: all
        train=0,  # clips
        select=0,  # clips
        test=0,  # clips
      ),
    )
  )
