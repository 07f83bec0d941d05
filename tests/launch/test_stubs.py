"""The stand-ins are as strict as what they stand for."""

import shutil

import pytest

from tests.launch import stubs as stubs_lib


@pytest.fixture
def stubs(tmp_path):
  return stubs_lib.Stubs(tmp_path)


@pytest.mark.parametrize(
  "words",
  [
    "gcloud compute tpus queued-resources create x --node-ix=x",
    "gcloud compute tpus tpu-vm ssh x --spot",
    "kubectl apply --file=x",
    "srun --requeue true",
    "sbatch --kill-on-bad-exit=1 x",
    "scontrol requeue --now 3",
  ],
)
def test_a_flag_that_is_not_there_is_refused(stubs, words):
  done = stubs.run(*words.split())
  assert done.returncode == 2
  assert "unrecognized arguments: --" in done.stderr


def test_no_stub_is_forgotten(stubs):
  for words in stubs_lib.FLAGS:
    name = words.split()[0]
    assert shutil.which(name, path=str(stubs.bin))
