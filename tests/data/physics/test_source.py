"""The simulated data set as a source: stored, or simulated live."""

import json
import pickle
import shutil

import numpy as np
import pytest

from configs import base
from vdr.data import schema, source
from vdr.data.physics import clip, records, scenes
from vdr.data.physics import source as physics_source
from vdr.runtime import errors


def _cfg(path, **changes):
  cfg = base.source()
  cfg.update(
    dict(path=str(path), num_frames=9, height=16, width=24, crop="none")
  )
  cfg.update(changes)
  return cfg


def _rng(seed=0):
  return np.random.default_rng(seed)


def _known(make_config, split, index):
  settings = clip.Settings.from_config(make_config().physics)
  return clip.simulate(settings, split, 3, index)


def test_the_kind_opens_it(dataset):
  opened = source.open_source(_cfg(dataset))
  assert isinstance(opened, physics_source.PhysicsSource)
  assert isinstance(opened, source.Source)
  assert opened.settings == clip.Settings("default", 9, 16, 24, 12.0, 8, 2)


@pytest.mark.parametrize(("split", "length"), [("train", 6), ("test", 3)])
def test_all_clips_are_there(dataset, make_config, split, length):
  opened = physics_source.PhysicsSource(_cfg(dataset, split=split))
  assert len(opened) == length
  for index in range(length):
    example = opened.read(index, _rng())
    known = _known(make_config, split, index)
    np.testing.assert_array_equal(example["video"], known["video"])


def test_only_the_fields_asked_for(dataset, make_config):
  opened = physics_source.PhysicsSource(
    _cfg(dataset, fields=("depth_m", "action", "points_xy", "factors"))
  )
  example = opened.read(1, _rng())
  known = _known(make_config, "train", 1)
  assert set(example) == {
    "video",
    "depth_m",
    "action",
    "points_xy",
    "points_visible",
    "points_object",
    "factors",
    "crop_affine",
  }
  assert example["action"] == known["action"]
  np.testing.assert_array_equal(example["points_xy"], known["points_xy"])
  np.testing.assert_allclose(example["depth_m"], known["depth_m"], atol=5.1e-4)


def test_fields_that_it_does_not_know_are_left_out(dataset):
  opened = physics_source.PhysicsSource(_cfg(dataset, fields=("label",)))
  assert set(opened.read(0, _rng())) == {"video", "crop_affine"}


def test_all_fields_fit_the_schema(dataset):
  opened = physics_source.PhysicsSource(_cfg(dataset, fields=records.FIELDS))
  example = opened.read(0, _rng())
  schema.check(example)
  assert set(example) == {*records.FIELDS, "crop_affine"}


def _frames_of(example, known):
  """Which frames of the whole clip an example has, by their times."""
  times_s = known["frame_times_s"]
  return [int(np.abs(times_s - t).argmin()) for t in example["frame_times_s"]]


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    (dict(num_frames=1, sampling="middle"), [4]),
    (dict(num_frames=5, sampling="middle"), [2, 3, 4, 5, 6]),
    (dict(num_frames=5, sampling="middle", stride=2), [0, 2, 4, 6, 8]),
    (dict(num_frames=3, sampling="middle", fps=6.0), [2, 4, 6]),
    (dict(num_frames=9, sampling="uniform"), list(range(9))),
    (dict(num_frames=11, short_videos="pad"), [*range(9), 8, 8]),
    (dict(num_frames=11, short_videos="loop"), [*range(9), 0, 1]),
  ],
)
def test_chosen_frames(dataset, make_config, changes, expected):
  fields = ("points_xy", "object_to_world", "segmentation", "frame_times_s")
  opened = physics_source.PhysicsSource(_cfg(dataset, fields=fields, **changes))
  example, known = opened.read(2, _rng()), _known(make_config, "train", 2)
  assert _frames_of(example, known) == expected
  for name in ("video", "segmentation"):
    np.testing.assert_array_equal(example[name], known[name][expected])
  for name in ("points_xy", "object_to_world"):  # the second axis is time
    np.testing.assert_array_equal(example[name], known[name][:, expected])


