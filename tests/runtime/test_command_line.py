"""Command lines become configs; mistakes become one line that helps."""

import pathlib
import sys
import textwrap

import pytest

from vdr.runtime import command_line, errors

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHYSICS = f"--config={ROOT}/configs/physics.py"
SOURCE = "--config.data.sources.main"


def parse(*args):
  return command_line.parse(["vdr", *args])


@pytest.fixture
def config_file(tmp_path):
  """Writes a config file and returns its path."""

  def write(body, name="mine.py"):
    path = tmp_path / name
    path.write_text(textwrap.dedent(body))
    return path

  return write


def test_the_config_is_locked_and_the_workdir_given():
  config, workdir = parse(PHYSICS, "--workdir=runs/x")
  assert config.is_locked
  assert config.job == "physics"
  assert workdir == "runs/x"


def test_the_variant_stands_behind_a_colon():
  plain, _ = parse(PHYSICS, "--workdir=x")
  debug, _ = parse(f"{PHYSICS}:debug", "--workdir=x")
  assert debug.physics.height == 32 != plain.physics.height


def test_a_folder_may_have_a_colon_in_its_name(tmp_path):
  folder = tmp_path / "take:1.5"
  folder.mkdir()
  file = folder / "mine.py"
  file.write_text(pathlib.Path(f"{ROOT}/configs/physics.py").read_text())
  for spec, is_small in ((file, False), (f"{file}:debug", True)):
    config = command_line.load_config(str(spec))
    assert (config.physics.height == 32) == is_small
  with pytest.raises(errors.UserError, match="no variant 'a:b.py:c'"):
    command_line.load_config(f"{file}:a:b.py:c")
  with pytest.raises(
    errors.UserError, match="no config file .*take:1.5/no.py;"
  ):
    command_line.load_config(f"{folder}/no.py:debug")


@pytest.mark.parametrize(
  ("options", "key", "value"),
  [
    (["--config.seed=7"], "seed", 7),
    (["--config.seed", "7"], "seed", 7),
    (["-config.seed=7"], "seed", 7),
    (["--config.seed=7", "--config.seed=8"], "seed", 8),
    (["--config.physics.fps=6"], "physics.fps", 6.0),
    (["--config.physics.scene=still"], "physics.scene", "still"),
    (["--config.data.shuffle=false"], "data.shuffle", False),
    (["--noconfig.data.shuffle"], "data.shuffle", False),
    (["--config.data.shuffle"], "data.shuffle", True),
    (
      [f"{SOURCE}.fields=('video', 'depth_m')"],
      "data.sources.main.fields",
      ("video", "depth_m"),
    ),
    (
      [f"{SOURCE}.crop_area=(0.5, 1)"],
      "data.sources.main.crop_area",
      (0.5, 1),
    ),
    ([f"{SOURCE}.path=a=b c"], "data.sources.main.path", "a=b c"),
  ],
)
def test_any_field_can_be_set(options, key, value):
  config, _ = parse(PHYSICS, *options, "--workdir=x")
  assert command_line.flatten(config)[key] == value


def test_options_may_stand_in_any_order():
  config, workdir = parse("--config.seed=3", "--workdir=x", PHYSICS)
  assert (config.seed, workdir) == (3, "x")


def test_one_command_line_leaves_nothing_for_the_next(monkeypatch):
  monkeypatch.setattr(sys, "argv", ["vdr", "--config.seed=9"])
  first, _ = parse(PHYSICS, "--config.seed=3", "--workdir=x")
  second, _ = parse(PHYSICS, "--workdir=y")
  assert (first.seed, second.seed) == (3, 0)


def test_a_config_file_may_lie_anywhere(config_file, monkeypatch, tmp_path):
  config_file("""
    from configs import base

    def get_config():
      return base.build(None, {}, job="preview", seed=5)
  """)
  monkeypatch.chdir(tmp_path)
  config, _ = parse("--config=mine.py", "--workdir=x")
  assert (config.job, config.seed) == ("preview", 5)
  assert config.is_locked


