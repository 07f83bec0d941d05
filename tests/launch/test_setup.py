"""`source launch/setup.sh` in made-up checkouts with stand-in interpreters."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# An interpreter that notes its arguments and can be told to fail.
PYTHON = """\
#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
  *version_info*) exit "$OLD" ;;
  *"-m venv"*)
    mkdir -p "$4/bin"
    cp "$0" "$4/bin/python"
    echo 'export VIRTUAL_ENV=made' > "$4/bin/activate" ;;
  *"pip install"*) exit "$BROKEN" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
  root = tmp_path / "a checkout"
  (root / "launch").mkdir(parents=True)
  shutil.copy(ROOT / "launch" / "setup.sh", root / "launch")
  (root / "setup.py").write_text("1")
  (root / "constraints.txt").write_text("2")
  python = tmp_path / "python"
  python.write_text(PYTHON)
  python.chmod(0o755)
  return root


def source(root, *args, old=0, broken=0, python=None):
  """Sources the script from another directory; what it printed, and did."""
  log = root.parent / "log"
  log.write_text("")
  script = f'source "{root}/launch/setup.sh" {" ".join(args)}'
  done = subprocess.run(
    ["bash", "-u", "-c", f'{script}; echo "$? ${{VIRTUAL_ENV:-none}}"; set'],
    capture_output=True,
    text=True,
    cwd=root.parent,
    env={
      "PATH": "/usr/bin:/bin",
      "PYTHON": str(python or root.parent / "python"),
      "LOG": str(log),
      "OLD": str(old),
      "BROKEN": str(broken),
    },
  )
  done.log = log.read_text()
  done.status = next(
    line for line in done.stdout.splitlines() if not line.startswith("==")
  )
  return done


def test_it_makes_installs_and_activates_from_any_directory(checkout):
  done = source(checkout, "dev")
  assert done.status == "0 made"
  assert f"--constraint {checkout}/constraints.txt" in done.log
  assert f"--editable {checkout}[dev]" in done.log
  assert done.stderr == ""


def test_the_second_time_it_only_activates(checkout):
  source(checkout)
  done = source(checkout)
  assert done.status == "0 made"
  assert "==" not in done.stdout.partition("BASH")[0]
  assert "install" not in done.log


@pytest.mark.parametrize("name", ["setup.py", "constraints.txt"])
def test_a_changed_recipe_installs_again(checkout, name):
  source(checkout)
  (checkout / name).write_text("changed")
  assert "pip install" in source(checkout).log


def test_each_list_of_extras_is_installed_once(checkout):
  assert "pip install" in source(checkout).log
  assert "pip install" in source(checkout, "dev,tpu").log
  assert "pip install" not in source(checkout, "dev,tpu").log


def test_a_failed_install_is_tried_again(checkout):
  assert source(checkout, broken=1).status == "1 none"
  done = source(checkout)
  assert done.status == "0 made"
  assert "pip install" in done.log


def test_a_venv_that_was_not_finished_is_made_anew(checkout):
  source(checkout)
  (checkout / ".venv" / "bin" / "activate").unlink()
  assert "-m venv" in source(checkout).log


def test_an_old_python_is_one_line(checkout):
  done = source(checkout, old=1)
  assert done.status == "1 none"
  assert "is not Python 3.11 or newer; set PYTHON" in done.stderr
  assert done.stderr.count("\n") == 1
  assert not (checkout / ".venv").exists()


def test_no_python_is_the_same_line(checkout):
  done = source(checkout, python="/no/python")
  assert done.status == "1 none"
  assert "/no/python is not Python 3.11" in done.stderr


def test_what_is_no_extra_is_one_line(checkout):
  done = source(checkout, "--config=x")
  assert done.status == "1 none"
  assert "'--config=x' is no list of extras" in done.stderr


def test_it_leaves_no_variables_behind(checkout):
  names = {
    line.partition("=")[0] for line in source(checkout).stdout.splitlines()
  }
  assert not {"root", "extras", "venv", "stamp", "python"} & names
