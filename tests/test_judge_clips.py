"""What a judge learns from: what is read of clips, and frames of them."""

import numpy as np
import pytest

from tests import test_train_judge
from vdr import judge_clips
from vdr.data import source


@pytest.fixture(autouse=True)
def bars(monkeypatch):
  monkeypatch.setattr(source, "open_source", test_train_judge.Bars)


def test_clips_come_with_what_is_known_of_them():
  clips, names = judge_clips.read(test_train_judge.config(), "train", 0)
  assert names == test_train_judge.Bars.class_names
  assert clips.video.shape == (64, 5, 8, 8, 3)
  assert set(clips.labels) == {"action", "shape", "camera_motion"}
  for i in range(64):  # where the bar is, is where its box is
    rows, columns = np.nonzero(clips.video[i, 2].min(axis=-1) == 255)
    low, left, high, right = clips.box_yxyx[i, 2] * 8
    assert (rows == low).all() and high == low + 1
    assert (columns.min(), columns.max()) == (left, right - 1)
    assert clips.labels["shape"][i] == left // 4
  np.testing.assert_array_equal(clips.inverse_depth, 0.5)
  assert clips.box_valid.all()


def test_a_few_clips_are_not_the_first_ones():
  cfg = test_train_judge.config()
  few, _ = judge_clips.read(cfg, "train", 8)
  again, _ = judge_clips.read(cfg, "train", 8)
  assert len(few.video) == 8
  np.testing.assert_array_equal(few.video, again.video)
  assert len(set(few.labels["shape"].tolist())) == 2
  other, _ = judge_clips.read(cfg, "select", 8)
  assert not np.array_equal(few.video, other.video)


def test_what_is_not_asked_is_not_read():
  cfg = test_train_judge.config(judge__box_weight=0.0, judge__depth_weight=0.0)
  clips, _ = judge_clips.read(cfg, "train", 8)
  assert not clips.box_valid.any() and not clips.inverse_depth.any()


def test_frames_of_clips():
  clips, _ = judge_clips.read(test_train_judge.config(), "train", 4)
  which = np.array([0, 4, 2, 2])
  frames = judge_clips.frames_of(clips, which)
  for i, k in enumerate(which):
    np.testing.assert_array_equal(frames.video[i], clips.video[i, k : k + 1])
    np.testing.assert_array_equal(
      frames.box_yxyx[i], clips.box_yxyx[i, k : k + 1]
    )
  np.testing.assert_array_equal(frames.labels["shape"], clips.labels["shape"])
