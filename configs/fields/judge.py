"""The fields of config.judge."""

from ml_collections import ConfigDict


def judge() -> ConfigDict:
  """The network that says how real samples look (vdr/train_judge.py)."""
  return ConfigDict(
    dict(
      width=32,  # channels of a patch
      # Few: a covariance needs several samples for each feature.
      features=64,  # of a clip, and of a frame; a multiple of 8
      # What it is asked: classes by their field, of a clip and of a frame.
      clip_labels=("action", "shape", "camera_motion"),  # fields of the schema
      frame_labels=("shape",),  # those that one frame can tell
      box_weight=1.0,  # of errors of the main object's box, in frames; 0: none
      depth_weight=0.5,  # of errors of inverse depth, 1/m, on 4 × 4; 0: none
      split="train",  # of config.data: what it learns from
      num_clips=2048,  # kept in memory; 0: all of the split
      num_steps=600,  # steps of AdamW, the learning rate falling as a cosine
      batch_size=32,  # clips of a step
      learning_rate=3e-3,  # the highest
      warmup_steps=30,  # steps
      weight_decay=0.1,  # times the learning rate; of matrices only
      ema_decay=0.98,  # of the parameters' average, which is kept
      shift_px=2,  # clips are moved by as much at the most, at random
      frames_per_clip=2,  # of each clip of a step, for the network of frames
      test_split="select",  # held-out clips that accuracies are measured on
      test_clips=512,  # at the most
    )
  )
