"""The fields of config.judge."""

from typing import Any

from vdr.runtime.bounds import (
  channels,
  count,
  fraction,
  positive,
  real,
  section,
  text,
  texts,
  whole,
)


@section
def judge() -> dict[str, Any]:
  """The network that says how real samples look (vdr/train_judge.py)."""
  return dict(
    width=channels(32),  # channels of a patch
    # Few: a covariance needs several samples for each feature.
    features=channels(64),  # of a clip, and of a frame; a multiple of 8
    # What it is asked: classes by their field, of a clip and of a frame.
    clip_labels=texts(("action", "shape", "camera_motion")),  # of schema
    frame_labels=texts(("shape",)),  # those that one frame can tell
    box_weight=real(1.0, least=0),  # of the object's box in frames; 0: none
    depth_weight=real(0.5, least=0),  # of inverse depth, 1/m, on 4 × 4; 0: none
    split=text("train"),  # of config.data: what it learns from
    num_clips=whole(2048),  # kept in memory; 0: all of the split
    num_steps=count(600),  # steps of AdamW, whose rate falls as a cosine
    batch_size=count(32),  # clips of a step
    learning_rate=positive(3e-3),  # the highest
    warmup_steps=whole(30),  # steps
    weight_decay=real(0.1, least=0),  # times the rate; of matrices only
    ema_decay=fraction(0.98, below=1),  # of the average that is used
    shift_px=whole(2, most=256),  # clips are moved by up to this, at random
    frames_per_clip=count(2, most=4097),  # of each clip of a step, for frames
    test_split=text("select"),  # held-out clips that accuracies are measured on
    test_clips=count(512),  # at the most
  )
