"""The `tokenizer` verb: fits or trains a tokenizer and says how good it is.

A work directory gets `tokenizer.npz` (what `vdr.models.tokenizer.load` reads),
`result.json` and `reconstructions.png`; while a network is trained also
`training.npz`, from which a killed run goes on as if nothing had happened.
"""

import contextlib
import functools
import json
import os
import pathlib
import time
import zipfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vdr import draw, media, tokenizers
from vdr.data import held_out, prefetch
from vdr.metrics import images
from vdr.models import (
  critic,
  patch_tokenizer,
  perceptual,
  reconstruction,
  tokenizer,
)
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

SECTIONS = (
  "tokenizer",
  "data",
  "optimizer",
)  # of the config: they decide the result
STATE_NAME = "training.npz"
CRITIC_NAME = "critic.npz"  # of adversarial training; another may start with it
RESULT_NAME = "result.json"
PICTURE_NAME = "reconstructions.png"
# Streams of random numbers.
INIT, NOISE, CRITIC = range(3)
MAX_PSNR_DB = 100.0  # of a picture that comes back whole: JSON has no infinity


def run(config: Config, directory: str | os.PathLike) -> None:
  """Makes a tokenizer, measures it, and writes what it found.

  Raises:
    UserError: the config can't be carried out.
  """
  tokenizer.check(config.tokenizer)
  _check(config)
  split = config.tokenizer.evaluation.split
  held_out.check(
    {
      "the clips of training": [config.data],
      f"tokenizer.evaluation.split={split}": [
        held_out.of_split(config.data, split)
      ],
    }
  )
  path = workdirs.claim(directory, config, SECTIONS)
  workdirs.remove_leftovers(path)
  if (path / RESULT_NAME).exists():
    print(f"{path}: the tokenizer is done")
    return
  if config.tokenizer.kind == "patch":
    start = time.perf_counter()
    params = tokenizers.fit(config)
    seconds = time.perf_counter() - start
  else:
    params, seconds = _train(config, path)
    params = _with_statistics(config, params)
  tokenizer.save(path / tokenizer.FILE_NAME, config.tokenizer, params)
  scores = _evaluate(config, params, path)
  result = {
    "scores": scores,
    "seconds": round(seconds, 1),
    "config": plain_configs.to_json(config),
    "versions": versions.collect(
      jax.devices()[0].device_kind, jax.device_count(), jax.process_count()
    ),
  }
  workdirs.write_text(
    path / RESULT_NAME, json.dumps(result, indent=2, allow_nan=False) + "\n"
  )
  for part in ("first", "later"):
    if f"psnr_{part}_db" in scores:
      print(
        f"{part} frames: PSNR {scores[f'psnr_{part}_db']:.2f} dB,"
        f" SSIM {scores[f'ssim_{part}']:.4f}"
      )
  file, count = path / tokenizer.FILE_NAME, scores["num_clips"]
  print(f"{file}: {count} held-out clips measured")


def _check(config: Config) -> None:
  problem = None
  if len(config.optimizer.ema_decays) != 1:
    problem = (
      f"optimizer.ema_decays={config.optimizer.ema_decays}: a tokenizer keeps"
      " one average; give one decay"
    )
  elif config.optimizer.accumulation_steps != 1:
    problem = (
      f"optimizer.accumulation_steps={config.optimizer.accumulation_steps} is"
      " not for tokenizers; set it to 1, and data.batch_size lower"
    )
  if problem:
    raise errors.UserError(problem)


