"""A network with its parameters: from uint8 clips to features in one call.

A clip is encoded once, noised at K levels that lie in the batch axis, and
passed through the first blocks only, up to the deepest layer. Whatever its
batch, a clip's features are the same (within rounding): its noise comes from
the seed, its own index and the draw.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

from vdr import trained
from vdr.diffusion import schedule as schedules
from vdr.features import networks
from vdr.features.spec import FeatureSpec
from vdr.models import dit
from vdr.runtime import errors, fingerprint

PyTree = Any
Features = dict[tuple[int, float], Float[Array, "b t2 h2 w2 d"]]

KINDS = {
  "checkpoint": "the trained model",
  "random": "the same network, untrained",
  "isolated": "the trained model, every latent frame attended alone",
  "latents": "what the tokenizer gives the model",
  "pixels": "what the tokenizer is given",
}
RANDOM_GATES = 0.5  # with 0, all blocks of an untrained network do nothing


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
  """A frozen network that features are read of.

  Attributes:
    network: what is computed.
    params: of it; `apply` takes them as an argument.
    about: what results say of it, plain JSON; `hash` is that of the parameters
      that the features come from.
  """

  network: networks.Network
  params: PyTree
  about: dict[str, Any]

  @property
  def schedule(self) -> schedules.Schedule:
    """What its noise levels mean."""
    return self.network.schedule

  @property
  def layers(self) -> int:
    """The number of the last layer; the first is 0."""
    return self.network.layers

  @property
  def two_thirds(self) -> int:
    """The layer at two thirds of the depth, where most tasks are about best."""
    return round(2 / 3 * self.layers)

  @property
  def width(self) -> int:
    """Channels of a feature."""
    return self.network.width

  def resolve(self, spec: FeatureSpec) -> FeatureSpec:
    """The spec with all that it leaves to the backbone.

    Raises:
      UserError: this backbone can't give what is asked for.
    """
    network, given = self.network, {}
    if not spec.layers and network.layers == 0:
      given["layers"] = (0,)
    if not (spec.noise_levels or spec.log_snrs) and (
      network.default_level is not None
    ):
      given["noise_levels"] = (network.default_level,)
    if spec.frames == "auto":
      given["frames"] = "every" if network.is_image else "clip"
    if spec.still_frames and network.is_image:
      given["still_frames"] = 0  # its images are images
    spec = dataclasses.replace(spec, **given)
    if not spec.layers:
      raise errors.UserError(
        f"no layers are named; give some of 0 to {network.layers}"
      )
    for layer in spec.layers:
      if not 0 <= layer <= network.layers:
        raise errors.UserError(
          f"layers={spec.layers}: layer {layer} does not exist; this backbone"
          f" ({self.about['kind']}) has layers 0 to {network.layers}"
        )
    if spec.still_frames and spec.still_frames % network.time != 1:
      raise errors.UserError(
        f"still_frames={spec.still_frames}: use {network.time}k + 1 (5, 9, …)"
      )
    spec.levels(network.schedule)
    return spec

  def encode(
    self, video: Shaped[Array | np.ndarray, "b t h w 3"], frames: str = "auto"
  ) -> Float[Array, "b t2 h2 w2 c"]:
    """The clean latents of clips, at unit scale; see `FeatureSpec.frames`."""
    if frames == "auto":
      frames = "every" if self.network.is_image else "clip"
    return _encode_jit(self.network, self.params, video, frames)

  def features(
    self,
    video: Shaped[Array | np.ndarray, "b t h w 3"],
    spec: FeatureSpec,
    clip_index: Int[Array | np.ndarray, " b"] | None = None,
  ) -> Features:
    """Features of clips, compiled once for each shape and architecture.

    Args:
      video: uint8, or float in [-1, 1].
      spec: what to read.
      clip_index: which clips these are; their noise depends on it. None: 0, 1,
        2, …

    Returns:
      By layer and noise level, `[b t' h' w' d]`.

    Raises:
      UserError: the spec or the clips don't fit the backbone.
    """
    spec = self.resolve(spec)
    levels = spec.levels(self.schedule).noise_levels
    _check_clips(video, clip_index)
    if clip_index is None:
      clip_index = np.arange(len(video), dtype=np.int32)
    found = _extract_jit(
      self.network,
      spec.program(),
      self.params,
      video,
      clip_index,
      jax.random.key(spec.seed),
      np.asarray(levels, np.float32),
    )
    return _by_level(found, levels)

  def apply(
    self,
    params: PyTree,
    video: Shaped[Array | np.ndarray, "b t h w 3"],
    clip_index: Int[Array | np.ndarray, " b"],
    spec: FeatureSpec,
  ) -> Features:
    """`features` as a pure function, to be part of a jitted one.

    What is compiled depends on the network alone, so that one function serves
    all backbones that are equal but for `params`.
    """
    spec = self.resolve(spec)
    levels = spec.levels(self.schedule).noise_levels
    found = _extract(
      self.network,
      spec.program(),
      params,
      jnp.asarray(video),
      jnp.asarray(clip_index),
      jax.random.key(spec.seed),
      jnp.asarray(levels, jnp.float32),
    )
    return _by_level(found, levels)

  def frame_times(
    self,
    num_frames: int,
    fps: float | None = None,
    spec: FeatureSpec | None = None,
  ) -> Int[np.ndarray, "t 2"] | Float[np.ndarray, "t 2"]:
    """The first and the last pixel frame that each feature frame covers.

    Args:
      num_frames: pixel frames of the clip.
      fps: pixel frames per second; then the times of both, seconds from the
        first frame. None: their numbers.
      spec: read are frames and still_frames.
    """
    spec = FeatureSpec() if spec is None else spec
    frames = spec.frames
    if frames == "auto":
      frames = "every" if self.network.is_image else "clip"
    time, numbers = self.network.time, np.arange(num_frames)
    if frames == "every":
      spans = np.stack([numbers, numbers], axis=1)
    elif frames == "latent":
      spans = np.stack([numbers[::time], numbers[::time]], axis=1)
    elif num_frames == 1 and spec.still_frames:
      spans = np.zeros((1 + (spec.still_frames - 1) // time, 2), int)
    else:
      last = np.arange(0, num_frames, time)
      spans = np.stack([np.maximum(last - time + 1, 0), last], axis=1)
    return spans if fps is None else spans / fps


def _check_clips(video: Any, clip_index: Any) -> None:
  """Refuses what is no batch of clips, or of no type that features take."""
  if not isinstance(video, np.ndarray | jax.Array):
    raise errors.UserError(
      f"clips of type {type(video).__name__} are none; give an array"
      " [b t h w 3], or use vdr.load, which takes files and lists, too"
    )
  shape, kind = list(video.shape), video.dtype
  if len(shape) != 5 or shape[-1] != 3 or not video.size:
    raise errors.UserError(
      f"clips of shape {shape} are none; give [b t h w 3], all of them 1 or"
      " more"
    )
  if kind != np.uint8 and not jnp.issubdtype(kind, jnp.floating):
    raise errors.UserError(
      f"clips of type {kind} are none; give uint8, or floats in [-1, 1]"
    )
  numbers = np.asarray(0 if clip_index is None else clip_index)
  if clip_index is not None and not (
    isinstance(clip_index, np.ndarray | jax.Array)
    and numbers.shape == video.shape[:1]
    and np.issubdtype(numbers.dtype, np.integer)
  ):
    raise errors.UserError(
      f"clip_index of type {type(clip_index).__name__} of {numbers.dtype} and"
      f" shape {list(numbers.shape)} does not number {shape[0]} clips; give an"
      " array with one whole number for each"
    )


def build(
  kind: str,
  model: trained.Trained,
  seed: int = 0,
  gates: float = RANDOM_GATES,
) -> Backbone:
  """The backbone of a trained model, or a control for it.

  Args:
    kind: one of `KINDS`.
    model: from `trained.load`; controls take its sizes and its tokenizer.
    seed: of the parameters of kind "random".
    gates: of kind "random": the scale that the gates of its blocks are drawn
      with; with 0, as at the start of training, no block does anything.

  Raises:
    UserError: the kind is unknown.
  """
  if kind not in KINDS:
    raise errors.UserError(
      f"backbone {kind!r} is unknown; choose from {', '.join(KINDS)}"
    )
  schedule = schedules.get_schedule(model.config.diffusion.schedule)
  cfg = networks.freeze_tokenizer(model.tokenizer)
  params: dict[str, PyTree] = {"tokenizer": model.tokenizer_params}
  meta = model.meta
  about = {"kind": kind, "schedule": schedule.name, "size": model.model.size}
  about |= {"spatiotemporal_blocks": model.model.spatiotemporal_blocks}
  if kind == "pixels":
    size = model.tokenizer.downsample * model.model.patch
    network, params = networks.RawPixels(schedule, size), {}
    about["hash"] = ""
  elif kind == "latents":
    network = networks.RawLatents(cfg, schedule, model.model.patch)
    about["hash"] = meta["tokenizer_hash"]
  else:
    network = networks.Diffusion(
      networks.freeze(model.model), cfg, schedule, isolated=kind == "isolated"
    )
    if kind == "random":
      key = jax.random.key(seed)
      params["model"] = random_params(network.model, key, gates)
      about |= {"seed": seed, "gate_scale": gates}
      about["hash"] = fingerprint.of(params["model"])
    else:
      params["model"] = model.params
      about |= {key: meta[key] for key in ("hash", "step", "which")}
    params["model"] = dit.rounded(network.model, params["model"])
  return Backbone(network, params, about)


@functools.partial(jax.jit, static_argnums=(0, 2))
def random_params(
  cfg: networks.Frozen, key: Key[Array, ""], gates: float = RANDOM_GATES
) -> PyTree:
  """Parameters of a network that was never trained, but whose blocks all act.

  Args:
    cfg: of the model, frozen.
    key: that they are drawn with.
    gates: the scale of the gates, which are zero at the start of training.
  """
  return dit.init(cfg, key, gate_scale=gates)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _encode_jit(
  network: networks.Network, params: PyTree, video: Array, frames: str
) -> Array:
  return networks.encode(network, params, video, frames, 0)[0]


def _extract(
  network: networks.Network,
  program: FeatureSpec,
  params: PyTree,
  video: Shaped[Array, "b t h w 3"],
  clip_index: Int[Array, " b"],
  key: Key[Array, ""],
  levels: Float[Array, " k"],
) -> dict[tuple[int, int], Float[Array, "b t2 h2 w2 d"]]:
  """Features by layer and the place of the noise level in `levels`."""
  mean, std = networks.encode(
    network, params, video, program.frames, program.still_frames
  )
  num_levels, b = levels.shape[0], video.shape[0]
  alpha, sigma = (
    x.reshape(-1, 1, 1, 1, 1, 1) for x in network.schedule.coefficients(levels)
  )

  def draw(number: Int[Array, ""]) -> dict[tuple[int, int], Array]:
    eps, spread = _normals(key, clip_index, number, mean.shape[1:])
    clean = mean + std * spread if program.latent == "sample" else mean
    noised = alpha * clean[None] + sigma * eps[None]
    found = network.read(
      params,
      noised.reshape(num_levels * b, *mean.shape[1:]),
      jnp.repeat(levels, b),
      tuple(program.layers),
      program.frames != "clip",
    )
    return {
      (layer, place): part
      for layer, x in found.items()
      for place, part in enumerate(jnp.split(x, num_levels))
    }

  if program.draws == 1:
    return draw(jnp.zeros((), jnp.int32))
  # One after the other: as much memory as a single draw.
  numbers = jnp.arange(program.draws, dtype=jnp.int32)
  start = jax.tree.map(jnp.zeros_like, jax.eval_shape(draw, numbers[0]))

  def add(total, number):
    return jax.tree.map(jnp.add, total, draw(number)), None

  total, _ = jax.lax.scan(add, start, numbers)
  return jax.tree.map(lambda x: x / program.draws, total)


_extract_jit = jax.jit(_extract, static_argnums=(0, 1))


def _normals(
  key: Key[Array, ""],
  clip_index: Int[Array, " b"],
  draw: Int[Array, ""],
  shape: tuple[int, ...],
) -> tuple[Float[Array, "b t h w c"], Float[Array, "b t h w c"]]:
  """Two standard normals for each clip: of noise, and of latents."""

  def of_clip(index):
    own = jax.random.fold_in(jax.random.fold_in(key, index), draw)
    first, second = jax.random.split(own)
    return jax.random.normal(first, shape), jax.random.normal(second, shape)

  return jax.vmap(of_clip)(clip_index)


def _by_level(
  found: dict[tuple[int, int], Array], noise_levels: tuple[float, ...]
) -> Features:
  return {
    (layer, noise_levels[place]): x for (layer, place), x in found.items()
  }
