"""From gradients to the next parameters: optimisers, averages, the guard.

Everything but `make_optimizer` and `make_schedule` is a pure function on nested
dicts, for use inside a jitted step:

    (loss, aux), grads = optimizer.accumulate(loss_fn, params, batch, k)
    updates, opt_state = tx.update(grads, state["optimizer"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    ema = optimizer.update_ema(state["ema"], params, state["step"])
    ok = optimizer.all_finite((loss, grads))
    new = optimizer.guard(ok, {...}, {...})
    skips = optimizer.count_skips(state["skips"], ok)
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from vdr.runtime import errors, trees

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any


# Weight decay is for matrices, which are called so: not for biases and scales
# of norms, nor for tables and positions, where a row that is never read would
# fade.
_DECAYS = re.compile(r"(^|/)kernel$")
# Muon is for the matrices of the blocks, the modulation apart, which begins at
# zero. From which axes to which they lead; the others number matrices.
_MUON = (
  (r"(^|/)(qkv|kv)/kernel$", (-4,), (-2, -1)),  # [d 3 a c]
  (r"(^|/)q/kernel$", (-3,), (-2, -1)),  # [d a c]
  (r"(^|/)out/kernel$", (-3, -2), (-1,)),  # [a c d]
  (r"(^|/)mlp/(up|down)/kernel$", (-2,), (-1,)),
)


def make_schedule(cfg: Config, num_steps: int) -> optax.Schedule:
  """The learning rate of each step: linear warm-up, then cosine or constant.

  Step 0, the first, has 1 / warmup_steps of the full rate, so that no step is
  lost; the cosine ends at final_share of it after the last step.

  Args:
    cfg: of `configs/base.py:optimizer`.
    num_steps: optimiser steps of the whole run.
  """
  peak, warmup = float(cfg.learning_rate), int(cfg.warmup_steps)
  rest = max(num_steps - warmup, 1)

  def schedule(count: Int[Array, ""] | int) -> Float[Array, ""]:
    step = jnp.asarray(count, jnp.float32)
    ramp = jnp.minimum((step + 1.0) / max(warmup, 1), 1.0)
    if cfg.schedule == "constant":
      return peak * ramp
    done = jnp.clip((step - warmup) / rest, 0.0, 1.0)
    final = float(cfg.final_share)
    falling = final + (1.0 - final) * 0.5 * (1.0 + jnp.cos(jnp.pi * done))
    return peak * ramp * falling

  return schedule


def make_optimizer(
  cfg: Config, num_steps: int, params: PyTree
) -> optax.GradientTransformation:
  """The optimiser that `config.optimizer` describes.

  Args:
    cfg: of `configs/base.py:optimizer`.
    num_steps: optimiser steps of the whole run.
    params: parameters, abstract ones serve: their paths and ranks decide what
      is decayed and what Muon works on.

  Raises:
    UserError: a field has a value that nothing here knows.
  """
  schedule = make_schedule(cfg, num_steps)
  parts = [
    _direction(cfg, params),
    # The same decay for all: learning rate times weight decay times parameter.
    optax.add_decayed_weights(-cfg.weight_decay, decay_mask(params)),
    optax.scale_by_schedule(schedule),
  ]
  if cfg.clip_norm > 0:
    parts.insert(0, optax.clip_by_global_norm(cfg.clip_norm))
  return _lenient(optax.chain(*parts))


def _lenient(
  tx: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Lets Optax promote types, also where vdr's own code may not."""

  def update(updates: PyTree, state: PyTree, params: PyTree = None) -> Any:
    with jax.numpy_dtype_promotion("standard"):
      return tx.update(updates, state, params)

  return optax.GradientTransformation(tx.init, update)


def _direction(cfg: Config, params: PyTree) -> optax.GradientTransformation:
  """The update at a learning rate of 1, without weight decay."""
  b1, b2 = (float(b) for b in cfg.betas)
  if cfg.name == "adamw":
    return optax.adam(1.0, b1=b1, b2=b2, eps=cfg.epsilon)
  if cfg.name == "adafactor":
    # Not scaled by the size of the parameters, and with a momentum that starts
    # without bias: AdamW's learning rates serve.
    return optax.chain(
      optax.adafactor(1.0, multiply_by_parameter_scale=False),
      optax.ema(b1, debias=True) if b1 else optax.identity(),
    )
  from optax import contrib

  return contrib.muon(
    1.0,
    adam_b1=b1,
    adam_b2=b2,
    muon_weight_dimension_numbers=_muon_axes(params),
    consistent_rms=0.2,  # steps as large as AdamW's: its learning rates serve
  )


