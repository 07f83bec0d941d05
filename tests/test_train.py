"""Training: killed and resumed equals unbroken, and what it leaves behind."""

import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests import training
from vdr import train, train_step
from vdr.runtime import checkpoints, errors, preemption

ROOT = pathlib.Path(__file__).resolve().parents[1]


def config(**fields):
  fields = {
    "train__amount": 4.0,
    "saving__every_steps": 1,
    "saving__budgets_percent": (50, 100),
    "train__validate_every_steps": 2,
    "optimizer__learning_rate": 1e-3,
  } | fields
  return training.config(**fields)


def final_params(workdir):
  return checkpoints.restore_params(workdir, "params")[0]


def assert_equal_trees(first, second):
  jax.tree.map(np.testing.assert_array_equal, first, second)


def step_losses(workdir):
  return {
    line["step"]: line["loss"]
    for line in training.metrics(workdir)
    if "loss" in line
  }


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("unbroken") / "run"
  train.run(config(), workdir)
  return workdir


def test_a_run_leaves_losses_checkpoints_and_its_budget(unbroken):
  assert sorted(step_losses(unbroken)) == [1, 2, 3, 4]
  assert all(np.isfinite(loss) for loss in step_losses(unbroken).values())
  meta = checkpoints.read_meta(unbroken)
  assert meta["step"] == 4 and meta["config"]["model"]["size"] == "micro"
  tokens = (2 * 5 + 2) * 16
  assert meta["budget"]["tokens"] == 4 * tokens
  assert meta["budget"]["flops"] > 0
  validated = [
    line["step"]
    for line in training.metrics(unbroken)
    if "validation/clips" in line
  ]
  assert validated == [2, 4]
  assert list((unbroken / "tensorboard").iterdir())
  waits = [
    line["wait_share"]
    for line in training.metrics(unbroken)
    if "wait_share" in line
  ]
  assert len(waits) == 4 and all(0 <= share <= 1 for share in waits)


def test_a_finished_run_is_left_alone(unbroken, capsys):
  train.run(config(), unbroken)
  assert "all 4 steps are done" in capsys.readouterr().out


def test_a_stopped_and_resumed_run_equals_the_unbroken_one(
  unbroken, tmp_path, monkeypatch, capsys
):
  workdir = tmp_path / "run"
  with monkeypatch.context() as patch:
    patch.setattr(
      preemption.Preemption, "requested", lambda self, step: step == 2
    )
    with pytest.raises(
      errors.Stopped, match="by SIGTERM after step 2; the same"
    ):
      train.run(config(), workdir)
  assert sorted(step_losses(workdir)) == [1, 2]
  train.run(config(), workdir)
  assert "going on after step 2" in capsys.readouterr().out
  assert step_losses(workdir) == step_losses(unbroken)
  assert_equal_trees(final_params(workdir), final_params(unbroken))


def breaks(monkeypatch, *broken):
  """Gives the steps of these numbers latents that are not finite."""
  make_step = train_step.make_step

  def make(*args):
    fns = make_step(*args)

    def update(state, tokenizer_params, batch, key):
      if int(state["step"]) + 1 in broken:
        tokenizer_params = jax.tree.map(lambda x: x * np.nan, tokenizer_params)
      return fns.update(state, tokenizer_params, batch, key)

    return dataclasses.replace(fns, update=update)

  monkeypatch.setattr(train_step, "make_step", make)


def test_after_too_many_bad_steps_it_goes_back(tmp_path, monkeypatch, capsys):
  breaks(monkeypatch, 2, 3)
  train.run(config(optimizer__max_skips=2), tmp_path / "run")
  assert "step 3: not finite any more; back to the checkpoint of step 1" in (
    capsys.readouterr().out
  )
  losses = step_losses(tmp_path / "run")
  assert (losses[2], losses[3]) == (None, None)
  assert np.isfinite(losses[1]) and np.isfinite(losses[4])


def test_when_going_back_does_not_help_it_is_an_error(tmp_path, monkeypatch):
  breaks(monkeypatch, 1, 2, 3, 4)
  with pytest.raises(errors.UserError, match="lower optimizer.learning_rate"):
    train.run(config(optimizer__max_skips=2), tmp_path / "run")


def test_images_alone_can_be_trained_on(tmp_path):
  cfg = config(
    data__batch_size=0,
    model__spatiotemporal_blocks="spatial",
    train__amount=1.0,
    train__validate_every_steps=0,
  )
  train.run(cfg, tmp_path / "run")
  (line,) = training.metrics(tmp_path / "run")
  assert "train/images" in line and "train/clips" not in line


