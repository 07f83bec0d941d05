"""Samples: shapes, seeds, and a model that knows the answer."""

import jax
import numpy as np
import pytest

from tests import training
from vdr import generation, train_step
from vdr.models import dit, tokenizer


@pytest.fixture(scope="module")
def parts():
  cfg = training.config()
  model = train_step.resolve_model(cfg, cfg.tokenizer)
  return (
    generation.Generator(model, cfg.diffusion, cfg.sampler, cfg.tokenizer),
    training.perturbed(dit.init(model, jax.random.key(0))),
    tokenizer.init(cfg.tokenizer, jax.random.key(1)),
  )


def make_keys(seed, num=2):
  return jax.random.split(jax.random.key(seed), num)


@pytest.mark.parametrize("num_frames", (1, 5))
def test_samples_are_pixels_that_the_key_decides(parts, num_frames):
  generate, params, tokenizer_params = parts
  shape = (num_frames, 32, 32)
  draws = [
    np.asarray(
      generate(
        params, tokenizer_params, jax.random.split(jax.random.key(seed)), shape
      )
    )
    for seed in (0, 0, 1)
  ]
  assert draws[0].shape == (2, *shape, 3) and draws[0].dtype == np.uint8
  np.testing.assert_array_equal(draws[0], draws[1])
  assert (draws[0] != draws[2]).any()
  assert (draws[0][0] != draws[0][1]).any()


def test_a_sample_does_not_depend_on_those_beside_it(parts):
  generate, params, tokenizer_params = parts
  keys, shape = make_keys(0), (1, 32, 32)
  both = np.asarray(generate(params, tokenizer_params, keys, shape))
  turned = np.asarray(generate(params, tokenizer_params, keys[::-1], shape))
  # A grey level of rounding, where a value lies between two.
  assert np.abs(both.astype(int) - turned[::-1]).max() <= 1


def test_a_model_that_predicts_zero_velocity_gives_back_its_noise():
  """With v = 0 and no signal left, x0 is 0: grey pixels, whatever the noise."""
  cfg = training.config(diffusion__target="x0")
  model = train_step.resolve_model(cfg, cfg.tokenizer)
  generate = generation.Generator(
    model, cfg.diffusion, cfg.sampler, cfg.tokenizer
  )
  video = generate(
    dit.init(model, jax.random.key(0)),  # untrained: predicts zeros
    tokenizer.init(cfg.tokenizer, jax.random.key(1)),
    make_keys(2, 1),
    (5, 32, 32),
  )
  assert set(np.unique(video)) <= {127, 128}
