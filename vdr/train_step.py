"""One training step, image and video model alike, in one jitted function.

A batch has groups: `clips`, `images` or both, each with shapes of its own, so
nothing is padded to anything else. A step encodes the pixels (or is given
latents), draws noise, predicts, and updates parameters, averages and optimiser.
`make_step` touches no device: the same function is trained here and compiled
for machines that are not there.

Every token of a step counts alike: the loss of an example is the mean over its
latents, and examples are weighted by their number of latent frames (not stated
in the paper).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from vdr.diffusion import objective as objectives
from vdr.models import dit, flops, tokenizer
from vdr.runtime import compilation, errors, optimizer
from vdr.runtime import mesh as mesh_lib

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any
State = dict[str, PyTree]
Batch = Mapping[str, Mapping[str, jax.Array]]  # group → field → array

# Groups of a batch, and the section of the config that loads each.
GROUPS = {"clips": "data", "images": "images"}
NUM_BUCKETS = 5  # of noise levels, for losses told apart
SELF_CONDITION_PROBABILITY = 0.9  # W.A.L.T, arXiv 2312.06662


@dataclasses.dataclass(frozen=True)
class Step:
  """What `make_step` returns; nothing in it has been on a device.

  Attributes:
    init: key → state.
    update: (state, tokenizer's parameters, batch, key) → (state, metrics);
      the state is donated.
    evaluate: (parameters, tokenizer's parameters, batch, key) → sums of losses
      and of weights, for every group and bucket of noise levels.
    state: the abstract state, with shardings.
    num_steps: of the whole run.
    tokens: latent tokens in a step.
    flops: of the model in a step, forward and backward.
  """

  init: Callable[[jax.Array], State]
  update: Callable[..., tuple[State, dict[str, jax.Array]]]
  evaluate: Callable[..., dict[str, jax.Array]]
  state: State
  num_steps: int
  tokens: int
  flops: float


def groups(config: Config) -> dict[str, Config]:
  """The loader of each group that a step has.

  Raises:
    UserError: there is none.
  """
  found = {
    name: config[section]
    for name, section in GROUPS.items()
    if config[section].batch_size > 0
  }
  if not found:
    raise errors.UserError(
      "data.batch_size and images.batch_size are 0; set one of them"
    )
  return found


def resolve_model(config: Config, tokenizer_cfg: Config) -> Config:
  """`config.model`, its number of latent channels taken from the tokenizer."""
  cfg = config.model.copy_and_resolve_references()
  with cfg.unlocked():
    cfg.latent_channels = tokenizer_cfg.channels
  return cfg


def video_shape(loader_cfg: Config) -> tuple[int, int, int]:
  """Frames, height and width of a group's clips, by its first source."""
  cfg = loader_cfg.sources[sorted(loader_cfg.sources)[0]]
  return cfg.num_frames, cfg.height, cfg.width


def make_step(config: Config, mesh: Mesh, tokenizer_cfg: Config) -> Step:
  """Builds the training step of a config.

  Args:
    config: the whole config.
    mesh: of `vdr.runtime.mesh.make_mesh`, abstract devices serve.
    tokenizer_cfg: of the tokenizer whose parameters the step will get.

  Raises:
    UserError: the parts of the config do not go together.
  """
  shapes = {
    name: tokenizer.latent_shape(tokenizer_cfg, *video_shape(cfg))
    for name, cfg in groups(config).items()
  }
  for cfg in groups(config).values():
    mesh_lib.check_batch_size(
      mesh, cfg.batch_size, config.optimizer.accumulation_steps
    )
  _check_conditions(config)
  model_cfg = resolve_model(config, tokenizer_cfg)
  tokens, step_flops = _cost(config, model_cfg, shapes)
  num_steps = _num_steps(config.train, tokens, step_flops)
  abstract_params = jax.eval_shape(
    lambda key: dit.init(model_cfg, key), jax.random.key(0)
  )
  task = _Task(
    model_cfg,
    tokenizer_cfg,
    config.optimizer,
    objectives.Objective.from_config(config.diffusion),
    optimizer.make_optimizer(config.optimizer, num_steps, abstract_params),
  )
  update, evaluate = (
    _on(mesh, function) for function in (task.update, task.evaluate)
  )
  state = mesh_lib.with_shardings(
    mesh, jax.eval_shape(task.init, jax.random.key(0))
  )
  places = jax.tree.map(lambda leaf: leaf.sharding, state)
  same, rows = mesh_lib.replicated(mesh), mesh_lib.batch_sharding(mesh)
  return Step(
    init=jax.jit(task.init, out_shardings=places),
    update=jax.jit(
      update,
      in_shardings=(places, same, rows, same),
      out_shardings=(places, same),
      donate_argnums=0,
      compiler_options=compilation.step_options(mesh.devices.flat[0].platform),
    ),
    evaluate=jax.jit(
      evaluate,
      in_shardings=(places["params"], same, rows, same),
      out_shardings=same,
    ),
    state=state,
    num_steps=num_steps,
    tokens=tokens,
    flops=step_flops,
  )


def _on(mesh: Mesh, function: Callable) -> Callable:
  """The function, whose activations are split over the devices of a mesh."""

  @functools.wraps(function)
  def split(*args: Any) -> Any:
    with mesh_lib.split_rows(mesh):
      return function(*args)

  return split


@dataclasses.dataclass(frozen=True)
class _Task:
  """From pixels to the next state."""

  model_cfg: Config
  tokenizer_cfg: Config
  optimizer_cfg: Config
  objective: objectives.Objective
  transform: optax.GradientTransformation

  def init(self, key: jax.Array) -> State:
    """The state before the first step."""
    params = dit.init(self.model_cfg, key)
    return {
      "params": params,
      "ema": optimizer.init_ema(params, self.optimizer_cfg.ema_decays),
      "optimizer": self.transform.init(params),
      "skips": optimizer.init_skips(),
      "step": jnp.zeros((), jnp.int32),
    }

  def update(
    self, state: State, tokenizer_params: PyTree, batch: Batch, key: jax.Array
  ) -> tuple[State, dict[str, Any]]:
    """One step; one that is not finite changes nothing but the counts."""
    rows = self.draw(tokenizer_params, batch, key)
    (loss, sums), grads = optimizer.accumulate(
      self.loss, state["params"], rows, self.optimizer_cfg.accumulation_steps
    )
    updates, opt_state = self.transform.update(
      grads, state["optimizer"], state["params"]
    )
    params = optax.apply_updates(state["params"], updates)
    ema = optimizer.update_ema(state["ema"], params, state["step"])
    new = {"params": params, "ema": ema, "optimizer": opt_state}
    ok = optimizer.all_finite((loss, grads))
    kept = optimizer.guard(ok, new, {name: state[name] for name in new})
    skips = optimizer.count_skips(state["skips"], ok)
    metrics = {
      "loss": loss,
      "sums": sums,
      "gradient_norm": optax.tree.norm(grads),
      "parameter_norm": optax.tree.norm(kept["params"]),
      "skips": skips,
    }
    return kept | {"skips": skips, "step": state["step"] + 1}, metrics

  def evaluate(
    self, params: PyTree, tokenizer_params: PyTree, batch: Batch, key: jax.Array
  ) -> dict[str, jax.Array]:
    """Sums of errors and counts, by group and bucket of noise levels."""
    return self.loss(params, self.draw(tokenizer_params, batch, key))[1]

  def draw(
    self, tokenizer_params: PyTree, batch: Batch, key: jax.Array
  ) -> dict[str, dict[str, jax.Array]]:
    """Latents, noise, and every other random draw, row by row.

    `weight` sums to 1 over all rows of all groups; clips that could not be read
    have none.
    """
    rows = {}
    for name, group in batch.items():
      group_key = jax.random.fold_in(key, list(GROUPS).index(name))
      keys = jax.random.split(group_key, 4)
      latents = self._latents(tokenizer_params, group)
      num_rows, num_frames = latents.shape[:2]
      weight = group["clip_valid"].astype(jnp.float32) * num_frames
      rows[name] = {
        "latents": latents,
        "eps": jax.random.normal(keys[0], latents.shape),
        "noise_level": self.objective.sample_noise_level(keys[1], num_rows),
        "drop": jax.random.uniform(keys[2], (num_rows,)),
        "self_condition": jax.random.uniform(keys[3], (num_rows,)),
        "weight": weight,
      }
      if "label" in group:
        rows[name]["label"] = group["label"]
      if "text" in group:
        rows[name] |= {k: group[k] for k in ("text", "text_mask")}
    total = sum(jnp.sum(group["weight"]) for group in rows.values())
    for group in rows.values():
      group["weight"] = group["weight"] / jnp.maximum(total, 1.0)
    return rows

  def _latents(
    self, tokenizer_params: PyTree, group: Mapping[str, jax.Array]
  ) -> jax.Array:
    """Normalised latents: those that were read, or made of the pixels."""
    if "latents" in group:
      latents = group["latents"]
    else:
      latents = tokenizer.encode(
        self.tokenizer_cfg, tokenizer_params, group["video"]
      ).mean
    return tokenizer.normalise(tokenizer_params, latents)

  def loss(
    self, params: PyTree, rows: Mapping[str, Mapping[str, jax.Array]]
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The sum of weighted losses, and sums told apart by group and bucket."""
    loss, sums = jnp.zeros(()), {}
    for name, group in rows.items():
      level = group["noise_level"]
      noised = self.objective.add_noise(group["latents"], group["eps"], level)
      condition = self._condition(group)
      if self.model_cfg.self_conditioning:
        condition["self_condition"] = self._estimate(
          params, noised, group, condition
        )
      prediction = self._predict(params, noised, level, condition)
      args = (prediction, group["latents"], group["eps"], level)
      losses, errors_ = self.objective.loss(*args), self.objective.error(*args)
      loss += jnp.sum(group["weight"] * losses)
      bucket = jnp.clip(
        (level * NUM_BUCKETS).astype(jnp.int32), 0, NUM_BUCKETS - 1
      )
      for sum_name, values in (
        ("error", errors_),
        ("count", jnp.ones_like(level)),
      ):
        counted = jnp.where(group["weight"] > 0, values, 0.0)
        sums[f"{name}_{sum_name}"] = jax.ops.segment_sum(
          counted, bucket, num_segments=NUM_BUCKETS
        )
    return loss, sums

  def _predict(
    self,
    params: PyTree,
    noised: jax.Array,
    level: jax.Array,
    condition: dict[str, Any],
  ) -> jax.Array:
    prediction, _ = dit.apply(
      self.model_cfg, params, noised, level, **condition
    )
    assert prediction is not None  # no layers were asked for
    return prediction

  def _estimate(
    self,
    params: PyTree,
    noised: jax.Array,
    group: Mapping[str, jax.Array],
    condition: dict[str, Any],
  ) -> jax.Array:
    """A first estimate of the clean latents, for self-conditioning.

    Given with the probability of W.A.L.T, and without a gradient (arXiv
    2208.04202 §2.3); otherwise zeros.
    """
    level = group["noise_level"]
    prediction = self._predict(params, noised, level, condition)
    clean = jax.lax.stop_gradient(
      self.objective.to_x0(prediction, noised, level)
    )
    given = group["self_condition"] < SELF_CONDITION_PROBABILITY
    return jnp.where(given[:, None, None, None, None], clean, 0.0)

  def _condition(self, group: Mapping[str, jax.Array]) -> dict[str, Any]:
    """Class and text; both are dropped at once, for guidance."""
    dropped = group["drop"] < self.model_cfg.condition_dropout
    condition = {}
    if self.model_cfg.num_classes:
      condition["labels"] = jnp.where(dropped, -1, group["label"])
    if self.model_cfg.text_dim:
      condition["text"] = group["text"]
      condition["text_mask"] = group["text_mask"] & ~dropped[:, None]
    return condition


def _check_conditions(config: Config) -> None:
  """Raises UserError if a source lacks what the model is conditioned on."""
  label = config.train.label
  for group, cfg in groups(config).items():
    for name, source in cfg.sources.items():
      place = f"{GROUPS[group]}.sources.{name}"
      if config.model.num_classes and label not in source.fields:
        raise errors.UserError(
          f"model.num_classes={config.model.num_classes} needs the classes"
          f" train.label={label!r}: add it to {place}.fields, or set"
          " num_classes to 0"
        )
      if config.model.text_dim and not source.text:
        raise errors.UserError(
          f"model.text_dim={config.model.text_dim} needs embedded texts: name"
          f" their file in {place}.text, or set text_dim to 0"
        )


def _cost(
  config: Config, model_cfg: Config, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[int, float]:
  """Latent tokens and model FLOPs of a step."""
  tokens, total = 0, 0.0
  for name, cfg in groups(config).items():
    t, h, w, _ = shapes[name]
    tokens += (
      cfg.batch_size * t * (h // model_cfg.patch) * (w // model_cfg.patch)
    )
    total += cfg.batch_size * flops.training(model_cfg, (t, h, w))
  return tokens, total


def _num_steps(cfg: Config, tokens: int, step_flops: float) -> int:
  """Steps that the budget pays for."""
  per_step = {"steps": 1.0, "tokens": float(tokens), "flops": step_flops}
  steps = max(1, round(cfg.amount / per_step[cfg.budget]))
  if steps >= 2**31:
    raise errors.UserError(
      f"train.amount={cfg.amount} {cfg.budget} are {steps:.1e} steps; use fewer"
      " than 2.1e9"
    )
  return steps
