"""A synthetic batch that every task can be asked of, and its answers."""

import functools

import numpy as np

from vdr import tasks
from vdr.data.physics import clip

NUM_FRAMES, SIDE = 17, 32
NAMES = tuple(tasks.TASKS)
CLASSES = {**clip.CLASS_NAMES, "label": ("cat", "dog", "fox")}


@functools.cache
def batch():
  """Six simulated clips, with a label as a user's folder has it."""
  settings = clip.Settings("default", NUM_FRAMES, SIDE, SIDE, 12.0, 16, 3)
  clips = [clip.simulate(settings, "train", 0, i) for i in range(6)]
  stacked = {
    name: np.stack([c[name] for c in clips])
    for name in clips[0]
    if name not in ("caption", "factors")
  }
  return stacked | {"label": np.array([0, 1, 2, 0, 1, -1], np.int32)}


def make(name):
  return tasks.make(name, CLASSES, NUM_FRAMES)


def perfect(one, targets):
  """The outputs of who knows the truth, in the form that heads have."""
  if hasattr(one, "label"):
    label = targets[one.label]
    return {
      "logits": np.eye(len(one.class_names))[label] * (label >= 0)[:, None]
    }
  if one.name == "depth":
    return {"map": targets["depth_m"][..., None]}
  if one.name == "points":
    sure = np.where(targets["points_visible"], 20.0, -20.0)
    xy = targets["points_xy"]
    return {"points_xy": xy, "visible": sure, "certain": np.full_like(sure, 20)}
  name = {"pose": "pose", "boxes": "boxes_yxyx"}[one.name]
  return {name: targets[name]}