def make_step(
  config: Config,
) -> Callable[..., tuple[State, dict[str, jax.Array]]]:
  """The training step, jitted; it takes the state's memory for the new one.

  Args:
    config: the whole one; its tokenizer and optimizer decide.

  Returns:
    (state, video, clip_valid, key) → (state, losses).

  Raises:
    UserError: weights of a term that is asked for can't be read.
  """
  cfg = config.tokenizer
  vgg = perceptual.load(cfg.loss.perceptual_path) if cfg.loss.perceptual else {}

  def loss_of(model, vgg, judge, video, valid, key):
    params = {"model": model}
    target = tokenizer.to_unit(video)
    posterior = tokenizer.encode(cfg, params, target)
    latents = tokenizer.sample(posterior, key)
    pred = tokenizer.decode(cfg, params, latents)
    terms = reconstruction.losses(pred, target, *posterior)
    if cfg.loss.perceptual:
      terms["perceptual"] = perceptual.distance(vgg, pred, target)
    if cfg.loss.adversarial:
      terms["adversarial"] = critic.fool(cfg.loss, judge["params"], pred)
    terms["loss"] = reconstruction.total(cfg.loss, terms)
    weights = valid / jnp.maximum(valid.sum(), 1)
    means = {name: (weights * term).sum() for name, term in terms.items()}
    return means["loss"], (means, pred)

  def train_critic(judge, video, pred, valid):
    def paid(params):
      each = critic.loss(cfg.loss, params, tokenizer.to_unit(video), pred)
      return (valid * each).sum() / jnp.maximum(valid.sum(), 1)

    value, gradients = jax.value_and_grad(paid)(judge["params"])
    tx = _optimizer(config, judge["params"])
    updates, memory = tx.update(gradients, judge["optimizer"], judge["params"])
    params = optax.apply_updates(judge["params"], updates)
    return {"params": params, "optimizer": memory}, value

  def step(vgg, state, video, valid, key):
    key = jax.random.fold_in(key, state["step"])
    judge, valid = state["critic"], valid.astype(jnp.float32)
    gradients, (means, pred) = jax.grad(loss_of, has_aux=True)(
      state["model"], vgg, judge, video, valid, key
    )
    tx = _optimizer(config, state["model"])
    updates, memory = tx.update(gradients, state["optimizer"], state["model"])
    model = optax.apply_updates(state["model"], updates)
    ema = optimizer.update_ema(state["ema"], model, state["step"])
    new = {"model": model, "ema": ema, "optimizer": memory}
    if cfg.loss.adversarial:
      judge, means["critic"] = train_critic(judge, video, pred, valid)
    return new | {"critic": judge, "step": state["step"] + 1}, means

  return functools.partial(jax.jit(step, donate_argnums=1), vgg)


def init_state(config: Config, key: jax.Array) -> State:
  """The state before the first step."""
  model = tokenizer.init(config.tokenizer, key)["model"]
  judge = {}
  if config.tokenizer.loss.adversarial:
    judge = critic.init(config.tokenizer.loss, jax.random.fold_in(key, CRITIC))
    judge = {
      "params": judge,
      "optimizer": _optimizer(config, judge).init(judge),
    }
  return {
    "model": model,
    "critic": judge,
    "ema": optimizer.init_ema(model, config.optimizer.ema_decays),
    "optimizer": _optimizer(config, model).init(model),
    "step": jnp.int32(0),
  }


def _optimizer(config: Config, model: Params) -> optax.GradientTransformation:
  num_steps = config.tokenizer.training.num_steps
  return optimizer.make_optimizer(config.optimizer, num_steps, model)


def _train(config: Config, path: pathlib.Path) -> tuple[Params, float]:
  """Trains a network, from where the last start came to.

  Returns:
    The averaged parameters, and the seconds that training took in all.
  """
  cfg, training = config.tokenizer, config.tokenizer.training
  key = jax.random.key(config.seed)
  state = init_state(config, jax.random.fold_in(key, INIT))
  first, seconds = 0, 0.0
  with contextlib.ExitStack() as stack:
    batches = stack.enter_context(
      tokenizers.open_loader(config, path / "skipped.jsonl", num_epochs=-1)
    )
    if (path / STATE_NAME).exists():
      state, data_state, seconds = load_state(path / STATE_NAME, state)
      batches.restore(data_state)
      first = int(state["step"])
      print(f"going on after step {first}")
    logger = stack.enter_context(logs.Logger(path, config.log, step=first))
    ready = stack.enter_context(
      prefetch.prefetch_to_device(batches, size=config.data.prefetch)
    )
    bar = stack.enter_context(
      progress.bar(training.num_steps, label="tokenizer", done=first)
    )
    step, noise = make_step(config), jax.random.fold_in(key, NOISE)
    start = time.perf_counter() - seconds
    for done in range(first + 1, training.num_steps + 1):
      arrays = next(ready).arrays
      state, means = step(state, arrays["video"], arrays["clip_valid"], noise)
      saving = (
        done % training.save_every_steps == 0 or done == training.num_steps
      )
      if saving or done % config.log.every_steps == 0:
        bar.note(_tell(logger, done, means))
      bar.advance()
      if saving:
        seconds = time.perf_counter() - start
        save_state(path / STATE_NAME, state, ready.state(), seconds)
  if state["critic"]:
    critic.save(path / CRITIC_NAME, state["critic"]["params"])
  zeros = jnp.zeros((2, cfg.channels))
  return tokenizer.with_statistics(
    {"model": next(iter(state["ema"].values()))}, zeros, zeros + 1
  ), seconds


def _tell(logger: logs.Logger, step: int, means: dict[str, jax.Array]) -> str:
  """Logs the losses of a step; raises UserError if they are not finite."""
  numbers = {name: float(value) for name, value in means.items()}
  logger.scalars(step, numbers)
  if not np.isfinite(numbers["loss"]):
    raise errors.UserError(
      f"the tokenizer's loss is {numbers['loss']} at step {step}; lower"
      " optimizer.learning_rate, and choose another --workdir"
    )
  return f"loss {numbers['loss']:.4f}"


