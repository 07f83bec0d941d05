"""The compiled parts of the engine: steps of training, and prediction.

Axes in front of everything that members have of their own: c cells, h hypers,
s seeds.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from vdr.probes import vectors
from vdr.probes.head import Head, Inputs, Outputs, Params
from vdr.runtime import optimizer

PyTree = Any
LossFn = Callable[[Outputs, Inputs], Float[Array, " b"]]
Draw = Callable[[PRNGKeyArray, Inputs], Inputs]
Then = Callable[[Outputs, Inputs], PyTree]
CLIP_VALID = "clip_valid"


class Rule(NamedTuple):
  """What is the same for all members: see `plan.Plan`."""

  betas: tuple[float, float]
  epsilon: float
  clip_norm: float


class Job(NamedTuple):
  """What is compiled: equal jobs share a program. All can be hashed."""

  head: Head
  loss_fn: LossFn
  draw: Draw | None
  rule: Rule


class State(NamedTuple):
  """What a step changes.

  Attributes:
    params: of all members.
    adam: Optax's state, whose count they share.
    alive: False from the first step on whose loss or gradient was not finite.
  """

  params: PyTree
  adam: PyTree
  alive: Bool[Array, "c h s"]


class Work(NamedTuple):
  """Steps of one call.

  Attributes:
    order: rows of the clips of each step, seed by seed.
    shares: of the learning rate, step by step.
    count: how many of them are done; the rest is padding, so that all calls
      have one program.
    first: number of the first step in the whole fit.
  """

  order: Int[Array, "k s b"]
  shares: Float[Array, " k"]
  count: Int[Array, ""]
  first: Int[Array, ""]


class Hypers(NamedTuple):
  """What members differ in."""

  learning_rate: Float[Array, " h"]
  weight_decay: Float[Array, " h"]


@functools.partial(jax.jit, static_argnames=("head", "shape"))
def draw_params(
  keys: Key[Array, " s"], head: Head, shape: tuple[int, ...]
) -> Params:
  """New parameters of each seed, with an axis in front.

  Args:
    keys: of the seeds.
    head: theirs.
    shape: of one clip's prepared features.
  """
  return jax.vmap(lambda key: head.init(key, shape))(keys)


def start(params: Params, num_cells: int, num_hypers: int) -> State:
  """New members: those of a seed are alike in all cells and hypers.

  Args:
    params: of `draw_params`.
    num_cells: c.
    num_hypers: h.
  """

  def spread(x: Array) -> Array:
    # By NumPy, and copied since steps donate it: there is nothing to compile.
    host = np.asarray(x)
    shape = (num_cells, num_hypers, *host.shape)
    return jnp.array(np.broadcast_to(host[None, None], shape))

  whole = jax.tree.map(spread, params)
  zeros = [
    jax.tree.map(lambda x: jnp.array(np.zeros(x.shape, x.dtype)), whole)
    for _ in range(2)
  ]
  adam = optax.ScaleByAdamState(jnp.array(np.zeros((), np.int32)), *zeros)
  num_seeds = jax.tree.leaves(params)[0].shape[0]
  alive = np.ones((num_cells, num_hypers, num_seeds), bool)
  return State(whole, adam, jnp.array(alive))


def over_members(fn: Callable, shared_clips: bool) -> Callable:
  """`fn(params, features, inputs)` for all members.

  Args:
    fn: of one member.
    shared_clips: whether all seeds see the same clips: features are [c b …] and
      inputs [b …] then, else [c s b …] and [s b …].
  """
  own = None if shared_clips else 0
  fn = jax.vmap(fn, in_axes=(0, own, own))
  fn = jax.vmap(fn, in_axes=(0, None, None))
  return jax.vmap(fn, in_axes=(0, 0, None))


def gather(
  features: tuple[Array, ...], targets: Inputs, rows: Int[Array, "..."]
) -> tuple[Float[Array, "..."], Inputs]:
  """The rows of a block: features [c *rows …] in float32, and targets."""

  def take(x: Array) -> Array:
    return jnp.take(x, rows, axis=0, mode="clip")

  cells = jnp.stack([take(cell) for cell in features])
  return cells.astype(jnp.float32), {k: take(v) for k, v in targets.items()}


def member_loss(
  job: Job, params: Params, features: Float[Array, " b *d"], targets: Inputs
) -> Float[Array, ""]:
  """The mean loss over the clips of a batch that count."""
  losses = job.loss_fn(job.head.apply(params, features, targets), targets)
  if CLIP_VALID not in targets:
    return jnp.mean(losses)
  valid = targets[CLIP_VALID]
  total = jnp.sum(jnp.where(valid, losses, 0.0))
  return total / jnp.maximum(jnp.sum(valid), 1).astype(jnp.float32)


@functools.partial(jax.jit, static_argnames="job", donate_argnames="state")
def train(
  state: State,
  features: tuple[Array, ...],
  targets: Inputs,
  work: Work,
  hypers: Hypers,
  keys: Key[Array, " s"],
  *,
  job: Job,
) -> tuple[State, Float[Array, "c h s"]]:
  """Some steps of all members; also the sum of their losses over the steps.

  Inside, the parameters of a member are one vector: for XLA an optimiser of a
  vector is a third less to compile, and a quarter faster, than one of its
  parts.
  """
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[3:], x.dtype), state.params
  )
  decays = vectors.ravel(
    jax.tree.map(
      lambda x, decays: np.full(x.shape, decays, np.float32),
      shapes,
      optimizer.decay_mask(shapes),
    ),
    0,
  )

  def loss_fn(vector: Array, x: Array, own: Inputs) -> Array:
    return member_loss(job, vectors.unravel(vector, shapes), x, own)

  grad_fn = over_members(jax.value_and_grad(loss_fn), False)

  def step(i: Int[Array, ""], carry: tuple) -> tuple:
    state, total = carry
    x, own = gather(features, targets, work.order[i])
    if job.draw is not None:
      now = jax.vmap(jax.random.fold_in, (0, None))(keys, work.first + i)
      own = jax.vmap(job.draw)(now, own)
    loss, grads = grad_fn(state.params, x, own)
    share = work.shares[i]
    state = update(job.rule, state, loss, grads, hypers, share, decays)
    return state, total + loss

  total = jnp.zeros_like(state.alive, jnp.float32)
  flat = _over_trees(lambda tree: vectors.ravel(tree, 3), state)
  flat, total = jax.lax.fori_loop(0, work.count, step, (flat, total))
  return _over_trees(lambda x: vectors.unravel(x, shapes), flat), total


def _over_trees(fn: Callable[[PyTree], PyTree], state: State) -> State:
  """A state whose parameters and moments are what `fn` makes of them."""
  adam = state.adam._replace(mu=fn(state.adam.mu), nu=fn(state.adam.nu))
  return State(fn(state.params), adam, state.alive)


def update(
  rule: Rule,
  state: State,
  loss: Float[Array, "c h s"],
  grads: PyTree,
  hypers: Hypers,
  share: Float[Array, ""],
  decays: PyTree,
) -> State:
  """AdamW by member; members that are not finite stay where they were.

  Args:
    rule: of all members.
    state: its parameters are any tree of arrays [c h s …].
    loss: of each member.
    grads: like the parameters.
    hypers: of the members.
    share: of the learning rate.
    decays: like the parameters of a member: 1 where weight decay acts, else 0.
  """
  leaves = jax.tree.leaves(grads)
  square = sum(
    (jnp.sum(g * g, axis=tuple(range(3, g.ndim))) for g in leaves),
    start=jnp.zeros_like(loss),
  )
  alive = state.alive & jnp.isfinite(loss) & jnp.isfinite(square)
  factor = jnp.ones_like(loss)
  if rule.clip_norm > 0:
    factor = rule.clip_norm / jnp.maximum(jnp.sqrt(square), rule.clip_norm)

  def wide(x: Array, like: Array) -> Array:
    return x.reshape(*x.shape, *(1,) * (like.ndim - x.ndim))

  grads = jax.tree.map(
    lambda g: jnp.where(wide(alive, g), g * wide(factor, g), 0.0), grads
  )
  tx = optax.scale_by_adam(*rule.betas, eps=rule.epsilon)
  with jax.numpy_dtype_promotion("standard"):  # Optax mixes types
    direction, adam = tx.update(grads, state.adam)
  rate = (share * hypers.learning_rate)[None, :, None]
  decay = hypers.weight_decay[None, :, None]

  def move(p: Array, d: Array, decays: Array | np.ndarray) -> Array:
    d = d + wide(decay, p) * jnp.asarray(decays)[None, None, None] * p
    return jnp.where(wide(alive, p), p - wide(rate, p) * d, p)

  params = jax.tree.map(move, state.params, direction, decays)
  return State(params, adam, alive)


@functools.partial(jax.jit, static_argnames=("head", "then"))
def predict(
  params: Params,
  features: tuple[Array, ...],
  targets: Inputs,
  rows: Int[Array, " b"],
  *,
  head: Head,
  then: Then | None,
) -> PyTree:
  """Outputs of all members for some rows, [c h s b …]."""
  x, own = gather(features, targets, rows)

  def one(params: Params, x: Array, own: Inputs) -> PyTree:
    outputs = head.apply(params, x, own)
    return outputs if then is None else then(outputs, own)

  return over_members(one, True)(params, x, own)