def test_a_tokenizer_that_has_to_be_trained_is_asked_for(tmp_path):
  cfg = config(tokenizer__kind="conv")
  with pytest.raises(errors.UserError, match="tokenizer.path is empty"):
    train.run(cfg, tmp_path / "run")
  assert not (tmp_path / "run").exists()


COMMAND = (
  *(sys.executable, "-m", "vdr.main", "--config=configs/video_dit.py:debug"),
  *("--config.train.amount=30", "--config.saving.every_steps=1"),
  *("--config.log.samples_every_steps=0", "--noconfig.model.scan"),
  "--config.train.validate_every_steps=0",
)


@pytest.mark.slow
def test_two_hosts_train_as_one(tmp_path):
  """Two processes that meet over loopback, each with its share of a batch."""
  with socket.socket() as found:
    found.bind(("localhost", 0))
    address = f"localhost:{found.getsockname()[1]}"
  command = [
    *(*COMMAND, "--config.train.amount=3", "--config.log.num_samples=2"),
    *("--config.train.validate_every_steps=2", "--config.mesh.fsdp=2"),
    "--config.log.samples_every_steps=3",
  ]
  both = [f"--config.hosts.coordinator={address}", "--config.hosts.count=2"]
  path = tmp_path / "two"
  processes = [
    subprocess.Popen(
      [*command, *both, f"--config.hosts.index={i}", f"--workdir={path}"],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      text=True,
    )
    for i in range(2)
  ]
  outs = [process.communicate(timeout=300)[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], outs
  assert "parameters" in outs[0] and "parameters" not in outs[1]
  assert list((path / "samples").glob("*.gif"))
  one = [*command, "--config.mesh.fsdp=1", f"--workdir={tmp_path / 'one'}"]
  subprocess.run(one, cwd=ROOT, check=True)
  found, expected = step_losses(path), step_losses(tmp_path / "one")
  assert sorted(found) == [1, 2, 3]
  for step, loss in expected.items():
    np.testing.assert_allclose(found[step], loss, rtol=1e-4)
  # What two hosts wrote, one reads.
  np.testing.assert_allclose(
    *(
      np.concatenate([x.ravel() for x in jax.tree.leaves(final_params(p))])
      for p in (path, tmp_path / "one")
    ),
    atol=1e-5,
  )


@pytest.mark.slow
def test_a_killed_run_equals_the_unbroken_one_bit_for_bit(tmp_path):
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  subprocess.run([*COMMAND, f"--workdir={whole}"], cwd=ROOT, check=True)
  # In the compilation, and in steps and saves, wherever they are then.
  for patience in (5.0, 0.3, 0.7, 1.1):
    process = subprocess.Popen([*COMMAND, f"--workdir={killed}"], cwd=ROOT)
    seen = len(list((killed / "checkpoints").glob("[0-9]*")))
    if patience < 5:
      wait_for_checkpoint(killed, seen)
    time.sleep(patience)
    process.kill()
    process.wait()
  subprocess.run([*COMMAND, f"--workdir={killed}"], cwd=ROOT, check=True)
  assert step_losses(killed) == step_losses(whole)
  assert_equal_trees(final_params(killed), final_params(whole))


@pytest.mark.slow
def test_sigterm_saves_and_exits_0_with_a_message(tmp_path):
  process = subprocess.Popen(
    [*COMMAND, f"--workdir={tmp_path / 'run'}"],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )
  wait_for_checkpoint(tmp_path / "run", 0)
  os.kill(process.pid, signal.SIGTERM)
  out, _ = process.communicate()
  assert process.returncode == 0
  assert "stopped by SIGTERM after step" in out


def wait_for_checkpoint(workdir, seen):
  for _ in range(6000):
    if len(list((workdir / "checkpoints").glob("[0-9]*"))) > seen:
      return
    time.sleep(0.05)
  raise AssertionError("no checkpoint appeared")


def test_a_class_with_another_name_ends_a_resumed_run():
  check = train._check_classes
  check({}, {"class_names": ["a", "b"]})  # an earlier version kept no names
  check({"class_names": ["a", "b"]}, {"class_names": ["a", "b"]})
  with pytest.raises(errors.UserError, match="class 0 .* 'B', and was 'a'"):
    check({"class_names": ["a", "b"]}, {"class_names": ["B", "a"]})
