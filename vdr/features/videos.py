"""Features of arrays and video files of any length: `vdr.load`.

    model = vdr.load("runs/video")
    found = model.features("holiday.mp4", layers=8, noise_level=0.2)
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
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import numpy as np
from jaxtyping import Float, Int, UInt8

from vdr import trained
from vdr.data import decoder, transforms
from vdr.data import source as source_lib
from vdr.features import backbone as backbones
from vdr.features import inputs
from vdr.features.spec import FeatureSpec, Options
from vdr.runtime import errors

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

DECODE_TIMEOUT_S = 120.0  # of one batch of windows, and of a file's frame list
DEFAULT_FRAMES = 17  # of a window, for models that know images only
MAX_FPS = 1000.0  # that a file is read at


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
    video: inputs.Video,
    layers: inputs.Numbers | None = None,
    noise_level: inputs.Numbers | None = None,
    *,
    noise_levels: inputs.Numbers | None = None,
    log_snrs: inputs.Numbers | None = None,
    fps: inputs.Number | None = None,
    stride: int | None = None,
    batch_size: int = 4,
    **options: Unpack[Options],
  ) -> VideoFeatures:
    """The features of a video file, or of pixels.

    Args:
      video: a file, of an image maybe; or RGB pixels `[t h w 3]` of any size:
        uint8, other whole numbers 0 to 255, or floats in [0, 1], which are
        rounded to 8 bits. An array of NumPy, JAX or another library, or an
        iterable of frames. `[b t h w 3]`, or an iterable of clips that are
        alike, for several videos; `[h w 3]` for one picture.
      layers: 0 (embedded tokens) … depth, one or several; by default the one at
        two thirds of the depth.
      noise_level: 0 clean … 1 pure noise, one or several; by default 0.2. Both
        defaults are about where most tasks of the paper do well.
      noise_levels: another name of `noise_level`.
      log_snrs: one or several, instead.
      fps: frames per second that the model sees. A file is read at that rate
        (None: as in training); an array has it already.
      stride: frames from a window to the next, a multiple of 4; None: half a
        window, or a whole one where frames are passed alone.
      batch_size: windows that are computed at once.
      **options: further fields of `FeatureSpec`, see `Options`.

    Raises:
      UserError: the video can't be read, or the backbone can't do it.
    """
    spec = self._spec(layers, noise_level, noise_levels, log_snrs, options)
    fps = None if fps is None else inputs.rate(fps)
    batch_size = inputs.whole("batch_size", batch_size)
    axes = ("t", "h", "w", "d")
    path = inputs.file(video) if isinstance(video, str | os.PathLike) else None
    given = video if path is None else inputs.picture(path)
    if path is not None and given is None:
      opened = self._of_file(path, fps)
    else:
      clips, are_several = inputs.pixels(given)
      opened = self._of_array(clips, fps)
      axes = ("b", *axes) if are_several else axes
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
    layers: inputs.Numbers | None,
    noise_level: inputs.Numbers | None,
    noise_levels: inputs.Numbers | None,
    log_snrs: inputs.Numbers | None,
    options: Options,
  ) -> FeatureSpec:
    level, levels, snrs = (
      inputs.numbers(name, value, is_whole=False)
      for name, value in (
        ("noise_level", noise_level),
        ("noise_levels", noise_levels),
        ("log_snrs", log_snrs),
      )
    )
    if level and (levels or snrs):
      raise errors.UserError(
        f"noise_level={inputs.shown(noise_level)} is given and noise_levels or"
        " log_snrs, too; give one of them"
      )
    levels = level or levels
    for name, value in options.items():
      if name not in Options.__annotations__:
        raise errors.UserError(
          f"{name}={inputs.shown(value)}: features know no such option; there"
          f" are {', '.join(sorted(Options.__annotations__))}"
        )
    backbone = self.backbone
    chosen = inputs.numbers("layers", layers, is_whole=True)
    if not (levels or snrs) and backbone.network.default_level is None:
      levels = (0.2,)
    spec = FeatureSpec(
      layers=chosen or (backbone.two_thirds,),
      noise_levels=levels,
      log_snrs=snrs,
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
    stride = inputs.whole("stride", stride)
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

  def _of_array(
    self, clips: UInt8[np.ndarray, "b t h w 3"], fps: float | None
  ) -> _Video:
    height, width = clips.shape[2:4]
    affine = transforms.sample_affine(
      self._source, np.random.default_rng(0), height, width
    )

    def read(rows, indices):
      frames = clips[rows, indices]
      if (height, width) == (self.height, self.width):
        return frames
      return transforms.resize(frames, affine, self.height, self.width)

    times_s = None if fps is None else np.arange(clips.shape[1]) / fps
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
  path: str | os.PathLike[str],
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
  step = None if step is None else inputs.whole("step", step)
  seed = inputs.seed(seed)
  model = trained.load(path, which, step)
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
  if fps > MAX_FPS:
    raise errors.UserError(
      f"fps={fps}: a file is read at up to {MAX_FPS:.0f} frames per second"
    )
  seen_s = np.arange(0, times_s[-1] - times_s[0] + 1e-6, 1 / fps) + 1e-6
  return np.searchsorted(times_s - times_s[0], seen_s, side="right") - 1
