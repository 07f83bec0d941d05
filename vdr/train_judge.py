"""The `judge` verb: trains the network that generated clips are judged by.

A work directory gets `judge.npz` (what `vdr.models.judge.load` reads, and
`--config.generation.judge` names), `result.json` with the accuracies on clips
that training did not see, and `metrics.jsonl`. It takes a minute at most, so
that a killed run begins again, and comes to the same numbers.
"""

import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from vdr import judge_clips
from vdr.data import held_out
from vdr.models import judge
from vdr.runtime import (
  errors,
  logs,
  optimizer,
  plain_configs,
  progress,
  versions,
)
from vdr.runtime import workdir as workdirs

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Params = dict[str, Any]
State = dict[str, Any]

SECTIONS = ("judge", "data")  # of the config: they decide
RESULT_NAME = "result.json"
CHUNK = 64  # clips at a time where nothing is learned
INIT, STEPS, ORDER = range(3)  # streams of random numbers


def run(config: Config, directory: str | os.PathLike) -> None:
  """Trains a judge, measures it, and writes what it found.

  Raises:
    UserError: the config can't be carried out.
  """
  _check(config)
  held_out.check(
    {
      f"judge.{name}={config.judge[name]}": [
        held_out.of_split(config.data, config.judge[name])
      ]
      for name in ("split", "test_split")
    },
    labels=sorted({*config.judge.clip_labels, *config.judge.frame_labels}),
  )
  path = workdirs.claim(directory, config, SECTIONS)
  workdirs.remove_leftovers(path)
  if (path / RESULT_NAME).exists():
    print(f"{path}: the judge is done")
    return
  cfg, start = config.judge, time.perf_counter()
  (source,) = config.data.sources.values()
  parts = progress.Parts(100)  # training takes nearly all
  clips, names = judge_clips.read(
    config, cfg.split, cfg.num_clips, parts.label("reading", 2)
  )
  params = train(config, clips, names, path, parts.label("judge", 96))
  test, _ = judge_clips.read(
    config, cfg.test_split, cfg.test_clips, parts.label("reading", 2)
  )
  scores = measure(config, params, test)
  about = {
    "num_frames": source.num_frames,
    "height": source.height,
    "width": source.width,
    "scores": scores,
  }
  judge.save(path / judge.FILE_NAME, cfg, params, about)
  result = {
    "scores": scores,
    "num_clips": {"train": len(clips.video), "test": len(test.video)},
    "seconds": round(time.perf_counter() - start, 1),
    "config": plain_configs.to_json(config),
    "versions": versions.collect(
      jax.devices()[0].device_kind, jax.device_count(), jax.process_count()
    ),
  }
  workdirs.write_text(
    path / RESULT_NAME, json.dumps(result, indent=2, allow_nan=False) + "\n"
  )
  for kind, labels in scores.items():
    said = ", ".join(
      f"{name} {score['accuracy']:.3f} (chance {score['chance']:.3f})"
      for name, score in labels.items()
    )
    print(f"{kind}: {said}")
  print(f"{path / judge.FILE_NAME}: {len(test.video)} held-out clips judged")


def _check(config: Config) -> None:
  sources = config.data.sources
  if len(sources) != 1:
    raise errors.UserError(
      f"data.sources has {', '.join(sources)}: name one source"
    )


def questions_of(
  config: Config, names: dict[str, tuple[str, ...]], num_frames: int
) -> dict[str, judge.Questions]:
  """How many numbers each question is answered with, by kind of network."""
  cfg, found = config.judge, {}
  for kind, labels, t in (
    ("frames", cfg.frame_labels, 1),
    ("clips", cfg.clip_labels, num_frames),
  ):
    found[kind] = {name: len(names[name]) for name in labels}
    if cfg.box_weight:
      found[kind]["boxes"] = 4 * t
    if cfg.depth_weight:
      found[kind]["depth"] = judge_clips.CELLS**2 * t
  return found


