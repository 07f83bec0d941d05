"""The `generation` verb: how good a checkpoint's samples are.

n samples are drawn, brought to whole grey levels, and compared with n held-out
clips by distances of features: Fréchet, and kernel (squared MMD). Beside each
distance stands its floor, that of n more held-out clips: no model is better,
and two scores of different n can't be compared. Clips are compared as clips,
and one frame of each (of sample i frame i mod t) as pictures; an image model
has frames alone.

A work directory gets `generation.json`, which `generation.schema.json`
describes, `samples.png`, and for clips `samples.gif`. Sample i is that of the
verb `sample`; neither it nor a score depends on how many are drawn at a time
(within rounding). A killed run begins again.
"""

import os
import pathlib
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from vdr import draw, generation, judges, media, page, tokenizers, trained
from vdr.data import held_out
from vdr.features import videos
from vdr.metrics import distribution
from vdr.models import dit, judge, tokenizer
from vdr.runtime import (
  errors,
  hosts,
  made_of,
  plain_configs,
  progress,
  schemas,
  versions,
)

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Clips = UInt8[np.ndarray, "b t h w 3"]
Features = Float[np.ndarray, "n d"]

SECTIONS = ("generation", "sampler", "checkpoint", "data")  # they decide
NAME, SHEET_NAME, GIF_NAME = "generation.json", "samples.png", "samples.gif"
SCHEMA = schemas.Schema(
  pathlib.Path(__file__).with_name("generation.schema.json"), "generation"
)
SUBSETS, SUBSET_SIZE = 100, 1000  # of the kernel distance, as KID has them
WIDE_PX, SHEET_FRAMES = 96, 6  # of a picture in the sheet; and how many