def test_random_frames_begin_anywhere_that_fits(dataset, make_config):
  opened = physics_source.PhysicsSource(
    _cfg(dataset, num_frames=5, fields=("frame_times_s",))
  )
  known, starts = _known(make_config, "train", 0), set()
  for seed in range(60):
    example = opened.read(0, _rng(seed))
    frames = _frames_of(example, known)
    starts.add(frames[0])
    assert frames == list(range(frames[0], frames[0] + 5))
    np.testing.assert_array_equal(example["video"], known["video"][frames])
    again = opened.read(0, _rng(seed))
    np.testing.assert_array_equal(again["video"], example["video"])
  assert starts == {0, 1, 2, 3, 4}


def test_several_clips_of_a_video(dataset, make_config):
  opened = physics_source.PhysicsSource(
    _cfg(
      dataset,
      num_frames=5,
      sampling="uniform",
      clips_per_video=3,
      fields=("frame_times_s",),
    )
  )
  assert len(opened) == 18
  known = _known(make_config, "train", 1)
  starts = [
    _frames_of(opened.read(3 + view, _rng()), known)[0] for view in range(3)
  ]
  assert starts == [0, 2, 4]
  assert [opened.clip_id(i) for i in (0, 1, 3)] == [
    "physics/train/0#0",
    "physics/train/0#1",
    "physics/train/1#0",
  ]


def test_three_crops(dataset, make_config):
  opened = physics_source.PhysicsSource(
    _cfg(dataset, height=16, width=16, crop="three")
  )
  assert len(opened) == 18
  known = _known(make_config, "train", 1)["video"]
  for view, left in enumerate((0, 4, 8)):  # 24 pixels wide: 8 to spare
    example = opened.read(3 + view, _rng())
    np.testing.assert_array_equal(
      example["video"], known[:, :, left : left + 16]
    )


def test_a_crop_moves_the_truth_along(dataset, make_config):
  opened = physics_source.PhysicsSource(
    _cfg(dataset, height=16, width=16, crop="center", fields=records.FIELDS)
  )
  example, known = opened.read(1, _rng()), _known(make_config, "train", 1)
  window = slice(4, 20)
  for name in ("video", "segmentation"):
    np.testing.assert_array_equal(example[name], known[name][:, :, window])
  np.testing.assert_allclose(
    example["points_xy"][..., 0] * 16 + 4, known["points_xy"][..., 0] * 24,
    atol=1e-4,
  )  # fmt: skip
  schema.check(example)


def test_names_of_clips_and_classes(dataset):
  opened = physics_source.PhysicsSource(_cfg(dataset, split="test"))
  assert opened.clip_id(2) == "physics/test/2"
  assert opened.class_names == {
    "shape": scenes.SHAPES,
    "action": scenes.ACTIONS,
    "camera_motion": scenes.CAMERA_MOTIONS,
  }


def test_it_can_be_sent_to_another_process(dataset):
  opened = physics_source.PhysicsSource(_cfg(dataset))
  before = opened.read(5, _rng())  # its reader is open now
  sent = pickle.loads(pickle.dumps(opened))
  np.testing.assert_array_equal(sent.read(5, _rng())["video"], before["video"])


def test_a_damaged_shard_is_a_bad_clip(dataset, tmp_path):
  damaged = tmp_path / "damaged"
  shutil.copytree(dataset, damaged)
  shard = damaged / records.shard_name("train", 0, 2)
  data = bytearray(shard.read_bytes())
  data[len(data) // 4 : len(data) // 2] = b"x" * (
    len(data) // 2 - len(data) // 4
  )
  shard.write_bytes(data)
  opened = physics_source.PhysicsSource(_cfg(damaged))
  bad = 0
  for index in range(4):
    try:
      opened.read(index, _rng())
    except source.BadClipError as error:
      bad += 1
      assert f"physics/train/{index}" in str(error)
  assert 1 <= bad <= 4
  opened.read(4, _rng())  # the other shard is whole