def train(
  config: Config,
  clips: judge_clips.Clips,
  names: dict[str, tuple[str, ...]],
  path: pathlib.Path,
  label: str,
) -> Params:
  """The averaged parameters after all steps, with features' statistics."""
  cfg, key = config.judge, jax.random.key(config.seed)
  questions = questions_of(config, names, clips.video.shape[1])
  shape = clips.video.shape[1:4]
  params = judge.init(cfg, questions, shape, jax.random.fold_in(key, INIT))
  networks = {kind: params[kind]["network"] for kind in judge.KINDS}
  state = {
    "networks": networks,
    "ema": optimizer.init_ema(networks, (cfg.ema_decay,)),
    "optimizer": _optimizer(cfg, networks).init(networks),
    "step": jnp.int32(0),
  }
  step, data = make_step(config), jax.tree.map(jnp.asarray, clips)
  logger = logs.Logger(path, config.log)
  key = jax.random.fold_in(key, STEPS)
  with progress.bar(cfg.num_steps, label=label) as bar:
    for rows in _order(config, len(clips.video)):
      state, means = step(state, data, rows, key)
      done = bar.done + 1
      if done % config.log.every_steps == 0 or done == cfg.num_steps:
        bar.note(_tell(logger, done, means))
      bar.advance()
  logger.close()
  (networks,) = state["ema"].values()
  for kind in judge.KINDS:
    params[kind]["network"] = networks[kind]
  return _with_statistics(_Judged(cfg), params, clips)


def _order(config: Config, num_clips: int) -> Iterator[Int[Array, " b"]]:
  """Which clips each step sees: all of them, before any comes again."""
  rng = np.random.default_rng((config.seed, ORDER))
  left = np.zeros(0, np.int32)
  for _ in range(config.judge.num_steps):
    while len(left) < config.judge.batch_size:
      left = np.concatenate([left, rng.permutation(num_clips).astype(np.int32)])
    yield jnp.asarray(left[: config.judge.batch_size])
    left = left[config.judge.batch_size :]


def _tell(logger: logs.Logger, step: int, means: dict[str, Array]) -> str:
  """Logs the losses of a step; raises UserError if they are not finite."""
  numbers = {name: float(value) for name, value in means.items()}
  logger.scalars(step, numbers)
  if not np.isfinite(numbers["loss"]):
    raise errors.UserError(
      f"the judge's loss is {numbers['loss']} at step {step}; lower"
      " judge.learning_rate, and choose another --workdir"
    )
  return f"loss {numbers['loss']:.3f}"


def make_step(config: Config) -> Callable[..., tuple[State, dict[str, Array]]]:
  """The training step, jitted: (state, clips, rows, key) → (state, losses)."""

  def loss_of(networks, some: dict[str, judge_clips.Clips]):
    means = {}
    for kind, clips in some.items():
      params = {kind: {"network": networks[kind]}}
      _, answers = judge.apply(config.judge, params, kind, clips.video)
      for name, value in losses(config.judge, answers, clips).items():
        means[f"{kind}/{name}"] = value
    return sum(means.values()), means

  def step(state, clips, rows, key):
    key = jax.random.fold_in(key, state["step"])
    some = augmented(config.judge, clips, rows, key)
    gradients, means = jax.grad(loss_of, has_aux=True)(state["networks"], some)
    tx = _optimizer(config.judge, state["networks"])
    with jax.numpy_dtype_promotion("standard"):  # inside Optax
      updates, memory = tx.update(
        gradients, state["optimizer"], state["networks"]
      )
    networks = optax.apply_updates(state["networks"], updates)
    return {
      "networks": networks,
      "ema": optimizer.update_ema(state["ema"], networks, state["step"]),
      "optimizer": memory,
      "step": state["step"] + 1,
    }, means | {"loss": sum(means.values())}

  return jax.jit(step, donate_argnums=0)


def _optimizer(cfg: Config, params: Params) -> optax.GradientTransformation:
  """AdamW; not config.optimizer, so that one config serves other verbs, too."""
  warmup = min(cfg.warmup_steps, cfg.num_steps - 1)
  rate = optax.warmup_cosine_decay_schedule(
    cfg.learning_rate / (warmup + 1),
    cfg.learning_rate,
    warmup,
    cfg.num_steps,
  )
  return optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(
      rate,
      b2=0.99,
      weight_decay=cfg.weight_decay,
      mask=optimizer.decay_mask(params),
    ),
  )


def augmented(
  cfg: Config, clips: judge_clips.Clips, rows: Int[Array, " b"], key: Array
) -> dict[str, judge_clips.Clips]:
  """The clips of a step, and frames of them, moved and with colours changed.

  All of a step are moved alike, and their red, green and blue change places:
  that costs nothing, and steps differ. Boxes and depths stay: the shift is a
  few pixels.
  """
  some = jax.tree.map(lambda x: jnp.take(x, rows, axis=0), clips)
  move, colour, frame = jax.random.split(key, 3)
  b, t, h, w, _ = some.video.shape
  reach = cfg.shift_px
  pad = ((0, 0), (0, 0), (reach, reach), (reach, reach), (0, 0))
  y, x = jax.random.randint(move, (2,), 0, 2 * reach + 1)
  video = jax.lax.dynamic_slice(
    jnp.pad(some.video, pad, "edge"), (0, 0, y, x, 0), (b, t, h, w, 3)
  )
  video = jnp.take(video, jax.random.permutation(colour, 3), axis=-1)
  some = some._replace(video=video)
  chosen = jax.random.randint(frame, (cfg.frames_per_clip, b), 0, t)
  frames = [judge_clips.frames_of(some, which) for which in chosen]
  return {
    "clips": some,
    "frames": jax.tree.map(lambda *x: jnp.concatenate(x), *frames),
  }


