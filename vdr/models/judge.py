"""The judge: a small network whose features say how real samples look.

FID and FVD measure generated pictures with networks that know photographs and
films of people. Of the simulated data set they know little, so that it has a
judge of its own: a convolutional network, trained on the data set's own labels
by the verb `judge`, whose last features before the answers are compared. Two
networks of one design, one for frames (2-D) and one for clips (convolutions
over space and over time in turn). Distances on them are no FID and no FVD, and
say so.

A judge is a config (`configs/fields/judge.py`) and parameters, a nested dict:
for each of `KINDS` the network, and `mean` and `std` of its features on the
clips of training, which bring them to unit scale. All but reading and writing
are pure functions that may be part of a jitted one.
"""

import json
import pathlib
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Shaped

from vdr.models import functional, layers, tokenizer
from vdr.runtime import errors, fingerprint, plain_configs, workdir

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Params = functional.Params
Heads = dict[str, int]  # numbers of each answer, by its name

KINDS = ("frames", "clips")
FILE_NAME = "judge.npz"  # in a work directory
FOLD = 4  # pixels of a side that are folded into channels first
SIDE = 4 * FOLD  # pixels: what height and width are multiples of
GRID = 2  # places, and
PARTS = 3  # times, that features keep apart


class Network(nnx.Module):
  """Convolutions, then features, then an answer for each head.

  Pixels are folded into channels, not convolved at full size, and every
  convolution is one matrix product of shifted copies: on a CPU that is several
  times faster.
  """

  def __init__(
    self, width: int, features: int, heads: Heads, timed: bool, rngs: nnx.Rngs
  ):
    """Makes the parameters.

    Args:
      width: channels of the first level; the second has twice as many.
      features: how many there are.
      heads: numbers that each head answers with.
      timed: convolve over time, too, and keep `PARTS` times apart.
      rngs: what parameters are drawn from.
    """
    wide = 2 * width
    self.timed = timed
    self.enter = _linear(9 * FOLD**2 * 3, width, rngs)
    self.space_1 = _linear(9 * width, width, rngs)
    self.down_1 = _linear(4 * width, wide, rngs)
    self.space_2 = _linear(9 * wide, wide, rngs)
    self.down_2 = _linear(4 * wide, wide, rngs)
    self.time_1 = self.time_2 = self.time_3 = None
    if timed:
      self.time_1 = _linear(3 * wide, wide, rngs)
      self.time_2 = _linear(3 * wide, wide, rngs)
      self.time_3 = _linear(5 * wide, wide, rngs)
    parts = PARTS if timed else 1
    self.features = _linear(2 * wide * GRID**2 * parts, features, rngs)
    self.heads = nnx.Dict(
      {name: _linear(features, size, rngs) for name, size in heads.items()}
    )

  def __call__(
    self, video: Float[Array, "b t h w 3"]
  ) -> tuple[Float[Array, "b d"], dict[str, Float[Array, "b _"]]]:
    """Features, at unit length over √d, and answers.

    Args:
      video: pixels in [-1, 1]; t is 1 unless `timed`.
    """
    x = fold(video, FOLD)
    x = _active(self.enter(in_space(x)))
    x = x + _active(self.space_1(in_space(x)))
    x = _active(self.down_1(fold(x, 2)))
    if self.time_1 is not None:
      x = x + _active(self.time_1(in_time(x, 3)))
    x = x + _active(self.space_2(in_space(x)))
    if self.time_2 is not None:
      x = x + _active(self.time_2(in_time(x, 3)))
    x = _active(self.down_2(fold(x, 2)))
    if self.time_3 is not None:
      x = x + _active(self.time_3(in_time(x, 5)))
    x = pooled(x, PARTS if self.timed else 1)
    x = layers.layer_norm(self.features(x))
    return x, {name: head(x) for name, head in self.heads.items()}


def init(cfg: Config, heads: dict[str, Heads], key: jax.Array) -> Params:
  """New parameters; features count as unit-scale already.

  Args:
    cfg: config.judge.
    heads: of each kind.
    key: what they are drawn from.
  """
  return {
    kind: {
      "network": functional.init(_make(cfg, heads[kind], kind), key),
      "mean": jnp.zeros(cfg.features),
      "std": jnp.ones(cfg.features),
    }
    for kind, key in zip(KINDS, jax.random.split(key, len(KINDS)), strict=True)
  }


def apply(
  cfg: Config, params: Params, kind: str, video: Shaped[Array, "b t h w 3"]
) -> tuple[Float[Array, "b d"], dict[str, Float[Array, "b _"]]]:
  """Features as they come, and the answers of every head.

  Args:
    cfg: config.judge.
    params: of `init`.
    kind: one of `KINDS`.
    video: uint8, or float in [-1, 1]; of frames t is 1.
  """
  found = params[kind]["network"]
  heads = {
    name: head["bias"].shape[0] for name, head in found["heads"].items()
  }
  network = functional.bind(_make(cfg, heads, kind), found)
  return network(tokenizer.to_unit(jnp.asarray(video)))


