"""Layers against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vdr.models import layers

RNG = np.random.default_rng(0)


def array(*shape):
  return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def compare_gradients(fn, plain, x):
  """Of two functions that should be the same, in both types."""
  weight = array(*x.shape)
  for dtype, rtol in ((jnp.float32, 1e-5), (jnp.bfloat16, 0.02)):

    def gradient(fn, x):
      y, pull = jax.vjp(fn, x)
      return pull(weight.astype(y.dtype))[0]

    found = gradient(fn, x.astype(dtype))
    assert found.dtype == dtype
    expected = gradient(plain, x.astype(dtype).astype(jnp.float32))
    size = float(jnp.abs(expected).max())
    np.testing.assert_allclose(
      found.astype(jnp.float32), expected, rtol=rtol, atol=rtol * size
    )


class TestLinear:
  def test_it_maps_groups_of_axes(self):
    layer = layers.Linear((2, 3), (4, 5), nnx.Rngs(0))
    x = array(6, 2, 3)
    expected = np.einsum("bij,ijkl->bkl", x, layer.kernel[...])
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)

  def test_a_part_is_that_part(self):
    layer = layers.Linear((4,), (3, 5), nnx.Rngs(0), bias=layers.constant(0.5))
    x = array(6, 4)
    np.testing.assert_allclose(
      layer(x, part=2), layer(x)[:, 2], rtol=1e-5, atol=1e-6
    )

  def test_it_computes_in_the_type_of_its_input(self):
    layer = layers.Linear((4,), (5,), nnx.Rngs(0))
    assert layer(array(2, 4).astype(jnp.bfloat16)).dtype == jnp.bfloat16
    assert layer.kernel[...].dtype == jnp.float32


class TestXavier:
  def test_kernels_in_one_are_spread_as_alone(self):
    key = jax.random.key(0)
    alone = layers.xavier(1)(key, (300, 10, 30))
    three = layers.xavier(1, batch=(1,))(key, (300, 3, 10, 30))
    assert jnp.std(alone) == pytest.approx((1 / 300) ** 0.5, rel=0.02)
    assert jnp.std(three) == pytest.approx(float(jnp.std(alone)), rel=0.02)

  def test_fan_in_keeps_the_variance(self):
    layer = layers.Linear(
      (2, 2, 5), (400,), nnx.Rngs(0), kernel=layers.xavier(3, mode="fan_in")
    )
    assert jnp.std(layer(array(200, 2, 2, 5))) == pytest.approx(1, rel=0.1)


class TestNorms:
  def test_layer_norm(self):
    y = layers.layer_norm(3 * array(5, 64) + 2)
    np.testing.assert_allclose(jnp.mean(y, -1), 0, atol=1e-5)
    np.testing.assert_allclose(jnp.std(y, -1), 1, rtol=1e-4)

  def test_rms_norm(self):
    scale = array(64)
    y = layers.rms_norm(3 * array(5, 64), scale) / scale[None]
    np.testing.assert_allclose(jnp.mean(y**2, -1), 1, rtol=1e-4)

  def test_the_gradient_of_rms_norm_is_that_of_the_formula(self):
    x, scale = (3 * array(2, 5, 64)).at[0].multiply(1e-3), array(64)

    def plain(x, scale):
      y = x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)
      return y * scale[None, None]

    compare_gradients(
      lambda x: layers.rms_norm(x, scale), lambda x: plain(x, scale), x
    )
    weight = array(2, 5, 64)
    found, expected = (
      jax.grad(lambda s, fn=fn: jnp.sum(weight * fn(x, s)))(scale)
      for fn in (layers.rms_norm, plain)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

  def test_they_compute_in_float32(self):
    # In bfloat16 the mean of many numbers near 256 is a power of two.
    x = (256 + array(4096)).astype(jnp.bfloat16)
    y = layers.layer_norm(x)
    assert y.dtype == jnp.bfloat16
    expected = layers.layer_norm(x.astype(jnp.float32))
    np.testing.assert_allclose(y.astype(jnp.float32), expected, atol=0.02)

  def test_the_gradient_is_that_of_the_formula(self):
    def plain(x):
      x = x - jnp.mean(x, axis=-1, keepdims=True)
      return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)

    x = (3 * array(5, 64) + 2).at[0].multiply(1e-3)  # 1e-6 counts, too
    compare_gradients(layers.layer_norm, plain, x)

  def test_modulation(self):
    x, shift, scale = array(2, 1, 2, 2, 8), array(2, 8), array(2, 8)
    y = layers.modulate(x, shift, scale)
    one = np.asarray(layers.layer_norm(x))[1, 0, 1, 0]
    expected = one * (1 + np.asarray(scale)[1]) + np.asarray(shift)[1]
    np.testing.assert_allclose(y[1, 0, 1, 0], expected, rtol=1e-5)


class TestNoiseEmbedding:
  def test_near_levels_are_alike_and_far_ones_are_not(self):
    embedding = layers.NoiseEmbedding(64, nnx.Rngs(0))
    level = jnp.array([0.5, 0.501, 0.9, 0.0, 1.0])
    y = embedding(level)
    near, far = jnp.linalg.norm(y[0] - y[1]), jnp.linalg.norm(y[0] - y[2])
    assert near < far
    assert jnp.isfinite(y).all()  # both ends of the schedule too

  def test_it_is_float32_in_bfloat16_too(self):
    embedding = layers.NoiseEmbedding(64, nnx.Rngs(0))
    assert embedding(jnp.ones(2, jnp.bfloat16)).dtype == jnp.float32


def test_the_low_rank_part_is_low_rank_and_begins_at_zero():
  layer = layers.LowRank(16, 6, 2, nnx.Rngs(0))
  condition = array(40, 16)
  np.testing.assert_array_equal(layer(condition), np.zeros((40, 6, 16)))
  layer.up.kernel[...] = array(2, 6, 16)
  assert np.linalg.matrix_rank(layer(condition).reshape(40, -1)) == 2


def test_gelu_and_its_gradient():
  x = jnp.linspace(-6, 6, 1001)[None]
  plain = jax.nn.gelu
  np.testing.assert_allclose(layers.gelu(x), plain(x), atol=1e-6)
  compare_gradients(layers.gelu, plain, x)


def test_the_mlp_is_not_linear():
  mlp = layers.Mlp(8, 32, nnx.Rngs(0))
  x = array(3, 8)
  assert mlp(x).shape == x.shape
  assert not np.allclose(mlp(2 * x), 2 * mlp(x), atol=1e-3)
