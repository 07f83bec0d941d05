"""What is written is what is read, by vdr and by TFDS, without TensorFlow."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from array_record.python import array_record_data_source

from vdr.data import schema
from vdr.data.physics import clip, records

SETTINGS = clip.Settings("cluttered", 5, 16, 24, 12.0, 8, 2)


@pytest.fixture(scope="module")
def example():
  return clip.simulate(SETTINGS, "train", 0, 4)


def _assert_stored(known, read):
  """Equal, but for the rounding of the dense truth."""
  for name, value in read.items():
    assert value.dtype == known[name].dtype, name
    if name == "depth_m":
      np.testing.assert_allclose(value, known[name], rtol=0, atol=5.1e-4)
      np.testing.assert_array_equal(value == 0, known[name] == 0)
    elif name == "normals":
      np.testing.assert_allclose(value, known[name], rtol=0, atol=1 / 253.9)
    else:
      np.testing.assert_array_equal(value, known[name], name)


def test_a_clip_comes_back(example):
  shapes = records.shapes(SETTINGS)
  read = records.decode(records.encode(example), records.FIELDS, shapes)
  assert set(read) == set(example) == set(records.FIELDS)
  schema.check(read)
  _assert_stored(example, read)


def test_every_known_clip_comes_back(known_clips):
  for known in known_clips[::9]:
    shapes = records.shapes(known.settings)
    record = records.encode(known.example)
    _assert_stored(
      known.example, records.decode(record, records.FIELDS, shapes)
    )


def test_the_same_clip_gives_the_same_bytes(example):
  again = clip.simulate(SETTINGS, "train", 0, 4)
  assert records.encode(again) == records.encode(example)
  backwards = dict(reversed(again.items()))
  assert records.encode(backwards) == records.encode(example)
  other = clip.simulate(SETTINGS, "train", 0, 5)
  assert records.encode(other) != records.encode(example)


def test_only_what_is_asked_for_is_read(example):
  record = records.encode(example)
  shapes = records.shapes(SETTINGS)
  read = records.decode(record, ("caption", "video"), shapes)
  assert list(read) == ["caption", "video"]
  # And nothing else is touched: the others may even be broken.
  broken = dict(example, depth_m=example["depth_m"][:1])
  read = records.decode(records.encode(broken), ("video",), shapes)
  np.testing.assert_array_equal(read["video"], example["video"])
  with pytest.raises(ValueError):
    records.decode(records.encode(broken), ("depth_m",), shapes)


@pytest.mark.parametrize("depth_m", [0.0, 0.001, 0.0254, 2.5, 59.9996, 60.0])
def test_depths_up_to_the_farthest_fit(example, depth_m):
  filled = dict(example, depth_m=np.full_like(example["depth_m"], depth_m))
  read = records.decode(
    records.encode(filled), ("depth_m",), records.shapes(SETTINGS)
  )
  np.testing.assert_allclose(read["depth_m"], depth_m, rtol=0, atol=5.1e-4)


def test_normals_of_all_directions(example):
  rng = np.random.default_rng(0)
  normals = rng.normal(size=example["normals"].shape)
  normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
  normals[0, 0, :3] = np.eye(3)
  normals[0, 1, :3] = -np.eye(3)
  filled = dict(example, normals=normals.astype(np.float32))
  read = records.decode(
    records.encode(filled), ("normals",), records.shapes(SETTINGS)
  )
  np.testing.assert_allclose(read["normals"], normals, rtol=0, atol=1 / 253.9)


def test_unknown_labels_are_kept():
  settings = dataclasses.replace(SETTINGS, scene="brick_wall")
  wall = clip.simulate(settings, "train", 0, 0)
  labels = ("shape", "action")
  read = records.decode(records.encode(wall), labels, records.shapes(settings))
  assert (read["shape"], read["action"]) == (-1, -1)


def test_texts_are_kept(example):
  longest = "ä" * (schema.MAX_TEXT_BYTES // 2)
  changed = dict(example, caption=schema.text(longest))
  read = records.decode(records.encode(changed), ("caption", "factors"), {})
  assert schema.untext(read["caption"]) == longest
  assert read["factors"] == example["factors"]


def test_shapes_are_those_of_the_clips(example):
  shapes = records.shapes(SETTINGS)
  assert {name: example[name].shape for name in shapes} == shapes


def test_shard_names_are_those_of_tfds():
  name = records.shard_name("train", 3, 12)
  assert name == "physics-train.array_record-00003-of-00012"


def test_a_shard_holds_its_records_and_is_the_same_twice(tmp_path):
  data = [bytes([i]) * (100 + i) for i in range(9)]
  for name in ("one", "two"):
    records.write_shard(tmp_path / name, data)
  assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
  reader = array_record_data_source.ArrayRecordDataSource(
    [str(tmp_path / "one")]
  )
  assert [reader[i] for i in range(len(reader))] == data


def test_a_shard_is_written_whole_or_not_at_all(tmp_path):
  def failing():
    yield b"first"
    raise RuntimeError("no second")

  with pytest.raises(RuntimeError, match="no second"):
    records.write_shard(tmp_path / "shard", failing())
  assert list(tmp_path.iterdir()) == []
  records.write_shard(tmp_path / "shard", [b"old"])
  before = (tmp_path / "shard").read_bytes()
  with pytest.raises(RuntimeError, match="no second"):
    records.write_shard(tmp_path / "shard", failing())
  assert (tmp_path / "shard").read_bytes() == before
  assert len(list(tmp_path.iterdir())) == 1


READ_WITH_TFDS = """
import sys
import numpy as np
import tensorflow_datasets as tfds

