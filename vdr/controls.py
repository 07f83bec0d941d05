"""What stands beside every score: who sees less, or knows nothing.

A control is a backbone and a view of the clips. It is probed anew, with the
same probe and budget: a probe that was fitted to another backbone's features
would fail for reasons of its own.
"""

import dataclasses

import numpy as np
from jaxtyping import Int, UInt8

from vdr import features
from vdr.runtime import errors

VIEWS = ("clip", "shuffled", "frozen", "frame")
Clips = UInt8[np.ndarray, "b t h w 3"]


@dataclasses.dataclass(frozen=True)
class Control:
  """One control.

  Attributes:
    name: in configs and results.
    title: for people.
    kind: of the backbone, see `features.KINDS`.
    view: what it is shown of a clip, one of `VIEWS`.
    seed: of a backbone with random weights.
    gates: the scale that its gates are drawn with.
  """

  name: str
  title: str
  kind: str = "checkpoint"
  view: str = "clip"
  seed: int = 0
  gates: float = features.RANDOM_GATES

  @property
  def has_layers(self) -> bool:
    """Whether there are several places to read it at."""
    return self.kind not in ("latents", "pixels")

  @property
  def is_for_clips(self) -> bool:
    """Whether it says nothing of a single image."""
    return self.view != "clip" or self.kind == "isolated"


CONTROLS = {
  control.name: control
  for control in (
    Control("random", "the same network, untrained", kind="random"),
    Control("random_1", "another untrained one", kind="random", seed=1),
    Control("random_2", "a third untrained one", kind="random", seed=2),
    Control(
      "random_gates",
      "an untrained one whose blocks do half as much",
      kind="random",
      gates=features.RANDOM_GATES / 2,
    ),
    Control("latents", "the tokenizer's latents", kind="latents"),
    Control("pixels", "pixels", kind="pixels"),
    Control("isolated", "each latent frame by itself", kind="isolated"),
    Control("shuffled", "frames in random order", view="shuffled"),
    Control("frozen", "the first frame, repeated", view="frozen"),
    Control("frame", "the best of three single frames", view="frame"),
  )
}
# Where controls are read: where the backbone they stand beside is best, or each
# at its own best, chosen on `select` among the same places.
SAME, BEST = "same", "best"
BLIND = "blind"  # no input at all; needs no features


def named(names: tuple[str, ...]) -> list[Control]:
  """The controls of these names, `BLIND` left out.

  Raises:
    UserError: there is no such control.
  """
  for name in names:
    if name not in CONTROLS and name != BLIND:
      raise errors.UserError(
        f"control {name!r} is unknown; choose from"
        f" {', '.join((*CONTROLS, BLIND))}"
      )
  return [CONTROLS[name] for name in names if name != BLIND]


def show(
  view: str,
  video: Clips,
  clip_index: Int[np.ndarray, " b"],
  frame: int = 0,
) -> UInt8[np.ndarray, "b t2 h w 3"]:
  """What a control sees of clips.

  Args:
    view: "clip" as they are; "shuffled": every clip's frames in an order of its
      own, the same one every time; "frozen": its first frame in place of all;
      "frame": one frame.
    video: the clips.
    clip_index: their numbers.
    frame: for "frame": which.
  """
  if view == "shuffled":
    return np.stack(
      [
        clip[np.random.default_rng(index).permutation(len(clip))]
        for clip, index in zip(video, clip_index.tolist(), strict=True)
      ]
    )
  if view == "frozen":
    return np.repeat(video[:, :1], video.shape[1], axis=1)
  if view == "frame":
    return video[:, frame : frame + 1]
  return video