class Drawn(NamedTuple):
  """Features of a set of clips, by kind of network, and the first clips."""

  features: dict[str, Features]
  first: list[np.ndarray]


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Draws the samples and measures them.

  Raises:
    UserError: the config can't be carried out.
  """
  cfg, start = config.generation, time.perf_counter()
  _check(config)
  model = trained.load(config.checkpoint, cfg.which, cfg.step or None)
  is_image = model.model.spatiotemporal_blocks == "spatial"
  shape = _shape(config, model, is_image)
  data = held_out.of_split(config.data, cfg.split)
  held_out.check_unseen(model.config, f"generation.split={cfg.split}", data)
  networks = judges.open_networks(config, is_image)
  path = pathlib.Path(workdir).expanduser()
  hosts.first_does(lambda: _prepare(config, path, model, networks))
  if (path / NAME).exists():
    read(path)
    print(f"{path}: the samples are measured")
    return
  measured = _Measured(config, networks)
  real, more = _real(config, measured)
  made = measured.of(
    _samples(config, model, shape),
    cfg.num,
    "drawing",
    weight=config.sampler.num_steps,
  )
  scores = distances(real.features, more.features, made.features, config.seed)
  result = {
    "schema_version": 1,
    "model": {
      "kind": "image" if is_image else "video",
      "hash": model.meta["hash"],
      "step": model.meta["step"],
    },
    "n": cfg.num,
    "seed": config.seed,
    "sampler": plain_configs.to_json(config.sampler),
    "seconds": 0.0,
    "networks": {
      kind: {"name": x.name, "note": x.note, "hash": x.hash}
      for kind, x in networks.items()
    },
    **scores,
    "pictures": [],
    "config": plain_configs.to_json(config),
    "versions": versions.collect(
      jax.devices()[0].device_kind, jax.device_count(), jax.process_count()
    ),
  }
  hosts.first_does(
    lambda: _write(config, path, result, made.first, real.first, start)
  )


def _prepare(
  config: Config,
  path: pathlib.Path,
  model: trained.Trained,
  networks: dict[str, judges.Network],
) -> None:
  parts = {
    f"network for {kind}": {"hash": network.hash}
    for kind, network in networks.items()
  }
  made_of.claim(path, config, SECTIONS, model.made_of | parts)


def _check(config: Config) -> None:
  cfg = config.generation
  if cfg.num_drawn > cfg.num:
    raise errors.UserError(
      f"generation.num_drawn={cfg.num_drawn}: use 1 to generation.num"
    )


def _shape(
  config: Config, model: trained.Trained, is_image: bool
) -> tuple[int, int, int]:
  """Frames, height and width of samples: those of training.

  Raises:
    UserError: the held-out clips have others.
  """
  seen = videos.training_source(model.config)
  for name, source in config.data.sources.items():
    for side in ("num_frames", "height", "width")[is_image:]:
      if source[side] != seen[side]:
        raise errors.UserError(
          f"data.sources.{name}.{side}={source[side]}, but the model was"
          f" trained on {seen[side]}; set it to that"
        )
  return 1 if is_image else seen.num_frames, seen.height, seen.width


class _Measured:
  """Turns clips into features, a fixed number at a time."""

  def __init__(self, config: Config, networks: dict[str, judges.Network]):
    self._cfg, self._networks = config.generation, networks
    # Real clips twice, and those that are drawn in many steps.
    self._parts = progress.Parts(2 + config.sampler.num_steps)

  def of(
    self, batches: Iterable[Clips], num: int, label: str, weight: int = 1
  ) -> Drawn:
    """The features of `num` clips, all that there are, in their order."""
    label = self._parts.label(label, weight)
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in self._networks}
    first: list[np.ndarray] = []
    quiet = not hosts.is_first()
    with progress.bar(num, unit="clip", label=label, quiet=quiet) as bar:
      for clips in batches:
        first += list(clips[: max(self._cfg.num_drawn - len(first), 0)])
        for kind, network in self._networks.items():
          shown = clips if kind == "clips" else _frames(clips, bar.done)
          found[kind].append(self._features(network, shown))
        bar.advance(len(clips))
    return Drawn({kind: np.concatenate(x) for kind, x in found.items()}, first)

  def _features(self, network: judges.Network, clips: Clips) -> Features:
    """The last batch is filled up: one shape, one compilation."""
    size = self._cfg.batch_size
    parts = []
    for start in range(0, len(clips), size):
      part = clips[start : start + size]
      missing = [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1)
      filled = np.pad(part, missing, "edge")
      parts.append(np.asarray(network.features(filled))[: len(part)])
    return np.concatenate(parts).astype(np.float64)


def _frames(clips: Clips, start: int) -> UInt8[np.ndarray, "b 1 h w 3"]:
  """One frame of each: of clip number i frame i mod t."""
  b, t = clips.shape[:2]
  return clips[np.arange(b), (start + np.arange(b)) % t][:, None]


def _real(config: Config, measured: _Measured) -> tuple[Drawn, Drawn]:
  """Two sets of held-out clips, no video and no group in both.

  Raises:
    UserError: there are not enough.
  """
  cfg = config.generation
  with tokenizers.open_loader(
    config,
    split=cfg.split,
    # Folders list class by class; a draw from all is like any other.
    shuffle=True,
    num_epochs=1,
    batch_size=cfg.batch_size,
  ) as batches:
    if batches.num_clips < 2 * cfg.num:
      raise errors.UserError(
        f"generation.num={cfg.num}, but split {cfg.split!r} has"
        f" {batches.num_clips} clips and twice as many are needed: half of them"
        f" are for the floor; set it to {batches.num_clips // 2} or less"
      )
    sets = held_out.two_sets(batches, cfg.num)
  if min(map(len, sets)) < cfg.num:
    raise errors.UserError(
      f"fewer than {2 * cfg.num} clips of split {cfg.split!r} can be read, for"
      f" two sets without a common video or group: {len(sets[0])} and"
      f" {len(sets[1])}; add clips, or set generation.num lower"
    )
  real, more = (
    measured.of([np.stack(clips)], cfg.num, label)
    for label, clips in zip(("real", "more real"), sets, strict=True)
  )
  return real, more


def _samples(
  config: Config, model: trained.Trained, shape: tuple[int, int, int]
) -> Iterator[Clips]:
  """The samples, batch by batch; of classes one after the other."""
  cfg = config.generation
  generator = generation.Generator(
    model.model, model.config.diffusion, config.sampler, model.tokenizer
  )
  tokenizer.latent_shape(model.tokenizer, *shape)
  params = dit.rounded(model.model, model.params)
  root, num_classes = jax.random.key(config.seed), model.model.num_classes
  for start in range(0, cfg.num, cfg.batch_size):
    index = np.arange(start, start + cfg.batch_size)
    labels = None
    if num_classes:
      labels = jnp.asarray(index % num_classes, jnp.int32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(root, index)
    batch = generator(params, model.tokenizer_params, keys, shape, labels)
    yield np.asarray(batch)[: cfg.num - start]


def distances(
  real: dict[str, Features],
  more: dict[str, Features],
  made: dict[str, Features],
  seed: int,
) -> dict[str, dict[str, dict[str, float] | None]]:
  """Both distances of samples and their floors, by what was compared.

  Args:
    real: features of held-out clips, by kind of network.
    more: of as many other ones.
    made: of as many samples.
    seed: of the kernel distance's subsets.
  """
  found: dict[str, dict] = {"frechet": {}, "kernel": {}}
  for kind in judge.KINDS:
    if kind not in real:
      found["frechet"][kind] = found["kernel"][kind] = None
      continue
    sets = {"value": made[kind], "floor": more[kind]}
    found["frechet"][kind] = {
      name: distribution.frechet_distance(real[kind], other)
      for name, other in sets.items()
    }
    found["kernel"][kind] = {
      name: _kernel(real[kind], other, seed) for name, other in sets.items()
    }
  return found


def _kernel(real: Features, other: Features, seed: int) -> float:
  # Subsets of all of a small set would be the same hundred times.
  if len(real) <= SUBSET_SIZE:
    return distribution.squared_mmd(real, other)
  rng = np.random.default_rng(seed)
  spread = distribution.kernel_distance(real, other, rng, SUBSETS, SUBSET_SIZE)
  return spread.mean


def _write(
  config: Config,
  path: pathlib.Path,
  result: dict[str, Any],
  made: list[np.ndarray],
  real: list[np.ndarray],
  start: float,
) -> None:
  """Pictures first, `generation.json` last: where it is, all of it is."""
  is_image = result["model"]["kind"] == "image"
  media.write_png(path / SHEET_NAME, _sheet(made, real, is_image))
  what = "images" if is_image else "clips"
  result["pictures"] = [
    {
      "file": SHEET_NAME,
      "title": f"Generated and real {what}",
      "caption": f"The first {len(made)} of {result['n']} samples, none chosen,"
      f" and held-out {what} of the data set.",
    }
  ]
  if not is_image:
    media.write_gif(path / GIF_NAME, _moving(made, real), config.generation.fps)
    result["pictures"].append(
      {
        "file": GIF_NAME,
        "title": "Generated and real clips",
        "caption": "The same clips, generated above and real below.",
      }
    )
  result["seconds"] = round(time.perf_counter() - start, 1)
  SCHEMA.write(path / NAME, result)
  for name in ("frechet", "kernel"):
    said = ", ".join(
      f"{kind} {score['value']:.4g} (floor {score['floor']:.4g})"
      for kind, score in result[name].items()
      if score
    )
    print(f"{name} distance, n = {result['n']}: {said}")


def read(folder: pathlib.Path) -> dict[str, Any]:
  """What the verb wrote, checked.

  Raises:
    UserError: there is nothing, or it is not what the schema describes.
  """
  return SCHEMA.read(folder / NAME)


def _sheet(
  made: list[np.ndarray], real: list[np.ndarray], is_image: bool
) -> UInt8[np.ndarray, "y x 3"]:
  """Generated clips, then real ones, a row each; of images two rows in all."""
  sets = {"generated": _large(made), "real": _large(real)}
  if is_image:
    rows = [[clip[0] for clip in clips] for clips in sets.values()]
    names, columns = list(sets), [""] * len(made)
  else:
    t = made[0].shape[0]
    spread = np.linspace(0, t - 1, min(t, SHEET_FRAMES)).round().astype(int)
    rows = [list(clip[spread]) for clips in sets.values() for clip in clips]
    names = [name for name, clips in sets.items() for _ in clips]
    columns = [f"frame {k}" for k in spread]
  headings = [page.text_block(90, [(name, 14.0, page.INK)]) for name in names]
  return page.contact_sheet(rows, headings, columns, 4)


def _moving(
  made: list[np.ndarray], real: list[np.ndarray]
) -> UInt8[np.ndarray, "t y x 3"]:
  """Generated clips in one row, real ones in the next."""
  rows = []
  for name, clips in (("generated", made), ("real", real)):
    heading = page.text_block(90, [(name, 14.0, page.INK)])
    rows.append([heading, *_large(clips)])
  return page.grid(rows, 4)


def _large(clips: list[np.ndarray]) -> list[np.ndarray]:
  scale = -(-WIDE_PX // clips[0].shape[-2])
  return [draw.enlarge(clip, scale) for clip in clips]
