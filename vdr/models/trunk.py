"""How VideoDiT computes: embedding, blocks in segments, output."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vdr.models import functional, layers, positions, windows
from vdr.models.windows import Window

Config = Any  # config.model: an `ml_collections.ConfigDict`

REMATS = ("none", "block", "dots")


@dataclasses.dataclass(frozen=True)
class Call:
  """What `dit.apply` is given."""

  latents: Float[Array, "b t h w c"]
  noise_level: Float[Array, " b"]
  labels: Int[Array, " b"] | None = None
  text: Float[Array, "b n q"] | None = None
  text_mask: Bool[Array, "b n"] | None = None
  self_condition: Float[Array, "b t h w c"] | None = None


def isolate(call: Call) -> Call:
  """Every frame as an image with the condition of its clip."""
  t = call.latents.shape[1]

  def frames(x):
    return None if x is None else einops.rearrange(x, "b t ... -> (b t) 1 ...")

  def clips(x):
    return None if x is None else jnp.repeat(x, t, axis=0)

  return Call(
    frames(call.latents),
    clips(call.noise_level),
    clips(call.labels),
    clips(call.text),
    clips(call.text_mask),
    frames(call.self_condition),
  )


def forward(
  cfg: Config, model: Any, call: Call, wanted: Sequence[int], layout: str
) -> tuple[Array | None, dict[int, Array]]:
  """The prediction, or the features of the wanted layers; see `dit.apply`."""
  x = embed(cfg, model, call)
  grid = x.shape[1:4]
  condition = condition_on(model, call)
  shared = model.adaln(condition)
  run = functools.partial(
    run_blocks,
    cfg,
    model,
    pair=windows.plan(cfg, grid, layout),
    shared=shared,
    condition=condition,
    text=embed_text(model, call, x.dtype),
  )
  if wanted:
    features, start = {}, 0
    for layer in sorted(set(wanted)):
      x = run(x, start=start, stop=layer)
      features[layer], start = x, layer
    return None, features
  depth = jax.tree.leaves(functional.params_of(model.blocks))[0].shape[0]
  x = run(x, start=0, stop=depth)
  modulation = shared[:, :2]
  if model.final_adaln is not None:
    modulation = modulation + model.final_adaln(condition)
  x = model.final(layers.modulate(x, modulation[:, 0], modulation[:, 1]))
  x = einops.rearrange(x, "b t h w p q c -> b t (h p) (w q) c")
  return x.astype(jnp.float32), {}


def embed(cfg: Config, model: Any, call: Call) -> Float[Array, "b t h w d"]:
  """Patches as tokens, with the positions that are added to them."""
  dtype = jnp.dtype(cfg.dtype)

  def patches(x):
    return einops.rearrange(
      x.astype(dtype),
      "b t (h p) (w q) c -> b t h w p q c",
      p=cfg.patch,
      q=cfg.patch,
    )

  x = model.embed(patches(call.latents))
  if call.self_condition is not None:
    x = x + model.embed_self(patches(call.self_condition))
  grid = x.shape[1:4]
  if model.positions is None:
    table = jnp.asarray(positions.sines(grid, x.shape[-1]))
  else:
    table = model.positions(grid)
  return x + table[None].astype(dtype)


def condition_on(model: Any, call: Call) -> Float[Array, "b d"]:
  """Noise level and class in one vector, after its activation; in float32."""
  x = model.noise(call.noise_level)
  if model.classes is not None:
    table = model.classes[...]
    null = table.shape[0] - 1
    labels = call.labels
    if labels is None:
      labels = jnp.full(x.shape[0], -1)
    x = x + table[jnp.where(labels < 0, null, labels)]
  return jax.nn.silu(x)


def embed_text(
  model: Any, call: Call, dtype: jnp.dtype
) -> tuple[Float[Array, "b n q"], Bool[Array, "b n"]] | None:
  """Text for cross-attention, behind the null token that is always there.

  A clip without text attends the null token only, so that "no text", "all of it
  masked" and "dropped" are the same. Text is normed, since encoders differ in
  scale; neither is stated, both are ours.
  """
  if model.cross is None:
    return None
  b = call.latents.shape[0]
  null = model.null_text[...].astype(dtype)
  null = jnp.broadcast_to(layers.lead(null, 3), (b, 1, null.shape[-1]))
  present = jnp.ones((b, 1), bool)
  if call.text is None:
    return null, present
  mask = call.text_mask
  if mask is None:
    mask = jnp.ones(call.text.shape[:2], bool)
  text = layers.layer_norm(call.text.astype(dtype))
  text = jnp.where(mask[..., None], text, 0)  # padding may hold anything
  return (
    jnp.concatenate([null, text], axis=1),
    jnp.concatenate([present, mask], axis=1),
  )


def run_blocks(
  cfg: Config,
  model: Any,
  x: Float[Array, "b t h w d"],
  *,
  start: int,
  stop: int,
  pair: tuple[Window, Window],
  shared: Array,
  condition: Array,
  text: tuple[Array, Array] | None,
) -> Float[Array, "b t h w d"]:
  """The residual stream of layer `start` taken to layer `stop`.

  Two blocks, one of each kind, are the body of a scan, so that neither the
  program nor the time to compile it grows with depth.
  """
  to_block, block_params = functional.unstack(model.blocks)
  to_cross = cross_params = None
  if model.cross is not None:
    to_cross, cross_params = functional.unstack(model.cross)

  def block(x, own, cross, kind):
    between = None
    if cross is not None:

      def between(x):
        return to_cross(cross)(x, *text, cfg.attention)

    return to_block(own)(
      x,
      shared,
      condition,
      window=pair[kind],
      implementation=cfg.attention,
      between=between,
    )

  step = {kind: remat(functools.partial(block, kind=kind), cfg.remat)
          for kind in (0, 1)}  # fmt: skip

  def one(x, index):
    own = jax.tree.map(lambda leaf: leaf[index], block_params)
    cross = None
    if cross_params is not None and index % 2 == 0:
      cross = jax.tree.map(lambda leaf: leaf[index // 2], cross_params)
    return step[index % 2](x, own, cross)

  def two(x, params):
    pair, cross = params
    first, second = (
      jax.tree.map(lambda leaf, i=i: leaf[i], pair) for i in (0, 1)
    )
    return step[1](step[0](x, first, cross), second, None), None

  if not cfg.scan:
    own = list(functional.slices(block_params, start, stop))
    for index in range(start, stop):
      cross = None
      if cross_params is not None and index % 2 == 0:
        cross = jax.tree.map(lambda leaf, i=index // 2: leaf[i], cross_params)
      x = step[index % 2](x, own[index - start], cross)
    return x
  if start % 2 and start < stop:
    x, start = one(x, start), start + 1
  even = stop - (stop - start) % 2
  if start < even:
    part = jax.tree.map(lambda leaf: leaf[start:even], block_params)
    pairs = jax.tree.map(
      lambda leaf: leaf.reshape(-1, 2, *leaf.shape[1:]), part
    )
    cross = jax.tree.map(
      lambda leaf: leaf[start // 2 : even // 2], cross_params
    )
    x, _ = jax.lax.scan(two, x, (pairs, cross))
  return one(x, even) if even < stop else x


def remat(fn: Any, policy: str) -> Any:
  """`fn` whose backward pass computes again what it needs.

  Args:
    fn: a function of arrays.
    policy: `none` keeps all that the backward pass reads; `block` keeps only
      the arguments; `dots` keeps the results of products with parameters.
  """
  if policy == "none":
    return fn
  if policy == "block":
    return jax.checkpoint(fn)
  return jax.checkpoint(
    fn, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable
  )
