"""Logs that the stock tools read, with each step once, whatever was killed."""

import json
import os
import signal
import struct
import subprocess
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2

from configs import base
from vdr.runtime import errors, logs


@pytest.fixture
def cfg():
  return base.default().log


def events(folder):
  """Reads event files as TFRecords, every checksum verified."""
  for path in sorted(folder.glob("events.out.tfevents.*")):
    data, at = path.read_bytes(), 0
    while at < len(data):
      header, (check,) = (
        data[at : at + 8],
        struct.unpack_from("<I", data, at + 8),
      )
      assert check == masked(header)
      (length,) = struct.unpack("<Q", header)
      body = data[at + 12 : at + 12 + length]
      (check,) = struct.unpack_from("<I", data, at + 12 + length)
      assert check == masked(body)
      yield event_pb2.Event.FromString(body)
      at += 16 + length


def masked(data):
  check = crc32c(data)
  return (((check >> 15) | (check << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def shown_scalars(folder):
  """What TensorBoard shows: a START event hides what it purges."""
  found = []
  for event in events(folder):
    if event.HasField("session_log"):
      found = [f for f in found if f[1] < event.step]
    for value in event.summary.value:
      if value.HasField("simple_value"):
        found.append((value.tag, event.step, value.simple_value))
  return found


def test_numbers_come_back(tmp_path, cfg):
  with logs.Logger(tmp_path, cfg) as logger:
    logger.scalars(1, {"loss": jnp.float32(0.5), "rates/clips_per_s": 3})
    logger.scalars(2, {"loss": np.float64(0.25)})
    logger.text(2, "config", "**a**")
  lines = logs.read_metrics(tmp_path / "metrics.jsonl")
  for line in lines:
    assert line.pop("time") > 1e9
  assert lines == [
    {"step": 1, "loss": 0.5, "rates/clips_per_s": 3.0},
    {"step": 2, "loss": 0.25},
  ]
  assert shown_scalars(tmp_path / "tensorboard") == [
    ("loss", 1, 0.5),
    ("rates/clips_per_s", 1, 3.0),
    ("loss", 2, 0.25),
  ]
  tags = [
    v.tag for e in events(tmp_path / "tensorboard") for v in e.summary.value
  ]
  assert any("config" in tag for tag in tags)


def test_every_line_is_strict_json_even_with_nan(tmp_path, cfg):
  def refuse(constant):
    raise AssertionError(constant)

  with logs.Logger(tmp_path, cfg) as logger:
    logger.scalars(1, {"loss": float("nan"), "norm": float("inf")})
  text = (tmp_path / "metrics.jsonl").read_text()
  line = json.loads(text, parse_constant=refuse)
  assert (line["loss"], line["norm"]) == (None, None)
  ((_, _, loss), _) = shown_scalars(tmp_path / "tensorboard")
  assert np.isnan(loss)


def test_names_of_the_log_itself_are_taken(tmp_path, cfg):
  with logs.Logger(tmp_path, cfg) as logger:
    with pytest.raises(ValueError, match="step"):
      logger.scalars(1, {"step": 3})


KILLED = """
import pathlib, sys, time
from configs import base
from vdr.runtime import logs
logger = logs.Logger(pathlib.Path(sys.argv[1]), base.default().log)
for step in range(1, 8):
  logger.scalars(step, {"loss": float(step)})
# It writes in a thread, which its flush does not wait for.
writer = logger._tensorboard.file_writer.event_writer
while not writer._event_queue.empty():
  time.sleep(0.05)
time.sleep(0.2)
writer.flush()
logger._file.write('{"step": 8, "lo')
logger._file.flush()
print("ready", flush=True)
time.sleep(600)
"""


def test_killed_and_resumed_each_step_is_there_once(tmp_path, cfg):
  process = subprocess.Popen(
    [sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE
  )
  assert process.stdout is not None
  assert process.stdout.readline() == b"ready\n"
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  process.stdout.close()
  # The last checkpoint was that of step 4.
  with logs.Logger(tmp_path, cfg, step=4) as logger:
    for step in range(5, 11):
      logger.scalars(step, {"loss": 10.0 * step})
  expected = [(s, 1.0 * s) for s in range(1, 5)]
  expected += [(s, 10.0 * s) for s in range(5, 11)]
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  found = [json.loads(line) for line in lines]
  assert [(line["step"], line["loss"]) for line in found] == expected
  shown = shown_scalars(tmp_path / "tensorboard")
  assert [(step, value) for _, step, value in shown] == expected


def test_a_new_start_from_nothing_shows_nothing_old(tmp_path, cfg):
  for value in (1.0, 2.0):  # killed before the first checkpoint
    with logs.Logger(tmp_path, cfg) as logger:
      logger.scalars(1, {"loss": value})
  (line,) = logs.read_metrics(tmp_path / "metrics.jsonl")
  assert line["loss"] == 2.0
  assert shown_scalars(tmp_path / "tensorboard") == [("loss", 1, 2.0)]


def test_other_hosts_write_nothing(tmp_path, cfg):
  with logs.Logger(tmp_path, cfg, process_index=1) as logger:
    logger.scalars(1, {"loss": 1.0})
    logger.picture(1, "samples", np.zeros((4, 4, 3), np.uint8))
    logger.text(1, "a", "b")
  assert list(tmp_path.iterdir()) == []


def test_pictures_are_shown(tmp_path, cfg):
  with logs.Logger(tmp_path, cfg) as logger:
    logger.picture(20, "samples", np.zeros((24, 32, 3), np.uint8))
  (picture,) = [
    value.image
    for event in events(tmp_path / "tensorboard")
    for value in event.summary.value
    if value.HasField("image")
  ]
  assert (picture.height, picture.width) == (24, 32)


def test_the_console_line():
  values = {"loss": 0.12345, "clips_per_s": 12345.6, "share_of_peak": 0.404}
  line = logs.show(values)
  assert line == "loss 0.1235, clips_per_s 12,346, 40% of peak"


def test_weights_and_biases_get_the_same_numbers(tmp_path, cfg, monkeypatch):
  calls = []
  run = types.SimpleNamespace(
    log=lambda numbers, step: calls.append((step, numbers)),
    finish=lambda: calls.append("finish"),
  )
  ids = []
  fake = types.SimpleNamespace(
    init=lambda **kwargs: ids.append(kwargs["id"]) or run,
    Image=lambda picture: picture.shape,
  )
  monkeypatch.setitem(sys.modules, "wandb", fake)
  cfg.wandb = True
  for _ in range(2):
    with logs.Logger(tmp_path, cfg, config={"seed": 1}) as logger:
      logger.scalars(1, {"loss": 2.0})
  logger.scalars(2, {"loss": 2.0})  # closed
  assert calls == [(1, {"loss": 2.0}), "finish"] * 2
  assert ids[0] == ids[1]  # one run, however often it starts


def test_weights_and_biases_that_are_not_there(tmp_path, cfg, monkeypatch):
  monkeypatch.setitem(sys.modules, "wandb", None)
  cfg.wandb = True
  with pytest.raises(errors.UserError, match="pip install wandb"):
    logs.Logger(tmp_path, cfg)


def test_the_profile_has_the_steps_asked_for(tmp_path, cfg, monkeypatch):
  calls = []
  monkeypatch.setattr(
    logs.jax.profiler, "start_trace", lambda path: calls.append("start")
  )
  monkeypatch.setattr(
    logs.jax.profiler, "stop_trace", lambda: calls.append("stop")
  )
  cfg.profile_steps = (3, 4)
  profiler = logs.Profiler(tmp_path, cfg)
  for step in range(1, 7):
    profiler.before(step)
    calls.append(step)
    profiler.after(step, jnp.zeros(()))
  profiler.close()
  assert calls == [1, 2, "start", 3, 4, "stop", 5, 6]


def test_a_profile_that_a_killed_loop_left_open_is_closed(
  tmp_path, cfg, monkeypatch
):
  calls = []
  monkeypatch.setattr(
    logs.jax.profiler, "start_trace", lambda path: calls.append("start")
  )
  monkeypatch.setattr(
    logs.jax.profiler, "stop_trace", lambda: calls.append("stop")
  )
  cfg.profile_steps = (1, 9)
  profiler = logs.Profiler(tmp_path, cfg)
  profiler.before(1)
  profiler.close()
  profiler.close()
  assert calls == ["start", "stop"]


@pytest.mark.parametrize("steps", [(3,), (4, 3), (0, 3), (1, 2, 3)])
def test_a_profile_without_a_beginning_and_an_end(tmp_path, cfg, steps):
  cfg.profile_steps = steps
  with pytest.raises(errors.UserError, match="profile_steps"):
    logs.Profiler(tmp_path, cfg)