builder = tfds.builder_from_directory(sys.argv[1])
values = {}
for split in ("train", "test"):
  data = builder.as_data_source(split)
  for i in range(len(data)):
    for name, value in data[i].items():
      if isinstance(value, (bytes, str)):
        value = np.array(value)
      values[f"{split} {i} {name}"] = np.asarray(value)
names = builder.info.features["action"].names
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
np.savez(sys.argv[2], names=names, **values)
"""


def test_tfds_reads_the_same_without_tensorflow(dataset, make_config, tmp_path):
  out = tmp_path / "read.npz"
  done = subprocess.run(
    [sys.executable, "-c", READ_WITH_TFDS, str(dataset), str(out)],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  settings = clip.Settings.from_config(make_config().physics)
  with np.load(out) as read:
    assert tuple(read["names"]) == clip.CLASS_NAMES["action"]
    numbers = {tuple(k.split()[:2]) for k in read.files if k != "names"}
    assert len(numbers) == 9
    for split, i in numbers:
      known = clip.simulate(settings, split, 3, int(i))
      one = {
        key.split()[2]: read[key]
        for key in read.files
        if key.startswith(f"{split} {i} ")
      }
      _assert_same_as_tfds(known, one)


def _assert_same_as_tfds(known, one):
  millimetres, normals = one.pop("depth_mm"), one.pop("normals_127")
  assert (millimetres.dtype, normals.dtype) == (np.uint16, np.int8)
  np.testing.assert_allclose(millimetres / 1e3, known["depth_m"], atol=5.1e-4)
  np.testing.assert_allclose(normals / 127, known["normals"], atol=1 / 253.9)
  assert one.keys() == known.keys() - {"depth_m", "normals"}
  for name, value in one.items():
    if schema.FIELDS[name].is_text:
      assert bytes(value).rstrip(b"\0") == bytes(known[name]).rstrip(b"\0")
    else:
      np.testing.assert_array_equal(value, known[name], name)


def test_making_and_reading_imports_no_tensorflow(dataset):
  code = (
    "import sys\n"
    "from configs import base\n"
    "from vdr.data import source\n"
    "import vdr.data.physics.generate\n"
    "import numpy as np\n"
    "cfg = base.source()\n"
    "cfg.path, cfg.num_frames = sys.argv[1], 9\n"
    "source.open_source(cfg).read(0, np.random.default_rng(0))\n"
    "assert not {'tensorflow', 'jax'} & set(sys.modules)\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code, str(dataset)], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
