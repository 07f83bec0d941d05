"""Layers of video networks that never look at a later frame.

Each layer works on a whole clip, or on one piece of it after another: it takes
the end of what it saw before (`carry`) and returns the end of what it has seen
now. `carry=None` means that the clip begins here, with a single frame that has
its own place: it is encoded alone, and time is halved or doubled only behind
it, so that 4k + 1 frames become k + 1 and back. The layers are those of the
MAGVIT-v2 tokenizer (arXiv 2310.05737, §3.3).
"""

import math
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

Carry = Any  # the last frames of a layer's input; nested for blocks
Params = dict[str, Any]
Clip = Float[Array, "b _ _ _ _"]  # b t h w c

KERNEL = 3  # frames and pixels; the paper says 3 × 3 × 3
GROUPS = 32  # of group normalisation, at most; not stated, the usual number


class CausalConv(nnx.Module):
  """A convolution over time, height and width that is causal in time.

  Before the first frame stand copies of it: an image is a clip that stands
  still. What stands there is not stated in the paper; zeros would tell the
  network that a clip has just begun.
  """

  def __init__(
    self,
    c_in: int,
    c_out: int,
    *,
    stride_t: int = 1,
    stride_hw: int = 1,
  ):
    """Makes the parameters, the kernel of zeros.

    Args:
      c_in: channels of the input.
      c_out: channels of the output.
      stride_t: frames from one output to the next, 1 or 2.
      stride_hw: pixels from one output to the next.
    """
    shape = (KERNEL, KERNEL, KERNEL, c_in, c_out)
    self.kernel = nnx.Param(jnp.zeros(shape))
    self.bias = nnx.Param(jnp.zeros(c_out))
    self.stride_t, self.stride_hw = stride_t, stride_hw

  def __call__(self, x: Clip, carry: Carry = None) -> tuple[Clip, Carry]:
    """Convolves; a first frame alone stays one frame, whatever the stride."""
    if carry is None:
      before = jnp.repeat(x[:, :1], KERNEL - 1, axis=1)
    else:
      before = carry
    x = jnp.concatenate([before, x], axis=1)
    # What the next output needs of the frames that are here already.
    carry = x[:, x.shape[1] - (KERNEL - self.stride_t) :]
    convolve = _by_frames if jax.default_backend() == "cpu" else _native
    y = convolve(
      x, self.kernel[...].astype(x.dtype), self.stride_t, self.stride_hw
    )
    return y + self.bias[...].astype(x.dtype).reshape(1, 1, 1, 1, -1), carry


def _native(x: Clip, kernel: Array, stride_t: int, stride_hw: int) -> Clip:
  """A 3-D convolution, not padded in time."""
  height, width = _same(x.shape[2], stride_hw), _same(x.shape[3], stride_hw)
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride_t, stride_hw, stride_hw),
    ((0, 0), height, width),
    dimension_numbers=("NTHWC", "THWIO", "NTHWC"),
  )


