"""Features of arrays and video files of any length: `vdr.load`.

    model = vdr.load("runs/video")
    found = model.features("holiday.mp4", layers=[4, 8], noise_level=0.2)
    found.values[8, 0.2]  # float32 [t h w d]
    found.times_s  # when each of the t frames begins and ends

Pictures are resized and cropped about their centre to the size of training. A
video is cut into windows of the number of frames of training, which overlap;
where a feature frame is in several, that window is taken which shows most on
either side of it. Windows start at multiples of the tokenizer's 4 frames, so
that feature frames of all windows cover the same pixel frames.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vdr import trained
from vdr.data import decoder, transforms
from vdr.data import source as source_lib
from vdr.features import backbone as backbones
from vdr.features.spec import FeatureSpec
from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

DECODE_TIMEOUT_S = 120.0  # of one batch of windows, and of a file's frame list
DEFAULT_FRAMES = 17  # of a window, for models that know images only


@dataclasses.dataclass(frozen=True)
class VideoFeatures:
  """The features of a video, or of several.

  Attributes:
    values: float32 arrays by layer and noise level.
    axes: their axes: b videos (if several were given), t feature frames, h
      rows, w columns, d channels.
    frames: the first and the last frame of the video that each feature frame
      covers, `[t 2]`; of a file read at another rate: of those that were read.
    times_s: when these two are shown, seconds from the start of the file or
      array, `[t 2]`; None for an array without fps.
    log_snrs: the log-SNR of each noise level.
    spec: what was read.
    about: what it was read of.
  """

  values: dict[tuple[int, float], Float[np.ndarray, "*b t h w d"]]
  axes: tuple[str, ...]
  frames: Int[np.ndarray, "t 2"]
  times_s: Float[np.ndarray, "t 2"] | None
  log_snrs: dict[float, float]
  spec: FeatureSpec
  about: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Video:
  """Videos of one length that are read piece by piece."""

  num_rows: int
  num_frames: int
  times_s: Float[np.ndarray, " n"] | None
  read: Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows, frames → pixels


class VideoModel:
  """A backbone with the size of pictures and windows that it was trained on.

  Attributes:
    backbone: what computes the features.
    num_frames: pixel frames of a window.
    height: of the pictures, pixels.
    width: of the pictures, pixels.
  """

  def __init__(self, backbone: backbones.Backbone, config: Config):
    """Args: a backbone, and the config that its model was trained with."""
    self.backbone = backbone
    self._source = source = training_source(config)
    with source.unlocked():
      source.update(crop="center", flip=False)
    self.num_frames = source.num_frames
    self.height, self.width = source.height, source.width

  def features(
    self,
    video: np.ndarray | str | os.PathLike,
    layers: Sequence[int] = (),
    noise_level: float | None = None,
    *,
    noise_levels: Sequence[float] = (),
    log_snrs: Sequence[float] = (),
    fps: float | None = None,
    stride: int | None = None,
    batch_size: int = 4,
    **options: Any,
  ) -> VideoFeatures:
    """The features of a video file, or of pixels.

    Args:
      video: a file, or uint8 RGB `[t h w 3]`; `[b t h w 3]` for several of one
        length.
      layers: 0 (embedded tokens) … depth; by default one at two thirds of it.
      noise_level: 0 clean … 1 pure noise; by default 0.2. Both defaults are
        about where most tasks of the paper do well.
      noise_levels: several, instead.
      log_snrs: several, instead.
      fps: frames per second that the model sees. A file is read at that rate
        (None: as in training); an array has it already.
      stride: frames from a window to the next, a multiple of 4; None: half a
        window, or a whole one where frames are passed alone.
      batch_size: windows that are computed at once.
      **options: further fields of `FeatureSpec`: draws, seed, latent, frames,
        still_frames.

    Raises:
      UserError: the video can't be read, or the backbone can't do it.
    """
    spec = self._spec(layers, noise_level, noise_levels, log_snrs, options)
    if isinstance(video, np.ndarray):
      opened, axes = self._of_array(video, fps), ("t", "h", "w", "d")
      axes = ("b", *axes) if video.ndim == 5 else axes
    else:
      opened = self._of_file(pathlib.Path(video).expanduser(), fps)
      axes = ("t", "h", "w", "d")
    length = 1 if opened.num_frames == 1 else self.num_frames
    starts = self._starts(opened.num_frames, length, stride, spec)
    chosen, spans = self._choose(opened.num_frames, length, starts, spec)
    found: dict[tuple[int, float], np.ndarray] = {}
    work = [(row, start) for row in range(opened.num_rows) for start in starts]
    for part in _batches(work, batch_size):
      for key, values in self._run(opened, part, length, spec).items():
        if key not in found:
          shape = (opened.num_rows, len(spans), *values.shape[2:])
          found[key] = np.empty(shape, np.float32)
        for (row, start), of_window in zip(part, values, strict=True):
          for here, there in chosen[start]:
            found[key][row, there] = of_window[here]
    if "b" not in axes:
      found = {key: values[0] for key, values in found.items()}
    levels = spec.levels(self.backbone.schedule)
    return VideoFeatures(
      values=found,
      axes=axes,
      frames=spans,
      times_s=None if opened.times_s is None else opened.times_s[spans],
      log_snrs=dict(zip(*levels, strict=True)),
      spec=spec,
      about=self.backbone.about,
    )

  def _spec(
    self,
    layers: Sequence[int],
    noise_level: float | None,
    noise_levels: Sequence[float],
    log_snrs: Sequence[float],
    options: dict[str, Any],
  ) -> FeatureSpec:
    if noise_level is not None:
      if noise_levels or log_snrs:
        raise errors.UserError(
          f"noise_level={noise_level} is given and noise_levels or log_snrs,"
          " too; give one of them"
        )
      noise_levels = (float(noise_level),)
    known = {field.name for field in dataclasses.fields(FeatureSpec)}
    for name in options:
      if name not in known:
        raise errors.UserError(
          f"{name}={options[name]!r}: features know no such option; there are"
          f" {', '.join(sorted(known))}"
        )
    backbone = self.backbone
    if not layers:
      layers = (backbone.two_thirds,)
    no_level = backbone.network.default_level is None
    if no_level and not (noise_levels or log_snrs):
      noise_levels = (0.2,)
    spec = FeatureSpec(
      layers=tuple(layers),
      noise_levels=tuple(noise_levels),
      log_snrs=tuple(log_snrs),
      **options,
    )
    return backbone.resolve(spec)

  def _starts(
    self, num_frames: int, length: int, stride: int | None, spec: FeatureSpec
  ) -> list[int]:
    """Where windows start: the last one may end behind the video."""
    if length == 1:
      return [0]
    time = self.backbone.network.time
    share = 2 if spec.frames == "clip" else 1
    if stride is None:
      stride = time * max((length - 1) // (share * time), 1)
    if stride % time or not 0 < stride < length:
      raise errors.UserError(
        f"stride={stride}: windows of {length} frames start multiples of"
        f" {time} apart, and overlap; use {time} to"
        f" {(length - 1) // time * time}"
      )
    last = max(-(-(num_frames - length) // time) * time, 0)
    return [*range(0, last, stride), last]

  def _choose(
    self, num_frames: int, length: int, starts: list[int], spec: FeatureSpec
  ) -> tuple[dict[int, list[tuple[int, int]]], Int[np.ndarray, "t 2"]]:
    """Which window gives which feature frame of the video.

    Returns:
      For each window pairs of places, in the window and in the result, and the
      pixel frames that each place of the result covers.
    """
    whole = self.backbone.frame_times(starts[-1] + length, spec=spec)
    if length == 1:
      return {0: [(i, i) for i in range(len(whole))]}, whole
    # Beyond the video there are only repetitions of its last frame.
    spans = whole[whole[:, 0] < num_frames]
    places = {tuple(span): there for there, span in enumerate(spans.tolist())}
    inside = self.backbone.frame_times(length, spec=spec)
    best: dict[int, tuple[int, int, int]] = {}
    for start in starts:
      for here, span in enumerate((inside + start).tolist()):
        # Absent is a later window's first frame: one alone, not the last of 4.
        there = places.get(tuple(span))
        if there is not None:
          candidate = (min(here, len(inside) - 1 - here), -start, here)
          best[there] = max(best.get(there, candidate), candidate)
    chosen: dict[int, list[tuple[int, int]]] = {start: [] for start in starts}
    for there, (_, start, here) in best.items():
      chosen[-start].append((here, there))
    return chosen, np.minimum(spans, num_frames - 1)

  def _run(
    self,
    video: _Video,
    part: list[tuple[int, int]],
    length: int,
    spec: FeatureSpec,
  ) -> dict[tuple[int, float], np.ndarray]:
    """The features of some windows, `[b t h w d]`."""
    rows, starts = np.array(part, np.int32).T
    indices = np.minimum(
      starts[:, None] + np.arange(length), video.num_frames - 1
    )
    frames = video.read(np.repeat(rows, length), indices.reshape(-1))
    pixels = frames.reshape(len(part), length, *frames.shape[1:])
    found = self.backbone.features(pixels, spec, starts)
    return {key: np.asarray(values) for key, values in found.items()}

  def _of_array(self, video: np.ndarray, fps: float | None) -> _Video:
    if video.dtype != np.uint8 or video.ndim not in (4, 5):
      raise errors.UserError(
        f"a video of type {video.dtype} and shape {video.shape} is none; give"
        " uint8 of [t h w 3] or [b t h w 3]"
      )
    clips = video[None] if video.ndim == 4 else video
    if not clips.size or clips.shape[-1] != 3:
      raise errors.UserError(
        f"a video of shape {video.shape} is none: it is empty, or not RGB"
      )
    height, width = clips.shape[2:4]
    affine = transforms.sample_affine(
      self._source, np.random.default_rng(0), height, width
    )

    def read(rows, indices):
      frames = clips[rows, indices]
      if (height, width) == (self.height, self.width):
        return frames
      return transforms.resize(frames, affine, self.height, self.width)

    times_s = np.arange(clips.shape[1]) / fps if fps else None
    return _Video(len(clips), clips.shape[1], times_s, read)

  def _of_file(self, path: pathlib.Path, fps: float | None) -> _Video:
    found: list[decoder.Video] = []

    def fetch(indices):
      def plan(video: decoder.Video) -> decoder.Request:
        found.append(video)
        rng = np.random.default_rng(0)
        _, box = video.cut(
          transforms.sample_affine(self._source, rng, video.height, video.width)
        )
        return decoder.Request(indices, box, self.height, self.width)

      try:
        return decoder.decode(str(path), plan, DECODE_TIMEOUT_S)[0]
      except source_lib.BadClipError as error:
        raise errors.UserError(
          f"{path} can't be read: {error}; name a video file"
        ) from error

    fetch(np.zeros(1, int))
    times_s = found[0].times_s
    if fps is None and not self._source.fps:
      shown = np.arange(0, len(times_s), self._source.stride)
    else:
      shown = _at_rate(times_s, self._source.fps if fps is None else fps)
    return _Video(
      1, len(shown), times_s[shown], lambda _, indices: fetch(shown[indices])
    )


def training_source(config: Config) -> Config:
  """The first source of a model's training, a copy.

  Of a model that was trained on images alone it has the size of those, and
  `DEFAULT_FRAMES` frames.
  """
  section = config.data if config.data.batch_size > 0 else config.images
  name = sorted(section.sources)[0]
  source = section.sources[name].copy_and_resolve_references()
  if source.num_frames == 1:
    with source.unlocked():
      source.num_frames = DEFAULT_FRAMES
  return source


def load(
  path: str | os.PathLike,
  which: str = "ema",
  step: int | None = None,
  kind: str = "checkpoint",
  seed: int = 0,
) -> VideoModel:
  """A trained model, ready to give features.

  Args:
    path: a work directory of the verb `train`, or one of its checkpoints.
    which: "ema", "params" or "ema/DECAY".
    step: which checkpoint, if `path` is not one itself; the last by default.
    kind: "checkpoint", or a control: "random", "isolated", "latents", "pixels".
    seed: of the parameters of kind "random".

  Raises:
    UserError: there is no such checkpoint or kind.
  """
  model = trained.load(os.fspath(path), which, step)
  return VideoModel(backbones.build(kind, model, seed), model.config)


def _batches(
  work: list[tuple[int, int]], size: int
) -> Iterator[list[tuple[int, int]]]:
  """Batches of one size: what is missing of the last one is a repetition."""
  if size < 1:
    raise errors.UserError(f"batch_size={size}: use 1 or more")
  size = min(size, len(work))
  for start in range(0, len(work), size):
    part = work[start : start + size]
    yield part + part[-1:] * (size - len(part))


def _at_rate(
  times_s: Float[np.ndarray, " n"], fps: float
) -> Int[np.ndarray, " t"]:
  """The frames that a viewer sees who looks `fps` times a second."""
  if fps <= 0:
    raise errors.UserError(f"fps={fps}: use more than 0 frames per second")
  seen_s = np.arange(0, times_s[-1] - times_s[0] + 1e-6, 1 / fps) + 1e-6
  return np.searchsorted(times_s - times_s[0], seen_s, side="right") - 1
