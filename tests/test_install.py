"""A clone and a wheel, installed in environments of their own.

Those environments borrow the packages that these tests run with, so that
nothing is downloaded.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest

import vdr

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD_SDIST = "from setuptools import build_meta as b; b.build_sdist('{}')"
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index")


def run(words, folder):
  """What a command prints; nothing of this checkout is on its path."""
  environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
  done = subprocess.run(
    list(map(str, words)),
    capture_output=True,
    text=True,
    cwd=folder,
    env=environment,
  )
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
  return done.stdout + done.stderr


def make_environment(folder):
  """The interpreter of a new environment, which has all packages but vdr."""
  run([sys.executable, "-m", "venv", "--without-pip", folder], folder.parent)
  python = folder / "bin" / "python"
  ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
  site = pathlib.Path(run([python, "-c", ask], folder).strip())
  # Lines of .pth files inside that folder are not followed: no vdr comes along.
  (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
  return python


def install(python, *words):
  """What pip says; packages that are borrowed are left where they are."""
  pip = [sys.executable, "-m", "pip", "--python", python, "install"]
  return run([*pip, *OFFLINE, "--ignore-installed", *words], python.parent)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
  """A clone whose folder is called vdr, like the package in it."""
  folder = tmp_path_factory.mktemp("above") / "vdr"
  ignored = shutil.ignore_patterns("__pycache__")
  for name in ("vdr", "configs"):
    shutil.copytree(ROOT / name, folder / name, ignore=ignored)
  for path in ROOT.iterdir():
    if path.suffix in (".py", ".toml", ".md", ".in", ".txt", ".cff"):
      shutil.copy(path, folder)
  shutil.copy(ROOT / "LICENSE", folder)
  return folder


@pytest.fixture(scope="module")
def dist(clone, tmp_path_factory):
  """The folder of a source distribution, and of the wheel that it makes."""
  folder = tmp_path_factory.mktemp("dist")
  run([sys.executable, "-c", BUILD_SDIST.format(folder)], clone)
  (sdist,) = folder.glob("*.tar.gz")
  pip = [sys.executable, "-m", "pip", "wheel", *OFFLINE]
  run([*pip, "--wheel-dir", folder, sdist], folder)
  return folder


@pytest.fixture(scope="module")
def editable(clone, tmp_path_factory):
  """An interpreter with the clone in it, and what pip said."""
  python = make_environment(tmp_path_factory.mktemp("editable") / "venv")
  return python, install(python, "--verbose", "--editable", clone)


def test_a_script_above_a_clone_named_vdr_finds_the_package(clone, editable):
  """Not the folder, which would be a namespace package with nothing in it."""
  python, _ = editable
  script = clone.parent / "script.py"
  script.write_text("import vdr; print(vdr.__file__, vdr.load.__name__)\n")
  said = run([python, script.name], clone.parent)
  assert said == f"{clone / 'vdr' / '__init__.py'} load\n"


def test_the_command_runs_above_a_clone_named_vdr(clone, editable):
  python, _ = editable
  said = run([python, "-m", "vdr.main", "--help"], clone.parent)
  assert "Verbs (config.job):" in said


def test_an_editable_install_relies_on_nothing_that_goes_away(editable):
  _, said = editable
  assert "running editable_wheel" in said  # setuptools was heard
  assert "deprecat" not in said.lower()


def test_the_distribution_is_not_the_vdr_of_pypi(editable):
  _, said = editable
  name = f"video-diffusion-representations-{vdr.__version__}"
  assert f"Successfully installed {name}\n" in said


def test_a_wheel_has_one_package_with_all_that_is_in_it(dist):
  (wheel,) = dist.glob("*.whl")
  with zipfile.ZipFile(wheel) as file:
    names = set(file.namelist())
  assert {name.split("/")[0] for name in names if "dist-info" not in name} == {
    "vdr"
  }
  wanted = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "vdr").rglob("*")
    if path.is_file() and path.suffix != ".pyc"
  }
  wanted |= {
    f"vdr/{path.relative_to(ROOT).as_posix()}"
    for path in (ROOT / "configs").rglob("*.py")
  }
  assert "vdr/py.typed" in wanted
  assert {name for name in names if "dist-info" not in name} == wanted


def test_a_source_distribution_has_what_an_install_needs(dist):
  (sdist,) = dist.glob("*.tar.gz")
  with tarfile.open(sdist) as file:
    names = {name.partition("/")[2] for name in file.getnames()}
  assert {
    "CITATION.cff",
    "LICENSE",
    "README.md",
    "configs/base.py",
    "constraints.txt",
    "vdr/main.py",
  } <= names


def test_a_wheel_has_its_configs_in_an_empty_folder(dist, tmp_path):
  """`bash launch/nightly.sh --only=wheel` runs the study there."""
  (wheel,) = dist.glob("*.whl")
  python = make_environment(tmp_path / "venv")
  install(python, wheel)
  (tmp_path / "empty").mkdir()
  script = (
    "from vdr.runtime import command_line\n"
    "options = ['--config=configs/study.py:debug', '--workdir=runs/debug']\n"
    "config, _ = command_line.parse(['vdr', *options])\n"
    "print(config.job)\n"
  )
  assert run([python, "-c", script], tmp_path / "empty") == "study\n"
