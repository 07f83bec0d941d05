"""launch/worker.sh on a made-up TPU host."""

import pathlib
import shutil
import time

import pytest

from tests.launch import stubs as stubs_lib

# What setting up puts on the PATH; it runs until the file `end` has a status.
PYTHON = """\
#!/bin/bash
trap 'echo got SIGTERM; exit 143' TERM
echo "$JAX_PLATFORMS $*"
while [ ! -s "$HOME/end" ]; do /bin/sleep 0.05; done
exit "$(cat "$HOME/end")"
"""
RUN = ("start", "--config=c.py", "--workdir=/mnt/vdr/a b")


@pytest.fixture
def host(tmp_path):
  stubs = stubs_lib.Stubs(tmp_path)
  launch = tmp_path / "vdr" / "launch"
  launch.mkdir(parents=True)
  shutil.copy(stubs_lib.ROOT / "launch" / "worker.sh", launch)
  (launch / "setup.sh").write_text('echo "set up $1 ${PYTHON:-python3}"\n')
  stubs.write("python", PYTHON)
  stubs.write("sudo", '#!/bin/sh\nexec "$@"\n')
  stubs.write("mountpoint", '#!/bin/sh\n[ -f "$2/mounted" ]\n')
  for name in ("mount", "apt-get"):
    stubs.write(name, f'#!/bin/sh\necho {name} "$@"\n')
  stubs.write("mount.nfs", "#!/bin/sh\n")
  (tmp_path / "mnt").mkdir()
  return stubs


def worker(host, *words, **env):
  return host.run(
    "bash",
    host.folder / "vdr" / "launch" / "worker.sh",
    *words,
    VDR_MOUNT=str(host.folder / "mnt"),
    **env,
  )


def test_setup_mounts_a_bucket_once_and_installs(host):
  done = worker(host, "setup", "gs://bucket")
  assert done.returncode == 0, done.stderr
  assert done.stdout == "set up tpu python3\n"
  (call,) = done.calls
  assert call["command"] == "gcsfuse"
  assert call["places"] == ["bucket", str(host.folder / "mnt")]
  assert call["options"]["metadata-cache-ttl-secs"] == "0"
  (host.folder / "mnt" / "mounted").touch()
  assert worker(host, "setup", "gs://bucket").calls == []


def test_setup_mounts_nfs(host):
  done = worker(host, "setup", "10.0.0.2:/share")
  assert done.returncode == 0, done.stderr
  assert f"mount -t nfs 10.0.0.2:/share {host.folder}/mnt\n" in done.stdout


@pytest.mark.parametrize("is_there", [True, False])
def test_an_old_python_is_replaced(host, is_there):
  host.write("python3", "#!/bin/sh\nexit 1\n")
  others = host.folder / "others"  # this machine's programs, but for Python
  others.mkdir()
  for program in [*pathlib.Path("/usr/bin").iterdir(), *host.bin.iterdir()]:
    if not program.name.startswith("python3."):
      (others / program.name).unlink(missing_ok=True)
      (others / program.name).symlink_to(program)
  if is_there:
    (others / "python3.11").symlink_to("/bin/true")
  done = worker(host, "setup", "10.0.0.2:/share", PATH=str(others))
  installed = "apt-get install -qq -y python3.11 python3.11-venv" in done.stdout
  assert installed != is_there
  assert done.stdout.endswith("set up tpu python3.11\n")


@pytest.mark.parametrize("status", [0, 2])
def test_start_outlives_the_call_and_wait_ends_as_it_ends(host, status):
  before = time.monotonic()
  done = worker(host, *RUN)
  assert done.returncode == 0, done.stderr
  assert time.monotonic() - before < 20
  busy = worker(host, *RUN)
  assert busy.returncode == 2
  assert "is still at work here" in busy.stderr
  (host.folder / "end").write_text(str(status))
  done = worker(host, "wait")
  assert done.returncode == status
  assert done.stdout == (
    "tpu,cpu -m vdr.runtime.launcher -- --config=c.py --workdir=/mnt/vdr/a b\n"
  )
  # It can be started again.
  assert worker(host, *RUN).returncode == 0
  assert worker(host, "wait").returncode == status


def test_stop_asks_it_to_save_and_end(host):
  worker(host, *RUN)
  log = host.folder / ".vdr" / "log"
  while "launcher" not in log.read_text():  # its trap is set
    time.sleep(0.05)
  assert worker(host, "stop").returncode == 0
  done = worker(host, "wait")
  assert done.returncode == 143
  assert done.stdout.endswith("got SIGTERM\n")
  assert worker(host, "stop").returncode == 0  # nothing to do


@pytest.mark.parametrize(
  "words, line",
  [
    (("setup",), "use it as: setup STORAGE"),
    (("setup", "bucket"), "is neither gs://BUCKET nor SERVER:/SHARE"),
    (("start",), "use it as: start OPTIONS"),
    (("wait",), "nothing was started here"),
    (("begin",), "'begin' is not setup, start, wait or stop"),
  ],
)
def test_a_mistake_is_one_line(host, words, line):
  stubs_lib.assert_one_line(worker(host, *words), line, "launch/worker.sh")
