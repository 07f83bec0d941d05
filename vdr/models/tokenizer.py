"""Pixels ↔ latents: what every tokenizer does, whichever kind it is.

Latent frame 0 is pixel frame 0, encoded alone, so an image is a clip of one
frame; latent frame k covers pixel frames 4k - 3 … 4k. A tokenizer is a config
(`configs/base.py:tokenizer`) and parameters, a plain nested dict:

* `model`: what the kind needs;
* `statistics`: `mean` and `std` `[2 c]` of the latents' channels, of first
  latent frames in row 0 and of later ones in row 1.

    cfg, params = tokenizer.load(path)
    latents = tokenizer.encode(cfg, params, video).mean
    latents = tokenizer.normalise(params, latents)  # unit scale

Everything but reading, writing and fitting is a pure function that may be part
of a jitted one, with `cfg` closed over.
"""

import json
import pathlib
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from vdr.models import autoencoder, patch_tokenizer
from vdr.runtime import errors, plain_configs, workdir

Array = Any  # np.ndarray or jax.Array
# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Params = dict[str, Any]

TIME = 4  # pixel frames of a later latent frame
KINDS = ("patch", "conv")
FILE_NAME = "tokenizer.npz"  # in a work directory
# A channel that varies less than this (in pixels of [-1, 1], a quarter of what
# rounding to uint8 costs) is noise: blown up to unit scale it would stay that.
MIN_STD = 1e-3
CERTAIN_LOG_STD = -30.0  # of a tokenizer whose latents have no spread


class Posterior(NamedTuple):
  """A normal distribution of latents for each clip.

  Attributes:
    mean: the latents to use unless noise is wanted.
    log_std: natural logarithm of the standard deviation.
  """

  mean: Float[Array, "b tp hp wp c"]
  log_std: Float[Array, "b tp hp wp c"]


def check(cfg: Config) -> None:
  """Raises UserError for a config that is no tokenizer."""
  problem = None
  if cfg.kind not in KINDS:
    problem = (
      f"tokenizer.kind={cfg.kind!r} is unknown; choose from {', '.join(KINDS)}"
    )
  elif cfg.downsample < 1:
    problem = f"tokenizer.downsample={cfg.downsample} must be at least 1"
  elif cfg.channels < 1:
    problem = f"tokenizer.channels={cfg.channels} must be at least 1"
  elif cfg.kind == "patch" and cfg.channels > 3 * cfg.downsample**2:
    problem = (
      f"tokenizer.channels={cfg.channels}, but a patch of"
      f" {cfg.downsample}×{cfg.downsample} pixels has"
      f" {3 * cfg.downsample**2} values; use that many or fewer, or a larger"
      " tokenizer.downsample"
    )
  if problem:
    raise errors.UserError(problem)
  if cfg.kind == "conv":
    autoencoder.Settings.from_config(cfg)  # has checks of its own


def latent_shape(
  cfg: Config, t: int, h: int, w: int
) -> tuple[int, int, int, int]:
  """The shape (t' h' w' c) of the latents of a clip of t × h × w pixels.

  Raises:
    UserError: the tokenizer can't take clips of this size.
  """
  check(cfg)
  if t < 1 or t % TIME != 1:
    near = TIME * max(round((t - 1) / TIME), 0) + 1
    raise errors.UserError(
      f"a clip of {t} frames does not fit the tokenizer, which takes 4k + 1"
      f" (1, 5, 9, …): set num_frames of the source to {near}"
    )
  for name, pixels in (("height", h), ("width", w)):
    if pixels < 1 or pixels % cfg.downsample:
      near = cfg.downsample * max(round(pixels / cfg.downsample), 1)
      raise errors.UserError(
        f"a clip of {name} {pixels} does not fit the tokenizer, whose latents"
        f" are {cfg.downsample} pixels wide: set {name} of the source to"
        f" {near}, or change tokenizer.downsample"
      )
  return (
    1 + (t - 1) // TIME,
    h // cfg.downsample,
    w // cfg.downsample,
    cfg.channels,
  )


def to_unit(video: Shaped[Array, "*b"]) -> Float[Array, "*b"]:
  """Pixels 0 … 255 as float32 in [-1, 1]; floats are taken as they are."""
  if video.dtype == np.uint8:
    return video.astype(np.float32) / np.float32(127.5) - np.float32(1)
  return video


def to_uint8(video: Float[Array, "*b"]) -> Shaped[Array, "*b"]:
  """Pixels in [-1, 1] as 0 … 255; what lies outside is cut off."""
  xp = video.__array_namespace__()
  return xp.round(xp.clip(video * 127.5 + 127.5, 0, 255)).astype(np.uint8)


def init(cfg: Config, key: jax.Array) -> Params:
  """Parameters before any fitting; latents count as unit-scale already."""
  check(cfg)
  if cfg.kind == "patch":
    model = patch_tokenizer.init(cfg.downsample, cfg.channels, key)
  else:
    model = autoencoder.init(cfg, key)
  return {
    "model": model,
    "statistics": {
      "mean": jnp.zeros((2, cfg.channels)),
      "std": jnp.ones((2, cfg.channels)),
    },
  }


