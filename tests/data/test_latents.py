"""Stored latents as a source: what was stored, and what is refused."""

import json
import pickle

import numpy as np
import pytest
from array_record.python import array_record_module

from configs import base
from vdr.data import latents, source
from vdr.runtime import errors

SHAPES = {"latents": (2, 3, 3, 4), "frame_latents": (5, 3, 3, 4)}


@pytest.fixture
def folder(tmp_path):
  """Five clips in two shards; clip 3 could not be read."""
  rng = np.random.default_rng(0)
  examples = []
  for i in range(5):
    example = {
      name: rng.normal(size=shape).astype(np.float32)
      for stored, shape in SHAPES.items()
      for name in (stored, f"{stored}_std")
    }
    example["action"] = np.int32(i)
    example["frame_times_s"] = np.arange(5, dtype=np.float32)
    examples.append({"error": np.array(b"torn")} if i == 3 else example)
  for shard, (a, b) in enumerate([(0, 3), (3, 5)]):
    file = tmp_path / latents.shard_name("train", shard, 2)
    writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
    for example in examples[a:b]:
      writer.write(latents.encode(example))
    writer.close()
  about = {
    "num_frames": 5,
    "height": 24,
    "width": 24,
    "shapes": SHAPES,
    "labels": ["action"],
    "class_names": {"action": ["spin", "dash"]},
    "tokenizer": "0123",
    "shard_lengths": {"train": [3, 2]},
  }
  (tmp_path / latents.METADATA_NAME).write_text(json.dumps(about))
  return tmp_path, examples


def config(folder, /, **fields):
  cfg = base.source()
  fields = {
    "kind": "latents",
    "path": str(folder),
    "num_frames": 5,
    "height": 24,
    "width": 24,
    "fields": ("video", "action"),
  } | fields
  cfg.update(fields)
  return cfg


def test_clips_come_back(folder):
  path, examples = folder
  opened = source.open_source(config(path))
  assert isinstance(opened, source.Source)
  opened = pickle.loads(pickle.dumps(opened))
  assert len(opened) == 5
  assert opened.class_names == {"action": ("spin", "dash")}
  for i in (0, 2, 4):
    read = opened.read(i, np.random.default_rng(0))
    assert read.keys() == {"latents", "action"}
    np.testing.assert_array_equal(read["latents"], examples[i]["latents"])
    assert read["action"] == i


def test_videos_and_groups_are_those_of_what_was_encoded(folder):
  path, _ = folder
  opened = source.open_source(config(path))
  assert opened.video_of(3) == opened.group_of(3) == opened.clip_id(3)
  videos, groups = ["a", "a", "b", "b", "c"], ["x", "x", "y", "y", "x"]
  file = path / latents.items_name("train")
  np.savez_compressed(file, videos=videos, groups=groups)
  opened = pickle.loads(pickle.dumps(source.open_source(config(path))))
  assert [opened.video_of(i) for i in range(5)] == videos
  assert [opened.group_of(i) for i in range(5)] == groups
  np.savez_compressed(file, videos=videos[:4], groups=groups[:4])
  with pytest.raises(errors.UserError, match="names 4 items.*has 5"):
    source.open_source(config(path)).group_of(0)
  file.write_bytes(file.read_bytes()[:40])
  with pytest.raises(errors.UserError, match="encode the latents again"):
    source.open_source(config(path)).group_of(0)


def test_frames_are_drawn_as_from_pixels(folder):
  path, examples = folder
  cfg = config(path, num_frames=1, fields=("video", "latents_std"))
  opened = source.open_source(cfg)
  for seed in range(4):
    frame = np.random.default_rng(seed).integers(5)
    read = opened.read(1, np.random.default_rng(seed))
    for name in ("latents", "latents_std"):
      stored = examples[1][f"frame_{name}"]
      np.testing.assert_array_equal(read[name], stored[frame : frame + 1])


def test_what_could_not_be_read_still_can_not(folder):
  opened = source.open_source(config(folder[0]))
  with pytest.raises(source.BadClipError, match="torn"):
    opened.read(3, np.random.default_rng(0))


def test_a_damaged_file_spoils_its_own_clips_only(folder):
  path, _ = folder
  file = path / latents.shard_name("train", 1, 2)
  file.write_bytes(b"\0" * file.stat().st_size)
  opened = source.open_source(config(path))
  opened.read(0, np.random.default_rng(0))
  with pytest.raises(source.BadClipError, match="train/4"):
    opened.read(4, np.random.default_rng(0))


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(split="test"), "no split 'test'; it has train"),
    (dict(height=32), "clips of height 24, and 32 was asked for"),
    (dict(num_frames=9), "clips of num_frames 5, and 9 was"),
    (dict(fields=("video", "depth_m")), "no field 'depth_m', but action"),
    (dict(crop="random"), "set crop=center"),
    (dict(flip=True), "flip=False"),
    (dict(path="/nowhere"), "no finished latents in /nowhere"),
  ],
)
def test_what_the_latents_do_not_have_is_refused(folder, fields, message):
  with pytest.raises(errors.UserError, match=message):
    source.open_source(config(folder[0], **fields))


def test_a_set_without_single_frames_says_so(folder):
  path, _ = folder
  file = path / latents.METADATA_NAME
  about = json.loads(file.read_text())
  del about["shapes"]["frame_latents"]
  file.write_text(json.dumps(about))
  with pytest.raises(errors.UserError, match="latents.frames=True"):
    source.open_source(config(path, num_frames=1))
