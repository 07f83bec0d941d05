"""The fields of config.evaluate."""

from typing import Any

from vdr.runtime.bounds import (
  count,
  fractions,
  one_of,
  section,
  text,
  texts,
  whole,
  wholes,
)


@section
def evaluate() -> dict[str, Any]:
  """Probes on the frozen features of config.checkpoint (vdr/evaluate.py)."""
  return dict(
    tasks=texts(()),  # of vdr/tasks; each gets a folder with its result
    backbone=text("checkpoint"),  # or a control (vdr/features/backbone.py)
    which=text("ema"),  # parameters: ema | params | ema/DECAY
    # Where features are read: every layer at every noise level is a cell.
    layers=wholes(()),  # 0 (embedded tokens) to depth; (): 2/3 of it
    noise_levels=fractions((0.1,)),  # 0 clean … 1 pure noise
    draws=count(1),  # of noise; features are their mean
    frames=one_of("auto", "clip", "every", "latent"),  # of a feature
    # Beside every score, each with probes of its own.
    controls=texts(
      ("random", "latents", "frozen", "blind"), empty=True
    ),  # of vdr/controls.py
    # A control that is read where the backbone is best ("same") looks worse
    # than it is: it had no choice. With "best" it chooses on `select` among the
    # same places, which takes as long as for the backbone itself.
    controls_place=one_of("best", "same"),  # where each control is read
    num_shown=whole(8),  # test clips with pictures of predictions; 0: none
    splits=dict(  # of the source
      train=text("train"),  # probes are fitted to it
      select=text("select"),  # hyper-parameters and cells are chosen on it
      test=text("test"),  # all that is reported
    ),
    num_clips=dict(  # the first ones of each split; 0: all
      train=whole(0),  # clips
      select=whole(0),  # clips
      test=whole(0),  # clips
    ),
  )
