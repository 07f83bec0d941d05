"""launch/nightly.sh in a checkout whose interpreter is a stand-in."""

import ast
import re

import pytest

from tests.launch import stubs as stubs_lib

STAGES = ["slow", "extras", "wheel", "notebooks", "benchmarks"]
# Notes its arguments and its folder; makes environments, and fails if told to.
PYTHON = """\
#!/bin/sh
echo "$PWD $*" >> "$STUB_ANSWERS/python"
[ "$2" != venv ] || { mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; }
case "$*" in *"${FAIL:-nothing fails}"*) exit 3 ;; esac
"""
TEST = 'echo "test $EXTRAS $*" >> "$STUB_ANSWERS/python"\n'


@pytest.fixture
def stubs(tmp_path):
  return stubs_lib.Stubs(tmp_path)


@pytest.fixture
def script(stubs, tmp_path):
  launch = stubs.checkout("nightly.sh")
  (launch / "setup.sh").write_text('echo "set up $1"\n')
  (launch / "test.sh").write_text(TEST)
  (launch.parent / "vdr").mkdir()
  (launch.parent / "vdr" / "__init__.py").write_text('__version__ = "1.2.3"\n')
  stubs.write("python", PYTHON)
  return launch / "nightly.sh"


@pytest.fixture
def run(stubs, script, tmp_path):
  """Runs it; `.calls` are those of Python."""

  def run(*words, **env):
    log = stubs.answers / "python"
    log.write_text("")
    command = words if words[:1] == ("bash",) else (script, *words)
    done = stubs.run(*command, TMPDIR=str(tmp_path), cwd="/", **env)
    done.calls = log.read_text().splitlines()
    return done

  return run


def summary(done):
  """The last lines: stage → result."""
  lines = done.stdout.partition("== summary\n")[2].splitlines()
  found = [re.fullmatch(r"(\w+) +(\w+) +\d+:\d\d", line) for line in lines]
  assert all(found), lines
  return {match[1]: match[2] for match in found}


def test_all_stages_run_in_order(run, script, tmp_path):
  done = run()
  assert (done.returncode, done.stderr) == (0, "")
  assert summary(done) == dict.fromkeys(STAGES, "passed")
  root, work = script.parents[1], tmp_path / "vdr-nightly"
  wheel = f"{work}/dist/video_diffusion_representations-1.2.3-py3-none-any.whl"
  assert done.calls == [
    f"{root} -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow"
    " --ignore=tests/notebooks",
    f"{root} -m pip check",
    f"{root} -m pip install --quiet --disable-pip-version-check --dry-run"
    " --constraint constraints.txt --editable .[cuda]",
    "test cluster,interop,metrics,tpu -rs",
    f"{root} -m build --outdir {work}/dist {work}/tree",
    f"{root} -m venv {work}/venv",
    f"{root} -m pip install --quiet --disable-pip-version-check --constraint"
    f" {root}/constraints.txt {wheel}",
    f"{work}/empty -m vdr.main --config=configs/study.py:debug"
    " --workdir=runs/debug",
    f"{root} -m pytest -n 0 -m slow tests/notebooks",
    f"{root} -m benchmarks --quick",
  ]
  assert not work.exists()


def test_dry_run_shows_what_runs(run):
  dry = run("--dry_run")
  assert (dry.returncode, dry.stderr, dry.calls) == (0, "", [])
  assert re.findall(r"^# (\w+)$", dry.stdout, re.MULTILINE) == STAGES
  shown = dry.stdout
  expected = run().calls
  assert run("bash", "-c", shown).calls == expected


def test_stages_are_chosen_by_name(run):
  done = run("--only=benchmarks,extras")
  assert list(summary(done)) == ["benchmarks", "extras"]
  assert len(done.calls) == 4


def test_a_stage_that_fails_ends_itself_alone(run):
  done = run("--only=wheel,notebooks", FAIL="-m build")
  assert done.returncode == 1
  assert summary(done) == {"wheel": "FAILED", "notebooks": "passed"}
  assert len(done.calls) == 2  # no environment for what was not built


def test_a_study_that_fails_is_kept(run, tmp_path):
  done = run("--only=wheel,slow", FAIL="-m vdr.main")
  assert (done.returncode, summary(done)["wheel"]) == (1, "FAILED")
  assert (tmp_path / "vdr-nightly" / "empty").exists()  # to look at


def test_what_setting_up_says_counts(run, script):
  (script.parent / "setup.sh").write_text("return 1\n")
  done = run("--only=notebooks")
  assert (done.returncode, summary(done)) == (1, {"notebooks": "FAILED"})
  assert done.calls == []


def test_help_tells_of_every_stage(run):
  done = run("--help")
  assert done.returncode == 0
  assert re.findall(r"^  (\w+) +\w", done.stdout, re.MULTILINE) == STAGES


@pytest.mark.parametrize(
  ("words", "said"),
  [
    (
      ["--only=wheel,night"],
      "there is no stage 'night'; there are slow extras",
    ),
    (["--only="], "--only= is empty"),
    (["wheel"], "unexpected 'wheel'"),
    (["--quick"], "there is no option --quick"),
    (["--", "--config=x"], "takes no options of vdr"),
  ],
)
def test_a_mistake_is_one_line(run, words, said):
  done = run(*words)
  assert (done.returncode, done.stdout, done.calls) == (2, "", [])
  assert done.stderr.startswith("launch/nightly.sh: ")
  assert said in done.stderr
  assert done.stderr.count("\n") == 1


def test_its_extras_are_all_that_need_no_gpu():
  tree = ast.parse((stubs_lib.ROOT / "setup.py").read_text())
  (extras,) = (
    ast.literal_eval(node.value)
    for node in ast.walk(tree)
    if isinstance(node, ast.keyword) and node.arg == "extras_require"
  )
  script = (stubs_lib.ROOT / "launch" / "nightly.sh").read_text()
  (own,) = re.findall(r"^EXTRAS=(.+)$", script, re.MULTILINE)
  assert own.split(",") == sorted(set(extras) - {"cuda", "dev"})
