"""launch/tpu_pod.sh against a stand-in for gcloud."""

import pytest

from tests.launch import stubs as stubs_lib

PLACE = ("--name=pod", "--project=lab", "--zone=us-west4-a")
MADE = ("--accelerator_type=v5litepod-16", "--runtime_version=v2-tpuv5-lite")
STORAGE = "--storage=gs://bucket"
VDR = (
  "--",
  "--config=configs/video_dit.py:walt_284m",
  "--workdir=/mnt/vdr/run",
  "--config.log.profile_steps=(10, 12)",
)
DESCRIBE = "gcloud compute tpus queued-resources describe"
CREATE = "gcloud compute tpus queued-resources create"
DELETE = "gcloud compute tpus queued-resources delete"
SSH = "gcloud compute tpus tpu-vm ssh"


@pytest.fixture
def stubs(tmp_path):
  made = stubs_lib.Stubs(tmp_path)
  made.answer(DESCRIBE, (0, "ACTIVE"))
  return made


@pytest.fixture
def script(stubs):
  return str(stubs.checkout("tpu_pod.sh") / "tpu_pod.sh")


def commands(calls):
  return [call["command"].split()[-1] for call in calls]


def test_create_asks_for_a_slice_and_waits(stubs, script):
  calls = stubs_lib.assert_dry_run_is_the_run(
    stubs, script, "create", *PLACE, *MADE, "--spot"
  )
  assert calls[0] == {
    "command": CREATE,
    "places": ["pod"],
    "options": {
      "project": "lab",
      "zone": "us-west4-a",
      "node-id": "pod",
      "accelerator-type": "v5litepod-16",
      "runtime-version": "v2-tpuv5-lite",
      "spot": True,
    },
  }
  stubs.answer(DESCRIBE, (0, "WAITING_FOR_RESOURCES"), (0, "ACTIVE"))
  done = stubs.run(script, "create", *PLACE, *MADE, "--poll_s=7")
  assert commands(done.calls) == ["create", "describe", "describe"]
  assert (stubs.answers / "slept").read_text() == "7\n"
  assert "the slice pod is WAITING_FOR_RESOURCES" in done.stderr


def test_a_slice_that_failed_is_told(stubs, script):
  stubs.answer(DESCRIBE, (0, "FAILED"))
  done = stubs.run(script, "create", *PLACE, *MADE)
  assert done.returncode == 1
  assert done.stderr == "launch/tpu_pod.sh: the slice pod is FAILED\n"


def test_setup_copies_the_tree_and_prepares_every_host(stubs, script):
  calls = stubs_lib.assert_dry_run_is_the_run(
    stubs, script, "setup", *PLACE, STORAGE
  )
  assert commands(calls) == ["scp", "ssh", "ssh"]
  assert all(call["options"]["worker"] == "all" for call in calls)
  packed, target = calls[0]["places"]
  assert packed.endswith(".tar.gz") and target == "pod:vdr.tar.gz"
  assert "tar -xzf vdr.tar.gz -C vdr" in calls[1]["options"]["command"]
  assert calls[2]["options"]["command"] == (
    "bash vdr/launch/worker.sh setup gs://bucket"
  )


def test_run_starts_on_every_host_and_follows(stubs, script):
  calls = stubs_lib.assert_dry_run_is_the_run(
    stubs, script, "run", *PLACE, *VDR
  )
  start, wait = (call["options"] for call in calls)
  assert start["worker"] == wait["worker"] == "all"
  assert start["command"] == (
    "bash vdr/launch/worker.sh start --config=configs/video_dit.py:walt_284m"
    " --workdir=/mnt/vdr/run '--config.log.profile_steps=(10, 12)'"
    " --config.hosts.coordinator=auto"
  )
  assert wait["command"] == "bash vdr/launch/worker.sh wait"


@pytest.mark.parametrize(
  "words, worker, command",
  [
    (("logs",), "all", "wait"),
    (("logs", "--worker=2"), "2", "wait"),
    (("stop",), "all", "stop"),
  ],
)
def test_logs_and_stop(stubs, script, words, worker, command):
  calls = stubs_lib.assert_dry_run_is_the_run(stubs, script, *words, *PLACE)
  assert [call["options"]["worker"] for call in calls] == [worker]
  assert calls[0]["options"]["command"].endswith(f"worker.sh {command}")


def test_delete_asks_no_question(stubs, script):
  calls = stubs_lib.assert_dry_run_is_the_run(stubs, script, "delete", *PLACE)
  assert calls[0]["command"] == DELETE
  assert calls[0]["options"]["force"] and calls[0]["options"]["quiet"]


def test_the_status_of_run_is_that_of_vdr(stubs, script):
  stubs.answer(SSH, (0, ""), (75, "lost"))
  assert stubs.run(script, "run", *PLACE, *VDR).returncode == 75


def resume(stubs, script, *words):
  return stubs.run(
    script, "resume", *PLACE, *MADE, "--spot", STORAGE, *words, *VDR
  )


