"""launch/gke.sh and gke.yaml against stand-ins for kubectl and docker."""

import pytest
import yaml

from tests.launch import stubs as stubs_lib

SCRIPT = str(stubs_lib.ROOT / "launch" / "gke.sh")
PLACE = ("--name=run-1", "--namespace=lab")
SLICE = (
  "--image=region-docker.pkg.dev/p/vdr:1",
  "--accelerator=tpu-v5-lite-podslice",
  "--topology=4x4",
  "--hosts=4",
  "--chips_per_host=4",
  "--claim=shared",
)
VDR = (
  "--",
  "--config=configs/video_dit.py:walt_284m",
  "--workdir=/mnt/vdr/run",
  "--config.log.profile_steps=(10, 12)",
  "--config.data.sources.main.path=/mnt/vdr/it's: #1 ${NAME}",
)


@pytest.fixture
def stubs(tmp_path):
  return stubs_lib.Stubs(tmp_path)


def test_apply_fills_in_the_file(stubs):
  (call,) = stubs_lib.assert_dry_run_is_the_run(
    stubs, SCRIPT, "apply", *PLACE, *SLICE, "--restarts=5", *VDR
  )
  assert call["command"] == "kubectl apply"
  job_set = yaml.safe_load(call["stdin"])
  assert job_set["kind"] == "JobSet"
  assert job_set["metadata"]["name"] == "run-1"
  assert job_set["metadata"]["namespace"] == "lab"
  assert job_set["spec"]["failurePolicy"]["maxRestarts"] == 5
  (hosts,) = job_set["spec"]["replicatedJobs"]
  job = hosts["template"]["spec"]
  assert job["parallelism"] == job["completions"] == 4
  assert job["completionMode"] == "Indexed"
  # One lost pod is a lost job, and bad input ends all.
  assert job["backoffLimit"] == 0
  (rule,) = job["podFailurePolicy"]["rules"]
  assert rule["onExitCodes"]["values"] == [2]
  pod = job["template"]["spec"]
  assert pod["restartPolicy"] == "Never"
  assert pod["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
    "cloud.google.com/gke-tpu-topology": "4x4",
  }
  annotations = job["template"]["metadata"]["annotations"]
  assert annotations == {"gke-gcsfuse/volumes": "false"}
  (container,) = pod["containers"]
  assert rule["onExitCodes"]["containerName"] == container["name"]
  assert container["image"] == SLICE[0].partition("=")[2]
  assert container["args"] == [*VDR[1:], "--config.hosts.coordinator=auto"]
  assert container["command"][-1] == "--"
  assert container["resources"]["limits"] == {"google.com/tpu": 4}
  names = [volume["name"] for volume in pod["volumes"]]
  assert names == [mount["name"] for mount in container["volumeMounts"]]
  assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "shared"}


def test_a_bucket_needs_the_sidecar(stubs):
  done = stubs.run(SCRIPT, "apply", *PLACE, *SLICE, "--gcsfuse", *VDR)
  assert 'gke-gcsfuse/volumes: "true"' in done.calls[0]["stdin"]
  assert "maxRestarts: 10\n" in done.calls[0]["stdin"]


def test_logs_follow_every_pod(stubs):
  (call,) = stubs_lib.assert_dry_run_is_the_run(
    stubs, SCRIPT, "logs", *PLACE, "--hosts=4"
  )
  assert call["options"] == {
    "namespace": "lab",
    "follow": True,
    "prefix": True,
    "selector": "jobset.sigs.k8s.io/jobset-name=run-1",
    "container": "vdr",
    "tail": "-1",
    "max-log-requests": "4",
  }


def test_delete(stubs):
  (call,) = stubs_lib.assert_dry_run_is_the_run(stubs, SCRIPT, "delete", *PLACE)
  assert call["places"] == ["jobset", "run-1"]


def test_the_image_is_that_of_the_working_tree(stubs):
  script = str(stubs.checkout("gke.sh") / "gke.sh")
  build, push = stubs_lib.assert_dry_run_is_the_run(
    stubs, script, "image", SLICE[0]
  )
  assert build["command"] == "docker build"
  (context,) = build["places"]
  assert build["options"]["file"] == f"{context}/launch/Dockerfile"
  assert push["places"] == [build["options"]["tag"]]


@pytest.mark.parametrize(
  "words, line",
  [
    (("submit",), "'submit' is not image, apply, logs or delete"),
    (("apply", *PLACE, *SLICE[:-1], *VDR), "--claim=… is missing"),
    (("apply", *PLACE, *SLICE, "--hosts=no", *VDR), "--hosts=no is no number"),
    (("apply", *PLACE, *SLICE), "vdr needs -- --config=FILE"),
    (
      ("apply", *PLACE, *SLICE, "--name=Run_1", *VDR),
      "--name=Run_1: use small letters",
    ),
    (
      ("apply", *PLACE, *SLICE, "--", "--config=c", "--workdir=/tmp/x"),
      "is on one host only",
    ),
    (("delete", *PLACE, *VDR), "delete takes no options of vdr"),
  ],
)
def test_a_mistake_is_one_line_and_calls_nothing(stubs, words, line):
  stubs_lib.assert_one_line(stubs.run(SCRIPT, *words), line, "launch/gke.sh")
