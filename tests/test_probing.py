"""Reading splits, and what is chosen on which of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from vdr import probing, tasks
from vdr.data.physics import clip
from vdr.probes import blocks


@pytest.fixture
def action():
  return tasks.make("action", clip.CLASS_NAMES, 5)


def test_a_task_sees_its_own_targets_and_cells(action):
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


def test_the_blind_know_the_prior(action):
  train = {"action": np.array([3, 3, 1], np.int32)}
  test = {"action": np.array([3, 1, 3], np.int32)}
  scores = probing.blind(action, train, test)
  assert scores["top_1"].score() == pytest.approx(2 / 3)
