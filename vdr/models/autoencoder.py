"""The trained tokenizer: a causal video autoencoder in MAGVIT-v2's shape.

Levels of residual blocks; between two levels a strided convolution down, or
depth-to-space up. Time is halved twice, late, as in the paper (arXiv
2310.05737, §3.3); pixels are halved early. With `stem` pixels folded into
channels first, a small network is fast enough for a CPU; the paper's has 1.

Latents are continuous with a small KL term (arXiv 2312.06662 drops the
quantiser), 8 channels at the paper's size. Left out: the paper's adaptive group
norm in the decoder.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Shaped

from vdr.models import causal, functional
from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Params = dict[str, Any]

NUM_HALVINGS_T = 2  # 4 frames become one
# exp of these is spread enough for any latent, and finite for any gradient.
LOG_STD_RANGE = (-10.0, 5.0)


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides the network's shape.

  Attributes:
    channels: of a latent.
    stem: pixels of a side that are folded into channels first.
    widths: channels of each level.
    num_blocks: residual blocks of each level.
    strides: (time, space) of each transition from one level to the next.
    dtype: of the computation; parameters are float32.
    remat: whether blocks are computed again for their gradients.
  """

  channels: int
  stem: int
  widths: tuple[int, ...]
  num_blocks: int
  strides: tuple[tuple[int, int], ...]
  dtype: str
  remat: bool

  @classmethod
  def from_config(cls, cfg: Config) -> "Settings":
    """The settings of a `configs/base.py:tokenizer` config of kind "conv".

    Raises:
      UserError: there is no such network.
    """
    conv = cfg.conv
    num_transitions = len(conv.multipliers) - 1
    halvings = math.log2(cfg.downsample / conv.stem) if conv.stem > 0 else -1
    problem = None
    if num_transitions < NUM_HALVINGS_T:
      problem = (
        f"tokenizer.conv.multipliers={tuple(conv.multipliers)} must have at"
        " least 3 levels: time is halved twice between levels"
      )
    elif not 0 <= halvings <= num_transitions or halvings % 1:
      problem = (
        f"tokenizer.conv.stem={conv.stem} and {num_transitions + 1} levels give"
        f" no tokenizer.downsample={cfg.downsample}, which must be stem times"
        f" 2**k with k = 0 … {num_transitions}; change one of them"
      )
    elif min(conv.width, conv.num_blocks, *conv.multipliers) < 1:
      problem = (
        "tokenizer.conv.width, num_blocks and multipliers must be at least 1"
      )
    elif conv.dtype not in ("float32", "bfloat16"):
      problem = f"tokenizer.conv.dtype={conv.dtype!r}: use float32 or bfloat16"
    if problem:
      raise errors.UserError(problem)
    strides = tuple(
      (1 + (i >= num_transitions - NUM_HALVINGS_T), 1 + (i < halvings))
      for i in range(num_transitions)
    )
    return cls(
      channels=cfg.channels,
      stem=conv.stem,
      widths=tuple(conv.width * m for m in conv.multipliers),
      num_blocks=conv.num_blocks,
      strides=strides,
      dtype=conv.dtype,
      remat=conv.remat,
    )


class Encoder(nnx.Module):
  """Pixels to the mean and log standard deviation of latents."""

  def __init__(self, settings: Settings):
    widths = settings.widths
    self.conv_in = causal.CausalConv(3 * settings.stem**2, widths[0])
    for i, width in enumerate(widths):
      stack = causal.Stack(width, settings.num_blocks, settings.remat)
      setattr(self, f"level{i}", stack)
      if i < len(settings.strides):
        stride_t, stride_hw = settings.strides[i]
        down = causal.CausalConv(
          width,
          widths[i + 1],
          stride_t=stride_t,
          stride_hw=stride_hw,
        )
        setattr(self, f"down{i}", down)
    self.norm = causal.FrameNorm(widths[-1])
    self.conv_out = causal.CausalConv(widths[-1], 2 * settings.channels)
    self.settings = settings

  def __call__(
    self, video: causal.Clip, carry: causal.Carry = None
  ) -> tuple[causal.Clip, causal.Carry]:
    """Both halves of the posterior side by side, and what to carry on."""
    stem = self.settings.stem
    x = einops.rearrange(
      video, "b t (h p) (w q) c -> b t h w (p q c)", p=stem, q=stem
    )
    run = _Carrier(carry)
    x = run(self.conv_in, x.astype(self.settings.dtype))
    for i in range(len(self.settings.widths)):
      x = run(getattr(self, f"level{i}"), x)
      if i < len(self.settings.strides):
        x = run(getattr(self, f"down{i}"), x)
    x = run(self.conv_out, jax.nn.silu(self.norm(x)))
    return x.astype(jnp.float32), run.carry


