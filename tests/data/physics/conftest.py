"""Clips that several test files look at, simulated once."""

import dataclasses

import pytest

from configs import base
from vdr.data.physics import clip, generate, sampling, scenes

SIZE = 48  # pixels


@dataclasses.dataclass(frozen=True)
class Known:
  """One clip with the scene that it shows."""

  scene: scenes.Scene
  settings: clip.Settings
  example: dict


# Scene, split, objects beside the main one, and how many clips of it.
MIX = (
  ("default", "train", 3, 100),
  ("default", "test_ood", 3, 30),
  ("cluttered", "train", 8, 30),
  ("factors", "select", 3, 16),
  ("still", "train", 3, 12),
  ("brick_wall", "train", 3, 12),
)


@pytest.fixture(scope="session")
def known_clips():
  """200 clips of all scenes."""
  known = []
  for name, split, others, count in MIX:
    settings = clip.Settings(name, 17, SIZE, SIZE, 12.0, 64, others)
    for index in range(count):
      known.append(
        Known(
          sampling.sample(name, split, 5, index, others),
          settings,
          clip.simulate(settings, split, 5, index),
        )
      )
  return known


def small_config(**changes):
  """A data set of two splits and three shards, made in a second."""
  config = base.default()
  config.job = "physics"
  config.seed = 3
  config.runtime.num_workers = 0
  config.physics.update(
    dict(
      num_frames=9,
      height=16,
      width=24,
      num_points=8,
      max_distractors=2,
      clips_per_shard=4,
      num_clips=dict(pretrain=0, train=6, select=0, test=3, test_ood=0),
    )
  )
  config.physics.update(changes)
  return config


@pytest.fixture(scope="session")
def make_config():
  return small_config


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
  """The directory of a finished small data set."""
  path = tmp_path_factory.mktemp("physics") / "set"
  generate.run(small_config(), path)
  return path
