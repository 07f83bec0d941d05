"""Config files find vdr's `configs`, and nobody else's."""

import pathlib
import shutil
import subprocess
import sys

import pytest

import vdr
from vdr.runtime import command_line, config_files, errors

ROOT = pathlib.Path(vdr.__file__).resolve().parents[1]

# Another project's package, one module of which has the name of ours.
FOREIGN = {"__init__.py": "WHOSE = 'theirs'\n", "base.py": "LOSS = 'theirs'\n"}
MINE = (
  "from configs import base\n"
  "def get_config():\n"
  "  return base.build(None, {}, seed=5)\n"
)


@pytest.fixture
def project(tmp_path, monkeypatch):
  """The working directory: a project with a package `configs` of its own.

  It is first on the path, and vdr's package is not loaded.
  """
  (tmp_path / "configs").mkdir()
  for name, text in FOREIGN.items():
    (tmp_path / "configs" / name).write_text(text)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setattr(config_files, "_ours", {})
  for name in config_files._loaded():
    monkeypatch.delitem(sys.modules, name)
  yield tmp_path
  for name in config_files._loaded():  # monkeypatch brings vdr's back
    del sys.modules[name]


def run(script, folder, package):
  """What a script prints in a fresh process that finds vdr in `package`."""
  done = subprocess.run(
    [sys.executable, "-P", "-c", script],
    capture_output=True,
    text=True,
    cwd=folder,
    env={"PYTHONPATH": str(package), "PATH": "/usr/bin:/bin"},
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_the_files_of_a_clone_stand_beside_the_package():
  assert config_files.folder() == ROOT / "configs"
  assert "study.py" in config_files.known()
  assert not {"base.py", "__init__.py"} & set(config_files.known())


def test_the_files_of_a_wheel_are_in_the_package(tmp_path):
  """And its `configs` is no name that other programs see."""
  for folder in ("vdr/runtime", "configs"):
    to = folder if folder.startswith("vdr") else f"vdr/{folder}"
    shutil.copytree(ROOT / folder, tmp_path / "site" / to)
  (tmp_path / "site" / "vdr" / "__init__.py").touch()
  (tmp_path / "mine.py").write_text(MINE)
  said = run(
    "import importlib.util, sys\n"
    "from vdr.runtime import command_line, config_files\n"
    "print(config_files.folder())\n"
    "print(command_line.load_config('configs/study.py:debug').job)\n"
    "print(command_line.load_config('mine.py').seed)\n"
    "spec = importlib.util.find_spec('configs')\n"
    "print(spec and spec.origin)\n",
    tmp_path,
    tmp_path / "site",
  )
  place = tmp_path / "site" / "vdr" / "configs"
  *lines, origin = said.splitlines()
  assert lines == [str(place), "study", "5"]
  # Tests may run where a clone is installed: its folder is a path entry.
  assert not origin.startswith(str(tmp_path))


@pytest.mark.parametrize("name", ["configs/study.py", "./configs/study.py"])
def test_vdrs_own_file_is_found_from_anywhere(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert config_files.find(name) == ROOT / "configs" / "study.py"


def test_a_file_of_the_working_directory_comes_first(project):
  (project / "configs" / "study.py").write_text(MINE)
  assert config_files.find("configs/study.py").resolve().parent == (
    project / "configs"
  )
  assert command_line.load_config("configs/study.py").seed == 5


@pytest.mark.parametrize(
  "name",
  [
    "study.py",
    "configs/no.py",
    "configs/../setup.py",
    "configs/fields/data.py",
    "mine/configs/study.py",
    "configs",
  ],
)
def test_no_other_path_is_looked_for(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert config_files.find(name) == pathlib.Path(name)
  with pytest.raises(errors.UserError, match="there is no config file"):
    command_line.load_config(name)


def test_a_project_with_configs_of_its_own_gets_ours_in_config_files(project):
  (project / "mine.py").write_text(MINE)
  assert command_line.load_config("mine.py").seed == 5
  assert command_line.load_config("configs/study.py:debug").job == "study"


@pytest.mark.parametrize("loaded", [False, True])
def test_a_project_keeps_its_own_configs(project, loaded):
  """Whether it has imported them before or imports them later."""
  if loaded:
    import configs.base as before
  command_line.load_config("configs/study.py:debug")
  import configs
  import configs.base as after

  assert (configs.WHOSE, after.LOSS) == ("theirs", "theirs")
  if loaded:
    assert after is before


def test_a_project_keeps_its_own_configs_when_a_file_raises(project):
  (project / "mine.py").write_text(f"{MINE}1 / 0\n")
  import configs

  with pytest.raises(errors.UserError, match="line 4, raised ZeroDivision"):
    command_line.load_config("mine.py")
  assert sys.modules["configs"] is configs


def test_vdrs_own_modules_are_loaded_once(project):
  (project / "mine.py").write_text(
    "import configs.base\n"
    "import sys\n"
    "FOUND = sys.modules['vdr_config'].configs.base\n"
    "def get_config():\n"
    "  return FOUND.build(None, {})\n"
  )
  found = []
  for _ in range(2):
    command_line.load_config("mine.py")
    found.append(sys.modules["vdr_config"].FOUND)
  assert found[0] is found[1]
