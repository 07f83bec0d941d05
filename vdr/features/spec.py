"""What is read of a frozen network, and the names of the results."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import jax
import numpy as np

from vdr.diffusion import schedule as schedules
from vdr.features import inputs
from vdr.runtime import errors

LATENTS = ("mean", "sample")
CONDITIONS = ("null",)
FRAMES = ("auto", "clip", "every", "latent")


class Levels(NamedTuple):
  """Noise levels in both coordinates, in the order that was asked for."""

  noise_levels: tuple[float, ...]  # 0 clean … 1 pure noise
  log_snrs: tuple[float, ...]


class Options(TypedDict, total=False):
  """The fields of `FeatureSpec` that are neither layers nor noise levels."""

  draws: int
  seed: int
  latent: str
  condition: str
  frames: str
  still_frames: int


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
  """A request for features; hashable, so that it may be static in a jit.

  Sequences, arrays and single numbers become tuples. The defaults are ours; the
  paper does not state its own.

  Attributes:
    layers: of the residual stream, 0 (embedded tokens) … depth (after the last
      block). Controls with one layer only may leave it out.
    noise_levels: fractions of the schedule, 0 clean … 1 pure noise.
    log_snrs: the same as log-SNRs, which are comparable across schedules;
      instead of noise_levels. ±∞ are clean and pure noise.
    draws: of noise (and of latents, if they are sampled); features are their
      mean.
    seed: of all draws. A clip's noise depends on the seed, the clip's index and
      the draw only: levels of one draw share it.
    latent: "mean" of the tokenizer's posterior, or a "sample" of it per draw.
    condition: "null", the class and text of clips that have none.
    frames: what one feature frame stands for.
      "clip": a latent frame of the clip: pixel frame 0, 1 … 4, 5 … 8, …;
      "every": a pixel frame, encoded and passed alone;
      "latent": the same for frames 0, 4, 8, … only, the last ones that the
      latent frames stand for: so both models have as many tokens;
      "auto": "every" for image models, "clip" for all others.
    still_frames: with "clip", an image (t = 1) is repeated to a clip of so many
      frames, 4k + 1, as for models that know clips only; 0: an image is a clip
      of one frame, as in training.
  """

  layers: Sequence[int] = ()
  noise_levels: Sequence[float] = ()
  log_snrs: Sequence[float] = ()
  draws: int = 1
  seed: int = 0
  latent: str = "mean"
  condition: str = "null"
  frames: str = "auto"
  still_frames: int = 0

  def __post_init__(self):
    """Raises UserError for what no backbone can give."""
    for name in ("layers", "noise_levels", "log_snrs"):
      found = inputs.numbers(name, getattr(self, name), name == "layers")
      object.__setattr__(self, name, found)
    for name in ("draws", "still_frames"):
      found = inputs.whole(name, getattr(self, name))
      object.__setattr__(self, name, found)
    object.__setattr__(self, "seed", inputs.seed(self.seed))
    if problem := self._problem():
      raise errors.UserError(problem)

  def _problem(self) -> str | None:
    if self.noise_levels and self.log_snrs:
      return (
        f"noise_levels={self.noise_levels} and log_snrs={self.log_snrs} are"
        " both given; give one of them"
      )
    for level in self.noise_levels:
      if not 0 <= level <= 1:
        return (
          f"noise_levels={self.noise_levels}: {level} is not within 0 (clean)"
          " to 1 (pure noise)"
        )
    for name, choices in (
      ("latent", LATENTS),
      ("condition", CONDITIONS),
      ("frames", FRAMES),
    ):
      if getattr(self, name) not in choices:
        return (
          f"{name}={getattr(self, name)!r} is unknown; choose from"
          f" {', '.join(choices)}"
        )
    if self.draws < 1:
      return f"draws={self.draws}: use 1 or more"
    if self.still_frames < 0:
      return f"still_frames={self.still_frames}: use 0 or 4k + 1"
    if self.still_frames and self.frames in ("every", "latent"):
      return (
        f"still_frames={self.still_frames} makes clips of images, and"
        f" frames={self.frames!r} images of clips; leave one of them out"
      )
    return None

  def levels(self, schedule: schedules.Schedule) -> Levels:
    """The noise levels, and their log-SNRs on a schedule.

    Levels that were given are returned as they are, converted ones are float32.

    Raises:
      UserError: there are none, or the schedule does not reach a log-SNR.
    """
    return _levels(tuple(self.noise_levels), tuple(self.log_snrs), schedule)

  def program(self) -> "FeatureSpec":
    """What of it decides the compiled program: not the seed, nor the levels."""
    return dataclasses.replace(self, noise_levels=(), log_snrs=(), seed=0)


@functools.cache
def _levels(
  noise_levels: tuple[float, ...],
  log_snrs: tuple[float, ...],
  schedule: schedules.Schedule,
) -> Levels:
  if not noise_levels and not log_snrs:
    raise errors.UserError(
      "neither noise_levels nor log_snrs are given; give one of them, for"
      " example noise_levels=(0.2,)"
    )
  # Also while a jitted function around it is traced.
  with jax.ensure_compile_time_eval():
    levels = noise_levels
    if log_snrs:
      _check_reached(log_snrs, schedule)
      found = schedule.from_log_snr(np.asarray(log_snrs, np.float32))
      levels = tuple(map(float, np.asarray(found)))
    found = schedule.log_snr(np.asarray(levels, np.float32))
    return Levels(levels, tuple(map(float, np.asarray(found))))


def _check_reached(
  log_snrs: Sequence[float], schedule: schedules.Schedule
) -> None:
  most, least = map(float, schedule.log_snr(np.array([0, 1], np.float32)))
  for value in log_snrs:
    if not (least <= value <= most or np.isinf(value)):
      raise errors.UserError(
        f"log_snrs={tuple(log_snrs)}: schedule {schedule.name} does not reach"
        f" {value}; it goes from {most:.1f} down to {least:.1f}"
      )
