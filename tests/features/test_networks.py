"""Controls against their definitions in NumPy, and frames passed alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.features import models
from vdr import features
from vdr.features import networks
from vdr.models import tokenizer
from vdr.runtime import errors


def test_latents_are_those_of_the_tokenizer():
  model, video = models.trained_model(), models.clips()
  backbone = features.build("latents", model)
  found = backbone.features(video, features.FeatureSpec())[0, 0.0]
  posterior = tokenizer.encode(model.tokenizer, model.tokenizer_params, video)
  expected = tokenizer.normalise(model.tokenizer_params, posterior.mean)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert found.shape[-1] == backbone.width


def test_latents_lie_on_the_grid_of_the_models_tokens():
  model = models.trained_model()
  cfg = networks.freeze_tokenizer(model.tokenizer)
  latents = jnp.arange(2 * 1 * 4 * 4 * 16.0).reshape(2, 1, 4, 4, 16)
  network = networks.RawLatents(
    cfg, features.build("pixels", model).schedule, 2
  )
  level = jnp.zeros(2)
  found = network.read({}, latents, level, (0,), False)[0]
  assert found.shape == (2, 1, 2, 2, network.width)
  np.testing.assert_array_equal(
    found[1, 0, 1, 0].reshape(2, 2, 16), latents[1, 0, 2:4, 0:2]
  )


def test_pixels_are_patches_of_four_frames():
  video = models.clips()
  backbone = features.build("pixels", models.trained_model())
  found = backbone.features(video, features.FeatureSpec())[0, 0.0]
  assert found.shape == (2, 2, 4, 4, backbone.width)
  unit = video / np.float32(127.5) - np.float32(1)
  patch = unit[1, 1:5, 8:16, 24:32].reshape(-1)
  np.testing.assert_allclose(found[1, 1, 1, 3], patch, atol=1e-6)
  first = np.tile(unit[1, 0, 8:16, 24:32].reshape(-1), 4)
  np.testing.assert_allclose(found[1, 0, 1, 3], first, atol=1e-6)


def test_pixels_that_do_not_divide_are_refused():
  backbone = features.build("pixels", models.trained_model())
  with pytest.raises(errors.UserError, match="can't be cut into patches"):
    backbone.features(models.clips(t=4), features.FeatureSpec())


def test_noise_is_mixed_in_by_the_schedule():
  backbone = features.build("latents", models.trained_model())

  def read(level):
    spec = features.FeatureSpec(noise_levels=(level,))
    return backbone.features(models.clips(), spec)[0, level]

  clean, noised, noise = map(read, (0.0, 0.4, 1.0))
  alpha, sigma = backbone.schedule.coefficients(0.4)
  np.testing.assert_allclose(noised, alpha * clean + sigma * noise, atol=1e-5)
  assert abs(float(noise.mean())) < 0.05 and abs(float(noise.std()) - 1) < 0.05


def test_frames_passed_alone_are_images():
  """Every one of them, or those that latent frames end with."""
  model, video = models.trained_model(), models.clips()
  backbone = features.build("latents", model)

  def read(video, frames):
    return np.asarray(backbone.encode(video, frames))

  every = read(video, "every")
  assert every.shape[1] == 5
  np.testing.assert_allclose(read(video, "latent"), every[:, ::4], atol=1e-5)
  image = read(video[:, 3:4], "clip")
  np.testing.assert_allclose(every[:, 3:4], image, atol=1e-5)


def test_the_spread_of_latents_is_at_their_scale(monkeypatch):
  model = models.trained_model()
  cfg = networks.freeze_tokenizer(model.tokenizer)
  of_pixels = tokenizer.encode

  def vague(*args):
    posterior = of_pixels(*args)
    return posterior._replace(log_std=jnp.full_like(posterior.mean, 0.5))

  monkeypatch.setattr(tokenizer, "encode", vague)
  video = jnp.asarray(models.clips())
  _, std = networks._encode(cfg, model.tokenizer_params, video)
  rows = model.tokenizer_params["statistics"]["std"]
  expected = np.exp(0.5) / np.asarray(rows)[:, None, None]
  expected = np.broadcast_to(expected, std.shape)
  np.testing.assert_allclose(std, expected, rtol=1e-4)
