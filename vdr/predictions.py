"""What probes said of clips, beside the truth, as pictures.

`write` makes two files of a task, `TASK.png` with some frames and, of clips,
`TASK.gif`; and with weights of attention `attention.png` and `attention.gif`.
"""

import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from vdr import draw, media, page, panels
from vdr.metrics import pose as pose_metrics
from vdr.tasks import Task, boxes, classes, depth, points, pose

Arrays = Mapping[str, np.ndarray]
Clips = UInt8[np.ndarray, "b t h w 3"]

SIDE_PX = 192  # a frame is enlarged to that
MOST_POINTS = 20  # more could not be told apart
MOST_QUERIES = 3  # of one clip whose attention is drawn
LEAST_REACH = 0.2  # metres; else the noise of cameras at rest would fill maps
VIEW_DISTANCE = 5.0  # metres, of what outlines of views are drawn around
WORST_ERROR = 0.5  # relative error of depth that is brightest
FAST_FPS, SLOW_FPS = 6.0, 1.5  # of whole clips, and of a few of their frames
HOLD_S = 0.8


class _Drawn(NamedTuple):
  """One clip, ready to be laid out.

  Attributes:
    heading: what there is to say of it.
    strips: clips of equal length by what they show.
    frames: their numbers.
  """

  heading: page.Picture
  strips: dict[str, draw.Clip]
  frames: tuple[int, ...]


def write(
  folder: pathlib.Path,
  task: Task,
  video: Clips,
  targets: Arrays,
  outputs: Arrays,
  attention: Float[np.ndarray, "b q t2 h2 w2"] | None = None,
) -> None:
  """Draws one task.

  Args:
    folder: where files are written.
    task: the task.
    video: the clips, those of one frame where the task is asked of images.
    targets: of these clips, as `Task.score` takes them.
    outputs: likewise.
    attention: weights of feature tokens, of `probes.readout.attention`.
  """
  if not len(video):
    return
  folder.mkdir(parents=True, exist_ok=True)
  own = {k: np.asarray(v)[: len(video)] for k, v in targets.items()}
  said = {k: np.asarray(v)[: len(video)] for k, v in outputs.items()}
  drawn, note = _draw(task, video, own, said)
  _write(folder, task.name, f"{task.title}: truth and prediction", note, drawn)
  if attention is not None:
    note = (
      "Share of the probe's attention that each feature token gets, a mean over"
      " its heads, over the largest of the clip."
    )
    maps = list(_attention(task, video, own, np.asarray(attention)))
    title = f"{task.title}: where the probe looks"
    _write(folder, "attention", title, note, maps)


def _draw(
  task: Task, video: Clips, targets: Arrays, outputs: Arrays
) -> tuple[list[_Drawn], str]:
  """All clips of a task, and how to read them."""
  match task:
    case depth.Depth():
      note = (
        "Bright is near; one scale a clip, that of the truth. Error: relative,"
        f" black 0 to yellow {WORST_ERROR:.0%} and more."
      )
      return list(_depth(task, video, targets, outputs)), note
    case points.Points():
      note = (
        "White rings: where points are. Dots: where the probe says they are,"
        " joined by a line. Faint: occluded, or said to be."
      )
      return list(_points(task, video, targets, outputs)), note
    case boxes.Boxes():
      note = "White, thin: true boxes. In colour: predicted ones."
      return list(_boxes(task, video, targets, outputs)), note
    case pose.Pose():
      note = (
        "Grey: camera of the first frame. Dark: of the last one. Orange: as"
        " predicted. From above: where it went and looks, one scale for all."
        " Its view: the picture's outline, seen from the first camera."
      )
      return list(_pose(task, video, targets, outputs)), note
    case classes.Classes():
      note = "Green: the true class. Red: the likeliest one, where it is wrong."
      return list(_classes(task, video, targets, outputs)), note
  raise NotImplementedError(f"nobody has said how to draw {type(task)}")


