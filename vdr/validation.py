"""Losses on held-out clips, and the reading that training shares with it."""

import contextlib
import logging
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from vdr import train_step
from vdr.data import held_out, loader, numbering, prefetch
from vdr.data import source as source_lib
from vdr.runtime import errors, hosts, processes, progress
from vdr.runtime import mesh as mesh_lib

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any
Sources = dict[str, dict[str, source_lib.Source]]  # by group and name

# Named random streams of config.seed.
STREAMS = ("init", "steps", "validation", "samples")


class Validation:
  """Losses on held-out clips, with the same noise every time."""

  def __init__(
    self, config: Config, mesh: jax.sharding.Mesh, step_fns: train_step.Step
  ):
    self._config, self._mesh, self._fns = config, mesh, step_fns
    self._batches: list[dict] | None = None

  def __call__(self, params: PyTree, tokenizer_params: PyTree) -> dict:
    key = stream_key(self._config.seed, "validation")
    if self._batches is None:
      self._batches = list(self._read())
    sums = [
      self._fns.evaluate(
        params, tokenizer_params, batch, jax.random.fold_in(key, i)
      )
      for i, batch in enumerate(self._batches)
    ]
    total = jax.tree.map(lambda *x: np.sum(x, axis=0), *jax.device_get(sums))
    return bucket_means(total, "validation")

  def _read(self) -> Iterator[dict]:
    """The held-out batches; few, and kept on the device."""
    config = self._config
    cfgs = {
      name: held_out.of_split(cfg, config.train.validation_split)
      for name, cfg in train_step.groups(config).items()
    }
    sources = open_sources(config, cfgs)
    streams = {
      name: open_loader(config, cfg, sources[name])
      for name, cfg in cfgs.items()
    }
    sharding = mesh_lib.batch_sharding(self._mesh)
    with contextlib.ExitStack() as stack:
      fetched = {
        name: stack.enter_context(prefetch.prefetch_to_device(s, sharding))
        for name, s in streams.items()
      }
      for stream in streams.values():
        stack.callback(stream.close)
      num = self._num_batches(streams)
      bar = progress.bar(
        num, unit="step", label="validation", quiet=not hosts.is_first()
      )
      advance = stack.enter_context(bar).advance
      for i in range(num):
        batch = {
          name: step_fields(config, next(s)) for name, s in fetched.items()
        }
        if i == 0:
          size = sum(x.nbytes for x in jax.tree.leaves(batch))
          processes.check_memory(
            num * size, f"train.validation_batches={num}, kept,", "use fewer"
          )
        yield batch
        advance()

  def _num_batches(self, streams: dict[str, loader.Loader]) -> int:
    """Those asked for, but no more than read the split once."""
    cfg = self._config
    there = min(
      math.ceil(stream.num_clips / cfg[train_step.GROUPS[name]].batch_size)
      for name, stream in streams.items()
    )
    if there < cfg.train.validation_batches:
      logging.warning(
        "validation reads %d batches, all that split %r has;"
        " train.validation_batches=%d",
        there,
        cfg.train.validation_split,
        cfg.train.validation_batches,
      )
    return min(there, cfg.train.validation_batches)


def check(config: Config) -> None:
  """Refuses a config whose validation would see clips of training.

  Raises:
    UserError: it would, or there are no such clips.
  """
  cfgs, split = (
    train_step.groups(config).values(),
    config.train.validation_split,
  )
  if config.train.validate_every_steps:
    held_out.check(
      {
        "the clips of training": list(cfgs),
        f"train.validation_split={split}": [
          held_out.of_split(cfg, split) for cfg in cfgs
        ],
      }
    )


def open_sources(config: Config, groups: Mapping[str, Config]) -> Sources:
  """The sources of all groups, which number their classes alike.

  Raises:
    UserError: they can't be opened, or model.num_classes is another number.
  """
  places = {
    (group, name): f"{train_step.GROUPS[group]}.sources.{name}"
    for group, cfg in groups.items()
    for name, source in cfg.sources.items()
    if source.weight > 0
  }
  united = numbering.unite(
    {
      place: source_lib.open_source(groups[group].sources[name])
      for (group, name), place in places.items()
    }
  )
  opened: Sources = {group: {} for group in groups}
  for (group, name), place in places.items():
    opened[group][name] = united[place]
  names, count = class_names(config, opened), config.model.num_classes
  if count != len(names):
    shown = f" ({', '.join(names[:3])}, …)" if names else ""
    raise errors.UserError(
      f"model.num_classes={count}, but the clips have {len(names)} classes of"
      f" train.label={config.train.label!r}{shown}; set it to {len(names)}"
    )
  return opened


def class_names(config: Config, sources: Sources) -> list[str]:
  """Names of the classes that the model is told; none if it has no classes."""
  label = config.train.label
  if not config.model.num_classes:
    return []
  known = (
    source.class_names.get(label, ())
    for group in sources.values()
    for source in group.values()
  )
  return list(max(known, key=len, default=()))


def bucket_means(sums: dict[str, np.ndarray], prefix: str) -> dict[str, float]:
  """Mean errors of each group, over all noise levels and in each bucket.

  Args:
    sums: of `train_step`: `GROUP_error` and `GROUP_count`, `[buckets]`.
    prefix: of the names.

  Returns:
    `PREFIX/GROUP` and `PREFIX/GROUP_noise_LOW_HIGH`; a bucket without an
    example is left out.
  """
  means = {}
  for name in train_step.GROUPS:
    if f"{name}_count" not in sums:
      continue
    error, count = sums[f"{name}_error"], sums[f"{name}_count"]
    if count.sum() == 0:
      continue
    means[f"{prefix}/{name}"] = float(error.sum() / count.sum())
    edges = np.linspace(0, 1, len(count) + 1)
    for low, high, e, c in zip(edges, edges[1:], error, count, strict=False):
      if c:
        means[f"{prefix}/{name}_noise_{low:.1f}_{high:.1f}"] = float(e / c)
  return means


def open_loader(
  config: Config,
  cfg: Config,
  sources: Mapping[str, source_lib.Source],
  failures_path: pathlib.Path | None = None,
) -> loader.Loader:
  """This host's rows of a loader's batches."""
  return loader.Loader(
    cfg,
    seed=config.seed,
    num_workers=config.runtime.num_workers,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    sources=sources,
    failures_path=failures_path,
  )


def step_fields(
  config: Config, batch: prefetch.DeviceBatch
) -> dict[str, jax.Array]:
  """What a step reads of a batch; the class is `label`, whatever it was."""
  known = ("video", "latents", "clip_valid", "text", "text_mask")
  found = {name: batch.arrays[name] for name in known if name in batch.arrays}
  if config.model.num_classes:
    found["label"] = batch.arrays[config.train.label]
  return found


def stream_key(seed: int, name: str) -> jax.Array:
  """The key of a named random stream."""
  return jax.random.fold_in(jax.random.key(seed), STREAMS.index(name))
