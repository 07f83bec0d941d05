"""Draws clips of any source with everything that is known about them.

  python -m vdr.main --config=configs/preview.py --workdir=runs/preview \
    --config.data.sources.main.path=data/physics

A folder of videos or images needs no labels:

  python -m vdr.main --config=configs/preview.py --workdir=runs/mine \
    --config.data.sources.main.kind=video_folder \
    --config.data.sources.main.path=videos

The work directory then holds

* `sheet.png`: a row for each clip with frames of it and its truth;
* `clips.gif` (or `.mp4`): all the clips, moving; not for images;
* `skipped.jsonl`: the clips that could not be read and why, if there are any.

The clips lie evenly over the source; in place of one that can't be read the
next one is drawn. Only those are read, so a large source is not checked.
"""

import dataclasses
import itertools
import json
import os
import pathlib

import ml_collections
import numpy as np
from jaxtyping import UInt8

from vdr import draw, fonts, media, page
from vdr.data import failures, schema, source
from vdr.runtime import errors, progress
from vdr.runtime import workdir as workdirs

PANEL_PX = 192  # four panels fill the width of a README
HOLD_S = 0.8  # the last frame stays, so that an animation has an end
MAX_BAD = 64  # a source that has nothing but bad clips is not read to its end
TITLES = ("label", "shape", "action")
# Dense truth: field, heading, colouring.
TRUTH = (
  ("depth_m", "depth", draw.colour_depth),
  ("normals", "normals", draw.colour_normals),
  ("segmentation", "objects", draw.colour_segments),
)


@dataclasses.dataclass(frozen=True)
class Clip:
  """One clip, ready to be laid out.

  Attributes:
    title: what it is called, in a few words.
    facts: what else there is to say, a paragraph each.
    video: its frames, enlarged, with boxes and tracks if it has them.
    truth: dense truth by heading, as clips of the same size.
  """

  title: str
  facts: tuple[str, ...]
  video: draw.Clip
  truth: dict[str, draw.Clip]


SECTIONS = ("data", "preview")  # of the config: they decide


def run(config: ml_collections.ConfigDict, workdir: str | os.PathLike) -> None:
  """Writes pictures of `config.data.sources` into the work directory.

  Raises:
    UserError: a source can't be opened, or none of the clips can be read.
  """
  # Opened first, so that a mistyped path does not take the work directory.
  sources = {
    name: source.open_source(cfg) for name, cfg in config.data.sources.items()
  }
  directory = workdirs.claim(workdir, config, SECTIONS)
  workdirs.remove_leftovers(directory)
  clips, bad = _read_all(sources, config.preview, config.seed)
  _write_skipped(directory / "skipped.jsonl", bad)
  if not clips:
    raise errors.UserError(
      f"nothing to draw: {len(bad)} clips were tried and none can be read"
      + (f"; the first, {bad[0].clip_id}: {bad[0].reason}" if bad else "")
    )
  _write_pictures(directory, clips, config.preview)