@pytest.mark.parametrize("how", ["absent", "cut"])
def test_a_shard_that_is_gone_is_a_bad_clip(dataset, tmp_path, how):
  damaged = tmp_path / "damaged"
  shutil.copytree(dataset, damaged)
  shard = damaged / records.shard_name("train", 0, 2)
  if how == "absent":
    shard.unlink()
  else:
    shard.write_bytes(shard.read_bytes()[:1000])
  opened = physics_source.PhysicsSource(_cfg(damaged))
  with pytest.raises(source.BadClipError, match="physics/train/1"):
    opened.read(1, _rng())


def test_a_missing_data_set_says_how_to_make_it(tmp_path):
  with pytest.raises(errors.UserError, match="configs/physics.py") as caught:
    physics_source.PhysicsSource(_cfg(tmp_path / "none"))
  assert str(tmp_path / "none") in str(caught.value)


@pytest.mark.parametrize("name", ["dataset_info.json", "config.json"])
def test_an_unfinished_data_set_is_refused(dataset, tmp_path, name):
  unfinished = tmp_path / "unfinished"
  shutil.copytree(dataset, unfinished)
  (unfinished / name).unlink()
  with pytest.raises(errors.UserError, match="no finished"):
    physics_source.PhysicsSource(_cfg(unfinished))


def test_an_unknown_split_is_named(dataset):
  with pytest.raises(errors.UserError, match="'pretrain'.*train, test"):
    physics_source.PhysicsSource(_cfg(dataset, split="pretrain"))
  with pytest.raises(errors.UserError, match="'validation'.*pretrain"):
    physics_source.PhysicsSource(_cfg("", split="validation"))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(fields=("colour",)), "'colour'"),
    (dict(sampling="often"), "sampling 'often'"),
    (dict(crop="round"), "crop 'round'"),
    (dict(num_frames=0), "num_frames is 0"),
  ],
)
def test_bad_values_are_named(dataset, changes, message):
  with pytest.raises(errors.UserError, match=message):
    physics_source.PhysicsSource(_cfg(dataset, **changes))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(height=8), "height=8"),
    (dict(width=1000), "width=1000"),
    (dict(num_frames=16), "num_frames=16"),
  ],
)
def test_live_sizes_are_checked(changes, message):
  with pytest.raises(errors.UserError, match=message):
    physics_source.PhysicsSource(_cfg("", **changes))


def test_live_clips_are_simulated():
  opened = physics_source.PhysicsSource(
    _cfg("", split="test", fields=records.FIELDS)
  )
  assert len(opened) == physics_source.LIVE_CLIPS
  example = opened.read(12345, _rng())
  known = clip.simulate(
    opened.settings, "test", physics_source.LIVE_SEED, 12345
  )
  assert set(example) == {*known, "crop_affine"}
  for name in known:
    if schema.FIELDS[name].is_text:
      assert schema.untext(example[name]) == schema.untext(known[name])
    else:
      np.testing.assert_allclose(
        example[name], known[name], atol=1e-6, err_msg=name
      )
  assert opened.clip_id(12345) == "physics/test/12345"
  json.loads(schema.untext(example["factors"]))


def test_all_is_every_split_one_after_another(dataset):
  *parts, whole = (
    physics_source.PhysicsSource(_cfg(dataset, split=split))
    for split in ("train", "test", "all")
  )
  assert len(whole) == sum(map(len, parts))
  ids = [part.clip_id(i) for part in parts for i in range(len(part))]
  assert [whole.clip_id(i) for i in range(len(whole))] == ids
  last = whole.read(len(whole) - 1, _rng())["video"]
  own = parts[-1].read(len(parts[-1]) - 1, _rng())["video"]
  np.testing.assert_array_equal(last, own)
  held = [set(part.contents().names) for part in parts]
  assert set(whole.contents().names) == set().union(*held)
  assert sum(map(len, held)) == len(whole.contents().names)
