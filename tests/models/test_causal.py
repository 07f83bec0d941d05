"""Causal layers: against slow ones, piece by piece, and blind to the future."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vdr.models import causal, functional


def clip(t=5, h=4, w=6, c=8, seed=0):
  x = np.random.default_rng(seed).normal(size=(2, t, h, w, c))
  return jnp.asarray(x, jnp.float32)


@jax.jit
def run(layer, x, carry=None):
  return layer(x, carry)


def drawn(layer, seed=0):
  """The layer with random parameters."""
  params = causal.randomise(functional.params_of(layer), jax.random.key(seed))
  return nnx.merge(nnx.graphdef(layer), params)


STRIDES = [(1, 1), (1, 2), (2, 1), (2, 2)]


LAYERS = {
  **{
    f"conv{t}{s}": causal.CausalConv(8, 4, stride_t=t, stride_hw=s)
    for t, s in STRIDES
  },
  "block": causal.ResidualBlock(8),
  "stack": causal.Stack(8, 3),
  "remat": causal.Stack(8, 2, remat=True),
  "up": causal.Up(8, 4, factor_t=2, factor_hw=2),
  "up_space": causal.Up(8, 4, factor_t=1, factor_hw=2),
}


def slow_conv(x, kernel, bias, stride_t, stride_hw):
  """Every output by itself, in float64; before the clip stands its start."""
  x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
  b, t, h, w, _ = x.shape
  before = (stride_hw == 1) * 1  # XLA's SAME: all of an even size's zero behind
  out = np.zeros(
    (
      b,
      (t - 1) // stride_t + 1,
      h // stride_hw,
      w // stride_hw,
      kernel.shape[-1],
    )
  )
  for k, i, j in np.ndindex(*out.shape[1:4]):
    for dt, dy, dx in np.ndindex(3, 3, 3):
      time = max(k * stride_t + dt - 2, 0)
      y, z = i * stride_hw + dy - before, j * stride_hw + dx - before
      if 0 <= y < h and 0 <= z < w:
        out[:, k, i, j] += x[:, time, y, z] @ kernel[dt, dy, dx]
  return out + np.asarray(bias)


@pytest.mark.parametrize(("stride_t", "stride_hw"), STRIDES)
@pytest.mark.parametrize("t", [1, 5])
def test_a_convolution_is_the_slow_one(stride_t, stride_hw, t):
  x = clip(t)
  conv = drawn(causal.CausalConv(8, 4, stride_t=stride_t, stride_hw=stride_hw))
  conv.bias[...] = jnp.arange(4.0)
  kernel, bias = conv.kernel[...], conv.bias[...]
  expected = slow_conv(x, kernel, bias, stride_t, stride_hw)
  np.testing.assert_allclose(run(conv, x)[0], expected, atol=1e-5)


@pytest.mark.parametrize(("stride_t", "stride_hw"), STRIDES)
def test_both_ways_to_convolve_are_one(stride_t, stride_hw):
  x = clip(7)
  kernel = jax.random.normal(jax.random.key(0), (3, 3, 3, 8, 4))
  np.testing.assert_allclose(
    causal._by_frames(x, kernel, stride_t, stride_hw),
    causal._native(x, kernel, stride_t, stride_hw),
    atol=1e-4,
  )


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("cuts", [(1, 5), (1, 3)])
def test_pieces_give_the_whole(name, cuts):
  layer, x = drawn(LAYERS[name]), clip(9)
  whole, last = run(layer, x)
  pieces, carry, start = [], None, 0
  for stop in (*cuts, 9):
    y, carry = run(layer, x[:, start:stop], carry)
    pieces.append(y)
    start = stop
  np.testing.assert_allclose(jnp.concatenate(pieces, 1), whole, atol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), carry, last
  )


@pytest.mark.parametrize("name", LAYERS)
def test_the_first_frame_sees_no_later_one(name):
  layer, x = drawn(LAYERS[name]), clip()

  @jax.jit
  @jax.grad
  def gradient_of(x):
    return jnp.square(layer(x)[0][:, 0]).sum()

  gradient = gradient_of(x)
  assert jnp.abs(gradient[:, 0]).max() > 0
  np.testing.assert_array_equal(gradient[:, 1:], 0)


def test_a_frame_is_normalised_by_itself():
  x = 3 * clip(c=16) + 5
  norm = causal.FrameNorm(16)
  y = np.asarray(norm(x)).reshape(2, 5, 4, 6, norm.groups, -1)
  np.testing.assert_allclose(y.mean(axis=(2, 3, 5)), 0, atol=1e-5)
  np.testing.assert_allclose(y.std(axis=(2, 3, 5)), 1, atol=1e-4)
  alone = norm(x[:, 2:3])
  np.testing.assert_allclose(alone, norm(x)[:, 2:3], atol=1e-6)


def test_a_constant_frame_has_a_finite_norm_and_gradient():
  norm, x = causal.FrameNorm(8), jnp.full((1, 1, 4, 4, 8), 3.0)
  np.testing.assert_array_equal(norm(x), 0)
  gradient = jax.grad(lambda x: norm(x)[0, 0, 0, 0, 0])(x)
  assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("channels", [1, 3, 8, 32, 48, 64, 128])
def test_groups_divide_the_channels_and_have_more_than_one(channels):
  groups = causal.FrameNorm(channels).groups
  assert channels % groups == 0
  assert channels == 1 or groups < channels
  assert groups <= causal.GROUPS


def test_a_stack_is_its_blocks_one_after_another():
  stack, x = drawn(causal.Stack(8, 3)), clip()
  y = x
  for i in range(3):
    block = jax.tree.map(lambda leaf, i=i: leaf[i], stack.blocks)
    y, _ = run(block, y)
  np.testing.assert_allclose(run(stack, x)[0], y, atol=1e-6)


def test_scanned_and_unrolled_stacks_are_one(monkeypatch):
  stack, x = drawn(causal.Stack(8, 3)), clip()
  unrolled = run(stack, x)
  monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
  scanned = jax.jit(lambda x: stack(x))(x)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), scanned, unrolled
  )


def test_computing_again_changes_no_gradient():
  x = clip()

  def gradient(remat):
    stack = drawn(causal.Stack(8, 2, remat))
    return jax.jit(jax.grad(lambda x: jnp.square(stack(x)[0]).sum()))(x)

  np.testing.assert_allclose(gradient(True), gradient(False), atol=1e-4)


def test_bfloat16_stays_bfloat16():
  for layer in LAYERS.values():
    x = clip().astype(jnp.bfloat16)
    assert jax.eval_shape(layer, x)[0].dtype == jnp.bfloat16


class TestRandomise:
  def test_layers_keep_the_variance(self):
    x = clip(5, 16, 16, 32)
    y, _ = run(drawn(causal.CausalConv(32, 64)), x)
    # Away from the edges, where zeros and copies stand.
    assert np.std(y[:, 2:, 1:-1, 1:-1]) == pytest.approx(1, rel=0.1)
    np.testing.assert_array_equal(drawn(causal.FrameNorm(8)).scale[...], 1)

  def test_a_block_starts_near_the_identity(self):
    x = clip(c=16)
    y, _ = run(drawn(causal.ResidualBlock(16)), x)
    assert 0.01 < np.std(y - x) < 0.2

  def test_every_kernel_is_its_own(self):
    kernel = drawn(causal.Stack(8, 3)).blocks.conv1.kernel[...]
    assert np.abs(kernel[0] - kernel[1]).max() > 0.1

  def test_shapes_are_enough_and_the_key_decides(self):
    layer = causal.ResidualBlock(8)
    params = functional.params_of(layer)
    shapes = functional.params_of(jax.eval_shape(lambda: layer))
    key = jax.random.key(3)
    first = causal.randomise(params, key)
    jax.tree.map(
      np.testing.assert_array_equal, first, causal.randomise(shapes, key)
    )
    other = causal.randomise(params, jax.random.key(4))
    assert (first["conv1"]["kernel"] != other["conv1"]["kernel"]).any()
