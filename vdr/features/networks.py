"""What features can be read of: a diffusion model, and two controls.

A network is all about a backbone but its numbers: frozen and hashable, so that
it is static in a jit and every set of parameters of one architecture shares one
compiled program.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import einops
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, Shaped

from vdr.diffusion import schedule as schedules
from vdr.models import dit, patch_tokenizer, sizes, tokenizer
from vdr.runtime import errors

PyTree = Any
# An `ml_collections.FrozenConfigDict`, which can be hashed, of untyped fields.
Frozen = Any
# Mean and standard deviation of the clean latents, at unit scale.
Latents = tuple[Float[Array, "b t2 h2 w2 c"], Float[Array, "b t2 h2 w2 c"]]

TIME = tokenizer.TIME  # pixel frames of a later latent frame
# The fields of a tokenizer's config that decide what it computes.
_TOKENIZER_FIELDS = ("kind", "downsample", "channels", "conv")


@runtime_checkable
class Network(Protocol):
  """What a new kind of backbone has to bring.

  Attributes:
    schedule: what its noise levels mean.
    time: pixel frames of a later latent frame; the first one has one.
    is_image: trained on single frames, so that clips are passed frame by frame.
    default_level: the noise level if none is asked for; None: one has to be.
  """

  @property
  def schedule(self) -> schedules.Schedule: ...
  @property
  def time(self) -> int: ...
  @property
  def is_image(self) -> bool: ...
  @property
  def default_level(self) -> float | None: ...
  @property
  def layers(self) -> int:
    """The number of the last layer; the first is 0."""
    ...

  @property
  def width(self) -> int:
    """Channels of a feature."""
    ...

  def encode(
    self, params: PyTree, video: Shaped[Array, "b t h w 3"]
  ) -> Latents:
    """The clean latents of clips, each encoded as a whole."""
    ...

  def read(
    self,
    params: PyTree,
    latents: Float[Array, "b t h w c"],
    noise_level: Float[Array, " b"],
    layers: Sequence[int],
    alone: bool,
  ) -> dict[int, Float[Array, "b t i j d"]]:
    """The features of layers; `alone`: every frame as an image of its own."""
    ...


@dataclasses.dataclass(frozen=True)
class Diffusion:
  """Our diffusion transformer, trained or not.

  Attributes:
    model: config.model.
    tokenizer: its config.
    schedule: that it was trained with.
    isolated: latent frames of clips are encoded together, and then attended
      alone.
  """

  model: Frozen
  tokenizer: Frozen
  schedule: schedules.Schedule
  isolated: bool = False
  time: int = TIME
  default_level: float | None = None

  @property
  def is_image(self) -> bool:
    return self.model.spatiotemporal_blocks == "spatial"

  @property
  def layers(self) -> int:
    return sizes.size_of(self.model.size).depth

  @property
  def width(self) -> int:
    return sizes.size_of(self.model.size).width

  def encode(
    self, params: PyTree, video: Shaped[Array, "b t h w 3"]
  ) -> Latents:
    return _encode(self.tokenizer, params["tokenizer"], video)

  def read(
    self,
    params: PyTree,
    latents: Float[Array, "b t h w c"],
    noise_level: Float[Array, " b"],
    layers: Sequence[int],
    alone: bool,
  ) -> dict[int, Float[Array, "b t i j d"]]:
    # An image model has never seen the positions of later frames.
    alone = alone or self.isolated or self.is_image
    _, features = dit.apply(
      self.model,
      params["model"],
      latents,
      noise_level,
      layers=layers,
      layout="isolated" if alone else None,
    )
    return {k: x.astype(jnp.float32) for k, x in features.items()}


@dataclasses.dataclass(frozen=True)
class RawLatents:
  """The tokenizer's normalised latents, on the grid of the model's tokens.

  Attributes:
    tokenizer: its config.
    schedule: of the noise, if any is asked for.
    patch: latents of a token's side.
  """

  tokenizer: Frozen
  schedule: schedules.Schedule
  patch: int
  time: int = TIME
  default_level: float | None = 0.0
  is_image: bool = False
  layers: int = 0

  @property
  def width(self) -> int:
    return self.patch**2 * self.tokenizer.channels

  def encode(
    self, params: PyTree, video: Shaped[Array, "b t h w 3"]
  ) -> Latents:
    return _encode(self.tokenizer, params["tokenizer"], video)

  def read(
    self,
    params: PyTree,
    latents: Float[Array, "b t h w c"],
    noise_level: Float[Array, " b"],
    layers: Sequence[int],
    alone: bool,
  ) -> dict[int, Float[Array, "b t i j d"]]:
    tokens = einops.rearrange(
      latents,
      "b t (h p) (w q) c -> b t h w (p q c)",
      p=self.patch,
      q=self.patch,
    )
    return dict.fromkeys(layers, tokens)


@dataclasses.dataclass(frozen=True)
class RawPixels:
  """Pixels in [-1, 1] that a token of the model stands for, and nothing else.

  A feature has the pixels of a patch in four frames; frame 0, which has a
  latent frame of its own, is repeated four times, as if it stood still. So does
  every frame that is passed alone.

  Attributes:
    schedule: of the noise, if any is asked for.
    size: pixels of a patch's side.
  """

  schedule: schedules.Schedule
  size: int
  time: int = TIME
  default_level: float | None = 0.0
  is_image: bool = False
  layers: int = 0

  @property
  def width(self) -> int:
    return 3 * self.time * self.size**2

  def encode(
    self, params: PyTree, video: Shaped[Array, "b t h w 3"]
  ) -> Latents:
    b, t, h, w, _ = video.shape
    if h % self.size or w % self.size or t % self.time != 1:
      raise errors.UserError(
        f"a clip of {t}x{h}x{w} pixels can't be cut into patches of"
        f" {self.time}x{self.size}x{self.size} behind its first frame; use"
        f" {self.time}k + 1 frames and sides that {self.size} divides"
      )
    first, later = patch_tokenizer.split_patches(
      tokenizer.to_unit(jnp.asarray(video)), self.size
    )
    still = jnp.tile(first, self.time)
    pixels = jnp.concatenate([still, later], axis=1)
    return pixels, jnp.zeros_like(pixels)

  def read(
    self,
    params: PyTree,
    latents: Float[Array, "b t h w c"],
    noise_level: Float[Array, " b"],
    layers: Sequence[int],
    alone: bool,
  ) -> dict[int, Float[Array, "b t i j d"]]:
    return dict.fromkeys(layers, latents)


def freeze(cfg: Any) -> Frozen:
  """A config that can't be changed any more, and so be hashed."""
  return ml_collections.FrozenConfigDict(cfg)