def _read_all(
  sources: dict[str, source.Source], cfg: ml_collections.ConfigDict, seed: int
) -> tuple[list[Clip], list[failures.Failure]]:
  """The clips to draw, and those that can't be read."""
  clips, bad, starts = [], [], {}
  for k, (name, opened) in enumerate(sources.items()):
    # Equal shares, at least one clip each; the first ones get what is left.
    share = max(1, (cfg.num_clips + len(sources) - 1 - k) // len(sources))
    starts[name] = _starts(len(opened), share)
  total = sum(map(len, starts.values()))
  with progress.bar(total, unit="clip", label="preview") as bar:
    for name, opened in sources.items():
      found, failed = _read(opened, name, starts[name], seed, bar)
      prefix = f"{name}: " if len(sources) > 1 else ""
      names = opened.class_names
      clips += [
        _make_clip(prefix, clip_id, example, names, cfg.scale)
        for clip_id, example in found
      ]
      bad += failed
  return clips, bad


def _starts(num_items: int, wanted: int) -> list[int]:
  """Items spread evenly, from the first one on; all, if there are no more."""
  wanted = min(wanted, num_items)
  return [k * num_items // wanted for k in range(wanted)]


def _read(
  opened: source.Source,
  name: str,
  starts: list[int],
  seed: int,
  bar: progress.Bar,
) -> tuple[list[tuple[str, schema.Example]], list[failures.Failure]]:
  """Reads these items; where one is bad, the next that is free."""
  found, bad, tried = [], [], set()
  n, planned = len(opened), set(starts)
  for start in starts:
    for index in itertools.chain(range(start, n), range(start)):
      if index in tried or (index != start and index in planned):
        continue
      if len(bad) >= max(MAX_BAD, len(starts)):
        return found, bad
      tried.add(index)
      # File names may hold bytes that are no text, which can't be printed.
      clip_id = opened.clip_id(index).encode(errors="replace").decode()
      try:
        example = opened.read(index, np.random.default_rng((seed, index)))
      except source.BadClipError as error:
        reason = str(error)
        bad.append(failures.Failure(name, index, clip_id, reason))
        print(f"skipped {clip_id}: {reason}")
        continue
      found.append((clip_id, example))
      break
    bar.advance()
  return found, bad


def _make_clip(
  prefix: str,
  clip_id: str,
  example: schema.Example,
  class_names: dict[str, tuple[str, ...]],
  scale: int,
) -> Clip:
  """Draws one example."""
  named = {}
  for field, names in class_names.items():
    if field in example and 0 <= example[field] < len(names):
      number = int(example[field])
      named[field] = fonts.label(names[number], number).replace("_", " ")
  title = ", ".join(named[field] for field in TITLES if field in named)
  facts = []
  if "caption" in example:
    facts.append(schema.untext(example["caption"]))
  if "camera_motion" in named and "caption" not in example:
    facts.append(f"camera: {named['camera_motion']}")
  small = [clip_id] if title else []
  if "depth_m" in example:
    depth_m = example["depth_m"]
    near_m, far_m = draw.depth_range(depth_m, depth_m > 0)
    small.append(f"depth {near_m:.1f} to {far_m:.1f} m")
  facts.append(", ".join(small))
  video = example["video"]
  scale = scale or max(1, PANEL_PX // video.shape[2])
  truth = {
    heading: draw.enlarge(colour(example[field]), scale)
    for field, heading, colour in TRUTH
    if field in example
  }
  drawn = _draw_overlays(draw.enlarge(video, scale), example, named)
  return Clip(prefix + (title or clip_id), tuple(facts), drawn, truth)


def _draw_overlays(
  video: draw.Clip, example: schema.Example, named: dict[str, str]
) -> draw.Clip:
  """The video with the boxes and tracks that the example has."""
  if "points_xy" in example:
    points_xy = example["points_xy"]
    colours = draw.track_colours(points_xy, example.get("points_object"))
    video = draw.draw_tracks(
      video, points_xy, example["points_visible"], colours
    )
  if "boxes_yxyx" in example:
    video = draw.draw_boxes(
      video,
      example["boxes_yxyx"],
      example["boxes_valid"],
      names=[named.get("shape", "")],  # that of object 0
    )
  return video


def _write_skipped(path: pathlib.Path, bad: list[failures.Failure]) -> None:
  """Lists the clips that could not be read; no file if there are none."""
  path.unlink(missing_ok=True)
  if bad:
    lines = [json.dumps(dataclasses.asdict(failure)) for failure in bad]
    workdirs.write_text(path, "\n".join(lines) + "\n")
    print(f"wrote {path}")


def _write_pictures(
  directory: pathlib.Path, clips: list[Clip], cfg: ml_collections.ConfigDict
) -> None:
  moving = _mosaic(clips, cfg.columns)
  still = len(moving) == 1
  path = directory / "sheet.png"
  media.write_png(path, moving[0] if still else _sheet(clips, cfg.sheet_frames))
  print(f"wrote {path}")
  for other in ("gif", "mp4"):  # an earlier start may have drawn the other
    if still or other != cfg.animation:
      (directory / f"clips.{other}").unlink(missing_ok=True)
  if still:
    print("no animation: every clip is a single picture")
    return
  path = directory / f"clips.{cfg.animation}"
  if cfg.animation == "gif":
    media.write_gif(path, moving, cfg.fps, HOLD_S)
  else:
    media.write_mp4(path, moving, cfg.fps)
  print(f"wrote {path}")


def _sheet(clips: list[Clip], sheet_frames: int) -> page.Picture:
  """A row for each clip: what it is, frames, and the truth of the last one."""
  kinds = [kind for _, kind, _ in TRUTH if any(kind in c.truth for c in clips)]
  longest = max(len(clip.video) for clip in clips)
  sheet_frames = min(sheet_frames, longest)
  rows, titles = [], []
  for clip in clips:
    frames = [clip.video[k] for k in _spread(len(clip.video), sheet_frames)]
    frames += [None] * (sheet_frames - len(frames))
    truth = [
      clip.truth[kind][-1] if kind in clip.truth else None for kind in kinds
    ]
    rows.append([*frames, *truth])
    unit = _text_unit(clip)
    lines = [(clip.title, 22 * unit, page.INK)]
    lines += [(fact, 17 * unit, page.FAINT_INK) for fact in clip.facts]
    titles.append(page.text_block(round(290 * unit), lines))
  headings = [""] * sheet_frames
  if all(len(clip.video) == longest for clip in clips):
    for j, k in enumerate(_spread(longest, sheet_frames)):
      headings[j] = f"frame {k + 1}"
  return page.contact_sheet(rows, titles, [*headings, *kinds])


def _spread(num_frames: int, wanted: int) -> list[int]:
  """Frames from the first to the last, none twice."""
  shown = np.linspace(0, num_frames - 1, wanted).round().astype(int)
  return list(dict.fromkeys(shown.tolist()))


def _mosaic(clips: list[Clip], columns: int) -> draw.Clip:
  """All clips, as many beside each other; below each one its first truth."""
  num_frames = max(len(clip.video) for clip in clips)
  has_truth = any(clip.truth for clip in clips)
  rows = []
  for first in range(0, len(clips), columns):
    chunk = clips[first : first + columns]
    labels, videos, truths = [], [], []
    for clip in chunk:
      video = _stretch(clip.video, num_frames)
      size = 17 * _text_unit(clip)
      line = (clip.title, size, page.INK)
      label = page.text_block(
        video.shape[2], [line], 0, max_lines=1, height=round(1.5 * size)
      )
      labels.append(label)
      videos.append(video)
      truth = next(iter(clip.truth.values()), None)
      truths.append(None if truth is None else _stretch(truth, num_frames))
    rows += [labels, videos, truths] if has_truth else [labels, videos]
  return page.grid(rows)


def _stretch(
  frames: UInt8[np.ndarray, "_ h w 3"], num_frames: int
) -> UInt8[np.ndarray, "_ h w 3"]:
  """The clip with its last frame repeated up to `num_frames`."""
  missing = num_frames - len(frames)
  return np.pad(frames, [(0, missing), (0, 0), (0, 0), (0, 0)], "edge")


def _text_unit(clip: Clip) -> float:
  """How much larger than usual text has to be beside the clip."""
  return max(0.7, clip.video.shape[2] / PANEL_PX)
