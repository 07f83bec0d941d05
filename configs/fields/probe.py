"""The fields of config.probe."""

from typing import Any

from vdr.runtime.bounds import (
  channels,
  count,
  counts,
  fraction,
  fractions,
  one_of,
  positive,
  real,
  reals,
  section,
  whole,
)


@section
def probe() -> dict[str, Any]:
  """Heads on frozen features and how they are fitted (vdr/probes).

  Sizes and steps are those of the local study, for two cores of a CPU: every
  config has them from here, so that one model scores the same in all of them.
  Published ones are in the comments: of SciVid's and 4DS's readouts, or where
  it says so of MooG's.
  """
  return dict(
    # Fitting. Members: layers and noise levels x rates x decays x seeds.
    num_steps=count(400),  # optimiser steps; published: 40,000
    batch_size=count(32),  # clips, for one answer a clip; published: 32 for all
    # Of 1e-3 to 3e-2 the best for nearly all tasks at 400 steps.
    learning_rates=reals((1e-2,), above=0),  # chosen on select; 3e-4
    weight_decays=reals((1e-4,), least=0),  # likewise; of matrices; 1e-4
    num_seeds=count(1, most=1024),  # of parameters, order of clips, and draws
    warmup_steps=whole(20),  # steps, linear; published: 1,000
    final_share=fraction(3e-4),  # last rate over the highest, by a cosine
    betas=fractions((0.9, 0.999), below=1, length=2),  # MooG: .95
    epsilon=positive(1e-8),  # added to the root of the second moment
    clip_norm=real(1.0, least=0),  # of a member's gradient; 0 (published): any
    steps_per_call=count(50),  # steps between two updates of the progress bar
    store=one_of("float16", "float32"),  # features in memory
    store_gb=real(8.0, least=0),  # of features in memory; larger sets stream
    # Members in excess take turns. As much as caches hold is fastest on a
    # CPU, as much as there is on an accelerator (16384 for one of 40 GB).
    step_mb=positive(32.0),  # MB of what a step computes at a time
    stream_batches=count(8),  # batches that are shuffled together when streamed
    # Heads by attention.
    width=channels(64),  # channels of queries, keys and values; 1024, MooG 512
    num_heads=count(2),  # 16; points 8, boxes 4; MooG 8
    places=True,  # tokens carry their place (ours); False is as published
    # These two kinds of heads learn slowly. With patches of a token and 1,000
    # steps AbsRel on `select` falls from .148 to .105; boxes go from .534 to
    # .569 with 1,200 steps, and 800 are what the study's time allows.
    dense=dict(
      patch=counts((1, 4, 4), length=3),  # of a query, t h w; (2, 8, 8)
      num_steps=whole(1000),  # optimiser steps; 0: as many as all heads
      batch_size=count(4),  # clips
      queries_per_step=whole(64),  # patches of a step; 0 (published): all
      depth_loss=one_of("log_l1", "l1", "l2"),  # of metres, or their log
    ),
    track=dict(
      # SciVid's, or MooG's, which takes 12 times as long.
      kind=one_of("one_shot", "recurrent"),  # of readout
      num_steps=whole(800),  # optimiser steps; 0: as many as all heads
      batch_size=count(8),  # clips
      octaves=count(8, most=64),  # of the queries' Fourier features; 16
      hidden=channels(64),  # of the queries' MLP; recurrent: of the state; 512
      from_query=True,  # add to the query's place (ours); False: published
      queries_per_step=whole(8),  # of a clip, that a step trains; 0: all
      tile_frames=whole(0),  # one_shot: frames of a query, 2 (boxes 16); 0: all
      num_layers=count(1, most=1024),  # recurrent: of its transformer; MooG 3
      mlp_width=channels(128),  # recurrent: of their MLPs; MooG 2048
    ),
  )