def _depth(
  task: depth.Depth, video: Clips, targets: Arrays, outputs: Arrays
) -> Iterator[_Drawn]:
  near, far = depth.VALID_M
  scores = _scores(task, targets, outputs)
  for i, clip in enumerate(video):
    true_m, pred_m = targets["depth_m"][i], outputs["map"][i, ..., 0]
    valid = (true_m > near) & (true_m < far)
    range_m = draw.depth_range(true_m, valid)
    pred_m = np.where(pred_m <= near, np.float32(near), pred_m)  # the nearest
    error = np.abs(pred_m - true_m) / np.where(valid, true_m, 1.0)
    level = np.clip(np.nan_to_num(error, nan=1.0) / WORST_ERROR, 0, 1)
    worst = draw.colormap("inferno")[np.round(255 * level).astype(int)]
    pictures = {
      "clip": clip[list(task.frames)],
      "true": draw.colour_depth(true_m, valid, range_m),
      "predicted": draw.colour_depth(pred_m, valid, range_m),
      "error": np.where(valid[..., None], worst, draw.SKY),
    }
    lines = [scores[i], f"{range_m[0]:.1f} to {range_m[1]:.1f} m"]
    strips = {k: _enlarge(v) for k, v in pictures.items()}
    yield _Drawn(_heading(i, lines), strips, task.frames)


def _points(
  task: points.Points, video: Clips, targets: Arrays, outputs: Arrays
) -> Iterator[_Drawn]:
  scores = _scores(task, targets, outputs)
  said = _sigmoid(outputs["visible"]) * _sigmoid(outputs["certain"]) > 0.5
  for i, clip in enumerate(video):
    asked = _some(targets["query_visible"][i], MOST_POINTS)
    strip = panels.draw_answers(
      _enlarge(clip),
      targets["points_xy"][i][asked],
      targets["points_visible"][i][asked],
      outputs["points_xy"][i][asked],
      said[i][asked],
    )
    total = int(targets["query_visible"][i].sum())
    lines = [scores[i], f"{len(asked)} of {total} points"]
    yield _Drawn(_heading(i, lines), {"": strip}, _frames(clip))


def _boxes(
  task: boxes.Boxes, video: Clips, targets: Arrays, outputs: Arrays
) -> Iterator[_Drawn]:
  scores = _scores(task, targets, outputs)
  for i, clip in enumerate(video):
    valid, true = targets["boxes_valid"][i], targets["boxes_yxyx"][i]
    strip = draw.draw_boxes(
      _enlarge(clip), outputs["boxes_yxyx"][i], valid, width=2.2
    )
    white = np.full((len(true), 3), 255, np.uint8)
    strip = draw.draw_boxes(strip, true, valid, white, width=1.1)
    yield _Drawn(_heading(i, [scores[i]]), {"": strip}, _frames(clip))


def _pose(
  task: pose.Pose, video: Clips, targets: Arrays, outputs: Arrays
) -> Iterator[_Drawn]:
  true, pred = (x["pose"].astype(np.float64) for x in (targets, outputs))
  finite = np.all(np.isfinite(pred), axis=(1, 2))
  pred = np.where(finite[:, None, None], pred, np.nan)
  pred[finite, :, :3] = pose_metrics.project_rotation(pred[finite, :, :3])
  reach = max(LEAST_REACH, float(np.abs(true[..., 3]).max()))
  found = task.score(dict(outputs), dict(targets))
  for i, clip in enumerate(video):
    cameras = [(true[i], panels.TRUTH), (pred[i], panels.SAID)]
    above = panels.camera_map(SIDE_PX, cameras, reach)
    view = panels.camera_view(SIDE_PX, cameras, VIEW_DISTANCE)
    errors = [
      float(found[name].values()[i])
      for name in ("translation_error", "rotation_error_deg")
    ]
    lines = [
      f"true: {_motion(true[i])}",
      f"predicted: {_motion(pred[i])}",
      f"apart: {errors[0]:.2f} m, {errors[1]:.1f}°",
    ]
    strips = {
      "first frame": _enlarge(clip[:1]),
      "last frame": _enlarge(clip[-1:]),
      "from above": above[None],
      "its view": view[None],
    }
    yield _Drawn(_heading(i, lines, 2 * SIDE_PX), strips, (0,))