def decay_mask(params: PyTree) -> PyTree:
  """True where weight decay acts."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: bool(_DECAYS.search(trees.path_name(path))), params
  )


def _muon_axes(params: PyTree) -> PyTree:
  """Which leaves Muon works on, as matrices from which axes to which."""
  from optax import contrib

  def axes(path: tuple, leaf: Any) -> Any:
    name, rank = trees.path_name(path), len(leaf.shape)
    for rule, reduced, out in _MUON:
      if re.search(rule, name) and rank >= len(reduced) + len(out):
        return contrib.MuonDimensionNumbers(
          reduction_axis=tuple(rank + axis for axis in reduced),
          output_axis=tuple(rank + axis for axis in out),
        )
    return None

  return jax.tree_util.tree_map_with_path(axes, params)


def accumulate(
  loss_fn: Callable[[PyTree, PyTree], tuple[Float[Array, ""], PyTree]],
  params: PyTree,
  batch: PyTree,
  num_parts: int,
) -> tuple[tuple[Float[Array, ""], PyTree], PyTree]:
  """Value and gradient of a loss, part by part of the batch, to save memory.

  The loss is a sum over rows, so that parts add up: for a mean, divide each
  row's weight by the total of the whole batch first. For the same reason noise
  and every other random draw comes with the batch.

  Args:
    loss_fn: (params, batch) → (loss, aux), both sums over the batch's rows.
    params: what to differentiate by.
    batch: arrays with a common leading axis, a multiple of num_parts.
    num_parts: parts; part i has rows i, i + num_parts, …, so that a sharded
      batch needs no traffic between devices.

  Returns:
    ((loss, aux), gradients), as of `jax.value_and_grad(has_aux=True)`.
  """
  grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
  if num_parts == 1:
    return grad_fn(params, batch)

  def split(x: Array) -> Array:
    x = x.reshape(x.shape[0] // num_parts, num_parts, *x.shape[1:])
    return jnp.moveaxis(x, 1, 0)

  parts = jax.tree.map(split, batch)
  first = jax.tree.map(lambda x: x[0], parts)
  zeros = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype),
    jax.eval_shape(grad_fn, params, first),
  )

  def body(total: PyTree, part: PyTree) -> tuple[PyTree, None]:
    return jax.tree.map(jnp.add, total, grad_fn(params, part)), None

  total, _ = jax.lax.scan(body, zeros, parts)
  return total


def init_ema(params: PyTree, decays: Sequence[float]) -> dict[str, PyTree]:
  """Moving averages that start at the parameters, in float32, by decay."""
  # Copies: a jitted step may donate parameters and averages.
  return {
    ema_name(decay): jax.tree.map(
      lambda x: jnp.array(x, jnp.float32, copy=True), params
    )
    for decay in decays
  }


def ema_name(decay: float) -> str:
  """The key of a decay's average: "0.999"."""
  return repr(float(decay))


def update_ema(
  ema: dict[str, PyTree], params: PyTree, step: Int[Array, ""]
) -> dict[str, PyTree]:
  """The averages after a step: d · average + (1 - d) · parameters.

  Warm-up: d = min(decay, (1 + step) / (10 + step)), so that the start is
  forgotten early, whatever the decay (not stated in the paper).

  Args:
    ema: as of `init_ema`.
    params: after the step.
    step: steps before this one, 0 at the first.
  """
  count = step.astype(jnp.float32)
  warm = (1.0 + count) / (10.0 + count)

  def average(name: str, tree: PyTree) -> PyTree:
    d = jnp.minimum(float(name), warm)
    return jax.tree.map(
      lambda e, p: d * e + (1.0 - d) * p.astype(e.dtype), tree, params
    )

  return {name: average(name, tree) for name, tree in ema.items()}


def all_finite(tree: PyTree) -> Bool[Array, ""]:
  """Whether no leaf has a NaN or an infinity."""
  leaves = [jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]
  return jnp.stack(leaves).all() if leaves else jnp.array(True)


def guard(ok: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
  """`new` where ok, else `old`: a step that was not finite changes nothing."""
  return jax.tree.map(lambda n, o: jnp.where(ok, n, o), new, old)


def init_skips() -> dict[str, Int[Array, ""]]:
  """Counts of steps that `guard` undid: in all, and in a row until now.

  Also of how often training went back to a checkpoint because of them.
  """
  names = ("total", "in_a_row", "rollbacks")
  return {name: jnp.zeros((), jnp.int32) for name in names}


def count_skips(
  skips: dict[str, Int[Array, ""]], ok: Bool[Array, ""]
) -> dict[str, Int[Array, ""]]:
  """The counts after a step."""
  bad = 1 - ok.astype(jnp.int32)
  return {
    "total": skips["total"] + bad,
    "in_a_row": (skips["in_a_row"] + 1) * bad,
    "rollbacks": skips["rollbacks"],
  }


def must_roll_back(skips: dict[str, Any], cfg: Config, step: int) -> bool:
  """Whether so many steps in a row were not finite that training goes back.

  Args:
    skips: the counts after a step.
    cfg: of `configs/base.py:optimizer`.
    step: steps done.

  Raises:
    UserError: it went back as often as it may.
  """
  in_a_row = int(skips["in_a_row"])
  if in_a_row < cfg.max_skips:
    return False
  if int(skips["rollbacks"]) >= cfg.max_rollbacks:
    raise errors.UserError(
      f"loss or gradients were not finite in {in_a_row} steps in a row, up to"
      f" step {step}; lower optimizer.learning_rate or optimizer.clip_norm, and"
      " start again: the last checkpoint is from before"
    )
  return True
