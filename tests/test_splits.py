"""Reading splits once, and knowing their targets from then on."""

import numpy as np
import pytest

from configs import evaluate as evaluate_config
from tests import many_hosts
from tests.data import fakes
from vdr import splits, tasks
from vdr.data import source
from vdr.data.physics import clip
from vdr.runtime import errors


class Flaky(fakes.Alone):
  """Simulated labels on grey clips; clip 2 of each split can't be read."""

  class_names = clip.CLASS_NAMES
  read_fields: list = []

  def __init__(self, cfg):
    self.cfg = cfg
    Flaky.read_fields.append((cfg.split, tuple(cfg.fields)))

  def __len__(self):
    return {"train": 12, "select": 4, "test": 6}[self.cfg.split]

  def clip_id(self, index):
    return f"{self.cfg.split}/{index}"

  def read(self, index, rng):
    if index == 2:
      raise source.BadClipError("broken")
    fields = {"video": np.full((5, 8, 8, 3), index, np.uint8)}
    if "action" in self.cfg.fields:
      fields["action"] = np.array(index % 8, np.int32)
    if "shape" in self.cfg.fields:
      fields["shape"] = np.array(index % 5, np.int32)
    return fields


@pytest.fixture
def cfg(monkeypatch):
  monkeypatch.setattr(source, "open_source", Flaky)
  Flaky.read_fields.clear()
  cfg = evaluate_config.get_config("debug")
  cfg.data.batch_size, cfg.data.max_bad_share = 4, 1.0
  cfg.evaluate.num_clips.update(train=7, select=0, test=0)
  return cfg


def made(cfg, *names):
  found = [tasks.make(name, clip.CLASS_NAMES, 5) for name in names]
  return splits.Splits(cfg, found), found


def test_each_split_is_read_once_up_to_its_limit(cfg):
  clips, _ = made(cfg, "action")
  batches = list(clips.batches("train"))
  valid = np.concatenate([own["clip_valid"] for _, own in batches])
  index = np.concatenate([batch["clip_index"] for batch, _ in batches])
  assert index[valid].tolist() == [0, 1, 3, 4, 5, 6]
  assert clips.count("train") == 7 and clips.skipped["train"] == 1
  assert sum(own["clip_valid"].sum() for _, own in clips.batches("test")) == 5
  assert clips.num_read == {"train": 6, "test": 5}


def test_targets_are_those_of_clips_that_count(cfg):
  clips, (action,) = made(cfg, "action")
  train = clips.targets("train")
  assert set(train) == {"clip_valid", "clip_index", "action/action"}
  own = splits.valid_targets(action, train)
  assert own["action"].tolist() == [0, 1, 3, 4, 5, 6]


def test_clips_that_count_have_their_videos_and_groups(cfg, monkeypatch):
  monkeypatch.setattr(Flaky, "video_of", lambda self, i: f"video {-(i // 2)}")
  monkeypatch.setattr(Flaky, "group_of", lambda self, i: f"scene {i // 4}")
  clips, (action,) = made(cfg, "action")
  found = clips.clips("train")
  assert found.index.tolist() == [0, 1, 3, 4, 5, 6]
  a, b, c, d, e, f = found.video.tolist()
  assert a == b and d == e and len({a, c, d, f}) == 4
  assert found.group.tolist() == ["scene 0"] * 3 + ["scene 1"] * 3
  known = clips.known(action)
  assert known["test"].clips.index.tolist() == [0, 1, 3, 4, 5]
  assert known["test"].targets["action"].tolist() == [0, 1, 3, 4, 5]


def test_a_split_of_which_nothing_can_be_read_is_told(cfg, monkeypatch):
  cfg.evaluate.num_clips.test = 1
  clips, _ = made(cfg, "action")
  read = Flaky.read
  monkeypatch.setattr(
    Flaky, "read", lambda self, i, rng: read(self, 2 if i == 0 else i, rng)
  )
  with pytest.raises(errors.UserError, match="none of the 1 clips of .*'test'"):
    clips.clips("test")


def test_the_second_reading_is_of_pixels_alone_and_says_the_same(cfg):
  clips, _ = made(cfg, "action")
  first = [own for _, own in clips.batches("select")]
  Flaky.read_fields.clear()
  second = [own for _, own in clips.batches("select")]
  assert Flaky.read_fields == [("select", ("video",))]
  for one, other in zip(first, second, strict=True):
    assert one.keys() == other.keys()
    for key in one:
      np.testing.assert_array_equal(one[key], other[key])


def test_a_reading_that_was_left_is_not_kept(cfg):
  clips, _ = made(cfg, "action")
  next(iter(clips.batches("train")))
  assert len(clips.targets("train")["clip_valid"]) == 8  # two whole batches


@pytest.mark.parametrize("count", [2, 3, 4])
def test_hosts_take_turns_at_the_batches_of_one(cfg, monkeypatch, count):
  """7 train clips of 12, and 6 of test, by fours; clip 2 can't be read."""

  def one_after_another(clips, split):
    return [
      (batch["clip_index"][own["clip_valid"]].tolist(), own)
      for batch, own in clips.batches(split)
    ]

  def on_host(index):
    clips, _ = made(cfg, "action")
    read = [one_after_another(clips, "test") for _ in range(2)]
    return read, clips.targets("train"), clips.targets("test"), clips.num_read

  alone, _ = made(cfg, "action")
  found = many_hosts.run(monkeypatch, count, on_host)
  for split, place in (("train", 1), ("test", 2)):
    (action,) = alone.tasks
    expected = splits.valid_targets(action, alone.targets(split))
    for host in found:
      own = splits.valid_targets(action, host[place])
      np.testing.assert_array_equal(own["action"], expected["action"])
      assert host[3] == {"train": 6, "test": 5}
  for reading in (0, 1):
    each = [[index for index, _ in host[0][reading]] for host in found]
    assert each[0] == [[0, 1, 3]] and each[1] == [[4, 5]]
    assert all(part == [[]] for part in each[2:])
    for host in found:
      for _, own in host[0][reading]:
        assert own["action/action"].shape == own["clip_valid"].shape == (4,)


def test_images_are_the_middle_frames(cfg):
  images, _ = made(cfg, "shape")
  clips, _ = made(cfg, "action")
  assert images.first_clips(3).shape == (3, 1, 8, 8, 3)
  assert clips.first_clips(3).shape == (3, 5, 8, 8, 3)


def test_a_split_without_clips_is_refused(cfg, monkeypatch):
  monkeypatch.setattr(Flaky, "__len__", lambda self: 0)
  clips, _ = made(cfg, "action")
  with pytest.raises(errors.UserError, match="no clips"):
    clips.targets("test")