def freeze_tokenizer(cfg: Any) -> Frozen:
  """What of a tokenizer's config decides the program."""
  return freeze({k: cfg[k] for k in _TOKENIZER_FIELDS if k in cfg})


def _encode(
  cfg: Frozen, params: PyTree, video: Shaped[Array, "b t h w 3"]
) -> Latents:
  posterior = tokenizer.encode(cfg, params, video)
  mean, std = posterior.mean, jnp.exp(posterior.log_std)
  # Normalising is affine, and a spread knows its factor only.
  return tokenizer.normalise(params, mean), tokenizer.normalise(
    params, std
  ) - tokenizer.normalise(params, jnp.zeros_like(std))


def encode(
  network: Network,
  params: PyTree,
  video: Shaped[Array, "b t h w 3"],
  frames: str,
  still_frames: int,
) -> Latents:
  """The clean latents of clips, in one of the ways of `FeatureSpec.frames`."""
  if frames == "clip":
    if video.shape[1] == 1 and still_frames:
      video = jnp.repeat(video, still_frames, axis=1)
    return network.encode(params, video)
  if frames == "latent":
    video = video[:, :: network.time]
  t = video.shape[1]
  alone = einops.rearrange(video, "b t h w c -> (b t) 1 h w c")
  return jax.tree.map(
    lambda x: einops.rearrange(x, "(b t) 1 h w c -> b t h w c", t=t),
    network.encode(params, alone),
  )
