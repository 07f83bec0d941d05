"""Transformer blocks: window attention, text cross-attention, MLP."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vdr.models import (
  attention,
  fused_attention,
  layers,
  positions,
  windows,
)
from vdr.models.positions import Grid
from vdr.models.sizes import Size
from vdr.models.windows import Window

Config = Any  # config.model: an `ml_collections.ConfigDict`

# Vectors of a modulation: shift, scale and gate of attention and of the MLP.
NUM_MODULATIONS = 6


class SelfAttention(nnx.Module):
  """Attention inside windows, with normed queries and keys.

  QK-norm as W.A.L.T has it (which norm is not stated; we use the root mean
  square over a head's channels).
  """

  def __init__(self, size: Size, bias_window: Window, rngs: nnx.Rngs):
    d, a, c = size.width, size.num_heads, size.head_dim
    # One kernel `[d qkv a c]`: one matrix product, and heads can be sharded.
    self.qkv = layers.Linear(
      (d,), (3, a, c), rngs, kernel=layers.xavier(1, batch=(1,))
    )
    self.q_scale = nnx.Param(jnp.ones(c))
    self.k_scale = nnx.Param(jnp.ones(c))
    self.out = layers.Linear((a, c), (d,), rngs)
    self.relative = (  # None: rotary positions
      positions.RelativeBias(bias_window, a, rngs) if bias_window else None
    )

  def __call__(
    self, x: Float[Array, "b t h w d"], window: Window, implementation: str
  ) -> Float[Array, "b t h w d"]:
    if window is None:  # values only
      return self.out(self.qkv(x, part=2))
    _, t, h, w, _ = x.shape
    qkv = self.qkv(windows.partition(x, window))  # [b2 n 3 a c]
    c = qkv.shape[-1]
    if self.relative is None and attention.is_fused(
      implementation, qkv.shape[1], c, qkv.dtype
    ):
      y = fused_attention.attend(
        qkv,
        self.q_scale[...],
        self.k_scale[...],
        positions.rotations(window, c),
      )
    else:
      y = self._attend(qkv, window, implementation)
    return windows.merge(self.out(y), window, (t, h, w))

  def _attend(
    self,
    qkv: Float[Array, "b n 3 a c"],
    window: Grid,
    implementation: str,
  ) -> Float[Array, "b n a c"]:
    # The gradient of a split is one concatenation, that of three slices is
    # three padded arrays and their sum.
    q, k, v = (part[:, :, 0] for part in jnp.split(qkv, 3, axis=2))
    q = layers.rms_norm(q, self.q_scale[...])
    k = layers.rms_norm(k, self.k_scale[...])
    bias = None
    if self.relative is not None:
      bias = self.relative(window)
    else:
      angles = positions.rotations(window, q.shape[-1])
      q, k = positions.rotate(q, angles), positions.rotate(k, angles)
    return attention.attend(q, k, v, bias=bias, implementation=implementation)


class CrossAttention(nnx.Module):
  """Attention of all tokens over a text, added to the residual stream.

  It has no modulation; a learned gate begins at `gate_scale`. Only the blocks
  with spatial windows have it (W.A.L.T, where images and video are mixed).
  """

  def __init__(
    self, size: Size, text_dim: int, gate_scale: float, rngs: nnx.Rngs
  ):
    d, a, c = size.width, size.num_heads, size.head_dim
    self.q = layers.Linear((d,), (a, c), rngs)
    self.kv = layers.Linear(
      (text_dim,), (2, a, c), rngs, kernel=layers.xavier(1, batch=(1,))
    )
    self.q_scale = nnx.Param(jnp.ones(c))
    self.k_scale = nnx.Param(jnp.ones(c))
    self.out = layers.Linear((a, c), (d,), rngs)
    self.gate = nnx.Param(jnp.full(d, gate_scale))

  def __call__(
    self,
    x: Float[Array, "b t h w d"],
    text: Float[Array, "b n q"],
    mask: Bool[Array, "b n"],
    implementation: str,
  ) -> Float[Array, "b t h w d"]:
    b, *_, d = x.shape
    q = self.q(layers.layer_norm(x).reshape(b, -1, d))
    kv = self.kv(text)
    # Padding is long and irregular; cuDNN wants neither.
    if implementation == "cudnn":
      implementation = "xla"
    y = attention.attend(
      layers.rms_norm(q, self.q_scale[...]),
      layers.rms_norm(kv[:, :, 0], self.k_scale[...]),
      kv[:, :, 1],
      mask=mask,
      implementation=implementation,
    )
    gate = layers.lead(self.gate[...].astype(x.dtype), x.ndim)
    return x + gate * self.out(y).reshape(x.shape)


class Block(nnx.Module):
  """Modulated window attention and MLP on the residual stream."""

  def __init__(
    self, size: Size, rank: int, bias_window: Window, rngs: nnx.Rngs
  ):
    self.attention = SelfAttention(size, bias_window, rngs)
    self.mlp = layers.Mlp(size.width, size.mlp_width, rngs)
    self.adaln = (
      layers.LowRank(size.width, NUM_MODULATIONS, rank, rngs) if rank else None
    )

  def __call__(
    self,
    x: Float[Array, "b t h w d"],
    shared: Float[Array, "b m d"],
    condition: Float[Array, "b d"],
    *,
    window: Window,
    implementation: str,
    between: Callable[[Array], Array],
  ) -> Float[Array, "b t h w d"]:
    """The residual stream after this block.

    Args:
      x: the residual stream before it.
      shared: modulation that all blocks share.
      condition: embedding of noise level and class, after its activation.
      window: who attends whom.
      implementation: of attention.
      between: applied between attention and MLP: the text's part.
    """
    modulation = shared
    if self.adaln is not None:
      modulation = modulation + self.adaln(condition)
    m = [modulation[:, i] for i in range(NUM_MODULATIONS)]
    y = self.attention(layers.modulate(x, m[0], m[1]), window, implementation)
    x = x + layers.per_clip(m[2], x.dtype) * y
    x = between(x)
    y = self.mlp(layers.modulate(x, m[3], m[4]))
    return x + layers.per_clip(m[5], x.dtype) * y


def bias_window(cfg: Config) -> Grid:
  """The window whose tables of relative biases serve both kinds of block."""
  t, h, w = cfg.window_spatiotemporal
  rows, columns = cfg.window_spatial
  return t, max(h, rows), max(w, columns)
