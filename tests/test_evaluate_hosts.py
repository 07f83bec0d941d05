"""The verbs on several hosts against one: processes that meet over loopback."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests import training
from vdr import results, train
from vdr.runtime import launcher

ROOT = pathlib.Path(__file__).resolve().parents[1]
WAIT_S = 1200  # on a machine that is busy with other work

# Batches of 4: 18 clips are 5 batches, 7 are 2, 11 are 3, and the last ones are
# not full; two hosts have no equal share of them, and four idle in `select`.
NUM_CLIPS = dict(train=18, select=7, test=11)
OPTIONS = (
  "--config.evaluate.layers=(1,2)",
  "--config.evaluate.noise_levels=(0.1,0.4)",
  "--config.evaluate.controls=('random','blind')",
  "--config.data.batch_size=4",
  "--config.data.max_bad_share=0.2",
  *(f"--config.evaluate.num_clips.{k}={v}" for k, v in NUM_CLIPS.items()),
)

pytestmark = pytest.mark.slow


def start(monkeypatch, count, workdir, *options):
  """`launcher` with a source that lacks some clips; its exit status is 0."""
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(launcher, "PROGRAM", ("-m", "tests.on_many_hosts"))
  patience = () if count == 1 else ("--config.hosts.heartbeat_s=60",)
  words = [f"--workdir={workdir}", *options, *patience]
  assert launcher.launch(words, count) == 0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  path = tmp_path_factory.mktemp("trained") / "run"
  train.run(
    training.config(train__amount=1.0, train__validate_every_steps=0), path
  )
  return path


@pytest.fixture(scope="module")
def evaluated(checkpoint, tmp_path_factory):
  """What so many hosts found, each number once."""
  found = {}

  def evaluate(count, *options):
    if (count, options) not in found:
      path = tmp_path_factory.mktemp("evaluated") / "run"
      with pytest.MonkeyPatch.context() as patch:
        start(
          *(patch, count, path, "--config=configs/evaluate.py:debug", *OPTIONS),
          *(f"--config.checkpoint={checkpoint}", *options),
        )
      found[count, options] = path
    return found[count, options]

  return evaluate


@pytest.mark.timeout(WAIT_S)
@pytest.mark.parametrize(
  ("count", "options"),
  [(2, ()), (4, ()), (2, ("--config.probe.store_gb=0.0",))],
  ids=["two", "four", "two that stream"],
)
def test_hosts_come_to_what_one_does(evaluated, count, options):
  one, many = evaluated(1, *options), evaluated(count, *options)
  for name in ("action", "pose"):
    expected, found = (results.read(path / name) for path in (one, many))
    assert found["versions"]["process_count"] == count
    assert found["n"] == expected["n"] == dict(train=17, select=7, test=10)
    assert found["skipped"] == expected["skipped"]
    assert found["best"] == expected["best"]
    assert len(found["cells"]) == 4
    for ours, theirs in zip(found["cells"], expected["cells"], strict=True):
      assert ours["select"] == pytest.approx(theirs["select"], rel=1e-4)
    (clips, groups), (others, other_groups) = (
      results.read_clips(path / name) for path in (one, many)
    )
    np.testing.assert_array_equal(groups, other_groups)
    assert clips.keys() == others.keys()
    for key, (run,) in clips.items():
      # Bit for bit but for how many probes are computed side by side.
      np.testing.assert_allclose(
        run.numerator, others[key][0].numerator, rtol=1e-4, atol=1e-6
      )
      np.testing.assert_array_equal(run.denominator, others[key][0].denominator)
    drawn = [sorted(p.name for p in x.rglob("pictures/*")) for x in (one, many)]
    assert drawn[0] == drawn[1] and drawn[0]


@pytest.mark.timeout(WAIT_S)
def test_too_many_bad_clips_on_one_host_end_all(checkpoint, tmp_path):
  """Clip 5 of train is the second host's."""
  done = subprocess.run(
    [
      *(sys.executable, "-c", STARTER, "--config=configs/evaluate.py:debug"),
      *(f"--workdir={tmp_path}/run", f"--config.checkpoint={checkpoint}"),
      *(*OPTIONS, "--config.data.max_bad_share=0.0"),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=WAIT_S,
  )
  assert done.returncode == 2, done.stderr
  (line,) = [x for x in done.stderr.splitlines() if x.startswith("vdr: ")]
  assert "could not be read" in line and "the disk has a hole here" in line


STARTER = """
import sys
from vdr.runtime import launcher
launcher.PROGRAM = ("-m", "tests.on_many_hosts")
sys.exit(launcher.launch(sys.argv[1:], 2))
"""
