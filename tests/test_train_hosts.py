"""Training on several hosts: lost, stopped, and gone on with.

The hosts are processes of one launcher that meet over loopback.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import psutil
import pytest

from tests import training
from vdr.runtime import checkpoints, errors, launcher, preemption

ROOT = pathlib.Path(__file__).resolve().parents[1]
NUM_STEPS = 14
WAIT_S = 1200  # for a run on a machine that is busy with other work
COMMAND = (
  *("--config=configs/video_dit.py:debug", "--noconfig.model.scan"),
  *("--config.data.batch_size=4", "--config.images.batch_size=4"),
  *(f"--config.train.amount={NUM_STEPS}", "--config.saving.every_steps=2"),
  *("--config.log.samples_every_steps=0", "--config.saving.keep_last=9"),
  "--config.train.validate_every_steps=0",
)

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def started(count, workdir):
  """A launcher of so many hosts, killed with them if the test fails."""
  process = subprocess.Popen(
    [
      *(sys.executable, "-m", "vdr.runtime.launcher"),
      *(f"--processes={count}", "--", *COMMAND, f"--workdir={workdir}"),
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  try:
    yield process
  finally:
    for left in (*hosts_of(process), process):
      with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        left.kill()
    process.communicate()


def hosts_of(process):
  """The processes of a launcher, by their index."""
  try:
    children = psutil.Process(process.pid).children()
    return sorted(
      children,
      key=lambda child: [w for w in child.cmdline() if "hosts.index" in w],
    )
  except psutil.NoSuchProcess:
    return []


def run(count, workdir):
  with started(count, workdir) as process:
    out, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    return out


def wait_for_checkpoint(process, workdir, step):
  while not (workdir / "checkpoints" / str(step)).exists():
    assert process.poll() is None, process.communicate()
    time.sleep(0.02)


def lose_one(count, index, workdir):
  """Kills one host in a step after the fourth; all must end, with one line."""
  with started(count, workdir) as process:
    wait_for_checkpoint(process, workdir, 4)
    hosts_of(process)[index].kill()
    before = time.monotonic()
    _, said = process.communicate(timeout=120)
  assert time.monotonic() - before < 30
  assert process.returncode == errors.TRY_AGAIN
  (line,) = [line for line in said.splitlines() if line.startswith("vdr: ")]
  assert line.startswith(f"vdr: host {index} of {count} was ended by SIGKILL")
  for word in ("stack trace", "coordination_service", "Traceback"):
    assert word not in said


def losses(workdir):
  found = {
    line["step"]: line["loss"]
    for line in training.metrics(workdir)
    if "loss" in line
  }
  assert sorted(found) == list(range(1, NUM_STEPS + 1))
  return np.array([found[step] for step in sorted(found)])


def params(workdir):
  leaves = jax.tree.leaves(checkpoints.restore_params(workdir, "params")[0])
  return np.concatenate([leaf.ravel() for leaf in leaves])


def assert_same(found, expected):
  np.testing.assert_array_equal(losses(found), losses(expected))
  np.testing.assert_array_equal(params(found), params(expected))


@pytest.fixture(scope="module")
def on_two(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("unbroken") / "run"
  run(2, workdir)
  return workdir


@pytest.mark.timeout(2400)
def test_a_run_that_lost_a_host_goes_on_bit_for_bit(on_two, tmp_path):
  lose_one(2, 1, tmp_path / "run")
  assert "going on after step" in run(2, tmp_path / "run")
  assert_same(tmp_path / "run", on_two)


@pytest.mark.timeout(2400)
def test_sigterm_on_one_host_leads_all_to_one_checkpoint(tmp_path):
  with started(2, tmp_path / "run") as process:
    wait_for_checkpoint(process, tmp_path / "run", 2)
    os.kill(hosts_of(process)[1].pid, signal.SIGTERM)
    out, said = process.communicate(timeout=WAIT_S)
  # One host heard it, not the launcher: for that the work has just ended.
  assert process.returncode == 0, said
  step = preemption.AGREE_EVERY
  line = f"stopped by SIGTERM after step {step}; the same command goes on\n"
  assert out.count(line) == 2
  meta = checkpoints.read_meta(tmp_path / "run")
  assert meta["step"] == step


@pytest.mark.timeout(2400)
def test_the_launcher_passes_sigterm_on_and_says_that_it_is_not_done(tmp_path):
  with started(2, tmp_path / "run") as process:
    wait_for_checkpoint(process, tmp_path / "run", 2)
    process.terminate()
    _, said = process.communicate(timeout=WAIT_S)
  assert process.returncode == launcher.STOPPED, said
  assert checkpoints.read_meta(tmp_path / "run")["step"] < NUM_STEPS


@pytest.mark.timeout(3000)
def test_four_hosts_lose_one_and_go_on_as_four_or_as_two(on_two, tmp_path):
  whole, lost, half = (tmp_path / name for name in ("whole", "lost", "half"))
  run(4, whole)
  lose_one(4, 0, lost)  # the one that the others meet at
  shutil.copytree(lost, half)
  run(4, lost)
  assert_same(lost, whole)
  # Fewer hosts: the same global batches in the same order.
  run(2, half)
  for other in (half, on_two):
    np.testing.assert_allclose(losses(other), losses(whole), rtol=1e-4)
    np.testing.assert_allclose(params(other), params(whole), atol=1e-5)