def _motion(pose_m: np.ndarray) -> str:
  """How far a camera went, and how far it turned."""
  if not np.isfinite(pose_m).all():
    return "not finite"
  cosine = np.clip((np.trace(pose_m[:, :3]) - 1) / 2, -1, 1)
  x, y, z = pose_m[:, 3] * [1, -1, 1] + 0.0  # no -0.00
  return (
    f"right {x:+.2f}, up {y:+.2f}, ahead {z:+.2f} m,"
    f" turned {np.rad2deg(np.arccos(cosine)):.1f}°"
  )


def _classes(
  task: classes.Classes, video: Clips, targets: Arrays, outputs: Arrays
) -> Iterator[_Drawn]:
  logits = outputs["logits"].astype(np.float64)
  shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
  shares = shares / shares.sum(axis=-1, keepdims=True)
  for i, clip in enumerate(video):
    label = int(targets[task.label][i])
    name = task.class_names[label] if label >= 0 else "unknown"
    bars = panels.bars(
      SIDE_PX, task.class_names, shares[i], label if label >= 0 else None
    )
    heading = page.grid([[_heading(i, [f"true: {name}"])], [bars]], gap=0)
    yield _Drawn(heading, {"": _enlarge(clip)}, _frames(clip))


def _attention(
  task: Task, video: Clips, targets: Arrays, attention: np.ndarray
) -> Iterator[_Drawn]:
  """Heat maps of some queries, with a ring where the asked thing is."""
  for i, clip in enumerate(video):
    strips: dict[str, draw.Clip] = {}
    t, seen = len(clip), attention.shape[2]
    # Feature frame 0 is frame 0, feature frame k the frames up to 4k.
    covering = np.ceil(np.arange(t) * (seen - 1) / max(t - 1, 1)).astype(int)
    places = _places(task, targets, i)
    if places is None:
      chosen = _some(np.ones(attention.shape[1], bool), MOST_QUERIES)
      weights, total = attention[i][chosen], attention.shape[1]
      names = [f"patch {k + 1} of {total}" for k in chosen.tolist()]
      names = names if total > 1 else ["attention"]
    else:
      asked, true_xy = places
      chosen = _some(asked, MOST_QUERIES)
      tiles = attention[i].reshape(len(asked), -1, *attention.shape[2:])
      weights = tiles.mean(axis=1)[chosen]
      kind = task.name.removesuffix("s").removesuffix("e")
      names = [f"{kind} {k}" for k in chosen.tolist()]
    largest = max(float(weights.max(initial=0)), 1e-9)
    for n, (name, own) in enumerate(zip(names, weights, strict=True)):
      strip = _enlarge(panels.heat(clip, own[covering] / largest))
      if places is not None:
        ring = places[1][chosen[n]][None]
        seen_all = np.zeros(ring.shape[:2], bool)
        nowhere = np.full_like(ring, np.nan)
        strip = panels.draw_answers(strip, ring, ~seen_all, nowhere, seen_all)
      strips[name] = strip
    yield _Drawn(_heading(i, []), strips, _frames(clip))


def _places(
  task: Task, targets: Arrays, i: int
) -> tuple[np.ndarray, np.ndarray] | None:
  """Which objects a clip is asked for, and where they are; None: none."""
  match task:
    case points.Points():
      return targets["query_visible"][i], targets["points_xy"][i]
    case boxes.Boxes():
      corners = targets["boxes_yxyx"][i]
      middle = (corners[..., :2] + corners[..., 2:]) / 2
      return targets["asked"][i], middle[..., ::-1]
  return None


