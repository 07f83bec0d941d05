# pyright: reportMissingImports=false
"""VideoDiT as one would write it in PyTorch: the same function, to compare.

Attention is `scaled_dot_product_attention`, norms are PyTorch's own, matrices
are `[out in]`. Parameters are float32 and computation is in a type of choice,
as in vdr: norms, rotations and the noise level's embedding in float32.

Covered is what the configs train by default: windows, rotary positions with
fixed sines, QK-norm, AdaLN-LoRA; no classes, no text, no self-conditioning.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdr.models import blocks, layers, positions, sizes, windows
from vdr.models.positions import Grid
from vdr.models.windows import Window

Config = Any  # config.model: an `ml_collections.ConfigDict`
Params = Mapping[str, Any]  # of `vdr.models.dit.init`

_UNCOVERED = {
  "positions": "rope",
  "num_classes": 0,
  "text_dim": 0,
  "self_conditioning": False,
}
_EPSILON = 1e-6


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
  """A linear map in the type of x."""
  bias = None if layer.bias is None else layer.bias.to(x.dtype)
  return F.linear(x, layer.weight.to(x.dtype), bias)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
  """The adaptive norm of `[b t h w d]` by vectors `[b d]`."""
  shift, scale = per_clip(shift, x), per_clip(scale, x)
  return F.layer_norm(x, x.shape[-1:], eps=_EPSILON) * (1 + scale) + shift


def per_clip(vector: Tensor, x: Tensor) -> Tensor:
  """`[b d]` as a factor of `[b t h w d]`."""
  return vector[:, None, None, None].to(x.dtype)


class Attention(nn.Module):
  """Attention inside windows, with normed and rotated queries and keys."""

  def __init__(self, size: sizes.Size):
    super().__init__()
    self.num_heads, self.head_dim = size.num_heads, size.head_dim
    self.qkv = nn.Linear(size.width, 3 * size.width)
    self.out = nn.Linear(size.width, size.width)
    self.q_scale = nn.Parameter(torch.ones(size.head_dim))
    self.k_scale = nn.Parameter(torch.ones(size.head_dim))

  def forward(self, x: Tensor, window: Window, turn: "Turn") -> Tensor:
    d = x.shape[-1]
    if window is None:  # values only
      weight, bias = self.qkv.weight[2 * d :], self.qkv.bias[2 * d :]
      values = F.linear(x, weight.to(x.dtype), bias.to(x.dtype))
      return linear(values, self.out)
    b, t, h, w, _ = x.shape
    i, j, k = window
    x = x.view(b, t // i, i, h // j, j, w // k, k, d)
    x = x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, i * j * k, d)
    qkv = linear(x, self.qkv).unflatten(-1, (3, self.num_heads, -1))
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [b2 a n c]
    y = F.scaled_dot_product_attention(
      turn(self._norm(query, self.q_scale), window),
      turn(self._norm(key, self.k_scale), window),
      value,
    )
    y = linear(y.transpose(1, 2).flatten(-2), self.out)
    y = y.view(b, t // i, h // j, w // k, i, j, k, d)
    return y.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, t, h, w, d)

  def _norm(self, x: Tensor, scale: Tensor) -> Tensor:
    y = F.rms_norm(x.float(), (self.head_dim,), scale, _EPSILON)
    return y.to(x.dtype)


class Turn(nn.Module):
  """Rotary positions of the windows that a network uses."""

  def __init__(self, wanted: set[Grid], head_dim: int):
    super().__init__()
    for window in wanted:
      angles = torch.from_numpy(positions.rotations(window, head_dim))
      self.register_buffer(self._name(window), torch.cos(angles))
      self.register_buffer(self._name(window) + "_sin", torch.sin(angles))

  def _name(self, window: Grid) -> str:
    return "x".join(map(str, window))

  def forward(self, x: Tensor, window: Grid) -> Tensor:
    cos = self.get_buffer(self._name(window))
    sin = self.get_buffer(self._name(window) + "_sin")
    first, second = x.float().chunk(2, dim=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat(turned, dim=-1).to(x.dtype)


class LowRank(nn.Module):
  """The low-rank part of a modulation."""

  def __init__(self, width: int, num: int, rank: int):
    super().__init__()
    self.down = nn.Linear(width, rank, bias=False)
    self.up = nn.Linear(rank, num * width, bias=False)
    self.num = num

  def forward(self, condition: Tensor) -> Tensor:
    return self.up(self.down(condition)).unflatten(-1, (self.num, -1))


class Block(nn.Module):
  """Modulated window attention and MLP on the residual stream."""

  def __init__(self, size: sizes.Size, rank: int):
    super().__init__()
    self.attention = Attention(size)
    self.up = nn.Linear(size.width, size.mlp_width)
    self.down = nn.Linear(size.mlp_width, size.width)
    self.adaln = LowRank(size.width, blocks.NUM_MODULATIONS, rank)

  def forward(
    self,
    x: Tensor,
    shared: Tensor,
    condition: Tensor,
    window: Window,
    turn: Turn,
  ) -> Tensor:
    m = (shared + self.adaln(condition)).unbind(1)
    y = self.attention(modulate(x, m[0], m[1]), window, turn)
    x = x + per_clip(m[2], x) * y
    y = F.gelu(linear(modulate(x, m[3], m[4]), self.up), approximate="tanh")
    return x + per_clip(m[5], x) * linear(y, self.down)


class VideoDiT(nn.Module):
  """The network; `load` gives it vdr's parameters."""

  def __init__(self, cfg: Config, grids: set[Grid], dtype: torch.dtype):
    """Builds it for clips of some sizes.

    Args:
      cfg: config.model.
      grids: tokens of each kind of clip that it will be given.
      dtype: of the computation.

    Raises:
      ValueError: the config has a part that is not written here.
    """
    super().__init__()
    for field, value in _UNCOVERED.items():
      if cfg[field] != value:
        raise ValueError(f"model.{field} is {cfg[field]}: only {value} is here")
    if not cfg.adaln_rank:
      raise ValueError("model.adaln_rank is 0: give it a rank")
    self.size, self.patch, self.dtype = (
      sizes.size_of(cfg.size),
      cfg.patch,
      dtype,
    )
    d, pixels = self.size.width, cfg.patch**2 * cfg.latent_channels
    self.embed = nn.Linear(pixels, d)
    self.first = nn.Linear(layers.NoiseEmbedding.num_features, d)
    self.second = nn.Linear(d, d)
    self.adaln = nn.Linear(d, blocks.NUM_MODULATIONS * d)
    self.blocks = nn.ModuleList(
      Block(self.size, cfg.adaln_rank) for _ in range(self.size.depth)
    )
    self.final_adaln = LowRank(d, 2, cfg.adaln_rank)
    self.final = nn.Linear(d, pixels)
    self.plans = {g: windows.plan(cfg, g, str(cfg.layout)) for g in grids}
    used = {w for pair in self.plans.values() for w in pair if w is not None}
    self.turn = Turn(used, self.size.head_dim)
    self.sines = {
      g: torch.from_numpy(positions.sines(g, d)).to(dtype) for g in grids
    }

  def forward(self, latents: Tensor, noise_level: Tensor) -> Tensor:
    """The float32 prediction for `[b t h w c]` at noise levels `[b]`."""
    x, shared, condition = self.stream(latents, noise_level, len(self.blocks))
    *_, h, w, _ = x.shape
    b, t, *_, c = latents.shape
    p = self.patch
    shift, scale = (shared[:, :2] + self.final_adaln(condition)).unbind(1)
    x = linear(modulate(x, shift, scale), self.final)
    x = x.view(b, t, h, w, p, p, c).permute(0, 1, 2, 4, 3, 5, 6)
    return x.reshape(latents.shape).float()

  def stream(
    self, latents: Tensor, noise_level: Tensor, depth: int
  ) -> tuple[Tensor, Tensor, Tensor]:
    """The residual stream after `depth` blocks, and what blocks are told."""
    b, t, rows, columns, c = latents.shape
    p = self.patch
    h, w = rows // p, columns // p
    x = latents.to(self.dtype).view(b, t, h, p, w, p, c)
    x = linear(x.permute(0, 1, 2, 4, 3, 5, 6).flatten(-3), self.embed)
    x = x + self.sines[t, h, w].to(x.device)
    condition = F.silu(self._embed_noise(noise_level))
    shared = self.adaln(condition).unflatten(-1, (blocks.NUM_MODULATIONS, -1))
    for index, block in enumerate(self.blocks[:depth]):
      window = self.plans[t, h, w][index % 2]
      x = block(x, shared, condition, window, self.turn)
    return x, shared, condition

  def _embed_noise(self, noise_level: Tensor) -> Tensor:
    num = self.first.in_features // 2
    share = torch.arange(num, device=noise_level.device) / num
    angle = 1000.0 * noise_level[:, None] * torch.exp(-np.log(1e4) * share)
    x = torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1)
    return self.second(F.silu(self.first(x)))