def encode(
  cfg: Config,
  params: Params,
  video: Shaped[Array, "b t h w 3"],
  chunk: int = 0,
) -> Posterior:
  """The posterior of the latents of clips.

  Args:
    cfg: the tokenizer's config.
    params: its parameters.
    video: uint8, or float in [-1, 1].
    chunk: latent frames to compute at once, to save memory; 0 for all. The
      result is the same.

  Raises:
    UserError: the tokenizer can't take clips of this size.
  """
  latent_shape(cfg, *video.shape[1:4])
  video = jnp.asarray(video)
  if cfg.kind == "conv":
    # Chunk by chunk: as float32 a long clip has four times its size.
    return Posterior(
      *autoencoder.encode(cfg, params["model"], video, chunk, to_unit)
    )
  video = to_unit(video)
  mean = patch_tokenizer.encode(params["model"], video, cfg.downsample)
  return Posterior(mean, jnp.full_like(mean, CERTAIN_LOG_STD))


def sample(
  posterior: Posterior, key: jax.Array
) -> Float[Array, "b tp hp wp c"]:
  """Latents drawn from their posterior, in its type.

  The draw itself is one of float32. In bfloat16 a normal draw starts from seven
  random bits: it takes 128 values, and none beyond 2.9.
  """
  mean, log_std = (x.astype(jnp.float32) for x in posterior)
  latents = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
  return latents.astype(posterior.mean.dtype)


def decode(
  cfg: Config,
  params: Params,
  latents: Float[Array, "b tp hp wp c"],
  chunk: int = 0,
) -> Float[Array, "b t h w 3"]:
  """Clips from latents (not normalised ones); may leave [-1, 1] a little.

  `chunk` is as for `encode`.
  """
  if cfg.kind == "conv":
    return autoencoder.decode(cfg, params["model"], latents, chunk)
  return patch_tokenizer.decode(params["model"], latents, cfg.downsample)


def normalise(
  params: Params, latents: Float[Array, "b tp hp wp c"]
) -> Float[Array, "b tp hp wp c"]:
  """Latents at mean 0 and standard deviation 1 in every channel."""
  mean, std = _spread(params, latents.shape[1])
  return (latents - mean) / std


def denormalise(
  params: Params, latents: Float[Array, "b tp hp wp c"]
) -> Float[Array, "b tp hp wp c"]:
  """The latents that `normalise` was given."""
  mean, std = _spread(params, latents.shape[1])
  return latents * std + mean


def _spread(
  params: Params, num_frames: int
) -> tuple[Float[Array, "1 tp 1 1 c"], Float[Array, "1 tp 1 1 c"]]:
  """Mean and standard deviation for each latent frame."""
  rows = np.minimum(np.arange(num_frames), 1)  # 0 is first, 1 is later
  statistics = params["statistics"]
  mean, std = (
    jnp.asarray(statistics[name])[rows][None, :, None, None]
    for name in ("mean", "std")
  )
  return mean, std


def with_statistics(
  params: Params,
  mean: Float[Array, "2 c"],
  std: Float[Array, "2 c"],
) -> Params:
  """The same parameters with measured statistics."""
  return {
    "model": params["model"],
    "statistics": {
      "mean": jnp.asarray(mean, jnp.float32),
      "std": jnp.maximum(jnp.asarray(std, jnp.float32), MIN_STD),
    },
  }


def fit_patch(cfg: Config, batches: Iterable[Array]) -> Params:
  """Fits a patch tokenizer, statistics included.

  Args:
    cfg: a config of kind "patch".
    batches: clips [b t h w 3], uint8 or float in [-1, 1]; some hundred clips
      are enough, and all of them are seen once.

  Raises:
    UserError: the clips don't fit the tokenizer, or there are none.
  """

  def checked() -> Iterator[np.ndarray]:
    for video in batches:
      latent_shape(cfg, *video.shape[1:4])
      yield to_unit(np.asarray(video))

  model, std = patch_tokenizer.fit(checked(), cfg.downsample, cfg.channels)
  return with_statistics(
    {"model": model}, np.zeros_like(std, np.float32), std.astype(np.float32)
  )


def save(path: pathlib.Path, cfg: Config, params: Params) -> None:
  """Writes config and parameters to one .npz file, whole or not at all."""
  flat: dict[str, Any] = {
    jax.tree_util.keystr(key, simple=True, separator="/"): np.asarray(value)
    for key, value in jax.tree_util.tree_leaves_with_path(params)
  }
  flat["config"] = np.array(json.dumps(cfg.to_dict(), sort_keys=True))
  with workdir.atomic_path(pathlib.Path(path)) as temporary:
    with temporary.open("wb") as file:
      np.savez(file, **flat)


def load(path: pathlib.Path) -> tuple[Config, Params]:
  """Reads what `save` wrote: the config (locked) and the parameters.

  Raises:
    UserError: there is no such file, or it is none of `save`.
  """
  try:
    with zipfile.ZipFile(path):  # np.load would take other files, too
      pass
    with np.load(path, allow_pickle=False) as file:
      flat = {name: file[name] for name in file.files}
    cfg = json.loads(str(flat.pop("config")))
  except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise errors.UserError(
      f"{path} is no tokenizer ({error}); make one with"
      " --config=configs/tokenizer.py, or mend the path"
    ) from error
  params: Params = {}
  for name, value in flat.items():
    *parts, last = name.split("/")
    node = params
    for part in parts:
      node = node.setdefault(part, {})
    node[last] = jnp.asarray(value)
  return plain_configs.from_json(cfg, path, "tokenizer"), params
