"""Layers: parameters in float32, computation in the type of what comes in."""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

Mode = Literal["fan_avg", "fan_in"]
Initializer = Callable[[jax.Array, tuple[int, ...]], jax.Array]


def xavier(
  num_in: int, batch: tuple[int, ...] = (), mode: Mode = "fan_avg"
) -> Initializer:
  """Glorot's uniform initialiser for a kernel of several axes.

  As in DiT (arXiv 2212.09748, its published code).

  Args:
    num_in: the kernel's first axes that are summed over.
    batch: axes that number kernels of their own, e.g. query, key and value.
    mode: `fan_avg`, or `fan_in` to keep the variance of what comes in.
  """

  def init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    own = [axis for axis in range(len(shape)) if axis not in batch]
    return jax.nn.initializers.variance_scaling(
      1.0,
      mode,
      "uniform",
      in_axis=own[:num_in],
      out_axis=own[num_in:],
      batch_axis=batch,
    )(key, shape, jnp.float32)

  return init


def constant(value: float) -> Initializer:
  """An initialiser of equal values."""
  return lambda key, shape: jnp.full(shape, value, jnp.float32)


def zeros(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """All zeros."""
  return jnp.zeros(shape, jnp.float32)


NORMAL_STD = 0.02


def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """N(0, 0.02²), as DiT has it for embeddings."""
  return NORMAL_STD * jax.random.normal(key, shape, jnp.float32)


class Linear(nnx.Module):
  """A linear map between groups of axes: `[… *ins] -> [… *outs]`."""

  def __init__(
    self,
    ins: tuple[int, ...],
    outs: tuple[int, ...],
    rngs: nnx.Rngs,
    *,
    kernel: Initializer | None = None,
    bias: Initializer | None = zeros,
  ):
    kernel = kernel or xavier(len(ins))
    self.num_in = len(ins)
    self.kernel = nnx.Param(kernel(rngs.params(), (*ins, *outs)))
    self.bias = nnx.Param(bias(rngs.params(), outs)) if bias else None

  def __call__(
    self, x: Float[Array, "..."], part: int | None = None
  ) -> Float[Array, "..."]:
    """Maps x, in its type.

    Args:
      x: whose last axes are `ins`.
      part: compute only this entry of the first axis of `outs`.
    """
    kernel, bias = (
      self.kernel[...],
      None if self.bias is None else self.bias[...],
    )
    if part is not None:
      kernel = jax.lax.index_in_dim(kernel, part, self.num_in, keepdims=False)
      bias = bias if bias is None else bias[part]
    # Rows are one axis: over several, XLA's gradient of the kernel transposes
    # what comes in through memory, which takes as long as the product on a CPU.
    rows, ins = x.shape[: -self.num_in], x.shape[-self.num_in :]
    y = _product(self.num_in, x.reshape(-1, *ins), kernel.astype(x.dtype))
    y = y.reshape(*rows, *y.shape[1:])
    return y if bias is None else y + lead(bias.astype(x.dtype), y.ndim)


def _contract(num_in: int, x: Array, kernel: Array) -> Array:
  """`[n *ins]` times `[*ins *outs]`."""
  return jnp.tensordot(x, kernel, axes=num_in)


_product = jax.custom_vjp(_contract, nondiff_argnums=(0,))


def _product_forward(num_in, x, kernel):
  # Not by `_product`: inside it, `config.model.remat` sees no product to keep.
  return _contract(num_in, x, kernel), (x, kernel)


def _product_backward(num_in, kept, gradient):
  x, kernel = kept
  outs = tuple(range(num_in, kernel.ndim))
  to_x = ((tuple(range(1, gradient.ndim)), outs), ((), ()))
  rows = (((0,), (0,)), ((), ()))
  # A CPU turns the left operand of a sum over rows by itself, which costs up to
  # a third of the product where that is the wider one.
  if x.size <= gradient.size:
    of_kernel = jax.lax.dot_general(x, gradient, rows)
  else:
    of_kernel = _as_written(jax.lax.dot_general(gradient, x, rows))
    of_kernel = jnp.moveaxis(of_kernel, range(-num_in, 0), range(num_in))
  return jax.lax.dot_general(gradient, kernel, to_x), of_kernel


def _as_written(x):
  """A product whose operands XLA would turn together with what comes of it."""
  return jax.lax.platform_dependent(
    x, cpu=jax.lax.optimization_barrier, default=lambda x: x
  )


_product.defvjp(_product_forward, _product_backward)


def lead(x: Float[Array, "..."], ndim: int) -> Float[Array, "..."]:
  """x with leading axes of size 1, up to `ndim` axes in all."""
  return x.reshape((1,) * (ndim - x.ndim) + x.shape)


@jax.custom_vjp
def layer_norm(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
  """LayerNorm without parameters (DiT: modulation has them), in float32."""
  return _normed(x)[0]


def _normed(x):
  y = x.astype(jnp.float32)
  y = y - jnp.mean(y, axis=-1, keepdims=True)
  scale = jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1e-6)
  return (y * scale).astype(x.dtype), scale


# Written by hand, the gradients of the norm and of GELU read one array of the
# forward pass where XLA would have it write several: a tenth of a step's time
# on a CPU, and less memory everywhere.
def _layer_norm_forward(x):
  y, scale = _normed(x)
  return y, (y, scale)


def _layer_norm_backward(kept, gradient):
  y, scale = kept[0].astype(jnp.float32), kept[1]
  g = gradient.astype(jnp.float32)
  along = y * jnp.mean(g * y, axis=-1, keepdims=True)
  g = scale * (g - jnp.mean(g, axis=-1, keepdims=True) - along)
  return (g.astype(gradient.dtype),)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


@jax.custom_vjp
def rms_norm(
  x: Float[Array, "*b d"], scale: Float[Array, "... d"]
) -> Float[Array, "*b d"]:
  """Root-mean-square norm with a learned scale, in float32.

  The scale is `[d]`, or has axes of size 1 in front as a TPU's kernel wants it.
  """
  y, _ = _divided(x)
  return (y * lead(scale, y.ndim)).astype(x.dtype)


def _divided(x):
  y = x.astype(jnp.float32)
  factor = jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1e-6)
  return y * factor, factor