BAD = {
  "nothing": ([], "--config is missing", "--help"),
  "no config": (["--workdir=x"], "--config is missing", "--help"),
  "no workdir": ([PHYSICS], "--workdir is missing", "--help"),
  "empty workdir": ([PHYSICS, "--workdir="], "--workdir is missing", "--help"),
  "no value": ([PHYSICS, "--workdir"], "--workdir", "--help"),
  "unknown option": (
    [PHYSICS, "--workdir=x", "--wrkdir=y"],
    "wrkdir",
    "--help",
  ),
  "argument": (
    [PHYSICS, "--workdir=x", "seed=3"],
    "unexpected argument 'seed=3'",
    "--name=value",
  ),
  "no such file": (["--config=no.py", "--workdir=x"], "no.py", "physics.py"),
  "directory": (["--config=configs", "--workdir=x"], "configs", "physics.py"),
  "other file": (["--config=LICENSE", "--workdir=x"], "LICENSE", "physics.py"),
  "variant": ([f"{PHYSICS}:tiny", "--workdir=x"], "'tiny'", "debug, local"),
  "empty variant": ([f"{PHYSICS}:x:y", "--workdir=x"], "'x:y'", "debug, local"),
  "mistyped field": (
    [PHYSICS, "--workdir=x", "--config.physics.num_framez=9"],
    "config.physics has no field 'num_framez'",
    "did you mean config.physics.num_frames?",
  ),
  "mistyped group": (
    [PHYSICS, "--workdir=x", "--config.phisics.scene=still"],
    "config has no field 'phisics'",
    "did you mean config.physics.scene?",
  ),
  "forgotten group": (
    [PHYSICS, "--workdir=x", "--config.max_bad_share=0"],
    "config has no field 'max_bad_share'",
    "did you mean config.data.max_bad_share",
  ),
  "unlike any field": (
    [PHYSICS, "--workdir=x", "--config.physics.num_clips.zzz=9"],
    "config.physics.num_clips has no field 'zzz'",
    "it has pretrain, select, test, test_ood, train",
  ),
  "below a field": (
    [PHYSICS, "--workdir=x", "--config.seed.x=9"],
    "--config.seed.x",
    "config.seed is a field and has no 'x'",
  ),
  "group": (
    [PHYSICS, "--workdir=x", "--config.physics=9"],
    "--config.physics is a group",
    "--config.physics.",
  ),
  "int": (
    [PHYSICS, "--workdir=x", "--config.physics.num_frames=abc"],
    "--config.physics.num_frames=abc",
    "type int, for example 17",
  ),
  "int as float": (
    [PHYSICS, "--workdir=x", "--config.seed=1.5"],
    "--config.seed=1.5",
    "type int, for example 0",
  ),
  "float": (
    [PHYSICS, "--workdir=x", "--config.physics.fps=a: b"],
    "--config.physics.fps=a",
    "type float, for example 12.0",
  ),
  "bool": (
    [PHYSICS, "--workdir=x", "--config.data.shuffle=maybe"],
    "--config.data.shuffle=maybe",
    "type bool, for example True",
  ),
  "tuple item": (
    [PHYSICS, "--workdir=x", f"{SOURCE}.crop_area=('a', 'b')"],
    f"{SOURCE}.crop_area=('a', 'b')",
    "each a finite number above 0",
  ),
  "field without value": (
    [PHYSICS, "--workdir=x", "--config.seed"],
    "--config.seed",
    "--help",
  ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_told_in_one_line_with_the_mend(case):
  args, value, mend = BAD[case]
  with pytest.raises(errors.UserError) as caught:
    parse(*args)
  message = str(caught.value)
  assert "\n" not in message
  assert value in message
  assert mend in message


BAD_FILES = {
  "raises": (
    "def get_config():\n  return 1 / 0\n",
    "line 2, raised ZeroDivisionError: division by zero",
  ),
  "syntax": ("def get_config(:\n", "raised SyntaxError"),
  "import": ("import no_such_module\n", "line 1, raised ModuleNotFoundError"),
  "no get_config": ("CONFIG = {}\n", "defines no get_config"),
  "no config": ("def get_config():\n  return {}\n", "returned dict"),
  "unknown field": (
    "from configs import base\n"
    "def get_config():\n"
    "  return base.build(None, {}, seeed=1)\n",
    "config has no field 'seeed'; did you mean config.seed?",
  ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_config_file_that_fails_names_the_place(case, config_file):
  body, expected = BAD_FILES[case]
  path = config_file(body)
  with pytest.raises(errors.UserError) as caught:
    parse(f"--config={path}", "--workdir=x")
  message = str(caught.value)
  assert "\n" not in message
  assert str(path) in message
  assert expected in message
