"""Whatever a field is set to: the config is checked, or the verb copes."""

import importlib
import math

import pytest

from configs import base
from tests.configs import mutations
from vdr.runtime import bounds, command_line, errors

NAMES = sorted(
  path.stem
  for path in (mutations.ROOT / "configs").glob("*.py")
  if path.stem not in ("__init__", "base")
)

# The fields that a negative number means something to.
NEGATIVE = {
  "data.num_epochs",
  "diffusion.log_normal_mean",
  "extract.log_snrs",
  "images.num_epochs",
  "mesh.data",
  "mesh.fsdp",
  "mesh.tensor",
  "runtime.num_workers",
  "sample.label",
}


def debug(name):
  return importlib.import_module(f"configs.{name}").get_config("debug")


def numbers(value):
  """All numbers in a value."""
  if isinstance(value, tuple):
    return [x for item in value for x in numbers(item)]
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  return [value] if is_number else []


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_refused_in_one_line_or_taken(name):
  config = debug(name)
  rules = {k: rule for k, _, rule in bounds.pairs(config, base.default.fields)}
  assert rules.keys() == command_line.flatten(config).keys()
  for field, value in mutations.cases(config):
    is_taken = rules[field].takes(value)
    if not all(map(math.isfinite, numbers(value))):
      assert not is_taken, (field, value)
    if any(x < 0 for x in numbers(value)):
      assert not is_taken or field in NEGATIVE, (field, value)
    if any(abs(x) > 1e38 for x in numbers(value)):
      assert not is_taken, (field, value)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_line_with_a_mistake_names_the_field(name):
  for field, value in mutations.draw(debug(name), 30, seed=name):
    config = debug(name)
    try:
      command_line.override(config, [mutations.option(field, value)])
    except errors.UserError as error:
      assert str(error).startswith(f"--config.{field}"), error
      assert len(str(error).splitlines()) == 1, error


# Mutations that were taken once, and led to a traceback, to a run without end,
# or to numbers that mean nothing.
TAKEN = {
  "diffusion.log_normal_std": math.inf,
  "images.prefetch": -3,
  "images.sources.main.crop_area": (-1, -1, -1),
  "log.every_steps": -3,
  "optimizer.clip_norm": math.nan,
  "optimizer.weight_decay": -1.0,
  "sampler.guidance_interval": (-1, -1, -1),
  "data.sources.main.weight": math.inf,
  "tokenizer.loss.r1": math.inf,
  "train.amount": math.inf,
  "train.validation_batches": -3,
}


@pytest.mark.parametrize("field", TAKEN)
def test_what_was_taken_once_is_refused(field):
  with pytest.raises(errors.UserError) as caught:
    command_line.override(
      debug("video_dit"), [mutations.option(field, TAKEN[field])]
    )
  assert str(caught.value).startswith(f"--config.{field}=")
  assert ": give " in str(caught.value)