def load(model: VideoDiT, params: Params) -> None:
  """Copies the parameters of `vdr.models.dit.init` into a network."""
  fill(model.embed, params["embed"], ins=3)
  fill(model.first, params["noise"]["first"])
  fill(model.second, params["noise"]["second"])
  fill(model.adaln, params["adaln"])
  _fill_low_rank(model.final_adaln, params["final_adaln"])
  fill(model.final, params["final"])
  for index, block in enumerate(model.blocks):
    assert isinstance(block, Block)  # a list of modules has no other type
    own = _take(params["blocks"], index)
    fill(block.attention.qkv, own["attention"]["qkv"])
    fill(block.attention.out, own["attention"]["out"], ins=2)
    _copy(block.attention.q_scale, own["attention"]["q_scale"])
    _copy(block.attention.k_scale, own["attention"]["k_scale"])
    fill(block.up, own["mlp"]["up"])
    fill(block.down, own["mlp"]["down"])
    _fill_low_rank(block.adaln, own["adaln"])


def _take(tree: Any, index: int) -> Any:
  """The parameters of one block of the stack."""
  if isinstance(tree, Mapping):
    return {name: _take(branch, index) for name, branch in tree.items()}
  return np.asarray(tree)[index]


def fill(layer: nn.Linear, params: Params, ins: int = 1) -> None:
  """From `[*ins *outs]` to `[out in]`."""
  kernel = np.asarray(params["kernel"])
  num_in = int(np.prod(kernel.shape[:ins]))
  _copy(layer.weight, kernel.reshape(num_in, -1).T)
  if layer.bias is not None:
    _copy(layer.bias, np.asarray(params["bias"]).reshape(-1))


def _fill_low_rank(layer: LowRank, params: Params) -> None:
  fill(layer.down, params["down"])
  fill(layer.up, params["up"])


def _copy(parameter: Tensor, values: Any) -> None:
  values = torch.from_numpy(np.array(values, np.float32))
  if parameter.shape != values.shape:
    raise ValueError(f"{tuple(values.shape)} in {tuple(parameter.shape)}")
  with torch.no_grad():
    parameter.copy_(values)
