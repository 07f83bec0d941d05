"""How VideoDiT computes: embedding, blocks in segments, output."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vdr.models import functional, layers, positions, windows
from vdr.models.windows import Window
from vdr.runtime import mesh

Config = Any  # config.model: an `ml_collections.ConfigDict`
Text = tuple[Float[Array, "b n q"], Bool[Array, "b n"]]

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

  def to_images(name, x):
    if name in ("latents", "self_condition"):
      return einops.rearrange(x, "b t ... -> (b t) 1 ...")
    return jnp.repeat(x, t, axis=0)

  given = {k: v for k, v in vars(call).items() if v is not None}
  return Call(**{k: to_images(k, v) for k, v in given.items()})


def forward(
  cfg: Config, model: Any, call: Call, wanted: Sequence[int], layout: str
) -> tuple[Array | None, dict[int, Array]]:
  """The prediction, or the features of the wanted layers; see `dit.apply`."""
  x = embed(cfg, model, call)
  _, t, h, w, _ = x.shape
  condition = condition_on(model, call)
  shared = mesh.rows(model.adaln(condition))
  run = _runner(
    cfg,
    model,
    windows.plan(cfg, (t, h, w), layout),
    shared,
    condition,
    embed_text(model, call, x.dtype),
  )
  if wanted:
    features, start = {}, 0
    for layer in sorted(set(wanted)):
      x = run(x, start, layer)
      features[layer], start = x, layer
    return None, features
  x = run(x, 0, model.blocks.mlp.up.kernel.shape[0])
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
  _, t, h, w, d = x.shape
  if model.positions is None:
    table = jnp.asarray(positions.sines((t, h, w), d))
  else:
    table = model.positions((t, h, w))
  return mesh.rows(x + table[None].astype(dtype))


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
  return mesh.rows(jax.nn.silu(x))


def embed_text(model: Any, call: Call, dtype: jnp.dtype) -> Text | None:
  """Text for cross-attention, behind the null token that is always there.

  A clip without text attends the null token only, so that "no text", "all of it
  masked" and "dropped" are the same. Text is normed, since encoders differ in
  scale. Neither is stated in the paper; both are ours.
  """
  if model.cross is None:
    return None
  b = call.latents.shape[0]
  null = layers.lead(model.null_text[...].astype(dtype), 3)
  null = jnp.broadcast_to(null, (b, 1, null.shape[-1]))
  present = jnp.ones((b, 1), bool)
  if call.text is None:
    return null, present
  mask = call.text_mask
  if mask is None:
    mask = jnp.ones(call.text.shape[:2], bool)
  # Padding may hold anything, even what is no number.
  text = jnp.where(mask[..., None], call.text, 0).astype(dtype)
  return (
    jnp.concatenate([null, layers.layer_norm(text)], axis=1),
    jnp.concatenate([present, mask], axis=1),
  )


def _step(
  cfg: Config,
  to_block: Callable,
  modulation: tuple[Array, Array],
  window: Window,
  to_cross: Callable | None,
  text: Text | None,
) -> Callable[[Array, Any, Any], Array]:
  """`step(x, own, cross)`: one block, and its cross-attention if it has one."""

  def block(x, own, cross):
    def add_text(x):
      if to_cross is None or text is None:
        return x
      return to_cross(mesh.whole(cross))(x, *text, cfg.attention)

    return to_block(mesh.whole(own))(
      mesh.rows(x),
      *modulation,
      window=window,
      implementation=cfg.attention,
      between=add_text,
    )

  return remat(block, cfg.remat)


def _runner(
  cfg: Config,
  model: Any,
  pair: tuple[Window, Window],
  shared: Float[Array, "b m d"],
  condition: Float[Array, "b d"],
  text: Text | None,
) -> Callable[[Array, int, int], Array]:
  """`run(x, start, stop)`: the residual stream from one layer to another.

  Two blocks, one of each kind, are the body of a scan, so that neither the
  program nor the time to compile it grows with depth.
  """
  to_block, block_params = functional.unstack(model.blocks)
  # What only one kind has lies in a stack of half the depth.
  to_cross, cross_params = (
    functional.unstack(model.cross) if model.cross else (None, {})
  )

  modulation = (shared, condition)
  steps = (
    _step(cfg, to_block, modulation, pair[0], to_cross, text),
    _step(cfg, to_block, modulation, pair[1], None, None),
  )

  def one(x, index):
    (own,) = functional.slices(block_params, index, index + 1)
    cross = cross_params
    if cross_params and index % 2 == 0:
      (cross,) = functional.slices(cross_params, index // 2, index // 2 + 1)
    return steps[index % 2](x, own, cross)

  def two(x, params):
    halves, cross = params
    first, second = functional.slices(halves, 0, 2)
    return steps[1](steps[0](x, first, cross), second, cross), None

  def scanned(x, start, stop):
    if start % 2 and start < stop:
      x, start = one(x, start), start + 1
    pairs, last = divmod(stop - start, 2)
    if pairs:
      even = stop - last
      halves = functional.pairs(block_params, start, even)
      cross = jax.tree.map(lambda p: p[start // 2 : even // 2], cross_params)
      x, _ = jax.lax.scan(two, x, (halves, cross))
    return one(x, stop - 1) if last else x

  def unrolled(x, start, stop):
    own = functional.slices(block_params, start, stop)
    cross = functional.slices(cross_params, (start + 1) // 2, (stop + 1) // 2)
    for index, params in zip(range(start, stop), own, strict=True):
      text_params = next(cross) if cross_params and index % 2 == 0 else {}
      x = steps[index % 2](x, params, text_params)
    return x

  return scanned if cfg.scan else unrolled


def remat(fn: Callable, policy: str) -> Callable:
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