def _scores(task: Task, targets: Arrays, outputs: Arrays) -> list[str]:
  """Each clip's own part in the primary metric."""
  name = task.primary
  values = task.score(dict(outputs), dict(targets))[name].values()
  return [
    f"{name} {value:.3f}" if np.isfinite(value) else "nothing to score"
    for value in values
  ]


def _sigmoid(x: np.ndarray) -> np.ndarray:
  return 0.5 + 0.5 * np.tanh(0.5 * x.astype(np.float64))


def _some(asked: np.ndarray, most: int) -> np.ndarray:
  """Numbers of what is asked for, spread over all where those are too many."""
  index = np.flatnonzero(asked)
  if len(index) <= most:
    return index
  return index[np.linspace(0, len(index) - 1, most).round().astype(int)]


def _frames(clip: draw.Clip) -> tuple[int, ...]:
  return tuple(range(len(clip)))


def _enlarge(clip: draw.Clip) -> UInt8[np.ndarray, "t h2 w2 3"]:
  return draw.enlarge(clip, -(-SIDE_PX // clip.shape[2]))


def _heading(i: int, lines: list[str], width: int = SIDE_PX) -> page.Picture:
  rest = [(line, 13.0, page.FAINT_INK) for line in lines]
  return page.text_block(width, [(f"clip {i}", 15.0, page.INK), *rest], 0)


def _write(
  folder: pathlib.Path, name: str, title: str, note: str, drawn: list[_Drawn]
) -> None:
  """The sheet, and what moves."""
  num_frames = len(drawn[0].frames)
  # Frame by frame: layouts of whole clips would copy hundreds of megabytes.
  moving = np.stack([_tiles(drawn, k) for k in range(num_frames)])
  moving = page.titled(moving, title, note)
  if num_frames == 1:
    media.write_png(folder / f"{name}.png", moving[0])
    return
  fps = FAST_FPS if num_frames > 8 else SLOW_FPS
  media.write_gif(folder / f"{name}.gif", moving, fps, HOLD_S)
  sheet = page.titled(_sheet(drawn), title, note)
  media.write_png(folder / f"{name}.png", sheet)


def _tiles(drawn: list[_Drawn], k: int) -> page.Picture:
  """One frame of all clips, each over what there is to say."""
  tiles = []
  for d in drawn:
    names = [_name(name, SIDE_PX) for name in d.strips]
    row = [strip[k] for strip in d.strips.values()]
    pictures = page.grid([names, row], 4)
    tiles.append(page.grid([[pictures], [page.grid([[d.heading]], 4)]], 0))
  columns = min(4, max(1, 8 // max(len(d.strips) for d in drawn)))
  return page.grid(
    [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
  )


@functools.cache
def _name(text: str, width: int) -> page.Picture:
  return page.text_block(width, [(text, 15.0, page.FAINT_INK)], 2, 1)


def _sheet(drawn: list[_Drawn]) -> page.Picture:
  """A row for each clip: what there is to say, then some of its frames."""
  most = max(len(d.strips) for d in drawn)
  frames = drawn[0].frames
  count = {1: 6, 2: 4}.get(most, 2)
  shown = np.linspace(0, len(frames) - 1, min(count, len(frames)))
  shown = sorted(set(shown.round().astype(int).tolist()))
  names = max((list(d.strips) for d in drawn), key=len)
  columns = [
    f"{name}, frame {frames[k]}".removeprefix(", ")
    for k in shown
    for name in names
  ]
  rows = []
  for d in drawn:
    strips = [*d.strips.values()]
    row = [
      strips[j][k] if j < len(strips) else None
      for k in shown
      for j in range(most)
    ]
    rows.append(row)
  return page.contact_sheet(rows, [d.heading for d in drawn], columns, 4)
