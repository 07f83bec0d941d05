"""Programs of a config, lowered for the devices of this machine."""

import jax
import jax.numpy as jnp
import pytest

from configs import base, video_dit
from vdr import programs
from vdr.models import attention, flops
from vdr.runtime import errors


def make(name, **fields):
  config = base.override(
    video_dit.get_config("debug"),
    {k.replace("__", "."): v for k, v in fields.items()},
  )
  return programs.make(name, config, jax.devices()[:1]), config


@pytest.mark.parametrize("name", programs.STEPS)
def test_it_lowers_with_the_attention_of_a_tpu(name, monkeypatch):
  chosen = []
  choose = attention.choose

  def seen(*args):
    chosen.append(choose(*args))
    return chosen[-1]

  monkeypatch.setattr(attention, "choose", seen)
  program, _ = make(name)
  assert "stablehlo" in program.lower().as_text()
  assert chosen and set(chosen) == {"xla"}
  # Again that of this CPU.
  assert attention.choose(16, jnp.dtype("float32")) == "plain"


@pytest.mark.parametrize("name", programs.STEPS)
def test_it_says_how_much_work_it_is(name):
  program, config = make(name)
  clip, image = 5 * 4 * 4, 4 * 4  # tokens
  expected = {
    "train": (4, 2 * (clip + image)),
    "extract": (config.compile.clips, config.compile.clips * clip),
    "sample": (8, 2 * 8 * clip),  # two steps
  }
  assert (program.clips, program.tokens) == expected[name]
  assert program.extra_flops == 0


@pytest.mark.parametrize(
  ("name", "field"),
  [
    ("train", "data.batch_size"),
    ("train", "images.batch_size"),
    ("extract", "compile.clips"),
    ("sample", "sampler.num_steps"),
  ],
)
def test_work_is_in_proportion_to_what_is_asked_for(name, field):
  once, config = make(name)
  section, _, leaf = field.partition(".")
  more, _ = make(name, **{field.replace(".", "__"): 3 * config[section][leaf]})
  ratio = more.tokens / once.tokens
  # Of training, one of two groups grows.
  assert (1 < ratio < 3) if name == "train" else ratio == 3
  # A clip's frames look at one another, too, but have few tokens here.
  assert more.flops / once.flops == pytest.approx(ratio, rel=0.1)


def test_what_is_computed_again_is_told_apart():
  plain, _ = make("train")
  again, config = make("train", model__remat="block")
  assert again.flops == plain.flops
  # A third of the blocks' products, which are nearly all.
  assert 0.8 < 3 * again.extra_flops / again.flops < 1
  assert flops.training(config.model, (5, 4, 4)) < again.flops


def test_a_program_that_does_not_exist():
  with pytest.raises(errors.UserError, match="train, extract, sample"):
    make("dance")