class Decoder(nnx.Module):
  """Latents to pixels."""

  def __init__(self, settings: Settings):
    widths = settings.widths
    self.conv_in = causal.CausalConv(settings.channels, widths[-1])
    for i in reversed(range(len(widths))):
      stack = causal.Stack(widths[i], settings.num_blocks, settings.remat)
      setattr(self, f"level{i}", stack)
      if i > 0:
        factor_t, factor_hw = settings.strides[i - 1]
        up = causal.Up(
          widths[i],
          widths[i - 1],
          factor_t=factor_t,
          factor_hw=factor_hw,
        )
        setattr(self, f"up{i}", up)
    self.norm = causal.FrameNorm(widths[0])
    self.conv_out = causal.CausalConv(widths[0], 3 * settings.stem**2)
    self.settings = settings

  def __call__(
    self, latents: causal.Clip, carry: causal.Carry = None
  ) -> tuple[causal.Clip, causal.Carry]:
    """Pixels, and what to carry on."""
    run = _Carrier(carry)
    x = run(self.conv_in, latents.astype(self.settings.dtype))
    for i in reversed(range(len(self.settings.widths))):
      x = run(getattr(self, f"level{i}"), x)
      if i > 0:
        x = run(getattr(self, f"up{i}"), x)
    x = run(self.conv_out, jax.nn.silu(self.norm(x)))
    stem = self.settings.stem
    x = einops.rearrange(
      x, "b t h w (p q c) -> b t (h p) (w q) c", p=stem, q=stem
    )
    return x.astype(jnp.float32), run.carry


class _Carrier:
  """Gives each layer in turn its carry, and gathers the new ones."""

  def __init__(self, carry: causal.Carry):
    self._old = None if carry is None else iter(carry)
    self.carry: tuple[Any, ...] = ()

  def __call__(self, layer: Any, x: Array) -> Array:
    x, carry = layer(x, None if self._old is None else next(self._old))
    self.carry += (carry,)
    return x


def init(cfg: Config, key: jax.Array) -> Params:
  """Random parameters of encoder and decoder."""
  settings = Settings.from_config(cfg)
  shapes = {
    name: functional.params_of(jax.eval_shape(lambda k=kind: k(settings)))
    for name, kind in (("encoder", Encoder), ("decoder", Decoder))
  }
  return causal.randomise(shapes, key)


def encode(
  cfg: Config,
  params: Params,
  video: Shaped[Array, "b t h w 3"],
  chunk: int = 0,
  prepare: Callable[[Array], Array] = lambda video: video,
) -> tuple[Float[Array, "b tp hp wp c"], Float[Array, "b tp hp wp c"]]:
  """Mean and log standard deviation of the latents of clips.

  Args:
    cfg: the tokenizer's config.
    params: of `init`.
    video: the clips, in [-1, 1] once they are prepared.
    chunk: latent frames to compute at once, 0 for all.
    prepare: what is done to the frames of each chunk before.
  """
  encoder = _merge(Encoder, Settings.from_config(cfg), params["encoder"])

  def run(frames: Array, carry: causal.Carry = None) -> tuple[Array, Any]:
    return encoder(prepare(frames), carry)

  both = _in_chunks(run, video, chunk * 2**NUM_HALVINGS_T)
  mean, log_std = jnp.split(both, 2, axis=-1)
  # Around a spread that is small beside that of unit-scale latents.
  return mean, jnp.clip(log_std - 3.0, *LOG_STD_RANGE)


def decode(
  cfg: Config,
  params: Params,
  latents: Float[Array, "b tp hp wp c"],
  chunk: int = 0,
) -> Float[Array, "b t h w 3"]:
  """Clips from latents; `chunk` is as for `encode`."""
  decoder = _merge(Decoder, Settings.from_config(cfg), params["decoder"])
  return _in_chunks(decoder, latents, chunk)


def _merge(kind: type, settings: Settings, params: Params) -> Any:
  return nnx.merge(_graphdef(kind, settings), params)


@functools.cache
def _graphdef(kind: type, settings: Settings) -> Any:
  """What a module is beside its parameters."""
  return nnx.graphdef(jax.eval_shape(lambda: kind(settings)))


def _in_chunks(network: Any, x: Array, chunk: int) -> Array:
  """Runs a network on the first frame, then on `chunk` frames at a time.

  Args:
    network: takes frames and a carry, and returns both.
    x: `[b t h w c]`.
    chunk: frames of x; 0 runs on everything at once.

  Returns:
    What the network gives for all of x; equal to the run at once.
  """
  if chunk <= 0 or x.shape[1] == 1:
    return network(x)[0]
  first, carry = network(x[:, :1])
  outputs = [first]
  num, rest = divmod(x.shape[1] - 1, chunk)
  if num:  # a loop of the compiler's, which holds one chunk at a time
    chunks = x[:, 1 : 1 + num * chunk]
    chunks = einops.rearrange(chunks, "b (n t) ... -> n b t ...", n=num)

    def step(carry: Any, frames: Array) -> tuple[Any, Array]:
      y, carry = network(frames, carry)
      return carry, y

    carry, y = jax.lax.scan(step, carry, chunks)
    outputs.append(einops.rearrange(y, "n b t ... -> b (n t) ..."))
  if rest:
    outputs.append(network(x[:, -rest:], carry)[0])
  return jnp.concatenate(outputs, axis=1)
