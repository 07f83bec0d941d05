"""The `latents` verb: encodes the clips of `config.data` once.

A work directory gets shards of latents, posterior mean and standard deviation
of each clip and, if asked for, of each frame by itself; `latents.json`; and the
tokenizer. Sources of kind `latents` read it. The unit of work is a shard,
written atomically; several hosts take turns.
"""

import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from array_record.python import array_record_module

from vdr import tokenizers
from vdr.data import held_out, loader, prefetch, schema
from vdr.data import latents as store
from vdr.models import tokenizer
from vdr.runtime import errors, fingerprint, hosts, progress
from vdr.runtime import workdir as workdirs

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Params = dict[str, Any]
Encode = Callable[[jax.Array], dict[str, jax.Array]]

SECTIONS = ("data", "tokenizer", "latents")  # of the config: they decide


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Encodes what is not there yet.

  Raises:
    UserError: the config can't be carried out.
  """
  config = _deterministic(config)
  cfg = tokenizers.config_of(config)
  path = pathlib.Path(workdir).expanduser()
  held_out.check(
    {
      f"latents.splits={split}": [held_out.of_split(config.data, split)]
      for split in config.latents.splits
    }
  )
  hosts.first_does(lambda: _prepare(config, path))
  params = tokenizers.read(config, path)
  encode = _encoder(cfg, params, config.latents.frames)
  lengths, about = {}, {}
  for split in config.latents.splits:
    with _open(config, split) as batches:
      lengths[split] = _encode_split(config, path, split, batches, encode)
      hosts.first_does(
        lambda split=split, batches=batches: _write_items(
          path / store.items_name(split), batches, sum(lengths[split])
        )
      )
      about = _describe(config, cfg, batches)
  about |= {"tokenizer": fingerprint.of(params), "shard_lengths": lengths}
  text = json.dumps(about, indent=2) + "\n"
  hosts.first_does(
    lambda: workdirs.write_text(path / store.METADATA_NAME, text)
  )
  if hosts.is_first():
    size = sum(f.stat().st_size for f in path.glob("latents-*"))
    count = sum(map(sum, lengths.values()))
    print(f"{path}: {count} clips, {size / max(count, 1) / 1e3:.1f} KB a clip")


def _deterministic(config: Config) -> Config:
  """The config with every clip read once, always the same way."""
  config = config.copy_and_resolve_references()
  with config.unlocked():
    for name, source in config.data.sources.items():
      if source.crop == "random" or source.flip:
        raise errors.UserError(
          f"data.sources.{name} crops or mirrors at random, and latents are"
          " made once; set crop=center and flip=False"
        )
      if source.kind == "latents":
        raise errors.UserError(
          f"data.sources.{name}.kind=latents: these clips are encoded already"
        )
      if source.sampling == "random":
        source.sampling = "middle"
  size, batch = config.latents.clips_per_shard, config.data.batch_size
  if batch < 1 or size < 1 or size % batch:
    raise errors.UserError(
      f"latents.clips_per_shard={size} must be a multiple of"
      f" data.batch_size={batch}"
    )
  if len(config.data.sources) > 1:
    raise errors.UserError(
      f"data.sources has {', '.join(config.data.sources)}: encode one source"
      " at a time, and mix the latents where they are read"
    )
  return config


def _prepare(config: Config, path: pathlib.Path) -> None:
  workdirs.claim(path, config, SECTIONS)
  workdirs.remove_leftovers(path)
  tokenizers.make(config, path)


def _open(config: Config, split: str) -> loader.Loader:
  """Every clip of a split in order, with its labels."""
  cfg = held_out.of_split(config.data, split, shuffle=False, num_epochs=1)
  with cfg.unlocked():
    for source in cfg.sources.values():
      source.fields = (*source.fields, "frame_times_s")
  return loader.Loader(
    cfg, seed=config.seed, num_workers=config.runtime.num_workers
  )


def _encoder(cfg: Config, params: Params, frames: bool) -> Encode:
  """The jitted function from pixels to what is stored of them."""

  def both(name: str, video: jax.Array) -> dict[str, jax.Array]:
    posterior = tokenizer.encode(cfg, params, video)
    return {name: posterior.mean, f"{name}_std": jnp.exp(posterior.log_std)}

  def encode(video: jax.Array) -> dict[str, jax.Array]:
    found = both(store.CLIP, video)
    if frames and video.shape[1] > 1:
      b, t = video.shape[:2]
      alone = both(store.FRAMES, video.reshape(b * t, 1, *video.shape[2:]))
      found |= {
        name: x.reshape(b, t, *x.shape[2:]) for name, x in alone.items()
      }
    return found

  return jax.jit(encode)


def _encode_split(
  config: Config,
  path: pathlib.Path,
  split: str,
  batches: loader.Loader,
  encode: Encode,
) -> list[int]:
  """Writes this host's missing shards; returns the lengths of all."""
  size = config.latents.clips_per_shard
  num_clips = min(
    batches.num_clips, config.latents.max_clips or batches.num_clips
  )
  starts = range(0, num_clips, size)
  lengths = [min(size, num_clips - start) for start in starts]
  files = [
    path / store.shard_name(split, i, len(lengths)) for i in range(len(lengths))
  ]
  mine = range(jax.process_index(), len(files), jax.process_count())
  missing = [i for i in mine if not files[i].exists()]
  with progress.bar(
    sum(lengths[i] for i in mine),
    unit="clip",
    label=split,
    done=sum(lengths[i] for i in mine if i not in missing),
    quiet=not hosts.is_first(),
  ) as bar:
    for i in missing:
      batches.restore({"position": starts[i] // config.data.batch_size})
      records = _records(batches, lengths[i], encode)
      with workdirs.atomic_path(files[i]) as temporary:
        writer = array_record_module.ArrayRecordWriter(
          str(temporary), "group_size:1,zstd:1"
        )
        for record in records:
          writer.write(record)
          bar.advance(1)
        writer.close()
  return lengths


def _records(
  batches: loader.Loader, count: int, encode: Encode
) -> Iterator[bytes]:
  """The records of the next `count` clips."""
  left = count
  with prefetch.prefetch_to_device(_upto(batches, count)) as ready:
    for batch in ready:
      arrays = {
        name: np.asarray(x)
        for name, x in (encode(batch.arrays["video"]) | batch.arrays).items()
        if name != "video"
      }
      rows = len(arrays["clip_valid"])
      for row in range(min(rows, left)):
        if arrays["clip_valid"][row]:
          kept = {k: x[row] for k, x in arrays.items() if k in STORED}
        else:
          kept = {"error": batch.texts["error"][row]}
        yield store.encode(kept | {"clip_id": batch.texts["clip_id"][row]})
      left -= rows


STORED = (
  store.CLIP,
  f"{store.CLIP}_std",
  store.FRAMES,
  f"{store.FRAMES}_std",
  "frame_times_s",
  *store.LABELS,
)


def _upto(batches: loader.Loader, count: int) -> Iterator[dict]:
  """Batches of `count` clips, the last one filled up."""
  for batch in batches:
    if "frame_times_s" not in batch:  # images and the like: frames in order
      times_s = np.arange(batch["video"].shape[1], dtype=np.float32)
      batch["frame_times_s"] = np.tile(times_s, (len(batch["video"]), 1))
    yield batch
    count -= len(batch["video"])
    if count <= 0:
      return


def _write_items(
  file: pathlib.Path, batches: loader.Loader, count: int
) -> None:
  """Which video and group each item is of."""
  (opened,) = batches.sources.values()
  items = range(count)
  videos = np.array([opened.video_of(i) for i in items])
  groups = np.array([opened.group_of(i) for i in items])
  with workdirs.atomic_path(file) as temporary, temporary.open("wb") as out:
    np.savez_compressed(out, videos=videos, groups=groups)


def _describe(
  config: Config, cfg: Config, batches: loader.Loader
) -> dict[str, Any]:
  """What `latents.json` says of the clips."""
  (source,) = config.data.sources.values()
  (opened,) = batches.sources.values()
  t, h, w = source.num_frames, source.height, source.width
  shapes: dict[str, tuple] = {store.CLIP: tokenizer.latent_shape(cfg, t, h, w)}
  if config.latents.frames and t > 1:
    _, *frame = tokenizer.latent_shape(cfg, 1, h, w)
    shapes[store.FRAMES] = (t, *frame)
  return {
    "num_frames": t,
    "height": h,
    "width": w,
    "shapes": shapes,
    "labels": [
      n for n in schema.resolve_fields(source.fields) if n in store.LABELS
    ],
    "class_names": opened.class_names,
  }
