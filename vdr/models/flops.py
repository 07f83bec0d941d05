"""How many operations the diffusion transformer takes, from its config.

A multiply-add counts as two FLOPs (DiT's published "Gflops" are multiply-adds).
Products of matrices are counted; norms, activations and softmaxes, which are
less than 1 % and of other kinds, are not. All numbers are for one clip.
"""

from typing import Any

import jax.numpy as jnp

from vdr.models import attention, layers, sizes, windows
from vdr.models.positions import Grid
from vdr.models.windows import Window

Config = Any  # config.model: an `ml_collections.ConfigDict`


def forward(
  cfg: Config,
  shape: Grid,
  *,
  layer: int | None = None,
  layout: str | None = None,
  text_tokens: int = 0,
  self_condition: bool = False,
) -> int:
  """FLOPs of one forward pass.

  Args:
    cfg: config.model.
    shape: frames, rows and columns of the latents.
    layer: the pass ends there; None: it ends with the prediction.
    layout: of attention; None: that of the config.
    text_tokens: length of the text, padding included.
    self_condition: whether an earlier estimate is given.
  """
  layout = str(layout or cfg.layout)
  if layout == "isolated":
    inside = "window" if cfg.layout == "isolated" else cfg.layout
    image = forward(
      cfg,
      (1, *shape[1:]),
      layer=layer,
      layout=inside,
      text_tokens=text_tokens,
      self_condition=self_condition,
    )
    return shape[0] * image
  size = sizes.size_of(cfg.size)
  depth = size.depth if layer is None else layer
  grid = (shape[0], shape[1] // cfg.patch, shape[2] // cfg.patch)
  total = _embedding(cfg, grid) * (2 if self_condition else 1)
  if depth:
    total += _condition(cfg)
  pair = windows.plan(cfg, grid, layout)
  for index in range(depth):
    total += sum(_block(cfg, grid, pair[index % 2]).values())
    if cfg.text_dim and index % 2 == 0:
      total += sum(_text(cfg, grid, text_tokens + 1).values())
  if layer is None:
    total += _embedding(cfg, grid) + _low_rank(cfg, 2)
  return total


def training(
  cfg: Config,
  shape: Grid,
  *,
  text_tokens: int = 0,
  self_condition: bool = False,
  recomputed: bool = False,
) -> int:
  """FLOPs of one clip in a training step.

  Three times those of its forward pass: the backward pass has two products for
  each of the forward one. The few products with what has no gradient, latents
  and noise levels, are counted so, too.

  Args:
    cfg: config.model.
    shape: frames, rows and columns of the latents.
    text_tokens: length of the text, padding included.
    self_condition: whether an earlier estimate is given; the pass that makes
      the estimate is not counted.
    recomputed: count what `config.model.remat` and the kernel of a TPU compute
      again. Utilisation is told without it: it is a cost and no work.
  """
  total = 3 * forward(
    cfg,
    shape,
    text_tokens=text_tokens,
    self_condition=self_condition,
  )
  if not recomputed:
    return total
  images = shape[0] if cfg.layout == "isolated" else 1
  layout = "window" if cfg.layout == "isolated" else cfg.layout
  frames = shape[0] // images
  grid = (frames, shape[1] // cfg.patch, shape[2] // cfg.patch)
  pair = windows.plan(cfg, grid, layout)
  for index in range(sizes.size_of(cfg.size).depth):
    block = _block(cfg, grid, pair[index % 2])
    parts = [block]
    if cfg.text_dim and index % 2 == 0:
      parts.append(_text(cfg, grid, text_tokens + 1))
    for part in parts:
      total += images * _again(cfg.remat, part)
    if _is_fused(cfg, pair[index % 2]):  # logits, of two products of pairs
      total += images * block["pairs"] // 2
  return total


def _again(remat: str, part: dict[str, int]) -> int:
  """Of a part of a block, what the backward pass computes again."""
  if remat == "none":
    return 0
  return part["pairs"] if remat == "dots" else sum(part.values())


def _is_fused(cfg: Config, window: Window) -> bool:
  return (
    window is not None
    and cfg.positions == "rope"
    and attention.is_fused(
      cfg.attention,
      _tokens(window),
      sizes.size_of(cfg.size).head_dim,
      jnp.dtype(cfg.dtype),
    )
  )


def _embedding(cfg: Config, grid: Grid) -> int:
  """Patches to tokens; the output has as many."""
  pixels = cfg.patch**2 * cfg.latent_channels
  return 2 * _tokens(grid) * pixels * sizes.size_of(cfg.size).width


def _condition(cfg: Config) -> int:
  d = sizes.size_of(cfg.size).width
  return 2 * d * (layers.NoiseEmbedding.num_features + d + 6 * d)


def _low_rank(cfg: Config, num: int) -> int:
  return 2 * sizes.size_of(cfg.size).width * cfg.adaln_rank * (1 + num)


def _block(cfg: Config, grid: Grid, window: Window) -> dict[str, int]:
  """Products with parameters, and those of pairs of tokens."""
  size, n = sizes.size_of(cfg.size), _tokens(grid)
  d = size.width
  qkv, pairs = (d, 0) if window is None else (3 * d, _tokens(window))
  products = 2 * n * d * (qkv + d + 2 * size.mlp_width)
  return {
    "products": products + _low_rank(cfg, 6),
    "pairs": 2 * n * pairs * 2 * d,
  }


def _text(cfg: Config, grid: Grid, length: int) -> dict[str, int]:
  n, d = _tokens(grid), sizes.size_of(cfg.size).width
  return {
    "products": 2 * n * d * 2 * d + 2 * length * cfg.text_dim * 2 * d,
    "pairs": 2 * n * length * 2 * d,
  }


def _tokens(grid: Grid) -> int:
  return grid[0] * grid[1] * grid[2]
