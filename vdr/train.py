"""Diffusion training: the image model and the video model, in one loop.

What makes the one or the other is the config alone: what is in a batch, and
whether blocks look across time. The loop reads batches, steps, tells, saves; it
can be killed at any moment and goes on to the same numbers.
"""

import contextlib
import os
import pathlib
from typing import Any

import jax
import numpy as np

from vdr import draw, generation, media, tokenizers, train_step, validation
from vdr.data import loader, prefetch
from vdr.models import dit
from vdr.runtime import (
  checkpoints,
  errors,
  fingerprint,
  hosts,
  logs,
  optimizer,
  plain_configs,
  preemption,
  progress,
  throughput,
  versions,
)
from vdr.runtime import mesh as mesh_lib
from vdr.runtime import workdir as workdirs

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any

# Sections of the config that decide what training gives.
SECTIONS = (
  "data",
  "images",
  "tokenizer",
  "model",
  "diffusion",
  "train",
  "optimizer",
  "saving",
)

SAMPLE_PX = 96  # width that samples are enlarged to


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Trains, from the last checkpoint in the work directory if there is one.

  Raises:
    UserError: the config can't be carried out, or training diverged.
  """
  tokenizer_cfg = tokenizers.config_of(config)
  mesh = mesh_lib.make_mesh(config.mesh)
  step_fns = train_step.make_step(config, mesh, tokenizer_cfg)
  path = pathlib.Path(workdir).expanduser()
  validation.check(config)
  sources = validation.open_sources(config, train_step.groups(config))
  hosts.first_does(lambda: _prepare(config, path))
  _announce(config, tokenizer_cfg, step_fns)
  tokenizer_params = jax.device_put(
    tokenizers.read(config, path), mesh_lib.replicated(mesh)
  )
  meta = _meta(config, tokenizer_cfg, step_fns) | {
    "tokenizer_hash": fingerprint.of(tokenizer_params),
    # What sample.label means; [] for a model without classes.
    "class_names": validation.class_names(config, sources),
  }
  with (
    checkpoints.Checkpoints(
      path / checkpoints.FOLDER,
      config.saving,
      step_fns.num_steps,
      meta,
    ) as saved,
    preemption.Preemption() as preempted,
    contextlib.ExitStack() as stack,
  ):
    loaders = _open_loaders(config, sources, path, stack)
    state, first = _start(config, step_fns, saved, loaders, meta)
    if first == step_fns.num_steps:
      print(f"{path}: all {first} steps are done")
      return
    trainer = _Trainer(
      config, path, mesh, step_fns, tokenizer_cfg, tokenizer_params, first
    )
    stack.callback(trainer.close)
    trainer.loop(state, first, loaders, saved, preempted, stack)


class _Trainer:
  """The loop, and what it tells on the way."""

  def __init__(
    self,
    config: Config,
    path: pathlib.Path,
    mesh: jax.sharding.Mesh,
    step_fns: train_step.Step,
    tokenizer_cfg: Config,
    tokenizer_params: PyTree,
    first: int,
  ):
    self._config, self._mesh, self._fns = config, mesh, step_fns
    self._path = path
    self._tokenizer = (tokenizer_cfg, tokenizer_params)
    self._schedule = optimizer.make_schedule(
      config.optimizer, step_fns.num_steps
    )
    self._logger = logs.Logger(
      path,
      config.log,
      process_index=jax.process_index(),
      step=first,
      config=plain_configs.to_json(config),
    )
    self._profiler = logs.Profiler(path, config.log)
    self._rates = throughput.Throughput(
      sum(cfg.batch_size for cfg in train_step.groups(config).values()),
      step_fns.tokens,
      step_fns.flops,
      mesh.devices.flat[0].device_kind,
      mesh.devices.size,
    )
    self._validation = validation.Validation(config, mesh, step_fns)
    model_cfg = train_step.resolve_model(config, tokenizer_cfg)
    self._generator = generation.Generator(
      model_cfg, config.diffusion, config.sampler, tokenizer_cfg
    )

  def close(self) -> None:
    self._profiler.close()
    self._logger.close()

  def loop(
    self,
    state: train_step.State,
    first: int,
    loaders: dict[str, loader.Loader],
    saved: checkpoints.Checkpoints,
    preempted: preemption.Preemption,
    stack: contextlib.ExitStack,
  ) -> None:
    """Trains to the end, or until SIGTERM."""
    config, num_steps = self._config, self._fns.num_steps
    sharding = mesh_lib.batch_sharding(self._mesh)
    streams = {
      name: stack.enter_context(
        prefetch.prefetch_to_device(batches, sharding, self._ahead(name))
      )
      for name, batches in loaders.items()
    }
    key = validation.stream_key(config.seed, "steps")
    pending: list[PyTree] = []
    bar = stack.enter_context(_bar(num_steps, first))
    self._rates.start(first)
    for step in range(first, num_steps):
      batch = {
        name: validation.step_fields(config, next(s))
        for name, s in streams.items()
      }
      self._profiler.before(step + 1)
      state, metrics = self._fns.update(
        state, self._tokenizer[1], batch, jax.random.fold_in(key, step)
      )
      self._profiler.after(step + 1, metrics)
      pending.append(metrics)
      done = step + 1
      bar.advance()
      stopping = preempted.requested(done)
      saving = saved.due(done) or stopping
      # What is told comes before the checkpoint: a killed run that goes on
      # drops what was logged after it.
      if done % config.log.every_steps == 0 or saving:
        bar.note(self._tell(done, pending, streams))
        pending.clear()
        if optimizer.must_roll_back(state["skips"], config.optimizer, done):
          state = self._roll_back(done, state, saved)
      with self._rates.pause():
        self._look(done, state)
        if saving:
          positions = {name: s.state() for name, s in streams.items()}
          saved.save(done, state, positions, force=stopping)
      if stopping:
        saved.wait()
        raise errors.Stopped(
          f"stopped by SIGTERM after step {done}; the same command goes on"
        )

  def _roll_back(
    self,
    done: int,
    state: train_step.State,
    saved: checkpoints.Checkpoints,
  ) -> train_step.State:
    """The state from before the steps that were not finite.

    The count of steps and the place in the data stay where they are: other
    batches come next.
    """
    skips = state["skips"]
    before = [s for s in saved.steps() if s <= done - int(skips["in_a_row"])]
    if before:
      restored = saved.restore(self._fns.state, before[-1]).state
    else:
      key = validation.stream_key(self._config.seed, "init")
      restored = self._fns.init(key)
    if hosts.is_first():
      came = f"the checkpoint of step {before[-1]}" if before else "the start"
      print(f"step {done}: not finite any more; back to {came}")
    again = {
      "in_a_row": skips["in_a_row"] * 0,
      "rollbacks": skips["rollbacks"] + 1,
    }
    return restored | {"skips": skips | again, "step": state["step"]}

  def _ahead(self, name: str) -> int:
    """Batches of a group that are kept ready."""
    return train_step.groups(self._config)[name].prefetch

  def _tell(
    self,
    done: int,
    pending: list[PyTree],
    streams: dict[str, prefetch.Prefetcher],
  ) -> str:
    """Logs the means over the steps since the last time; returns the loss."""
    fetched = jax.device_get(pending)
    last = fetched[-1]
    skips = last["skips"]
    values = {
      "loss": np.mean([m["loss"] for m in fetched]),
      "gradient_norm": np.mean([m["gradient_norm"] for m in fetched]),
      "parameter_norm": last["parameter_norm"],
      "learning_rate": self._schedule(done - 1),
      "skipped_steps": skips["total"],
      "wait_s": sum(stream.wait_s for stream in streams.values()),
    }
    sums = jax.tree.map(
      lambda *x: np.sum(x, axis=0), *[m["sums"] for m in fetched]
    )
    values |= validation.bucket_means(sums, "train")
    values |= self._rates.read(done, values["wait_s"])
    self._logger.scalars(done, values)
    told = ("loss", "clips_per_s", "model_tflops_per_s", "share_of_peak")
    return logs.show({k: values[k] for k in told if k in values})

  def _look(self, done: int, state: train_step.State) -> None:
    """Validation and samples, when they are due."""
    config, params = self._config, _average(state)
    every = config.train.validate_every_steps
    if every and (done % every == 0 or done == self._fns.num_steps):
      values = self._validation(params, self._tokenizer[1])
      self._logger.scalars(done, values)
    every = config.log.samples_every_steps
    if every and (done % every == 0 or done == self._fns.num_steps):
      self._draw(done, params)

  def _draw(self, done: int, params: PyTree) -> None:
    """Samples of every group, from the same noise every time."""
    key = validation.stream_key(self._config.seed, "samples")
    keys = jax.random.split(key, self._config.log.num_samples)
    for name, cfg in train_step.groups(self._config).items():
      samples = self._generator(
        params,
        self._tokenizer[1],
        keys,
        train_step.video_shape(cfg),
      )
      clips = hosts.fetch(samples)
      if hosts.is_first():
        self._logger.picture(done, name, draw.clip_sheet(clips))
        _write_samples(self._path / "samples" / f"{name}-{done:08}", clips)


def _write_samples(stem: pathlib.Path, clips: np.ndarray) -> None:
  """Writes clips as one picture, and where they move as an animation, too."""
  stem.parent.mkdir(exist_ok=True)
  clips = draw.enlarge(clips, max(1, SAMPLE_PX // clips.shape[3]))
  media.write_png(stem.with_suffix(".png"), draw.clip_sheet(clips))
  if clips.shape[1] > 1:
    media.write_gif(stem.with_suffix(".gif"), draw.clip_grid(clips), fps=8.0)


def _bar(num_steps: int, done: int) -> contextlib.AbstractContextManager:
  return progress.bar(
    num_steps,
    unit="step",
    label="training",
    done=done,
    quiet=not hosts.is_first(),
  )


def _average(state: train_step.State) -> PyTree:
  """The average with the largest decay; the parameters if there is none."""
  ema = state["ema"]
  return ema[max(ema, key=float)] if ema else state["params"]


def _prepare(config: Config, path: pathlib.Path) -> None:
  workdirs.claim(path, config, SECTIONS)
  tokenizers.make(config, path)


def _open_loaders(
  config: Config,
  sources: validation.Sources,
  path: pathlib.Path,
  stack: contextlib.ExitStack,
) -> dict[str, loader.Loader]:
  return {
    name: stack.enter_context(
      validation.open_loader(
        config, cfg, sources[name], path / f"skipped-{name}.jsonl"
      )
    )
    for name, cfg in train_step.groups(config).items()
  }


def _start(
  config: Config,
  step_fns: train_step.Step,
  saved: checkpoints.Checkpoints,
  loaders: dict[str, loader.Loader],
  meta: dict[str, Any],
) -> tuple[train_step.State, int]:
  """The state to go on from, and the steps it has seen.

  Raises:
    UserError: the classes are not those of the checkpoint.
  """
  if saved.latest_step() is None:
    return step_fns.init(validation.stream_key(config.seed, "init")), 0
  restored = saved.restore(step_fns.state)
  _check_classes(restored.meta, meta)
  for name, batches in loaders.items():
    batches.restore(restored.data_state[name])
  print(f"going on after step {restored.step}")
  return restored.state, restored.step


def _check_classes(old: dict[str, Any], new: dict[str, Any]) -> None:
  """Refuses labels that mean something else than they did before."""
  before, now = old.get("class_names"), new["class_names"]
  if before is not None and list(before) != list(now):
    pairs = zip(before, now, strict=True)  # model.num_classes of both
    i = next(i for i, (was, is_now) in enumerate(pairs) if was != is_now)
    raise errors.UserError(
      f"class {i} of the clips is {now[i]!r}, and was {before[i]!r} when"
      " training stopped; give the classes their old names, or choose another"
      " --workdir"
    )


def _meta(
  config: Config, tokenizer_cfg: Config, step_fns: train_step.Step
) -> dict[str, Any]:
  """What every checkpoint says about itself, as plain JSON."""
  return {
    "config": plain_configs.to_json(config),
    "model": train_step.resolve_model(config, tokenizer_cfg).to_dict(),
    "tokenizer": tokenizer_cfg.to_dict(),
    "versions": versions.collect(
      jax.devices()[0].device_kind, jax.device_count(), jax.process_count()
    ),
    "budget": {
      "steps": step_fns.num_steps,
      "tokens": step_fns.num_steps * step_fns.tokens,
      "flops": step_fns.num_steps * step_fns.flops,
    },
  }


def _announce(
  config: Config, tokenizer_cfg: Config, step_fns: train_step.Step
) -> None:
  if not hosts.is_first():
    return
  model = train_step.resolve_model(config, tokenizer_cfg)
  print(
    f"{config.model.size}: {dit.num_params(model):,} parameters;"
    f" {step_fns.num_steps:,} steps of {step_fns.tokens:,} latent tokens and"
    f" {step_fns.flops / 1e9:,.1f} GFLOPs on {jax.device_count()}"
    f" {jax.devices()[0].device_kind} devices"
  )
