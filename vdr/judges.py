"""The networks whose features tell generated clips from real ones.

What a score is depends on its network as much as on the samples: each comes
with a name, a hash and a sentence that says so.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from vdr.models import inception, judge
from vdr.runtime import errors, fingerprint

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any


class Network(NamedTuple):
  """A network whose features are compared.

  Attributes:
    name: of the score's variant.
    note: one sentence for readers.
    hash: of the parameters.
    features: the function of uint8 clips [b t h w 3]; for frames t is 1.
  """

  name: str
  note: str
  hash: str
  features: Callable[[Any], Any]


def open_networks(config: Config, is_image: bool) -> dict[str, Network]:
  """The networks that a config names, by what they are shown.

  Raises:
    UserError: a file can't be read, is for clips of another size, or none is
      named.
  """
  cfg, found = config.generation, {}
  if cfg.judge:
    found = _judges(config)
    if is_image:
      del found["clips"]
  if cfg.inception:
    params = inception.load(cfg.inception)
    found["frames"] = Network(
      "Inception, pt_inception-2015-12-05, pool3",
      "Features of Inception trained on ImageNet, pixels brought to 299 × 299"
      " by bilinear interpolation without antialiasing, as in pytorch-fid: the"
      " Fréchet distance is FID on this few samples.",
      fingerprint.of(params),
      functools.partial(
        jax.jit(lambda params, video: inception.features(params, video[:, 0])),
        params,
      ),
    )
  needed = {"frames"} if is_image else {"frames", "clips"}
  if needed - found.keys():
    raise errors.UserError(
      "generation.judge names no network to compare clips by; train one on the"
      " data set's labels with --config=configs/judge.py, and give its"
      f" {judge.FILE_NAME}"
    )
  return found


def _judges(config: Config) -> dict[str, Network]:
  path = config.generation.judge
  cfg, params, about = judge.load(path)
  for name, source in config.data.sources.items():
    for side in ("num_frames", "height", "width"):
      if source[side] != about[side]:
        raise errors.UserError(
          f"generation.judge={path} was trained on clips of {side}"
          f" {about[side]}, but data.sources.{name}.{side}={source[side]}; make"
          " a judge of that size with --config=configs/judge.py"
        )

  def network(kind: str) -> Network:
    known = ", ".join(
      f"{label} {score['accuracy']:.2f} where chance has {score['chance']:.2f}"
      for label, score in about["scores"][kind].items()
    )
    return Network(
      f"judge of {kind}, {cfg.features} features",
      "Features of a small network that was trained on the labels of the data"
      f" set itself (accuracy on held-out clips: {known}), and not of Inception"
      " or I3D: distances rank models of this data set, and are no FID or FVD.",
      about["hash"],
      functools.partial(
        jax.jit(lambda params, video: judge.features(cfg, params, kind, video)),
        params,
      ),
    )

  return {kind: network(kind) for kind in judge.KINDS}
