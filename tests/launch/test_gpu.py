"""launch/gpu.sh in a checkout whose interpreter is a stand-in."""

import shutil

import pytest

from tests.launch import stubs as stubs_lib

VDR = ("--config=configs/video_dit.py:local", "--workdir=runs/a b")
# What setting up puts on the PATH.
PYTHON = """\
#!/bin/sh
printf '%s\\n' "$@" "JAX_PLATFORMS=$JAX_PLATFORMS" \\
  "CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES" "$PWD" > "$STUB_ANSWERS/python"
exit 3
"""


@pytest.fixture
def stubs(tmp_path):
  return stubs_lib.Stubs(tmp_path)


@pytest.fixture
def script(stubs, tmp_path):
  launch = tmp_path / "checkout" / "launch"
  launch.mkdir(parents=True)
  for name in ("gpu.sh", "flags.sh"):
    shutil.copy(stubs_lib.ROOT / "launch" / name, launch)
  (launch / "setup.sh").write_text('echo "set up $1"\n')
  stubs.write("python", PYTHON)
  return launch / "gpu.sh"


def test_it_sets_up_for_gpus_and_runs(stubs, script):
  done = stubs.run(script, "--gpus=0,2", "--", *VDR, cwd="/")
  assert done.stderr == ""
  assert done.stdout == "set up cuda\n"
  assert done.returncode == 3  # vdr's
  assert (stubs.answers / "python").read_text().splitlines() == [
    *("-m", "vdr.main", *VDR),
    *("JAX_PLATFORMS=cuda,cpu", "CUDA_VISIBLE_DEVICES=0,2"),
    str(script.parents[1]),
  ]


def test_dry_run_shows_what_runs(stubs, script):
  dry = stubs.run(script, "--gpus=0,2", "--dry_run", "--", *VDR, cwd="/")
  assert (dry.returncode, dry.stderr, dry.calls) == (0, "", [])
  assert not (stubs.answers / "python").exists()
  assert stubs.run(script, "--gpus=0,2", "--", *VDR, cwd="/").returncode == 3
  expected = (stubs.answers / "python").read_text()
  (stubs.answers / "python").unlink()
  assert stubs.run("bash", stdin=dry.stdout, cwd="/").returncode == 3
  assert (stubs.answers / "python").read_text() == expected


def test_all_gpus_are_seen_by_default(stubs, script):
  stubs.run(script, "--", *VDR)
  said = (stubs.answers / "python").read_text()
  assert "CUDA_VISIBLE_DEVICES=\n" in said


@pytest.mark.parametrize(
  "words, line",
  [
    (("--gpus=all", "--", *VDR), "--gpus=all is no list of numbers"),
    (("--gpu=0", "--", *VDR), "there is no option --gpu=…"),
    ((*VDR,), "there is no option --config=…"),
    ((), "vdr needs -- --config=FILE"),
  ],
)
def test_a_mistake_is_one_line(stubs, script, words, line):
  stubs_lib.assert_one_line(stubs.run(script, *words), line, "launch/gpu.sh")


def test_a_machine_without_a_gpu_is_one_line(stubs, script):
  stubs.answer("nvidia-smi", (9, ""))
  done = stubs.run(script, "--", *VDR)
  assert done.returncode == 2
  assert done.stderr.startswith("launch/gpu.sh: nvidia-smi finds no GPU here")
