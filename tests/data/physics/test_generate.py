"""Kills, workers and mistakes: the files are the same, or there are none."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from vdr import main
from vdr.data.physics import clip, generate, records
from vdr.runtime import errors, workdir

ROOT = pathlib.Path(__file__).resolve().parents[3]
PATIENCE_S = 120  # for processes that are certain to come to an end


def _contents(path):
  """Every file but the lock, by name; the config without `runtime`."""
  files = {
    entry.name: entry.read_bytes()
    for entry in path.iterdir()
    if entry.name != workdir.LOCK_NAME
  }
  config = json.loads(files[workdir.CONFIG_NAME])
  del config["runtime"]
  files[workdir.CONFIG_NAME] = json.dumps(config).encode()
  return files


def _command(path, *flags):
  return [
    sys.executable,
    "-m",
    "vdr.main",
    "--config=configs/physics.py:debug",
    f"--workdir={path}",
    *flags,
  ]


def _wait_until(condition):
  deadline = time.monotonic() + PATIENCE_S
  while not condition():
    assert time.monotonic() < deadline, "it never came to that"
    time.sleep(0.01)


def _shards(path):
  return sorted(path.glob("physics-*.array_record-*"))


def _kill_midway(path, *flags):
  """Starts the verb and kills it when the first shard is there."""
  process = subprocess.Popen(
    _command(path, *flags),
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  try:
    _wait_until(lambda: _shards(path) or process.poll() is not None)
    assert process.poll() is None, "it ended before it could be killed"
    workers = psutil.Process(process.pid).children(recursive=True)
  finally:
    process.kill()
    process.wait()
  return workers


def _gone(process):
  try:
    return process.status() == psutil.STATUS_ZOMBIE
  except psutil.NoSuchProcess:
    return True


def test_a_killed_run_goes_on_to_the_same_files(tmp_path):
  flags = ("--config.physics.num_frames=5", "--config.physics.num_clips.test=8")
  killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
  workers = _kill_midway(killed, *flags, "--config.runtime.num_workers=2")
  assert len(workers) >= 2
  try:
    _wait_until(lambda: all(map(_gone, workers)))
  finally:
    for worker in workers:
      if not _gone(worker):
        worker.kill()
  finished = {path.name: path.stat().st_mtime_ns for path in _shards(killed)}
  assert finished
  assert not (killed / "dataset_info.json").exists()
  # As if the kill had come in the middle of a shard.
  (killed / ".physics-test.array_record-00000-of-00001.0a1b2c3d.tmp").touch()

  for path in (killed, unbroken):
    done = subprocess.run(
      _command(path, *flags, "--config.runtime.num_workers=1"),
      cwd=ROOT,
      capture_output=True,
      text=True,
    )
    assert done.returncode == 0, done.stderr
  assert _contents(killed) == _contents(unbroken)
  assert len(_shards(killed)) == 9
  assert not list(killed.glob(".*.tmp*"))
  for name, written in finished.items():  # kept, not made again
    assert (killed / name).stat().st_mtime_ns == written


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_number_of_workers_changes_nothing(
  dataset, make_config, tmp_path, num_workers
):
  config = make_config()
  config.runtime.num_workers = num_workers
  generate.run(config, tmp_path)
  assert _contents(tmp_path) == _contents(dataset)


def test_shards_and_their_lengths(dataset):
  assert [path.name for path in _shards(dataset)] == [
    "physics-test.array_record-00000-of-00001",
    "physics-train.array_record-00000-of-00002",
    "physics-train.array_record-00001-of-00002",
  ]
  info = json.loads((dataset / "dataset_info.json").read_text())
  lengths = {split["name"]: split["shardLengths"] for split in info["splits"]}
  assert lengths == {"train": ["4", "2"], "test": ["3"]}


def test_a_missing_shard_is_made_again(dataset, make_config, tmp_path, capsys):
  generate.run(make_config(), tmp_path)
  before = _contents(tmp_path)
  _shards(tmp_path)[1].unlink()
  capsys.readouterr()
  generate.run(make_config(), tmp_path)
  assert "9 clips" in (out := capsys.readouterr().out)
  assert "5 are there" in out
  assert _contents(tmp_path) == before


def test_a_finished_set_is_left_as_it_is(make_config, tmp_path):
  generate.run(make_config(), tmp_path)
  written = {path: path.stat().st_mtime_ns for path in _shards(tmp_path)}
  generate.run(make_config(), tmp_path)
  assert written == {path: path.stat().st_mtime_ns for path in written}


SMALLEST = (
  "--config.physics.height=16",
  "--config.physics.width=16",
  "--config.physics.num_frames=1",
  "--config.physics.num_clips.pretrain=0",
  "--config.physics.num_clips.train=1",
  "--config.physics.num_clips.select=0",
  "--config.physics.num_clips.test=0",
  "--config.physics.num_clips.test_ood=0",
  "--config.runtime.num_workers=0",
)


def test_another_size_in_the_same_folder_is_refused(tmp_path, capsys):
  assert main.main(_command(tmp_path, *SMALLEST)[2:]) == 0
  before = _contents(tmp_path)
  capsys.readouterr()
  flags = (*SMALLEST, "--config.physics.height=24")
  assert main.main(_command(tmp_path, *flags)[2:]) == 2
  message = capsys.readouterr().err
  assert message.startswith("vdr: ")
  assert "physics.height" in message and str(tmp_path) in message
  assert message.count("\n") == 1
  assert _contents(tmp_path) == before


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(num_clips=dict(train=0, test=0)), "physics.num_clips"),
    (dict(num_clips=dict(test=999_999_937)), "clips_per_shard to 10001 or"),
    (dict(height=3), "physics.height=3"),
    (dict(scene="moon"), "physics.scene='moon'"),
  ],
)
def test_bad_configs_are_named_before_anything_is_made(
  make_config, tmp_path, changes, message
):
  path = tmp_path / "set"
  with pytest.raises(errors.UserError, match=message):
    generate.run(make_config(**changes), path)
  assert not path.exists()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_of_a_worker_reaches_the_caller(tmp_path, num_workers):
  settings = clip.Settings("default", 1, 16, 16, 12.0, 4, 0)
  shards = [
    generate._Shard(folder / f"shard{i}", "train", i, i + 1)
    for i, folder in enumerate([tmp_path, tmp_path / "missing", tmp_path])
  ]
  with pytest.raises(FileNotFoundError, match="missing"):
    list(generate._make(shards, settings, 0, num_workers))
  assert not list(tmp_path.glob(".*"))  # no half a shard


def test_a_killed_worker_is_an_error_not_a_wait(tmp_path):
  settings = clip.Settings("default", 17, 32, 32, 12.0, 4, 3)
  shards = [generate._Shard(tmp_path / "shard", "train", 0, 1000)]
  work = generate._make(shards, settings, 0, 1)
  next(work)
  children = psutil.Process(os.getpid()).children()
  worker = [p for p in children if "spawn_main" in " ".join(p.cmdline())]
  assert len(worker) == 1
  worker[0].send_signal(signal.SIGKILL)
  with pytest.raises(Exception, match="terminated abruptly"):
    list(work)
  assert not (tmp_path / "shard").exists()


def test_every_clip_is_in_one_shard(make_config, tmp_path):
  cfg = make_config(clips_per_shard=4).physics
  shards = generate._plan(cfg, tmp_path)
  clips = [
    (shard.split, index)
    for shard in shards
    for index in range(shard.start, shard.stop)
  ]
  expected = [("train", i) for i in range(6)] + [("test", i) for i in range(3)]
  assert clips == expected
  assert shards[1].path.name == records.shard_name("train", 1, 2)
