"""The judge: a small network whose features say how real samples look.

FID and FVD measure generated pictures with networks that know photographs and
films of people. Of the simulated data set they know little, so that it has a
judge of its own: a convolutional network, trained on the data set's own labels
by the verb `judge`, whose last features before the answers are compared. It is
two networks of one design, one for frames (2-D) and one for clips (patches of
several frames, convolutions over space and then over time). Distances on them
are no FID and no FVD, and say so.

A judge is a config (`configs/fields/judge.py`) and parameters, a nested dict:
for each of `KINDS` the network, and `mean` and `std` of its features on the
clips of training, which bring them to unit scale. All but reading and writing
are pure functions that may be part of a jitted one.
"""

import functools
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
Questions = dict[str, int]  # numbers of each answer, by name

KINDS = ("frames", "clips")
FILE_NAME = "judge.npz"  # in a work directory
SIDE = 4  # pixels of a patch's side
TIME = 4  # frames of a patch of the network of clips
GAIN = 4.0  # of how a patch's frames differ: little, next to what they share
HEADS = 8  # of attention
SPREAD = 0.02  # of places and times, at first


class Network(nnx.Module):
  """Convolutions of patches, attention, features, an answer for each question.

  Patches and not pixels are convolved, which a CPU does several times faster.
  Attention gathers what was found where; from means over places and times
  motion is learned far slower.
  """

  def __init__(
    self,
    width: int,
    features: int,
    questions: Questions,
    grid: tuple[int, int, int],
    depth: int,
    rngs: nnx.Rngs,
  ):
    """Makes the parameters.

    Args:
      width: channels.
      features: how many there are, a multiple of `HEADS`.
      questions: numbers that each is answered with.
      grid: patches of time, rows and columns.
      depth: frames of a patch; of several also how they differ.
      rngs: what parameters are drawn from.
    """
    self.depth = depth
    self.grid = grid
    folds = depth + 1 if depth > 1 else 1
    self.enter = _linear(folds * SIDE**2 * 3, width, rngs)
    self.space = layers.Linear((3, 3, width), (width,), rngs)
    self.time = _linear(3 * width, width, rngs) if depth > 1 else None
    self.places = nnx.Param(_small(rngs, grid[1] * grid[2], width))
    self.times = nnx.Param(_small(rngs, grid[0], width))
    self.up = _linear(width, 2 * width, rngs)
    self.down = _linear(2 * width, width, rngs)
    self.keys = _linear(width, features, rngs)
    self.values = _linear(width, features, rngs)
    # Not tiny: places that matter are told apart from the first step.
    self.query = nnx.Param(_small(rngs, HEADS, features // HEADS) * 10)
    self.wide = _linear(features, 4 * features, rngs)
    self.narrow = _linear(4 * features, features, rngs)
    self.features = _linear(features, features, rngs)
    self.answers = nnx.Dict(
      {name: _linear(features, size, rngs) for name, size in questions.items()}
    )

  def __call__(
    self, video: Float[Array, "b t h w 3"]
  ) -> tuple[Float[Array, "b d"], dict[str, Float[Array, "b _"]]]:
    """Features, of mean 0 and variance 1 in each clip, and answers.

    Args:
      video: pixels in [-1, 1].
    """
    x = patches(video, self.depth)
    x = layers.layer_norm(self.enter(x))
    x = x + layers.layer_norm(in_space(self.space, jax.nn.relu(x)))
    if self.time is not None:
      x = x + layers.layer_norm(self.time(in_time(jax.nn.relu(x))))
    b, t, h, w, c = x.shape
    x = x.reshape(b, t, h * w, c)
    x = x + self.places[...][None, None] + self.times[...][None, :, None]
    x = x + self.down(jax.nn.gelu(self.up(layers.layer_norm(x))))
    x = self._gather(layers.layer_norm(x).reshape(b, t * h * w, c))
    x = x + self.narrow(jax.nn.gelu(self.wide(layers.layer_norm(x))))
    x = layers.layer_norm(self.features(layers.layer_norm(x)))
    return x, {name: answer(x) for name, answer in self.answers.items()}

  def _gather(self, x: Float[Array, "b n c"]) -> Float[Array, "b d"]:
    """Attention of learned queries to all patches."""
    b, n = x.shape[:2]
    keys = self.keys(x).reshape(b, n, HEADS, -1)
    values = self.values(x).reshape(b, n, HEADS, -1)
    scores = jnp.einsum("bnhd,hd->bhn", keys, self.query[...])
    found = jnp.einsum("bhn,bnhd->bhd", jax.nn.softmax(scores), values)
    return found.reshape(b, -1)


def init(
  cfg: Config,
  questions: dict[str, Questions],
  shape: tuple[int, int, int],
  key: jax.Array,
) -> Params:
  """New parameters; features count as unit-scale already.

  Args:
    cfg: config.judge.
    questions: of each kind.
    shape: frames, height and width of clips.
    key: what they are drawn from.

  Raises:
    UserError: such clips can't be judged.
  """
  t, h, w = shape
  for name, pixels in (("height", h), ("width", w)):
    if pixels < SIDE or pixels % SIDE:
      raise errors.UserError(
        f"data.sources.*.{name}={pixels}: the judge takes multiples of {SIDE}"
        " pixels"
      )
  if cfg.features < 1 or cfg.features % HEADS:
    raise errors.UserError(
      f"judge.features={cfg.features}: use a multiple of {HEADS}"
    )
  params = {}
  for i, kind in enumerate(KINDS):
    grid = -(-t // TIME) if kind == "clips" else 1, h // SIDE, w // SIDE
    make = _make(cfg, questions[kind], grid, kind)
    new = jax.jit(functools.partial(functional.init, make))
    params[kind] = {
      "network": new(jax.random.fold_in(key, i)),
      "mean": jnp.zeros(cfg.features),
      "std": jnp.ones(cfg.features),
    }
  return params


def apply(
  cfg: Config, params: Params, kind: str, video: Shaped[Any, "b t h w 3"]
) -> tuple[Float[Array, "b d"], dict[str, Float[Array, "b _"]]]:
  """Features as they come, and the answers to every question.

  Args:
    cfg: config.judge.
    params: of `init`.
    kind: one of `KINDS`.
    video: uint8, or float in [-1, 1]; of frames t is 1.
  """
  found = params[kind]["network"]
  questions = {
    name: answer["bias"].shape[0] for name, answer in found["answers"].items()
  }
  rows, columns = (side // SIDE for side in video.shape[2:4])
  grid = len(found["times"]), rows, columns
  network = functional.bind(_make(cfg, questions, grid, kind), found)
  return network(tokenizer.to_unit(jnp.asarray(video)))


def features(
  cfg: Config, params: Params, kind: str, video: Shaped[Any, "b t h w 3"]
) -> Float[Array, "b d"]:
  """Features at mean 0 and standard deviation 1 on the clips of training."""
  found, _ = apply(cfg, params, kind, video)
  mean, std = (
    layers.lead(jnp.asarray(params[kind][name]), 2) for name in ("mean", "std")
  )
  return (found - mean) / std


def patches(
  video: Float[Array, "b t h w 3"], depth: int
) -> Float[Array, "b k i j c"]:
  """What is in each patch as channels; the first frame fills up the first.

  Args:
    video: pixels.
    depth: frames of a patch; of several, their mean, and `GAIN` times how each
      differs from it.
  """
  b, t, h, w, c = video.shape
  missing = -t % depth
  x = jnp.concatenate([video[:, :1]] * missing + [video], axis=1)
  x = x.reshape(b, -1, depth, h // SIDE, SIDE, w // SIDE, SIDE, c)
  x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7)
  x = x.reshape(*x.shape[:5], SIDE * SIDE * c)
  if depth > 1:
    mean = x.mean(axis=4, keepdims=True)
    x = jnp.concatenate([mean, GAIN * (x - mean)], axis=4)
  return x.reshape(*x.shape[:4], -1)


def in_space(
  layer: layers.Linear, x: Float[Array, "b t h w c"]
) -> Float[Array, "b t h w _"]:
  """A layer of 3 × 3 places around each, zero beyond the edge."""
  b, t = x.shape[:2]
  y = jax.lax.conv_general_dilated(
    x.reshape(b * t, *x.shape[2:]),
    layer.kernel[...],
    (1, 1),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  assert layer.bias is not None
  return y.reshape(b, t, *y.shape[1:]) + layers.lead(layer.bias[...], 5)


def in_time(x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w _"]:
  """Before, now and after, zero beyond the ends, as channels."""
  t = x.shape[1]
  padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
  return jnp.concatenate([padded[:, i : i + t] for i in range(3)], axis=-1)


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
    cfg = plain_configs.from_json(about["config"], path, "judge")
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


def _make(
  cfg: Config, questions: Questions, grid: tuple[int, int, int], kind: str
) -> functional.Make[Network]:
  depth = TIME if kind == "clips" else 1
  return lambda rngs: Network(
    cfg.width, cfg.features, questions, grid, depth, rngs
  )


def _linear(ins: int, outs: int, rngs: nnx.Rngs) -> layers.Linear:
  return layers.Linear((ins,), (outs,), rngs)


def _small(rngs: nnx.Rngs, *shape: int) -> Array:
  return SPREAD * jax.random.normal(rngs.params(), shape)
