"""Every config builds, in every variant, and says how it is started."""

import ast
import importlib
import pathlib
import re
import shlex

import pytest

from configs import base, evaluate
from vdr import main
from vdr.probes import make
from vdr.runtime import bounds, command_line, errors

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = sorted(
  path.stem
  for path in (ROOT / "configs").glob("*.py")
  if path.stem not in ("__init__", "base")
)
MODULES = {name: importlib.import_module(f"configs.{name}") for name in NAMES}
VARIANTS = [
  (name, variant)
  for name, module in MODULES.items()
  for variant in (None, *module.VARIANTS)
]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_it_builds_locked_and_for_a_verb(name, variant):
  config = MODULES[name].get_config(variant)
  assert config.is_locked
  assert config.job in main.JOBS


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_it_only_overrides(name, variant):
  config = command_line.flatten(MODULES[name].get_config(variant))
  default = command_line.flatten(base.default())
  assert config.keys() == default.keys()
  for key, value in default.items():
    assert type(config[key]) is type(value), key


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_debug_variant(name):
  assert "debug" in MODULES[name].VARIANTS


@pytest.mark.parametrize("name", NAMES)
def test_its_docstring_is_a_command_that_parses(name):
  doc = MODULES[name].__doc__
  assert doc is not None
  command = doc.split("\n\n")[1].replace("\\\n", " ")
  words = shlex.split(command)
  assert words[:3] == ["python", "-m", "vdr.main"]
  assert any(w.startswith(f"--config=configs/{name}.py") for w in words)
  command_line.parse(
    [w.replace("=configs/", f"={ROOT}/configs/") for w in words[2:]]
  )
  assert "Hardware:" in doc


@pytest.mark.parametrize("name", NAMES)
def test_its_docstring_names_its_variants(name):
  for variant in MODULES[name].VARIANTS:
    assert f"`{variant}`" in (MODULES[name].__doc__ or ""), variant


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_variant_names_the_known_ones(name):
  with pytest.raises(errors.UserError, match="'tiny'.*debug"):
    MODULES[name].get_config("tiny")


@pytest.mark.parametrize(
  ("path", "most"),
  [(ROOT / "configs" / "base.py", 40)]
  + [
    (path, 1)
    for path in (ROOT / "configs" / "fields").glob("[!_]*.py")
    if path.stem != "earlier"  # it declares no field
  ],
  ids=lambda value: getattr(value, "stem", ""),
)
def test_every_field_has_its_comment(path, most):
  source = path.read_text()
  lines = source.splitlines()
  fields = [
    keyword
    for call in ast.walk(ast.parse(source))
    if isinstance(call, ast.Call) and ast.unparse(call.func) == "dict"
    for keyword in call.keywords
    # Not a group: a section by its name, or a dict of more fields.
    if keyword.arg
    and not re.match(r"\w+$|dict\(", ast.unparse(keyword.value))
    or isinstance(keyword.value, ast.Constant)
  ]
  assert len(fields) > most
  bare = [f.arg for f in fields if "  # " not in lines[(f.end_lineno or 0) - 1]]
  assert not bare


def test_every_field_has_its_bounds():
  def leaves(fields):
    for name, declared in fields.items():
      inner = getattr(declared, "fields", declared)
      if isinstance(inner, dict):
        yield from leaves(inner)
      else:
        yield name, declared

  assert len(list(leaves(base.default.fields))) > 300
  for name, declared in leaves(base.default.fields):
    assert isinstance(declared, bounds.Field | bool), name


def fields(name, variant, prefix):
  """Those of one section, flat."""
  flat = command_line.flatten(MODULES[name].get_config(variant))
  return {k: v for k, v in flat.items() if k.startswith(prefix)}


@pytest.mark.parametrize("variant", ["local", *evaluate.TASKS])
def test_an_evaluation_gives_its_probes_what_the_local_study_does(variant):
  found = fields("evaluate", variant, "probe.")
  expected = fields("study", "local", "probe.")
  # Of how much is computed at a time no score depends.
  assert found | {"probe.step_mb": 1.0} == expected


def test_the_local_evaluation_is_that_of_the_local_study():
  for field in ("tasks", "layers", "noise_levels", "draws"):
    prefix = f"evaluate.{field}"
    found = fields("evaluate", "local", prefix)
    assert found == fields("study", "local", prefix)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_heads_that_learn_slowly_have_no_fewer_steps(name, variant):
  cfg = MODULES[name].get_config(variant).probe
  for own in (cfg.dense, cfg.track):
    assert make.steps_of(own, cfg) >= cfg.num_steps


class TestBuild:
  def test_the_variant_wins_over_the_file(self):
    config = base.build("a", {"a": {"seed": 2}}, seed=1)
    assert config.seed == 2

  def test_two_underscores_are_a_dot(self):
    assert base.build(None, {}, physics__fps=6.0).physics.fps == 6.0

  def test_one_build_leaves_nothing_for_the_next(self):
    base.build(None, {}, physics__num_clips__train=3)
    assert base.build(None, {}).physics.num_clips.train != 3

  def test_a_mistyped_field_is_refused(self):
    with pytest.raises(errors.UserError, match="did you mean config.seed?"):
      base.build("a", {"a": {"sead": 2}})

  def test_a_wrong_type_is_refused(self):
    with pytest.raises(TypeError):
      base.build(None, {}, seed="one")

  def test_a_locked_config_takes_no_new_field(self):
    config = base.build(None, {})
    with pytest.raises(AttributeError):
      config.sead = 2
