"""The kernel for TPUs, run without one, against attention in plain steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import needs
from tests.models import networks
from vdr.models import (
  attention,
  dit,
  fused_attention,
  layers,
  positions,
)
from vdr.runtime import chips, hlo, moved, products


def inputs(window, num_heads, head_dim, dtype=jnp.float32):
  n = int(np.prod(window))
  keys = jax.random.split(jax.random.key(0), 4)
  qkv = jax.random.normal(keys[0], (2, n, 3, num_heads, head_dim), dtype)
  scales = 1 + jax.random.normal(keys[1], (2, head_dim)) / 4
  gradient = jax.random.normal(keys[2], (2, n, num_heads, head_dim), dtype)
  return (qkv, *scales), gradient, positions.rotations(window, head_dim)


def plain(qkv, q_scale, k_scale, angles):
  q, k, v = (qkv[:, :, part] for part in range(3))
  q = positions.rotate(layers.rms_norm(q, q_scale), angles)
  k = positions.rotate(layers.rms_norm(k, k_scale), angles)
  return attention.attend(q, k, v, implementation="plain")


def values_and_gradients(attend, args, gradient):
  @jax.jit
  def run(args, gradient):
    y, pull = jax.vjp(attend, *args)
    return y, *pull(gradient)

  return run(args, gradient)


@pytest.mark.parametrize(
  ("window", "num_heads", "head_dim"),
  [
    ((1, 4, 5), 2, 128),  # a head fills the lanes of a register
    ((2, 3, 3), 4, 64),  # two do
    ((1, 3, 3), 3, 64),  # and a third is left, so that each stands alone
  ],
)
def test_it_is_attention_with_its_gradients(window, num_heads, head_dim):
  args, gradient, angles = inputs(window, num_heads, head_dim)
  ours = values_and_gradients(
    lambda *args: fused_attention.attend(*args, angles, interpret=True),
    args,
    gradient,
  )
  expected = values_and_gradients(
    lambda *args: plain(*args, angles), args, gradient
  )
  for x, y in zip(ours, expected, strict=True):
    np.testing.assert_allclose(x, y, atol=2e-5)


def test_heads_are_taken_in_turns(monkeypatch):
  args, gradient, angles = inputs((1, 2, 4), 4, 64)

  def run():
    return values_and_gradients(
      lambda *args: fused_attention.attend(*args, angles, interpret=True),
      args,
      gradient,
    )

  at_once = run()
  monkeypatch.setattr(fused_attention, "_BLOCKS", 1)
  for x, y in zip(run(), at_once, strict=True):
    np.testing.assert_allclose(x, y, atol=1e-5)


def test_bfloat16_is_near_float32():
  args, gradient, angles = inputs((2, 3, 3), 2, 64, jnp.bfloat16)
  low = values_and_gradients(
    lambda *args: fused_attention.attend(*args, angles, interpret=True),
    args,
    gradient,
  )
  wide = (args[0].astype(jnp.float32), *args[1:])
  high = values_and_gradients(
    lambda *args: plain(*args, angles), wide, gradient.astype(jnp.float32)
  )
  assert [x.dtype.name for x in low] == ["bfloat16"] * 2 + ["float32"] * 2
  for x, y in zip(low, high, strict=True):
    scale = float(jnp.max(jnp.abs(y)))
    np.testing.assert_allclose(np.asarray(x, np.float32), y, atol=0.02 * scale)


def test_it_is_taken_for_the_windows_of_a_tpu_only():
  wide = ("auto", 256, 128, jnp.dtype("bfloat16"))
  assert not attention.is_fused(*wide)
  with attention.chosen_for("tpu"):
    assert attention.is_fused(*wide)
    assert not attention.is_fused("xla", *wide[1:])
    assert not attention.is_fused(*wide[:3], jnp.dtype("float32"))
    assert not attention.is_fused("auto", 1280, *wide[2:])
    assert not attention.is_fused("auto", 64, *wide[2:])
    assert not attention.is_fused("auto", 250, *wide[2:])
    assert not attention.is_fused("auto", 256, 32, wide[3])


def test_a_model_with_it_is_the_model_without(monkeypatch):
  cfg = networks.config(window_spatiotemporal=(3, 4, 2), attention="auto")
  params = networks.alive(cfg)
  z = jax.random.normal(jax.random.key(1), (2, 3, 4, 4, networks.CHANNELS))

  def predict(params):
    return dit.apply(cfg, params, z, jnp.array([0.2, 0.7]))[0]

  expected = jax.jit(predict)(params)
  windows = []
  attend = fused_attention.attend

  def interpreted(qkv, *args):
    windows.append(qkv.shape[1])
    return attend(qkv, *args, interpret=True)

  monkeypatch.setattr(attention, "is_fused", lambda *_: True)
  monkeypatch.setattr(fused_attention, "attend", interpreted)
  found = jax.jit(lambda params: predict(params))(params)
  assert windows == [8, 24]
  np.testing.assert_allclose(found, expected, atol=1e-5)


@needs.libtpu
@pytest.mark.parametrize(
  "topology",
  [
    "v5e:2x2",
    pytest.param("v5p:2x2x1", marks=pytest.mark.slow),
    pytest.param("v6e:2x2", marks=pytest.mark.slow),
  ],
)
@pytest.mark.parametrize(
  ("window", "num_heads", "head_dim"),
  [
    ((1, 16, 16), 4, 128),
    ((5, 8, 8), 4, 64),
    pytest.param((1, 16, 32), 20, 128, marks=pytest.mark.slow),
    pytest.param((1, 12, 12), 3, 64, marks=pytest.mark.slow),
  ],
)
def test_it_compiles_for_tpus(topology, window, num_heads, head_dim):
  """And says of itself what it computes and moves."""
  args, gradient, angles = inputs(window, num_heads, head_dim, jnp.bfloat16)
  place = jax.sharding.SingleDeviceSharding(chips.devices(topology)[0])
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
    (args, gradient),
  )

  def run(args, gradient):
    def attend(*args):
      return fused_attention.attend(*args, angles)

    y, pull = jax.vjp(attend, *args)
    return y, *pull(gradient)

  module = hlo.parse(jax.jit(run).lower(*shapes).compile().as_text())
  b, n, a, c = gradient.shape
  # Two products forward; weights again and four more backward.
  assert products.flops(module) == 7 * 2 * b * a * n * n * c
  # The logits alone, in float32, would be more. A single head of 64 channels
  # leaves half of a register empty, which moves too.
  values = gradient.nbytes * (2 if a * c % 128 else 1)
  assert moved.traffic(module).products < 12 * values
