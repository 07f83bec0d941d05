"""The causal autoencoder: an image is a clip, and pieces make the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vdr.models import autoencoder, tokenizer
from vdr.runtime import errors


def config(downsample=4, channels=3, **conv):
  cfg = base.tokenizer()
  cfg.update(kind="conv", downsample=downsample, channels=channels)
  cfg.conv.update(stem=2, width=8, multipliers=(1, 2, 2), num_blocks=1)
  cfg.conv.update(conv)
  return cfg


def clips(n=2, t=9, size=8, seed=0):
  rng = np.random.default_rng(seed)
  return rng.uniform(-1, 1, (n, t, size, size, 3)).astype(np.float32)


def paper():
  cfg = base.tokenizer()
  cfg.update(kind="conv", downsample=8, channels=8)
  cfg.conv.update(stem=1, width=128, multipliers=(1, 2, 2, 4), num_blocks=4)
  return cfg


def encode(cfg, params, video, chunk=0):
  """As one compiled function: dozens of small ones take longer to compile."""
  run = jax.jit(lambda p, v: tokenizer.encode(cfg, p, v, chunk))
  return run(params, video)


def decode(cfg, params, latents, chunk=0):
  run = jax.jit(lambda p, z: tokenizer.decode(cfg, p, z, chunk))
  return run(params, latents)


def init(cfg):
  return tokenizer.init(cfg, jax.random.key(0))


@pytest.fixture(scope="module")
def made():
  cfg = config()
  return cfg, init(cfg), clips()


@pytest.fixture(scope="module")
def encoded(made):
  cfg, params, video = made
  return encode(cfg, params, video)


def test_an_image_is_the_clips_first_latent(made, encoded):
  cfg, params, video = made
  image = encode(cfg, params, video[:, :1])
  np.testing.assert_allclose(image.mean, encoded.mean[:, :1], atol=1e-5)
  np.testing.assert_allclose(image.log_std, encoded.log_std[:, :1], atol=1e-5)


@pytest.mark.parametrize("k", [0, 1])
def test_a_latent_frame_sees_no_later_pixel(made, k):
  cfg, params, video = made

  def latent(video):
    posterior = encode(cfg, params, video)
    return (
      jnp.square(posterior.mean[:, k]).sum() + posterior.log_std[:, k].sum()
    )

  gradient = jax.jit(jax.grad(latent))(jnp.asarray(video))
  assert jnp.abs(gradient[:, 4 * k]).max() > 0
  np.testing.assert_array_equal(gradient[:, 4 * k + 1 :], 0)


@pytest.mark.parametrize("k", [0, 1])
def test_a_pixel_frame_needs_no_later_latent(made, encoded, k):
  cfg, params, _ = made

  def pixels(latents):
    decoded = decode(cfg, params, latents)
    return jnp.square(decoded[:, : 4 * k + 1]).sum()

  gradient = jax.jit(jax.grad(pixels))(encoded.mean)
  assert jnp.abs(gradient[:, k]).max() > 0
  np.testing.assert_array_equal(gradient[:, k + 1 :], 0)


# 3 leaves a rest of one latent frame.
@pytest.mark.parametrize(
  "chunk", [3, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2, 9))]
)
def test_chunks_give_what_one_pass_gives(chunk):
  cfg, video = config(), clips(t=17)
  params = init(cfg)
  whole = encode(cfg, params, video)
  pieces = encode(cfg, params, video, chunk)
  np.testing.assert_allclose(pieces.mean, whole.mean, atol=1e-5)
  np.testing.assert_allclose(pieces.log_std, whole.log_std, atol=1e-5)
  np.testing.assert_allclose(
    decode(cfg, params, whole.mean, chunk),
    decode(cfg, params, whole.mean),
    atol=1e-5,
  )


@pytest.mark.parametrize(
  ("downsample", "conv"),
  [
    (4, {"stem": 4}),
    (4, {"stem": 1}),
    (2, {"stem": 1}),
    (8, {"stem": 1, "multipliers": (1, 1, 1, 2)}),
    (4, {"stem": 2, "dtype": "bfloat16", "num_blocks": 2}),
  ],
)
def test_every_shape_goes_there_and_back(downsample, conv):
  cfg, video = config(downsample, **conv), clips(1, 5, 16)

  def there_and_back(key):
    params = tokenizer.init(cfg, key)
    posterior = tokenizer.encode(cfg, params, video)
    return posterior, tokenizer.decode(cfg, params, posterior.mean)

  posterior, decoded = jax.eval_shape(there_and_back, jax.random.key(0))
  shape = tokenizer.latent_shape(cfg, 5, 16, 16)
  assert posterior.mean.shape[1:] == posterior.log_std.shape[1:] == shape
  assert decoded.shape == video.shape
  assert decoded.dtype == posterior.mean.dtype == np.float32


def test_the_paper_size_without_computing_it():
  cfg = paper()
  params = jax.eval_shape(lambda: tokenizer.init(cfg, jax.random.key(0)))
  video = jax.ShapeDtypeStruct((1, 17, 128, 128, 3), np.uint8)
  posterior = jax.eval_shape(
    lambda p, v: tokenizer.encode(cfg, p, v), params, video
  )
  assert posterior.mean.shape == (1, 5, 16, 16, 8)
  decoded = jax.eval_shape(
    lambda p, z: tokenizer.decode(cfg, p, z), params, posterior.mean
  )
  assert decoded.shape == video.shape


def test_time_is_halved_late_and_space_early():
  settings = autoencoder.Settings.from_config(paper())
  assert settings.widths == (128, 256, 256, 512)
  assert settings.strides == ((1, 2), (2, 2), (2, 2))
  settings = autoencoder.Settings.from_config(config(4, stem=4))
  assert settings.strides == ((2, 1), (2, 1))


def test_parameters_are_plain_dicts_that_jit_and_grad_take(made):
  cfg, params, video = made

  @jax.jit
  def gradient(params):
    def loss(params):
      latents = encode(cfg, params, video).mean
      return jnp.square(decode(cfg, params, latents) - video).mean()

    return jax.grad(loss)(params)

  gradients = gradient(params)["model"]
  assert jax.tree.structure(gradients) == jax.tree.structure(params["model"])
  for path, leaf in jax.tree_util.tree_leaves_with_path(params["model"]):
    assert all(isinstance(part, jax.tree_util.DictKey) for part in path)
    assert leaf.dtype == np.float32
  for part in ("encoder", "decoder"):
    norms = [jnp.abs(g).max() for g in jax.tree.leaves(gradients[part])]
    assert sum(float(n) > 0 for n in norms) > 0.9 * len(norms)


@pytest.mark.parametrize(
  ("downsample", "conv", "message"),
  [
    (4, {"multipliers": (1, 2)}, r"multipliers=\(1, 2\).*3 levels"),
    (4, {"stem": 3}, "stem=3.*downsample=4"),
    (4, {"stem": 8}, "stem=8"),
    (4, {"stem": 0}, "stem=0"),
    (16, {"stem": 1}, "stem=1 and 3 levels.*downsample=16"),
    (4, {"width": 0}, "width"),
    (4, {"dtype": "float16"}, "float16.*bfloat16"),
  ],
)
def test_a_network_that_can_not_be_is_refused(downsample, conv, message):
  with pytest.raises(errors.UserError, match=message):
    tokenizer.check(config(downsample, **conv))