# By hand, too: kept is x in its own type, where a loop over blocks would write
# it twice in float32, for queries and for keys (a sixth of a step's memory).
def _rms_norm_forward(x, scale):
  return rms_norm(x, scale), (x, scale)


def _rms_norm_backward(kept, gradient):
  x, scale = kept
  y, factor = _divided(x)
  g = gradient.astype(jnp.float32)
  of_scale = jnp.sum(g * y, axis=tuple(range(y.ndim - 1))).reshape(scale.shape)
  g = g * lead(scale, y.ndim)
  g = factor * (g - y * jnp.mean(g * y, axis=-1, keepdims=True))
  return g.astype(x.dtype), of_scale.astype(scale.dtype)


rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)


def modulate(
  x: Float[Array, "b t h w d"],
  shift: Float[Array, "b d"],
  scale: Float[Array, "b d"],
) -> Float[Array, "b t h w d"]:
  """The adaptive norm: `norm(x) · (1 + scale) + shift`."""
  shift, scale = per_clip(shift, x.dtype), per_clip(scale, x.dtype)
  return layer_norm(x) * (1 + scale) + shift


def per_clip(x: Float[Array, "b d"], dtype) -> Float[Array, "b 1 1 1 d"]:
  """One vector for each clip, as a factor for all of its tokens."""
  return x[:, None, None, None].astype(dtype)


@jax.custom_vjp
def gelu(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
  """GELU in its tanh form, as DiT has it; in float32."""
  return jax.nn.gelu(x.astype(jnp.float32)).astype(x.dtype)


def _gelu_forward(x):
  return gelu(x), x


def _gelu_backward(x, gradient):
  y, g = x.astype(jnp.float32), gradient.astype(jnp.float32)
  root, cubic = (2 / math.pi) ** 0.5, 0.044715
  # ½ (1 + tanh z) as a sigmoid: a tanh would be the forward pass's, which XLA
  # would then keep in memory from there, in float32.
  share = jax.nn.sigmoid(2 * root * (y + cubic * y**3))
  inner = 2 * root * (1 + 3 * cubic * y**2)
  return ((g * (share + y * share * (1 - share) * inner)).astype(x.dtype),)


gelu.defvjp(_gelu_forward, _gelu_backward)


class Mlp(nnx.Module):
  """Two linear maps with a GELU between them."""

  def __init__(self, width: int, hidden: int, rngs: nnx.Rngs):
    self.up = Linear((width,), (hidden,), rngs)
    self.down = Linear((hidden,), (width,), rngs)

  def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    return self.down(gelu(self.up(x)))


class NoiseEmbedding(nnx.Module):
  """Embeds the noise level: sines, then two linear maps (DiT).

  The sines are those of 1000 · noise_level, so that DiT's range of frequencies
  fits. The noise level and not the log-SNR is embedded since it is bounded
  under every schedule; with zero terminal SNR the log-SNR is not.
  """

  num_features = 256

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.first = Linear((self.num_features,), (width,), rngs, kernel=normal)
    self.second = Linear((width,), (width,), rngs, kernel=normal)

  def __call__(self, noise_level: Float[Array, " b"]) -> Float[Array, "b d"]:
    num = self.num_features // 2
    frequency = jnp.exp(
      -math.log(1e4) * jnp.arange(num, dtype=jnp.float32) / num
    )
    angle = 1000.0 * noise_level.astype(jnp.float32)[:, None] * frequency[None]
    x = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    return self.second(jax.nn.silu(self.first(x)))


class LowRank(nnx.Module):
  """The low-rank part of a modulation: `W_b W_a c`, zero at the start.

  AdaLN-LoRA (W.A.L.T, arXiv 2312.06662): block i is modulated by
  `A_i = A_1 + W_b W_a (c + t)`, where A_1 is shared. W.A.L.T's first block has
  none; ours has one too, so that all blocks are alike.
  """

  def __init__(self, width: int, num: int, rank: int, rngs: nnx.Rngs):
    self.down = Linear((width,), (rank,), rngs, bias=None)
    self.up = Linear((rank,), (num, width), rngs, kernel=zeros, bias=None)

  def __call__(self, condition: Float[Array, "b d"]) -> Float[Array, "b m d"]:
    return self.up(self.down(condition))