def features(
  cfg: Config, params: Params, kind: str, video: Shaped[Array, "b t h w 3"]
) -> Float[Array, "b d"]:
  """Features at mean 0 and standard deviation 1 on the clips of training."""
  found, _ = apply(cfg, params, kind, video)
  mean, std = (
    layers.lead(jnp.asarray(params[kind][name]), 2) for name in ("mean", "std")
  )
  return (found - mean) / std


def check_size(height: int, width: int) -> None:
  """Raises UserError for pictures that can't be judged."""
  for name, pixels in (("height", height), ("width", width)):
    if pixels < SIDE or pixels % SIDE:
      raise errors.UserError(
        f"data.sources.*.{name}={pixels}: the judge takes multiples of {SIDE}"
        " pixels"
      )


def fold(x: Float[Array, "b t h w c"], side: int) -> Float[Array, "b t _ _ _"]:
  """Squares of `side` places become one place with all their channels."""
  b, t, h, w, c = x.shape
  x = x.reshape(b, t, h // side, side, w // side, side, c)
  x = x.transpose(0, 1, 2, 4, 3, 5, 6)
  return x.reshape(b, t, h // side, w // side, side * side * c)


def in_space(x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w _"]:
  """The 3 × 3 places around each, zero beyond the edge, as channels."""
  h, w = x.shape[2:4]
  padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
  shifted = [
    padded[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)
  ]
  return jnp.concatenate(shifted, axis=-1)


def in_time(
  x: Float[Array, "b t h w c"], span: int
) -> Float[Array, "b t h w _"]:
  """The `span` frames around each, zero before and after, as channels."""
  t, reach = x.shape[1], span // 2
  padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0), (0, 0), (0, 0)))
  return jnp.concatenate([padded[:, i : i + t] for i in range(span)], axis=-1)


def pooled(x: Float[Array, "b t h w c"], parts: int) -> Float[Array, "b _"]:
  """Means and maxima over `parts` times and `GRID` × `GRID` places."""
  b, t, h, w, c = x.shape
  x = x.reshape(b, t, GRID, h // GRID, GRID, w // GRID, c)
  edges = [i * t // parts for i in range(parts + 1)]
  found = []
  for start, stop in zip(edges, edges[1:], strict=False):
    # A clip shorter than the parts repeats frames rather than leave a hole.
    part = x[:, start : max(stop, start + 1)]
    found += [part.mean(axis=(1, 3, 5)), part.max(axis=(1, 3, 5))]
  return jnp.stack(found, axis=1).reshape(b, -1)


def save(
  path: pathlib.Path, cfg: Config, params: Params, about: dict[str, Any]
) -> None:
  """Writes a judge to one .npz file, whole or not at all.

  Args:
    path: the file.
    cfg: config.judge.
    params: its parameters.
    about: what else the file should say: clip size, held-out scores.
  """
  flat: dict[str, Any] = {
    jax.tree_util.keystr(key, simple=True, separator="/"): np.asarray(value)
    for key, value in jax.tree_util.tree_leaves_with_path(params)
  }
  about = {
    "config": plain_configs.to_json(cfg),
    "hash": fingerprint.of(params),
    **about,
  }
  flat["about"] = np.array(json.dumps(about, sort_keys=True, allow_nan=False))
  with workdir.atomic_path(pathlib.Path(path)) as temporary:
    with temporary.open("wb") as file:
      np.savez(file, **flat)


def load(path: str | pathlib.Path) -> tuple[Config, Params, dict[str, Any]]:
  """Reads what `save` wrote.

  Returns:
    config.judge (locked), the parameters, and what the file says of itself:
    `hash` of the parameters, and what `save` was given.

  Raises:
    UserError: there is no such file, it is no judge, or it is damaged.
  """
  try:
    with zipfile.ZipFile(path):  # np.load would take other files, too
      pass
    with np.load(path, allow_pickle=False) as file:
      flat = {name: file[name] for name in file.files}
    about = json.loads(str(flat.pop("about")))
    cfg = plain_configs.from_json(about["config"])
    expected = about["hash"]
  except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise errors.UserError(
      f"{path} is no judge ({error}); make one with"
      " --config=configs/judge.py, or mend the path"
    ) from error
  params: Params = {}
  for name, value in flat.items():
    *parts, last = name.split("/")
    node = params
    for part in parts:
      node = node.setdefault(part, {})
    node[last] = jnp.asarray(value)
  if fingerprint.of(params) != expected:
    raise errors.UserError(
      f"{path} is damaged: its parameters are not those that were written;"
      " make it again with --config=configs/judge.py"
    )
  return cfg, params, about


def _make(cfg: Config, heads: Heads, kind: str) -> functional.Make[Network]:
  return lambda rngs: Network(
    cfg.width, cfg.features, heads, kind == "clips", rngs
  )


def _linear(ins: int, outs: int, rngs: nnx.Rngs) -> layers.Linear:
  return layers.Linear((ins,), (outs,), rngs)


def _active(x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
  return jax.nn.relu(layers.layer_norm(x))
