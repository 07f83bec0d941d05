"""VideoDiT: the diffusion transformer that is trained on images or on clips.

The image model and the video model are this one network; their configs differ
in `spatiotemporal_blocks` only, and their parameters have the same names,
shapes and initial values. An image is a clip of one frame.

Layers are counted once, here: **layer k is the residual stream after k
blocks**. Layer 0 is the embedded tokens, with the positions that are added to
them; layer `depth` is what the last block gives, before the final norm.

Blocks follow DiT (arXiv 2212.09748: adaptive norms, gates that begin at zero)
and W.A.L.T (arXiv 2312.06662: windows in turn, AdaLN-LoRA, QK-norm). Depths,
widths and heads: `vdr/models/sizes.py`.
"""

import re
from collections.abc import Sequence
from typing import Any

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from vdr.models import (
  attention,
  blocks,
  functional,
  layers,
  positions,
  sizes,
  trunk,
  windows,
)
from vdr.runtime import errors, trees

Config = Any  # config.model: an `ml_collections.ConfigDict`
Params = functional.Params
Features = dict[int, Array]  # by layer, [b t h w d] in the compute type

# What is multiplied with tokens, or added to them, in the compute type.
_ON_TOKENS = re.compile(
  r"(embed|embed_self|blocks/(attention|mlp)/\w+|cross/\w+|final)"
  r"/(kernel|bias)"
)


class VideoDiT(nnx.Module):
  """The parameters, in the tree that checkpoints have."""

  def __init__(self, cfg: Config, rngs: nnx.Rngs, gate_scale: float = 0.0):
    size = sizes.size_of(cfg.size)
    d, patch = size.width, cfg.patch
    pixels = (patch, patch, cfg.latent_channels)
    # DiT's initialiser would shrink patches of few channels below the
    # positions that are added to them.
    self.embed = layers.Linear(
      pixels, (d,), rngs, kernel=layers.xavier(3, mode="fan_in")
    )
    self.embed_self = (
      layers.Linear(pixels, (d,), rngs, bias=None)
      if cfg.self_conditioning
      else None
    )
    learned = cfg.positions == "learned"
    self.positions = (
      positions.Absolute(tuple(cfg.positions_grid), d, rngs)
      if learned
      else None
    )
    self.noise = layers.NoiseEmbedding(d, rngs)
    self.classes = (  # the last row is the null class
      nnx.Param(layers.normal(rngs.params(), (cfg.num_classes + 1, d)))
      if cfg.num_classes
      else None
    )
    # The modulation that blocks share; gates are its vectors 2 and 5.
    self.adaln = layers.Linear(
      (d,),
      (blocks.NUM_MODULATIONS, d),
      rngs,
      kernel=layers.zeros,
      bias=lambda _, shape: jnp.zeros(shape).at[2::3].set(gate_scale),
    )
    bias_window = blocks.bias_window(cfg) if learned else None
    self.blocks = functional.stack(
      lambda rngs: blocks.Block(size, cfg.adaln_rank, bias_window, rngs),
      size.depth,
      rngs,
    )
    self.null_text, self.cross = _text_layers(cfg, size, gate_scale, rngs)
    # The last norm is modulated as attention is, with a low-rank part of its
    # own: DiT's full one would be 2 d² parameters more.
    self.final_adaln = (
      layers.LowRank(d, 2, cfg.adaln_rank, rngs) if cfg.adaln_rank else None
    )
    self.final = layers.Linear((d,), pixels, rngs, kernel=layers.zeros)


def _text_layers(
  cfg: Config, size: sizes.Size, gate_scale: float, rngs: nnx.Rngs
) -> tuple[nnx.Param | None, blocks.CrossAttention | None]:
  if not cfg.text_dim:
    return None, None
  cross = functional.stack(
    lambda rngs: blocks.CrossAttention(size, cfg.text_dim, gate_scale, rngs),
    size.depth // 2,
    rngs,
  )
  return nnx.Param(layers.normal(rngs.params(), (cfg.text_dim,))), cross


def init(cfg: Config, key: PRNGKeyArray, *, gate_scale: float = 0.0) -> Params:
  """New parameters: a nested dict of float32 arrays.

  Args:
    cfg: config.model.
    key: all of them are drawn from it; the same key gives the image model and
      the video model the same values.
    gate_scale: where the gates of the residual branches begin. 0 is AdaLN-zero:
      every block is the identity, so that an untrained network is nothing but
      its embedded tokens. A control with random weights takes 0.5.
  """
  check(cfg)
  return functional.init(lambda rngs: VideoDiT(cfg, rngs, gate_scale), key)


def num_params(cfg: Config) -> int:
  """Number of parameters; none of them is allocated."""
  _, shapes = functional.skeleton(lambda rngs: VideoDiT(cfg, rngs))
  return functional.count(shapes)


