"""Pose: which way round, and rotations that are made rotations."""

import numpy as np
import pytest

from vdr import geometry
from vdr.tasks import pose

AXIS = np.array([0.0, 1.0, 0.0])


@pytest.fixture
def batch():
  """The camera of a clip goes one metre ahead, and turns a quarter left."""
  start = np.eye(4)
  start[:3, :3] = geometry.rotation_about(AXIS, np.array(0.3))
  start[:3, 3] = (1.0, 2.0, 3.0)
  move = np.eye(4)
  move[:3, :3] = geometry.rotation_about(AXIS, np.array(-np.pi / 2))
  move[:3, 3] = (0.0, 0.0, 1.0)
  middle = np.full((4, 4), np.nan)
  cameras = np.stack([start, middle, start @ move])
  return {"camera_to_world": cameras[None].astype(np.float32)}, move


def test_it_is_the_last_camera_in_the_first_ones_frame(batch):
  fields, move = batch
  targets = pose.make_task().targets(fields)
  np.testing.assert_allclose(targets["pose"][0], move[:3], atol=1e-6)


def test_rotations_are_projected_before_they_are_scored(batch):
  one = pose.make_task()
  targets = one.targets(batch[0])
  swollen = targets["pose"].copy()
  swollen[:, :, :3] *= 1.7
  scores = one.score({"pose": swollen}, targets, one.reference(targets))
  assert scores["rotation_error_deg"].score() == pytest.approx(0, abs=1e-3)
  assert scores["end_point_error"].score() == pytest.approx(0, abs=1e-4)
  nothing = np.full_like(swollen, np.nan)
  scores = one.score({"pose": nothing}, targets, one.reference(targets))
  assert np.isnan(scores["end_point_error"].score())
  assert scores["rra_15"].score() == 0
