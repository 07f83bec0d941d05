"""Fits many probes on one frozen forward pass.

    blocks = open_blocks(make_batches, extract, head.prepare, plan, num_clips)
    fitted = fit(head, loss, blocks, plan)
    for outputs, targets in predict(head, fitted.params, select, plan): ...
    best = choose.choose(scores, lower_is_better, fitted.diverged)
    params = choose.take(fitted.params, best)  # now the test split

All members have one program, with axes [cells hypers seeds] in front of every
parameter. A step gathers a batch for each cell and seed, which hypers share.
Each seed has an order of clips of its own: seeds that share it understate the
noise. Adam works element by element, and norms are taken by member, so that a
member is what it would be alone; one that meets a NaN stops there, is flagged,
and touches no other.

Members that would not fit into `plan.step_bytes` together take turns in groups;
the result is the same.
"""

import functools
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from vdr.probes import groups as groups_lib
from vdr.probes import steps
from vdr.probes.blocks import Block, Blocks
from vdr.probes.head import Head, Params
from vdr.probes.plan import Plan
from vdr.runtime import errors, progress

PyTree = Any
Arrays = dict[str, np.ndarray]

INIT, DRAW = 0, 1  # streams of keys


class Fitted(NamedTuple):
  """All members after their last step.

  Attributes:
    params: with axes [cells hypers seeds …].
    diverged: members that met a loss or gradient that was not finite. They have
      the parameters from before.
    losses: mean training loss of each compiled call.
  """

  params: Params
  diverged: Bool[np.ndarray, "cells hypers seeds"]
  losses: Float[np.ndarray, "calls cells hypers seeds"]


def fit(
  head: Head,
  loss_fn: steps.LossFn,
  blocks: Blocks,
  plan: Plan,
  *,
  draw: steps.Draw | None = None,
  label: str = "probes",
  quiet: bool = False,
) -> Fitted:
  """Fits a head for every cell, hyper and seed.

  Args:
    head: theirs; it is compiled once for equal heads, losses and draws.
    loss_fn: (outputs, targets) → loss of each clip; one of `losses.py`, or
      another that can be hashed.
    blocks: clips to fit on, in memory or streamed. A streamed block is
      shuffled for each seed by itself; its order is that of the stream.
    plan: members, steps and budgets.
    draw: (key, targets) → what a step sees of them, `dense.DrawPatches` for
      instance; drawn for each seed and step.
    label: what the progress bar is called.
    quiet: show no bar.

  Raises:
    UserError: the plan or the head does not fit the clips.
  """
  plan.check()
  rule = steps.Rule(plan.betas, plan.epsilon, plan.clip_norm)
  job = steps.Job(head, loss_fn, draw, rule)
  keys = _keys(plan, DRAW)
  groups: list[groups_lib.Group] = []
  states: Sequence[steps.State] = []
  losses: list[PyTree] = []
  with (
    progress.bar(plan.num_steps, label=label, quiet=quiet) as bar,
    groups_lib.turns() as take_turns,
  ):
    for block, work in _calls(blocks, plan):
      if not groups:
        groups = _groups(job, block, plan)
        shape = block.features[0].shape[1:]
        params = steps.draw_params(_keys(plan, INIT), head, shape)
        states = [steps.start(params, *group.size) for group in groups]
      run = functools.partial(_train, job, plan, keys, block, work)
      states, sums = zip(*take_turns(run, states, groups), strict=True)
      count = int(work.count)
      losses.append(groups_lib.join(list(sums), groups) / count)
      bar.advance(count)
      bar.note(f"loss {_middle(losses[-1]):.4g}")
  params = groups_lib.join([state.params for state in states], groups)
  diverged = ~groups_lib.join([state.alive for state in states], groups)
  if diverged.any():
    logging.warning(
      "probes: %d of %d members of %s diverged and are left out",
      diverged.sum(),
      diverged.size,
      label,
    )
  return Fitted(params, diverged, np.stack(losses))


def _train(
  job: steps.Job,
  plan: Plan,
  keys: Key[Array, " s"],
  block: Block,
  work: steps.Work,
  state: steps.State,
  group: groups_lib.Group,
) -> tuple[steps.State, Array]:
  """The steps of one call for one group."""
  return steps.train(
    state,
    block.features[group.cells],
    block.targets,
    work,
    _hypers(plan, group),
    keys,
    job=job,
  )


def predict(
  head: Head,
  params: Params,
  blocks: Blocks,
  plan: Plan,
  *,
  then: steps.Then | None = None,
) -> Iterator[tuple[PyTree, Arrays]]:
  """Outputs of all members, batch by batch in the order of the clips.

  Args:
    head: of the members.
    params: with axes [cells hypers seeds …]: of `Fitted`, or of `choose.take`.
    blocks: the clips, each once.
    plan: its `batch_size` and `step_bytes` count.
    then: (outputs, targets) → arrays [b …], computed in the same program, where
      whole outputs would be too much; it can be hashed.

  Yields:
    Outputs with axes [cells hypers seeds b …], and the targets [b …]. The last
    batch of a block may be smaller.
  """
  num_cells = jax.tree.leaves(params)[0].shape[0]
  with groups_lib.turns() as take_turns:
    for block in blocks:
      if block.num_cells != num_cells:
        raise ValueError(f"{block.num_cells} cells, probes of {num_cells}")
      size = min(plan.batch_size, block.num_clips)
      groups = _predict_groups(head, params, block, size, plan.step_bytes)
      own = [jax.tree.map(jnp.asarray, group.of(params)) for group in groups]
      targets = {k: np.asarray(v) for k, v in block.targets.items()}
      for start in range(0, block.num_clips, size):
        stop = min(start + size, block.num_clips)
        rows = np.minimum(np.arange(start, start + size), stop - 1)
        run = functools.partial(_predict, head, then, block, jnp.asarray(rows))
        outputs = groups_lib.join(take_turns(run, own, groups), groups)
        count = stop - start  # the rest of the last batch is padding
        outputs = jax.tree.map(lambda x, n=count: x[:, :, :, :n], outputs)
        yield outputs, {k: v[start:stop] for k, v in targets.items()}


