"""The fields of config.probe."""

from ml_collections import ConfigDict


def probe() -> ConfigDict:
  """Heads on frozen features and how they are fitted (vdr/probes).

  Sizes are those of the local study, for two cores of a CPU. Those that are
  published are in the comments: of SciVid's and 4DS's readouts, or where it
  says so of MooG's.
  """
  return ConfigDict(
    dict(
      # Fitting. Members: layers and noise levels x rates x decays x seeds.
      num_steps=400,  # optimiser steps; published: 40,000
      batch_size=32,  # clips, for one answer a clip; published: 32 for all
      learning_rates=(3e-3, 1e-2),  # to choose from on the select split; 3e-4
      weight_decays=(1e-4,),  # likewise; times the rate, of matrices; 1e-4
      num_seeds=1,  # of parameters, order of clips, and draws
      warmup_steps=20,  # steps, linear; published: 1,000
      final_share=3e-4,  # last learning rate over the highest, by a cosine
      betas=(0.9, 0.999),  # decays of the moments; MooG: .95 for the second
      epsilon=1e-8,  # added to the root of the second moment
      clip_norm=1.0,  # largest norm of a member's gradient; 0 (published): any
      steps_per_call=50,  # steps between two updates of the progress bar
      store="float16",  # features in memory: float16 | float32
      store_gb=8.0,  # GB of features in memory; larger sets are streamed
      # Members in excess take turns. As much as caches hold is fastest on a
      # CPU, as much as there is on an accelerator (16384 for one of 40 GB).
      step_mb=32.0,  # MB of what a step computes at a time
      stream_batches=8,  # batches that are shuffled together when streamed
      # Heads by attention.
      width=64,  # channels of queries, keys and values; 1024, MooG 512
      num_heads=2,  # 16; points 8, boxes 4; MooG 8
      places=True,  # tokens carry their place (ours); False is as published
      dense=dict(
        patch=(1, 8, 8),  # frames, rows, columns of a query; (2, 8, 8)
        num_steps=0,  # optimiser steps; 0: as many as all heads
        batch_size=8,  # clips
        queries_per_step=16,  # patches that a step trains; 0 (published): all
        depth_loss="log_l1",  # l1 | l2, of metres; log_l1: of their logarithms
      ),
      track=dict(
        kind="one_shot",  # one_shot (SciVid) | recurrent (MooG; 12 x the time)
        num_steps=0,  # optimiser steps; 0: as many as all heads
        batch_size=8,  # clips
        octaves=8,  # of the queries' Fourier features; 16
        hidden=64,  # width of the queries' MLP; recurrent: of the state; 512
        from_query=True,  # add to the query's place (ours); False: published
        queries_per_step=8,  # of a clip, that a step trains; 0: all
        tile_frames=0,  # one_shot: frames of a query, 2 (boxes 16); 0: all
        num_layers=1,  # recurrent: layers of its transformer; MooG 3
        mlp_width=128,  # recurrent: of their MLPs; MooG 2048
      ),
    )
  )
