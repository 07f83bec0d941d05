"""launch/slurm.sbatch, outside of a job and in one, against stand-ins."""

import shutil

import pytest

from tests.launch import stubs as stubs_lib

SCRIPT = str(stubs_lib.ROOT / "launch" / "slurm.sbatch")
NODES = ("--nodes=4", "--gpus_per_node=8", "--cpus_per_gpu=6", "--time=2:0:0")
VDR = ("--config=configs/video_dit.py:walt_284m", "--workdir=runs/a b")


@pytest.fixture
def stubs(tmp_path):
  return stubs_lib.Stubs(tmp_path)


def test_it_submits_itself(stubs):
  (call,) = stubs_lib.assert_dry_run_is_the_run(
    stubs, SCRIPT, *NODES, "--partition=gpu", "--", *VDR
  )
  root = str(stubs_lib.ROOT)
  assert call["command"] == "sbatch"
  assert call["places"] == [SCRIPT, *VDR]
  assert call["options"] == {
    "nodes": "4",
    "ntasks-per-node": "8",
    "gpus-per-node": "8",
    "cpus-per-task": "6",
    "time": "2:0:0",
    "partition": "gpu",
    "signal": "TERM@300",
    "requeue": True,
    "open-mode": "append",
    "job-name": "vdr",
    "output": f"{root}/slurm-%j.log",
    "chdir": root,
  }


def job(stubs, cwd):
  """The script as sbatch runs it: a copy, somewhere else."""
  copy = shutil.copy(SCRIPT, stubs.folder / "slurm_script")
  return stubs.run(
    "bash", copy, *VDR, cwd=cwd, SLURM_JOB_ID="77", SLURM_CPUS_PER_TASK="6"
  )


@pytest.fixture
def checkout(tmp_path):
  """Where setting up does nothing but tell."""
  (tmp_path / "checkout" / "launch").mkdir(parents=True)
  (tmp_path / "checkout" / "launch" / "setup.sh").write_text(
    'echo "set up $1, $JAX_PLATFORMS"\n'
  )
  return tmp_path / "checkout"


def test_the_job_starts_a_process_for_every_gpu(stubs, checkout):
  done = job(stubs, checkout)
  assert done.returncode == 0, done.stderr
  assert done.stdout == "set up cuda, cuda,cpu\n"
  (call,) = done.calls
  assert call["command"] == "srun"
  assert call["options"] == {"kill-on-bad-exit": "0", "cpus-per-task": "6"}
  assert call["places"] == [
    *("python", "-m", "vdr.runtime.launcher", "--", *VDR),
    "--config.hosts.coordinator=auto",
  ]


def test_a_lost_process_is_started_again_at_most_three_times(stubs, checkout):
  stubs.answer("srun", (75, ""), (0, ""))
  done = job(stubs, checkout)
  assert (done.returncode, len(done.calls)) == (0, 2)
  stubs.answer("srun", (75, ""))
  done = job(stubs, checkout)
  assert (done.returncode, len(done.calls)) == (75, 3)


@pytest.mark.parametrize("status", [1, 2])
def test_what_the_next_time_would_not_mend_is_not_tried_again(
  stubs, checkout, status
):
  stubs.answer("srun", (status, ""))
  done = job(stubs, checkout)
  assert (done.returncode, len(done.calls)) == (status, 1)


def test_after_sigterm_it_goes_back_into_the_queue(stubs, checkout):
  stubs.answer("srun", (143, ""))
  done = job(stubs, checkout)
  assert done.returncode == 143
  assert [call["command"] for call in done.calls] == [
    "srun",
    "scontrol requeue",
  ]
  assert done.calls[1]["places"] == ["77"]


def test_a_job_elsewhere_is_one_line(stubs, tmp_path):
  done = job(stubs, tmp_path)
  stubs_lib.assert_one_line(
    done, "is no checkout of vdr", "launch/slurm.sbatch"
  )


@pytest.mark.parametrize(
  "words, line",
  [
    ((*NODES[:3], "--", *VDR), "--time=… is missing"),
    ((*NODES, "--nodes=0", "--", *VDR), "--nodes=0 is no number of 1 or more"),
    ((*NODES, "--gres=gpu:8", "--", *VDR), "there is no option --gres=…"),
    (NODES, "vdr needs -- --config=FILE"),
  ],
)
def test_a_mistake_is_one_line_and_calls_nothing(stubs, words, line):
  done = stubs.run(SCRIPT, *words)
  stubs_lib.assert_one_line(done, line, "launch/slurm.sbatch")
