"""The interface of all tokenizers: shapes, scale, files and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vdr.models import tokenizer
from vdr.runtime import errors


def config(**overrides):
  cfg = base.tokenizer()
  cfg.update(kind="patch", downsample=2, channels=5)
  cfg.update(overrides)
  return cfg


def clips(n=3, t=5, h=4, w=6, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (n, t, h, w, 3)).astype(np.uint8)


@pytest.fixture
def fitted():
  cfg, video = config(), clips(40)
  return cfg, tokenizer.fit_patch(cfg, [video[:9], video[9:]]), video


@pytest.mark.parametrize("t", [1, 5, 9])
def test_shapes_are_as_announced(t):
  cfg, video = config(), clips(t=t)
  params = tokenizer.init(cfg, jax.random.key(0))
  posterior = tokenizer.encode(cfg, params, video)
  expected = (3, *tokenizer.latent_shape(cfg, *video.shape[1:4]))
  assert posterior.mean.shape == posterior.log_std.shape == expected
  assert posterior.mean.dtype == np.float32
  decoded = tokenizer.decode(cfg, params, posterior.mean)
  assert decoded.shape == video.shape
  assert decoded.dtype == np.float32


def test_the_paper_sizes():
  cfg = config(downsample=8, channels=8)
  assert tokenizer.latent_shape(cfg, 17, 128, 128) == (5, 16, 16, 8)


def test_an_image_is_the_clips_first_latent(fitted):
  cfg, params, video = fitted
  whole = tokenizer.encode(cfg, params, video).mean
  image = tokenizer.encode(cfg, params, video[:, :1]).mean
  np.testing.assert_allclose(image[:, 0], whole[:, 0], atol=1e-5)
  np.testing.assert_allclose(
    tokenizer.normalise(params, image)[:, 0],
    tokenizer.normalise(params, whole)[:, 0],
    atol=1e-5,
  )


def test_it_works_inside_jit_and_without_values(fitted):
  cfg, params, video = fitted

  def there_and_back(params, video):
    latents = tokenizer.encode(cfg, params, video).mean
    latents = tokenizer.normalise(params, latents)
    return tokenizer.decode(cfg, params, tokenizer.denormalise(params, latents))

  expected = there_and_back(params, video)
  np.testing.assert_allclose(
    jax.jit(there_and_back)(params, video), expected, atol=1e-5
  )
  abstract = jax.eval_shape(lambda: tokenizer.init(cfg, jax.random.key(0)))
  assert jax.tree.map(jnp.shape, abstract) == jax.tree.map(jnp.shape, params)
  out = jax.eval_shape(there_and_back, abstract, video)
  assert (out.shape, out.dtype) == (expected.shape, expected.dtype)


def test_statistics_make_unit_scale(fitted):
  cfg, params, video = fitted
  latents = tokenizer.encode(cfg, params, video).mean
  scaled = np.asarray(tokenizer.normalise(params, latents))
  for part in (scaled[:, :1], scaled[:, 1:]):
    np.testing.assert_allclose(part.mean(axis=(0, 1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(part.std(axis=(0, 1, 2, 3)), 1, atol=1e-5)
  np.testing.assert_allclose(
    tokenizer.denormalise(params, scaled), latents, atol=1e-5
  )


def test_a_channel_without_variance_is_not_blown_up():
  cfg = config()
  video = np.full((4, 5, 4, 4, 3), 77, np.uint8)
  params = tokenizer.fit_patch(cfg, [video])
  latents = tokenizer.encode(cfg, params, video).mean
  scaled = tokenizer.normalise(params, latents)
  assert np.abs(scaled).max() < 1e-2
  decoded = tokenizer.decode(cfg, params, latents)
  np.testing.assert_array_equal(tokenizer.to_uint8(decoded), video)


def test_samples_have_the_posterior_spread():
  posterior = tokenizer.Posterior(
    jnp.full((1, 1, 100, 100, 2), 3.0), jnp.full((1, 1, 100, 100, 2), -1.0)
  )
  drawn = tokenizer.sample(posterior, jax.random.key(0))
  assert np.mean(drawn) == pytest.approx(3, abs=0.02)
  assert np.std(drawn) == pytest.approx(np.exp(-1), rel=0.02)


def test_samples_in_bfloat16_are_those_of_float32_rounded():
  shape = (1, 1, 250, 400, 2)
  half = tokenizer.Posterior(
    *(jnp.zeros(shape, jnp.bfloat16) for _ in range(2))
  )
  whole = tokenizer.Posterior(*(x.astype(jnp.float32) for x in half))
  drawn, expected = (
    tokenizer.sample(one, jax.random.key(0)) for one in (half, whole)
  )
  assert drawn.dtype == jnp.bfloat16
  np.testing.assert_array_equal(drawn, expected.astype(jnp.bfloat16))
  # A draw that is made in bfloat16 has 128 values, the largest 2.9, and a mean
  # of -.012: five of these standard errors.
  x = np.asarray(drawn, np.float64)
  assert len(np.unique(x)) > 1000
  assert x.min() < -3.9 and x.max() > 3.9
  assert abs(x.mean()) < 4 / x.size**0.5
  beyond = [np.mean(np.abs(x) > limit) for limit in (2, 3)]
  np.testing.assert_allclose(beyond, [0.0455, 0.0027], rtol=0.1)


def test_patch_latents_have_no_spread(fitted):
  cfg, params, video = fitted
  posterior = tokenizer.encode(cfg, params, video)
  drawn = tokenizer.sample(posterior, jax.random.key(0))
  np.testing.assert_array_equal(drawn, posterior.mean)


def test_pixels_survive_the_way_to_floats_and_back():
  values = np.arange(256, dtype=np.uint8)
  unit = tokenizer.to_unit(values)
  assert (unit.min(), unit.max(), unit.dtype) == (-1, 1, np.float32)
  np.testing.assert_array_equal(tokenizer.to_uint8(unit), values)
  np.testing.assert_array_equal(
    tokenizer.to_uint8(np.array([-1.2, 1.3], np.float32)), [0, 255]
  )


def test_floats_are_taken_as_they_are(fitted):
  cfg, params, video = fitted
  np.testing.assert_allclose(
    tokenizer.encode(cfg, params, tokenizer.to_unit(video)).mean,
    tokenizer.encode(cfg, params, video).mean,
    atol=1e-6,
  )


@pytest.mark.parametrize(
  ("size", "message"),
  [
    ((4, 4, 4), "4 frames.*num_frames of the source to 5"),
    ((16, 4, 4), "16 frames.*num_frames of the source to 17"),
    ((0, 4, 4), "0 frames.*to 1"),
    ((5, 7, 4), "height 7.*set height of the source to 8"),
    ((5, 4, 1), "width 1.*set width of the source to 2"),
  ],
)
def test_a_size_that_does_not_fit_names_one_that_does(size, message):
  with pytest.raises(errors.UserError, match=message):
    tokenizer.latent_shape(config(), *size)


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"kind": "vq"}, "'vq' is unknown; choose from patch"),
    ({"downsample": 0}, "downsample=0"),
    ({"channels": 0}, "channels=0"),
    ({"channels": 13}, "channels=13.* 12 values"),
  ],
)
def test_a_config_that_is_no_tokenizer_is_refused(overrides, message):
  with pytest.raises(errors.UserError, match=message):
    tokenizer.init(config(**overrides), jax.random.key(0))


def test_clips_that_do_not_fit_are_refused_by_encode_and_fit():
  cfg = config()
  params = tokenizer.init(cfg, jax.random.key(0))
  for use in (
    lambda video: tokenizer.encode(cfg, params, video),
    lambda video: tokenizer.fit_patch(cfg, [video]),
  ):
    with pytest.raises(errors.UserError, match="4 frames"):
      use(clips(t=4))


class TestFiles:
  def test_what_is_saved_is_loaded(self, fitted, tmp_path):
    cfg, params, _ = fitted
    path = tmp_path / "tokenizer.npz"
    tokenizer.save(path, cfg, params)
    assert list(tmp_path.iterdir()) == [path]
    loaded_cfg, loaded = tokenizer.load(path)
    assert loaded_cfg.to_dict() == cfg.to_dict()
    assert loaded_cfg.is_locked
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)

  def test_tuples_stay_tuples_at_any_depth(self, fitted, tmp_path):
    _, params, _ = fitted
    cfg = base.tokenizer()
    cfg.conv.multipliers = (3,)
    tokenizer.save(tmp_path / "x.npz", cfg, params)
    assert tokenizer.load(tmp_path / "x.npz")[0].to_dict() == cfg.to_dict()

  @pytest.mark.parametrize("content", [None, b"", b"no zip", "npy", "npz"])
  def test_another_file_is_refused(self, content, tmp_path):
    path = tmp_path / "x.npz"
    if content == "npy":
      with path.open("wb") as file:
        np.save(file, np.zeros(3))
    elif content == "npz":
      np.savez(path, a=np.zeros(3))
    elif content is not None:
      path.write_bytes(content)
    with pytest.raises(errors.UserError, match="x.npz is no tokenizer"):
      tokenizer.load(path)

  def test_a_cut_off_file_is_refused(self, fitted, tmp_path):
    cfg, params, _ = fitted
    path = tmp_path / "x.npz"
    tokenizer.save(path, cfg, params)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(errors.UserError, match="x.npz is no tokenizer"):
      tokenizer.load(path)
