"""Time sampling: which frames of a video make a clip.

Everything here works on the presentation times of *all* frames of a video, so
it is exact for variable frame rates, too.

* With `fps` 0, clip frames are `stride` video frames apart, whatever their
  times; with `fps` > 0, clip frame k shows what a viewer sees k / fps seconds
  after the first one.
* `random` draws the start uniformly from all that fit, `middle` leaves as much
  before the clip as after it, and `uniform` spreads `clips_per_video` clips
  from the very start to the very end of the video (a single one is in the
  middle).
* A video that is shorter than the clip is used from its start, and then either
  again from its start (`loop`), or its last frame repeats (`pad`).
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

SAMPLINGS = ("random", "middle", "uniform")
SHORT_VIDEOS = ("loop", "pad")

# Presentation times are multiples of a time base; a wanted time may miss one by
# rounding only.
_EPSILON_S = 1e-6


def check(cfg: Config) -> None:
  """Verifies the fields of a source config that this module reads.

  Raises:
    UserError: a field has a value that means nothing.
  """
  choices = {"sampling": SAMPLINGS, "short_videos": SHORT_VIDEOS}
  for name, known in choices.items():
    if cfg[name] not in known:
      raise errors.UserError(
        f"{name} {cfg[name]!r} is unknown; choose from {', '.join(known)}"
      )
  for name in ("num_frames", "clips_per_video", "stride"):
    if cfg[name] < 1:
      raise errors.UserError(f"{name} is {cfg[name]}; set it to 1 or more")
  if cfg.fps < 0:
    raise errors.UserError(
      f"fps is {cfg.fps}; set frames per second, or 0 to use stride"
    )
  if cfg.clips_per_video > 1 and cfg.sampling != "uniform":
    raise errors.UserError(
      f"clips_per_video is {cfg.clips_per_video} with sampling"
      f" {cfg.sampling!r}; several clips of a video need sampling 'uniform'"
    )


def choose_frames(
  cfg: Config,
  rng: np.random.Generator,
  times_s: Float[np.ndarray, " n"],
  clip: int = 0,
) -> Int[np.ndarray, " t"]:
  """The frames of one clip of a video.

  Args:
    cfg: a source config; read are num_frames, sampling, clips_per_video,
      stride, fps and short_videos.
    rng: drawn from only if the sampling is random.
    times_s: presentation times of all frames of the video, seconds, increasing.
    clip: which of the video's clips, 0 to clips_per_video - 1.

  Returns:
    Indices into `times_s`, one for each clip frame; they may repeat.
  """
  if cfg.fps:
    return _by_time(cfg, rng, times_s, clip)
  n = len(times_s)
  slack = n - 1 - (cfg.num_frames - 1) * cfg.stride
  if slack <= 0:
    start = 0
  elif cfg.sampling == "random":
    start = int(rng.integers(slack + 1))
  else:
    part, parts = _place(cfg, clip)
    start = slack * part // parts
  indices = start + np.arange(cfg.num_frames) * cfg.stride
  return (
    indices % n if cfg.short_videos == "loop" else np.minimum(indices, n - 1)
  )


def _by_time(
  cfg: Config,
  rng: np.random.Generator,
  times_s: Float[np.ndarray, " n"],
  clip: int,
) -> Int[np.ndarray, " t"]:
  span_s = (cfg.num_frames - 1) / cfg.fps
  # How long the last frame shows is not in the file; as long as most do.
  last_s = (
    float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1 / cfg.fps
  )
  shown_s = float(times_s[-1] - times_s[0])
  slack_s = shown_s - span_s
  if slack_s + last_s <= 0:
    start_s = 0.0
  elif cfg.sampling == "random":
    start_s = rng.uniform(0, slack_s + last_s)
  else:
    part, parts = _place(cfg, clip)
    start_s = max(slack_s, 0.0) * part / parts
  wanted_s = start_s + np.arange(cfg.num_frames) / cfg.fps
  if cfg.short_videos == "loop":
    # The small step keeps a time that should be 0 from becoming the period.
    wanted_s = (wanted_s + _EPSILON_S) % (shown_s + last_s)
  else:
    wanted_s = wanted_s + _EPSILON_S
  return np.searchsorted(times_s - times_s[0], wanted_s, side="right") - 1


def _place(cfg: Config, clip: int) -> tuple[int, int]:
  """Where in the room that a clip has it starts: how many of how many parts.

  As integers, since a float such as 49 * (1 / 49) is less than 1.
  """
  if cfg.sampling == "middle" or cfg.clips_per_video == 1:
    return 1, 2
  return clip, cfg.clips_per_video - 1
