"""Blocks against the formulas that they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models import networks
from vdr.models import blocks, layers, positions, windows
from vdr.models.sizes import Size

SIZE = Size(depth=2, width=32, num_heads=2)
GRID = (3, 4, 4)


def tokens(t=3, seed=0):
  return jax.random.normal(jax.random.key(seed), (2, t, 4, 4, SIZE.width))


def heads(q, k, v, window_of, bias):
  """Masked softmax attention over all tokens of a clip."""
  logits = jnp.einsum("bqac,bnac->baqn", q, k) / q.shape[-1] ** 0.5 + bias
  same = window_of[:, None] == window_of[None]
  weights = jax.nn.softmax(jnp.where(same[None, None], logits, -1e9))
  return jnp.einsum("baqn,bnac->bqac", weights, v)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("window", [(1, 4, 2), (3, 2, 2), GRID])
def test_windows_are_masks(window, learned):
  layer = blocks.SelfAttention(SIZE, GRID if learned else None, nnx.Rngs(0))
  x = tokens()
  found = layer(x, window, "plain")
  place = np.stack(np.indices(GRID), -1).reshape(-1, 3)
  window_of = np.ravel_multi_index(
    tuple((place // window).T), tuple(np.array(GRID) // window)
  )
  q, k, v = jnp.moveaxis(layer.qkv(x.reshape(2, -1, SIZE.width)), 2, 0)
  q, k = (layers.rms_norm(x, jnp.ones(16)) for x in (q, k))
  # By the place in the clip: inside a window only differences matter.
  bias = jnp.zeros((1, 1, 1, 1))
  if learned:
    bias = layer.relative(GRID)[None]
  else:
    angles = positions.rotations(GRID, 16)
    q, k = positions.rotate(q, angles), positions.rotate(k, angles)
  expected = layer.out(heads(q, k, v, window_of, bias)).reshape(x.shape)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_identity_mask_passes_values_through():
  layer = blocks.SelfAttention(SIZE, None, nnx.Rngs(0))
  x = tokens(t=1)
  values = jnp.einsum("bthwd,dac->bthwac", x, layer.qkv.kernel[...][:, 2])
  expected = jnp.einsum("bthwac,acd->bthwd", values, layer.out.kernel[...])
  np.testing.assert_allclose(layer(x, None, "plain"), expected, atol=1e-5)
  # The same as attention in windows of one token.
  alone = layer(x, (1, 1, 1), "plain")
  np.testing.assert_allclose(layer(x, None, "plain"), alone, atol=1e-5)


def test_relative_biases_act():
  layer = blocks.SelfAttention(SIZE, GRID, nnx.Rngs(0))
  x = tokens()
  before = layer(x, GRID, "plain")
  layer.relative.rows[...] = 5 * jax.random.normal(jax.random.key(0), (7, 2))
  assert not np.allclose(before, layer(x, GRID, "plain"), atol=1e-3)


def test_queries_and_keys_are_normed():
  layer = blocks.SelfAttention(SIZE, None, nnx.Rngs(0))
  x = tokens()
  before = layer(x, GRID, "plain")
  kernel = layer.qkv.kernel[...]
  layer.qkv.kernel[...] = kernel.at[:, :2].multiply(100.0)
  np.testing.assert_allclose(layer(x, GRID, "plain"), before, atol=1e-4)


def test_a_block_is_two_gated_branches():
  block = blocks.Block(SIZE, 0, None, nnx.Rngs(0))
  x = tokens()
  m = jax.random.normal(jax.random.key(1), (2, 6, SIZE.width))

  def run(m):
    return block(
      x,
      m,
      m[:, 0],
      window=GRID,
      implementation="plain",
      between=lambda x: 2 * x,
    )

  np.testing.assert_array_equal(run(jnp.zeros_like(m)), 2 * x)
  shift, scale, gate = (
    x[:, None, None, None] for x in (m[:, 3], m[:, 4], m[:, 5])
  )
  expected = 2 * x + gate * block.mlp(
    layers.layer_norm(2 * x) * (1 + scale) + shift
  )
  only_mlp = m.at[:, 2].set(0)
  np.testing.assert_allclose(run(only_mlp), expected, atol=1e-5)
  y = block.attention(layers.modulate(x, m[:, 0], m[:, 1]), GRID, "plain")
  only_attention = m.at[:, 5].set(0)
  expected = 2 * (x + m[:, 2][:, None, None, None] * y)
  np.testing.assert_allclose(run(only_attention), expected, atol=1e-5)


class TestCrossAttention:
  def make(self, gate_scale=0.5):
    return blocks.CrossAttention(SIZE, 5, gate_scale, nnx.Rngs(0))

  def test_a_closed_gate_leaves_the_stream_alone(self):
    x, text = tokens(), jnp.ones((2, 3, 5))
    y = self.make(0.0)(x, text, jnp.ones((2, 3), bool), "plain")
    np.testing.assert_array_equal(x, y)

  def test_one_word_gives_every_token_its_value(self):
    layer, x = self.make(), tokens()
    text = jax.random.normal(jax.random.key(1), (2, 1, 5))
    y = layer(x, text, jnp.ones((2, 1), bool), "plain")
    value = layer.out(layer.kv(text)[:, 0, 1])[:, None, None, None]
    np.testing.assert_allclose(y - x, 0.5 * value + 0 * x, atol=1e-5)

  def test_what_is_masked_is_not_read(self):
    layer, x = self.make(), tokens()
    text = jax.random.normal(jax.random.key(1), (2, 3, 5))
    mask = jnp.array([[True, True, False]] * 2)
    y = layer(x, text, mask, "plain")
    short = layer(x, text[:, :2], mask[:, :2], "plain")
    np.testing.assert_allclose(y, short, atol=1e-5)


def test_one_table_of_biases_serves_both_windows():
  cfg = networks.config(window_spatial=(4, 2), window_spatiotemporal=(3, 2, 2))
  assert blocks.bias_window(cfg) == (3, 4, 2)
  assert windows.fit((1, 4, 2), GRID, "x") == (1, 4, 2)