def save_state(
  path: pathlib.Path, state: State, data_state: Any, seconds: float
) -> None:
  """Writes everything that training needs to go on, whole or not at all."""
  leaves = {f"{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}
  meta = np.array(json.dumps({"data": data_state, "seconds": seconds}))
  with workdirs.atomic_path(path) as temporary, temporary.open("wb") as file:
    np.savez(file, **leaves, meta=meta)  # pyright: ignore[reportArgumentType]


def load_state(path: pathlib.Path, like: State) -> tuple[State, Any, float]:
  """Reads what `save_state` wrote.

  Args:
    path: the file.
    like: a state of the same shapes.

  Returns:
    The state, where the data stood, and the seconds spent so far.

  Raises:
    UserError: the file is damaged, or of another network.
  """
  leaves, tree = jax.tree.flatten(like)
  try:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
      meta = json.loads(str(file["meta"]))
      found = [file[f"{i}"] for i in range(len(leaves))]
    fits = [x.shape for x in found] == [x.shape for x in leaves]
  except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise errors.UserError(
      f"{path} can't be read ({error}); delete it to train anew"
    ) from error
  if not fits:
    raise errors.UserError(
      f"{path} is of another network; delete it to train anew"
    )
  state = jax.tree.unflatten(tree, [jnp.asarray(x) for x in found])
  return state, meta["data"], meta["seconds"]


def _with_statistics(config: Config, params: Params) -> Params:
  """Measures the latents' mean and standard deviation over the clips."""
  cfg = config.tokenizer
  encode = jax.jit(lambda p, video: tokenizer.encode(cfg, p, video).mean)
  parts = [patch_tokenizer.Moments(cfg.channels) for _ in range(2)]
  with tokenizers.open_loader(config, num_epochs=1) as batches:
    for video in tokenizers.clips(batches, cfg.fit_clips):
      latents = np.asarray(encode(params, video))
      for part, frames in zip(
        parts, (latents[:, :1], latents[:, 1:]), strict=True
      ):
        part.add(frames.reshape(-1, cfg.channels))
  if not parts[1].count:  # images alone: later latents never come up
    parts[1] = parts[0]
  return tokenizer.with_statistics(
    params,
    np.stack([part.mean for part in parts]).astype(np.float32),
    np.stack([np.sqrt(np.diag(p.covariance())) for p in parts]).astype(
      np.float32
    ),
  )


def _evaluate(
  config: Config, params: Params, path: pathlib.Path
) -> dict[str, float | int]:
  """Scores of held-out clips, means over frames; draws the first of them."""
  cfg = config.tokenizer

  @jax.jit
  def measure(params, video):
    latents = tokenizer.encode(cfg, params, video).mean
    pred = tokenizer.decode(cfg, params, latents)
    pair = jnp.clip(pred, -1, 1), tokenizer.to_unit(video)
    psnr = jnp.minimum(images.psnr(*pair, 2.0), MAX_PSNR_DB)
    # SSIM wants pixels that begin at 0.
    ssim = images.ssim(pair[0] + 1, pair[1] + 1, 2.0)
    return pred, {"psnr_db": psnr, "ssim": ssim}

  found: dict[str, list[np.ndarray]] = {"psnr_db": [], "ssim": []}
  drawn: list[tuple[np.ndarray, np.ndarray]] = []
  with tokenizers.open_loader(
    config, split=cfg.evaluation.split, shuffle=False, num_epochs=1
  ) as batches:
    for video in tokenizers.clips(batches, cfg.evaluation.num_clips):
      pred, scores = measure(params, video)
      for name, values in scores.items():
        found[name].append(np.asarray(values))
      missing = max(cfg.evaluation.drawn_clips - len(drawn), 0)
      pred = np.asarray(tokenizer.to_uint8(pred[:missing]))
      drawn += zip(video[:missing], pred, strict=True)
  if drawn:
    media.write_png(path / PICTURE_NAME, draw.compare_clips(drawn))
  values = {name: np.concatenate(parts) for name, parts in found.items()}
  out: dict[str, float | int] = {"num_clips": len(values["ssim"])}
  for part, frames in (("first", slice(0, 1)), ("later", slice(1, None))):
    if values["ssim"][:, frames].size:
      out[f"psnr_{part}_db"] = float(values["psnr_db"][:, frames].mean())
      out[f"ssim_{part}"] = float(values["ssim"][:, frames].mean())
  return out