def _by_frames(x: Clip, kernel: Array, stride_t: int, stride_hw: int) -> Clip:
  """The same as one 2-D convolution, the frames that it sees as channels.

  XLA's 3-D convolution on CPU is 3 to 5 times slower, forward and backward.
  """
  b, t = x.shape[:2]
  num = (t - KERNEL) // stride_t + 1
  last = (num - 1) * stride_t + 1
  x = jnp.concatenate(
    [x[:, i : i + last : stride_t] for i in range(KERNEL)], axis=-1
  )
  y = jax.lax.conv_general_dilated(
    x.reshape(b * num, *x.shape[2:]),
    einops.rearrange(kernel, "t h w i o -> h w (t i) o"),
    (stride_hw, stride_hw),
    (_same(x.shape[2], stride_hw), _same(x.shape[3], stride_hw)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return y.reshape(b, num, *y.shape[1:])


def _same(size: int, stride: int) -> tuple[int, int]:
  """Zeros before and after, so that size / stride outputs come out."""
  total = max((-(-size // stride) - 1) * stride + KERNEL - size, 0)
  return total // 2, total - total // 2


class FrameNorm(nnx.Module):
  """Group normalisation of each frame by itself.

  Over a whole clip, as images' group norm would have it, later frames would
  change earlier ones.
  """

  def __init__(self, channels: int):
    self.scale = nnx.Param(jnp.ones(channels))
    self.bias = nnx.Param(jnp.zeros(channels))
    self.groups = math.gcd(channels, GROUPS)
    if self.groups == channels:  # a group of one channel would lose its level
      self.groups = max(channels // 4, 1)

  def __call__(self, x: Clip) -> Clip:
    """Normalises, in float32, and scales."""
    grouped = x.astype(jnp.float32).reshape(*x.shape[:-1], self.groups, -1)
    axes = (2, 3, 5)
    mean = grouped.mean(axis=axes, keepdims=True)
    variance = jnp.square(grouped - mean).mean(axis=axes, keepdims=True)
    normal = (grouped - mean) * jax.lax.rsqrt(variance + 1e-6)
    scale, bias = (
      p[...].reshape(1, 1, 1, 1, -1) for p in (self.scale, self.bias)
    )
    return (normal.reshape(x.shape) * scale + bias).astype(x.dtype)


class ResidualBlock(nnx.Module):
  """Twice norm, SiLU and convolution, added to the input."""

  def __init__(self, channels: int):
    self.norm1, self.norm2 = FrameNorm(channels), FrameNorm(channels)
    self.conv1 = CausalConv(channels, channels)
    self.conv2 = CausalConv(channels, channels)

  def __call__(self, x: Clip, carry: Carry = None) -> tuple[Clip, Carry]:
    """The block's output has the shape of its input."""
    first, second = (None, None) if carry is None else carry
    y, first = self.conv1(jax.nn.silu(self.norm1(x)), first)
    y, second = self.conv2(jax.nn.silu(self.norm2(y)), second)
    return x + y, (first, second)


class Stack(nnx.Module):
  """Residual blocks of one width, stacked and scanned."""

  def __init__(self, channels: int, num_blocks: int, remat: bool = False):
    self.num_blocks = num_blocks
    self.remat = remat  # compute activations again for gradients: less memory
    self.blocks = jax.vmap(lambda _: ResidualBlock(channels))(
      jnp.arange(num_blocks)
    )

  def __call__(self, x: Clip, carry: Carry = None) -> tuple[Clip, Carry]:
    """Runs one block after another."""

    def step(x: Array, block: tuple[ResidualBlock, Carry]) -> Any:
      return block[0](x, block[1])

    if self.remat:
      step = jax.checkpoint(step)
    if jax.default_backend() != "cpu":
      return jax.lax.scan(step, x, (self.blocks, carry))
    # The gradient of a convolution in a loop is 100 times slower on CPU.
    carries = []
    for i in range(self.num_blocks):
      one = jax.tree.map(lambda leaf, i=i: leaf[i], (self.blocks, carry))
      x, after = step(x, one)
      carries.append(after)
    return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *carries)


class Up(nnx.Module):
  """A convolution whose channels become frames and pixels."""

  def __init__(
    self,
    c_in: int,
    c_out: int,
    *,
    factor_t: int,
    factor_hw: int,
  ):
    channels = c_out * factor_t * factor_hw**2
    self.conv = CausalConv(c_in, channels)
    self.factor_t, self.factor_hw = factor_t, factor_hw

  def __call__(self, x: Clip, carry: Carry = None) -> tuple[Clip, Carry]:
    """Depth to space; of the first frame only the last copy is kept."""
    is_start = carry is None
    x, carry = self.conv(x, carry)
    x = einops.rearrange(
      x,
      "b t h w (s p q c) -> b (t s) (h p) (w q) c",
      s=self.factor_t,
      p=self.factor_hw,
      q=self.factor_hw,
    )
    return (x[:, self.factor_t - 1 :] if is_start else x), carry


def randomise(params: Params, key: jax.Array) -> Params:
  """New parameters for a network of these layers, or for a dict of them.

  Kernels keep the variance of what they are given. The last one of a residual
  block is ten times smaller, so that a deep stack starts near the identity (not
  stated in the paper). All come from one draw: to compile one for each shape
  takes a CPU longer than the first hundred steps.

  Args:
    params: arrays or their shapes; only names and shapes matter.
    key: of the random numbers.
  """
  leaves, tree = jax.tree_util.tree_flatten_with_path(params)
  names = [
    jax.tree_util.keystr(path, simple=True, separator="/").split("/")
    for path, _ in leaves
  ]
  shapes = [leaf.shape for _, leaf in leaves]
  sizes = [
    math.prod(shape) if name[-1] == "kernel" else 0
    for name, shape in zip(names, shapes, strict=True)
  ]
  noise = jax.random.normal(key, (sum(sizes),))
  parts = jnp.split(noise, np.cumsum(sizes)[:-1])
  drawn = []
  for name, shape, part in zip(names, shapes, parts, strict=True):
    if name[-1] == "kernel":
      std = 1 / math.sqrt(math.prod(shape[-5:-1]))
      std *= 0.1 if name[-2:-1] == ["conv2"] else 1.0
      drawn.append(std * part.reshape(shape))
    else:
      # With a dtype: weakly typed ones would make the second step compile anew.
      drawn.append(jnp.full(shape, name[-1] == "scale", jnp.float32))
  return jax.tree.unflatten(tree, drawn)
