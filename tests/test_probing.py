"""Reading splits, and what is chosen on which of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from configs import evaluate as evaluate_config
from vdr import probing, tasks
from vdr.data import source
from vdr.data.physics import clip
from vdr.probes import blocks


class Flaky:
  """Simulated labels on grey clips; clip 2 of each split can't be read."""

  class_names = clip.CLASS_NAMES

  def __init__(self, cfg):
    self.cfg = cfg

  def __len__(self):
    return {"train": 12, "select": 4, "test": 6}[self.cfg.split]

  def clip_id(self, index):
    return f"{self.cfg.split}/{index}"

  def read(self, index, rng):
    if index == 2:
      raise source.BadClipError("broken")
    video = np.full((5, 8, 8, 3), index, np.uint8)
    return {"video": video, "action": np.array(index % 8, np.int32)}


@pytest.fixture
def made(monkeypatch):
  monkeypatch.setattr(source, "open_source", Flaky)
  cfg = evaluate_config.get_config("debug")
  cfg.data.batch_size, cfg.data.max_bad_share = 4, 1.0
  cfg.evaluate.num_clips.update(train=7, select=0, test=0)
  action = tasks.make("action", clip.CLASS_NAMES, 5)
  return probing.Source(cfg, [action]), action


def test_each_split_is_read_once_up_to_its_limit(made):
  read, _ = made
  batches = list(read.batches("train"))
  valid = np.concatenate([b["clip_valid"] for b in batches])
  index = np.concatenate([b["clip_index"] for b in batches])
  assert index[valid].tolist() == [0, 1, 3, 4, 5, 6]
  assert (read.num_clips["train"], read.skipped["train"]) == (7, 1)
  assert sum(b["clip_valid"].sum() for b in read.batches("test")) == 5
  assert (read.num_clips["test"], read.skipped["test"]) == (6, 1)


def test_targets_are_those_of_clips_that_count(made):
  read, action = made
  assert read.train_targets(action)["action"].tolist() == [0, 1, 3, 4, 5, 6]
  (first, *_) = read.batches("select")
  assert set(read.targets(first)) == {"clip_valid", "action/action"}


def test_a_task_sees_its_own_targets_and_cells(made):
  _, action = made
  features = tuple(jnp.full((3, 1, 1, 1, 2), float(i)) for i in range(3))
  targets = {
    "clip_valid": jnp.ones(3, bool),
    "action/action": jnp.arange(3),
    "pose/pose": jnp.zeros((3, 3, 4)),
  }
  own = probing._for_task(blocks.Block(features, targets), action, [0, 2])
  assert isinstance(own, blocks.Block)
  assert set(own.targets) == {"clip_valid", "action"}
  assert [f[0, 0, 0, 0, 0] for f in own.features] == [0, 2]


def test_the_blind_know_the_prior(made):
  _, action = made
  train = {"action": np.array([3, 3, 1], np.int32)}
  test = {
    "action": np.array([3, 1, 3, 3], np.int32),
    "clip_valid": np.array([True, True, True, False]),
  }
  scores = probing.blind(action, train, test)
  assert scores["top_1"].score() == pytest.approx(2 / 3)