def _predict(
  head: Head,
  then: steps.Then | None,
  block: Block,
  rows: Array,
  params: Params,
  group: groups_lib.Group,
) -> PyTree:
  """Outputs of a group for some rows of a block."""
  features = block.features[group.cells]
  return steps.predict(
    params, features, block.targets, rows, head=head, then=then
  )


def _calls(blocks: Blocks, plan: Plan) -> Iterator[tuple[Block, steps.Work]]:
  """The steps of the whole fit, call by call."""
  done, number, shares = 0, 0, plan.schedule()
  size = plan.steps_per_call
  while True:
    before = number
    for block in blocks:
      order = _order(plan, block.num_clips, number)
      number += 1
      for start in range(0, len(order), size):
        part = order[start : start + size][: plan.num_steps - done]
        count = len(part)
        padding = [(0, size - count)]
        work = steps.Work(
          order=jnp.asarray(np.pad(part, [*padding, (0, 0), (0, 0)])),
          shares=jnp.asarray(np.pad(shares[done : done + count], padding)),
          count=jnp.asarray(count, jnp.int32),
          first=jnp.asarray(done, jnp.int32),
        )
        yield block, work
        done += count
        if done == plan.num_steps:
          return
    if number == before:
      raise errors.UserError("there are no clips to fit probes on")


def _order(plan: Plan, num_clips: int, number: int) -> np.ndarray:
  """Rows of each step of a block, [steps seeds clips].

  Clips that fill no batch are left out, other ones in every epoch.
  """
  num_steps = num_clips // plan.batch_size
  if not num_steps:
    raise errors.UserError(
      f"config.probe.batch_size {plan.batch_size} is more than the {num_clips}"
      " clips there are at a time; lower it"
    )
  rows = [
    np.random.default_rng((plan.root_seed, seed, number)).permutation(num_clips)
    for seed in plan.seeds
  ]
  rows = np.stack(rows)[:, : num_steps * plan.batch_size].astype(np.int32)
  rows = rows.reshape(len(plan.seeds), num_steps, plan.batch_size)
  return rows.swapaxes(0, 1)


def _keys(plan: Plan, stream: int) -> Key[Array, " s"]:
  """A key for each seed."""
  root = jax.random.fold_in(jax.random.key(plan.root_seed), stream)
  return jnp.stack([jax.random.fold_in(root, seed) for seed in plan.seeds])


def _hypers(plan: Plan, group: groups_lib.Group) -> steps.Hypers:
  rates, decays = np.array(plan.hypers, np.float32)[group.hypers].T
  return steps.Hypers(jnp.asarray(rates), jnp.asarray(decays))


def _groups(job: steps.Job, block: Block, plan: Plan) -> list[groups_lib.Group]:
  """Members by turns, from what a step of one of them makes."""
  shape = block.features[0].shape[1:]
  params = jax.eval_shape(
    lambda key: job.head.init(key, shape), jax.random.key(0)
  )
  batch = _abstract(block, plan.batch_size)

  def member(
    params: Params, x: Array, own: dict, key: Key[Array, ""]
  ) -> PyTree:
    own = own if job.draw is None else job.draw(key, own)
    loss = functools.partial(steps.member_loss, job)
    return jax.value_and_grad(loss)(params, x, own)

  jaxpr = jax.make_jaxpr(member)(params, *batch, jax.random.key(0))
  num_seeds = len(plan.seeds)
  groups = groups_lib.split(
    block.num_cells,
    len(plan.hypers),
    num_seeds * batch[0].size * 4,
    num_seeds * groups_lib.traced_bytes(jaxpr.jaxpr),
    plan.step_bytes,
  )
  logging.info(
    "probes: %d cells x %d hypers x %d seeds, in %d groups",
    block.num_cells,
    len(plan.hypers),
    num_seeds,
    len(groups),
  )
  return groups


def _predict_groups(
  head: Head, params: Params, block: Block, batch_size: int, most: int
) -> list[groups_lib.Group]:
  num_cells, num_hypers, num_seeds = jax.tree.leaves(params)[0].shape[:3]
  one = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[3:], x.dtype), params
  )
  x, own = _abstract(block, batch_size)
  jaxpr = jax.make_jaxpr(head.apply)(one, x, own)
  each = num_seeds * groups_lib.traced_bytes(jaxpr.jaxpr)
  return groups_lib.split(num_cells, num_hypers, x.size * 4, each, most)


def _abstract(block: Block, batch_size: int) -> tuple[Any, dict[str, Any]]:
  """Shapes of a batch of one cell, and of its targets."""

  def rows(x: Array, dtype: Any) -> Any:
    return jax.ShapeDtypeStruct((batch_size, *x.shape[1:]), dtype)

  targets = {k: rows(v, v.dtype) for k, v in block.targets.items()}
  return rows(block.features[0], jnp.float32), targets


def _middle(loss: np.ndarray) -> float:
  """The median over members whose loss is a number."""
  finite = loss[np.isfinite(loss)]
  return float(np.median(finite)) if finite.size else float("nan")