def losses(
  cfg: Config, answers: dict[str, Float[Array, "b _"]], clips: judge_clips.Clips
) -> dict[str, Float[Array, ""]]:
  """What wrong answers cost: cross-entropies, and weighted mean errors."""
  found = {}
  for name, answer in answers.items():
    if name == "boxes":
      box = answer.reshape(clips.box_yxyx.shape)
      error = jnp.abs(box - clips.box_yxyx).mean(axis=-1)
      found[name] = cfg.box_weight * _mean(error, clips.box_valid)
    elif name == "depth":
      cells = answer.reshape(clips.inverse_depth.shape)
      found[name] = cfg.depth_weight * jnp.mean(
        jnp.abs(cells - clips.inverse_depth)
      )
    else:
      label = clips.labels[name]
      cost = optax.softmax_cross_entropy_with_integer_labels(
        answer, jnp.maximum(label, 0)
      )
      found[name] = _mean(cost, label >= 0)
  return found


def _mean(x: Float[Array, "*b"], valid: Bool[Array, "*b"]) -> Float[Array, ""]:
  """The mean where valid; 0 where nothing is."""
  weights = valid.astype(jnp.float32)
  return (weights * x).sum() / jnp.maximum(weights.sum(), 1)


class _Judged:
  """What a judge makes of all clips, or of one frame of each, in parts."""

  def __init__(self, cfg: Config):
    self._apply = {
      kind: jax.jit(
        lambda params, video, kind=kind: judge.apply(cfg, params, kind, video)
      )
      for kind in judge.KINDS
    }

  def __call__(
    self, params: Params, kind: str, clips: judge_clips.Clips
  ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], judge_clips.Clips]]:
    """Features, answers, and the clips or frames that they are of."""
    if kind == "frames":
      b, t = clips.video.shape[:2]
      clips = judge_clips.frames_of(clips, np.arange(b) % t)
      clips = jax.tree.map(np.asarray, clips)
    for start in range(0, len(clips.video), CHUNK):
      rows = slice(start, start + CHUNK)
      some = jax.tree.map(lambda x, rows=rows: x[rows], clips)
      yield (*jax.device_get(self._apply[kind](params, some.video)), some)


def _with_statistics(
  judged: _Judged, params: Params, clips: judge_clips.Clips
) -> Params:
  """Measures the features' mean and standard deviation over the clips."""
  for kind in judge.KINDS:
    found = [x for x, _, _ in judged(params, kind, clips)]
    values = np.concatenate(found).astype(np.float64)
    # A feature that never changes says nothing: it is not blown up.
    std = np.maximum(values.std(axis=0), 1e-3)
    params[kind] |= {
      "mean": jnp.asarray(values.mean(axis=0), jnp.float32),
      "std": jnp.asarray(std, jnp.float32),
    }
  return params


def measure(
  config: Config, params: Params, clips: judge_clips.Clips
) -> dict[str, dict[str, dict[str, float]]]:
  """Accuracies of each network in each label, and what a constant answer has.

  Returns:
    By kind and label: `accuracy`, and `chance`, the share of the label that is
    most frequent. A label that no clip has is left out.
  """
  cfg, judged, found = config.judge, _Judged(config.judge), {}
  for kind, labels in (
    ("frames", cfg.frame_labels),
    ("clips", cfg.clip_labels),
  ):
    right = {name: [] for name in labels}
    for _, answers, some in judged(params, kind, clips):
      for name in labels:
        known = some.labels[name] >= 0
        guess = answers[name].argmax(axis=-1)
        right[name].append((guess == some.labels[name])[known])
    found[kind] = {}
    for name in labels:
      known = clips.labels[name][clips.labels[name] >= 0]
      if len(known):
        found[kind][name] = {
          "accuracy": float(np.concatenate(right[name]).mean()),
          "chance": float(np.bincount(known).max() / len(known)),
        }
  return found