def test_resume_on_a_slice_that_is_there_is_setup_and_run(stubs, script):
  calls = stubs_lib.assert_dry_run_is_the_run(
    stubs, script, "resume", *PLACE, *MADE, STORAGE, *VDR
  )
  assert commands(calls) == ["describe", "scp", "ssh", "ssh", "ssh", "ssh"]


def test_resume_after_preemption_asks_for_a_new_slice_and_goes_on(
  stubs, script
):
  stubs.answer(
    DESCRIBE, (0, "ACTIVE"), (0, "SUSPENDED"), (0, "SUSPENDED"), (0, "ACTIVE")
  )
  # unpack, setup, start, wait: the slice is lost; the second time it ends.
  ssh = [(0, ""), (0, ""), (0, ""), (255, "")], [(0, "")]
  stubs.answer(SSH, *ssh[0], *ssh[1])
  done = resume(stubs, script)
  assert done.returncode == 0, done.stderr
  attempt = ["scp", "ssh", "ssh", "ssh", "ssh"]
  assert commands(done.calls) == [
    *("describe", *attempt),
    *("describe", "describe", "delete", "create", "describe", *attempt),
  ]
  create = next(call for call in done.calls if call["command"] == CREATE)
  assert create["options"]["spot"] is True


def test_resume_makes_a_slice_that_is_absent(stubs, script):
  stubs.answer(DESCRIBE, (1, ""), (1, ""), (0, "ACTIVE"))
  done = resume(stubs, script)
  assert done.returncode == 0
  assert commands(done.calls)[:4] == [
    "describe",
    "describe",
    "create",
    "describe",
  ]


def test_resume_has_a_limit_and_ends_at_once_for_bad_input(stubs, script):
  stubs.answer(SSH, (75, ""))
  done = resume(stubs, script, "--attempts=3")
  assert done.returncode == 75
  assert commands(done.calls).count("scp") == 3
  assert "not done after 3 attempts" in done.stderr
  stubs.answer(SSH, (0, ""), (0, ""), (0, ""), (2, ""))
  done = resume(stubs, script, "--attempts=3")
  assert done.returncode == 2
  assert commands(done.calls).count("scp") == 1


@pytest.mark.parametrize(
  "words, line",
  [
    (("make", *PLACE), "'make' is not create, setup, run"),
    ((), "'' is not create"),
    (("delete", *PLACE[:2]), "--zone=… is missing"),
    (("create", *PLACE, MADE[0]), "--runtime_version=… is missing"),
    (("create", *PLACE, *MADE, "--spto"), "there is no option --spto"),
    (("create", *PLACE, *MADE, "--tpu=v5"), "there is no option --tpu=…"),
    (("create", *PLACE, *MADE, "--zone"), "--zone has no value"),
    (("create", *PLACE, *MADE, "--zone="), "--zone= is empty"),
    (("create", *PLACE, *MADE, "--spot", "--reserved"), "exclude each other"),
    (("create", *PLACE, *MADE, "extra"), "unexpected 'extra'"),
    (("create", *PLACE, *MADE, "--poll_s=soon"), "--poll_s=soon is no number"),
    (("setup", *PLACE, "--storage=bucket"), "neither gs://BUCKET nor"),
    (("stop", *PLACE, *VDR), "stop takes no options of vdr"),
    (("run", *PLACE), "vdr needs -- --config=FILE --workdir=DIR"),
    (("run", *PLACE, *VDR[:2]), "vdr needs -- --config=FILE --workdir=DIR"),
    (("run", *PLACE, *VDR[:2], "--workdir=runs/x"), "is on one host only"),
    (
      ("run", *PLACE, *VDR, "--config.hosts.count=4"),
      "--config.hosts.count is set by this script",
    ),
  ],
)
def test_a_mistake_is_one_line_and_calls_nothing(stubs, script, words, line):
  done = stubs.run(script, *words)
  stubs_lib.assert_one_line(done, line, "launch/tpu_pod.sh")


def test_help_is_the_comment_at_the_top(stubs, script):
  for words in (("--help",), ("create", "--help")):
    done = stubs.run(script, *words)
    assert done.returncode == 0
    assert done.stdout.startswith("Runs vdr on a TPU slice")
    assert "set -euo" not in done.stdout


def test_what_is_unpacked_replaces_all_but_the_environment(stubs, script):
  done = stubs.run(script, "setup", *PLACE, STORAGE)
  unpack = done.calls[1]["options"]["command"]
  tree, home = stubs.folder / "tree", stubs.folder / "home"
  for file in ("launch/worker.sh", ".ci/run"):
    (tree / file).parent.mkdir(parents=True)
    (tree / file).write_text("new")
  home.mkdir()
  done = stubs.run("tar", "-czf", home / "vdr.tar.gz", "-C", tree, ".")
  for _ in range(2):  # the first time, and again
    assert stubs.run("bash", "-c", unpack, cwd=home).returncode == 0
    found = {p.name for p in (home / "vdr").rglob("*") if p.is_file()}
    assert found - {"kept"} == {"worker.sh", "run"}
    (home / "vdr" / ".venv").mkdir(exist_ok=True)
    (home / "vdr" / ".venv" / "kept").touch()
    (home / "vdr" / "removed").touch()
  assert (home / "vdr" / ".venv" / "kept").exists()