def rounded(cfg: Config, params: Params) -> Params:
  """Parameters that will not be trained any more: what is computed with.

  Every forward pass rounds the kernels of the blocks to the compute type. Once
  is enough: half the memory, no second copy during a pass, and the same
  features and predictions to the bit.

  Args:
    cfg: config.model.
    params: from `init`, or their shapes.
  """
  dtype = jnp.dtype(cfg.dtype)

  def round_(path, leaf):
    if not _ON_TOKENS.fullmatch(trees.path_name(path)):
      return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
      return leaf.update(dtype=dtype)
    return leaf.astype(dtype)

  return jax.tree_util.tree_map_with_path(round_, params)


def apply(
  cfg: Config,
  params: Params,
  latents: Float[Array, "b t h w c"],
  noise_level: Float[Array, " b"],
  *,
  labels: Int[Array, " b"] | None = None,
  text: Float[Array, "b n q"] | None = None,
  text_mask: Bool[Array, "b n"] | None = None,
  self_condition: Float[Array, "b t h w c"] | None = None,
  layers: Sequence[int] = (),
  layout: str | None = None,
) -> tuple[Float[Array, "b t h w c"] | None, Features]:
  """One forward pass: the prediction, or the features of named layers.

  Args:
    cfg: config.model.
    params: from `init`.
    latents: noised latents of about unit variance; t = 1: images.
    noise_level: fraction of the schedule, 0 clean … 1 pure noise.
    labels: classes; negative ones and None stand for the null class, that of
      clips whose label is dropped and of probing.
    text: embedded text, if config.model.text_dim is set; None: no text.
    text_mask: True where text is no padding; None: everywhere. A clip without
      any True has no text: so it is dropped for classifier-free guidance.
    self_condition: an earlier estimate of the clean latents, if
      config.model.self_conditioning is set; None: zeros.
    layers: layers to return, 0 … depth. Nothing past the deepest is computed.
    layout: one of `windows.LAYOUTS`; None: that of the config.

  Returns:
    The network's float32 output, or None if layers are named, since it lies
    past them; and the features of those layers, `[b t' h' w' d]`.

  Raises:
    UserError: the arguments don't fit the config or one another.
  """
  call = trunk.Call(
    latents, noise_level, labels, text, text_mask, self_condition
  )
  layout = str(cfg.layout) if layout is None else layout
  check(cfg)
  _check_call(cfg, call, layers, layout)
  model = functional.bind(lambda rngs: VideoDiT(cfg, rngs), params)
  if layout != "isolated":
    return trunk.forward(cfg, model, call, layers, layout)
  t = latents.shape[1]
  inside = "window" if cfg.layout == "isolated" else cfg.layout
  frames = trunk.isolate(call)
  prediction, features = trunk.forward(cfg, model, frames, layers, inside)

  def fold(x):
    return einops.rearrange(x, "(b t) 1 h w d -> b t h w d", t=t)

  return jax.tree.map(fold, (prediction, features))


def check(cfg: Config) -> None:
  """Verifies what depends on several fields of config.model, or on the machine.

  Raises:
    UserError: the network can't be built.
  """
  attention.check(cfg.attention)
  width = sizes.size_of(cfg.size).width
  if cfg.adaln_rank > width:
    raise errors.UserError(
      f"config.model.adaln_rank is {cfg.adaln_rank}, and size {cfg.size!r} has"
      f" {width} channels; use {width} or fewer"
    )


def _check_call(
  cfg: Config, call: trunk.Call, layers: Sequence[int], layout: str
) -> None:
  if layout not in windows.LAYOUTS:
    raise errors.UserError(
      f"layout {layout!r} is unknown; choose from {', '.join(windows.LAYOUTS)}"
    )
  depth = sizes.size_of(cfg.size).depth
  for layer in layers:
    if not 0 <= layer <= depth:
      raise errors.UserError(
        f"layer {layer} does not exist: config.model.size {cfg.size!r} has"
        f" layers 0 (embedded tokens) to {depth} (after the last block)"
      )
  *_, h, w, channels = call.latents.shape
  if channels != cfg.latent_channels:
    raise errors.UserError(
      f"latents have {channels} channels; config.model.latent_channels is"
      f" {cfg.latent_channels}: set it to the tokenizer's"
    )
  if h % cfg.patch or w % cfg.patch:
    raise errors.UserError(
      f"latents of {h}x{w} can't be cut into patches of config.model.patch"
      f" {cfg.patch}; use a patch or a picture size that divides"
    )
  for given, field, off in (
    (call.labels, "num_classes", 0),
    (call.text, "text_dim", 0),
    (call.self_condition, "self_conditioning", False),
  ):
    if given is not None and cfg[field] == off:
      raise errors.UserError(
        f"config.model.{field} is {off}, but the model is given such a"
        " condition; set it, or leave the condition out"
      )
  if call.text is not None and call.text.shape[-1] != cfg.text_dim:
    raise errors.UserError(
      f"text embeddings have {call.text.shape[-1]} channels;"
      f" config.model.text_dim is {cfg.text_dim}: set it to the text encoder's"
    )
