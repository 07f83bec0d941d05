"""How VideoDiT computes: embedding, blocks in segments, output."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vdr.models import functional, layers, positions, sizes, windows
from vdr.models.windows import Window
from vdr.runtime import mesh

Config = Any  # config.model: an `ml_collections.ConfigDict`
Text = tuple[Float[Array, "b n q"], Bool[Array, "b n"]]


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
    kept = sorted(set(wanted))
    return None, dict(zip(kept, run(x, kept), strict=True))
  (x,) = run(x, [sizes.size_of(cfg.size).depth])
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
) -> Callable[[Array, Sequence[int]], list[Array]]:
  """`run(x, kept)`: the residual stream at some layers, from that at layer 0.

  Two blocks, one of each kind, are the body of a scan, so that neither the
  program nor the time to compile it grows with depth, or with the layers that
  are kept. Those ascend; blocks past the last are not run.
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

  def two(carry, params):
    (x, store), (halves, cross, rows) = carry, params
    first, second = functional.slices(halves, 0, 2)
    x = steps[0](x, first, cross)
    store = _put(store, x, rows[0])
    x = steps[1](x, second, cross)
    return x, _put(store, x, rows[1])

  def scanned(x, kept):
    num_pairs, odd = divmod(kept[-1], 2)
    # A layer that is not kept is written where the next one that is will be.
    rows = np.searchsorted(kept, 1 + np.arange(sizes.size_of(cfg.size).depth))
    rows = jnp.asarray(rows.reshape(-1, 2))
    params = (functional.pairs(block_params), cross_params, rows)
    carry = (x, _store(x, len(kept)))
    x, store = functional.fold(two, carry, params, num_pairs)
    if odd:
      (own,) = functional.slices(block_params, kept[-1] - 1, kept[-1])
      text_params = functional.slices(cross_params, num_pairs, num_pairs + 1)
      x = steps[0](x, own, next(text_params, {}))
    earlier = () if store is None else jnp.unstack(store[:, :-1], axis=1)
    return [*earlier, x]

  def unrolled(x, kept):
    own = functional.slices(block_params, 0, kept[-1])
    cross = functional.slices(cross_params, 0, (kept[-1] + 1) // 2)
    found = [x]
    for index, params in enumerate(own):
      text_params = {} if index % 2 else next(cross, {})
      found.append(steps[index % 2](found[-1], params, text_params))
    return [found[layer] for layer in kept]

  return scanned if cfg.scan else unrolled


def _store(x: Array, num: int) -> Array | None:
  """Room for `num` residual streams, this one the first; None for one alone."""
  if num == 1:
    return None
  store = jnp.zeros((x.shape[0], num, *x.shape[1:]), x.dtype)
  return _put(mesh.rows(store), x, 0)


def _put(store: Array | None, x: Array, row: int | Array) -> Array | None:
  if store is None:
    return None
  return jax.lax.dynamic_update_index_in_dim(store, x, row, axis=1)


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
