"""What probes said of clips, beside the truth, as pictures.

`write` makes two files of a task, `TASK.png` with some frames and, of clips,
`TASK.gif`; and with weights of attention `attention.png` and `attention.gif`.
"""

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float, UInt8

from vdr import draw, fonts, page, panels, strips
from vdr.metrics import pose as pose_metrics
from vdr.tasks import Task, boxes, classes, depth, points, pose
from vdr.tasks.task import Scores

Arrays = Mapping[str, np.ndarray]
Clips = UInt8[np.ndarray, "b t h w 3"]

MOST_POINTS = 20  # more could not be told apart
MOST_QUERIES = 3  # of one clip whose attention is drawn
MOST_MAPS = 4  # clips whose attention is drawn
LEAST_REACH = 0.2  # metres; else the noise of cameras at rest would fill maps
VIEW_DISTANCE = 5.0  # metres, of what outlines of views are drawn around
WORST_ERROR = 0.5  # relative error of depth that is brightest


def write(
  folder: pathlib.Path,
  task: Task,
  video: Clips,
  targets: Arrays,
  outputs: Arrays,
  reference: Arrays,
  attention: Float[np.ndarray, "b q t2 h2 w2"] | None = None,
) -> None:
  """Draws one task.

  Args:
    folder: where files are written.
    task: the task.
    video: the clips, those of one frame where the task is asked of images.
    targets: of these clips, as `Task.score` takes them.
    outputs: likewise.
    reference: likewise.
    attention: weights of feature tokens, of `probes.readout.attention`.
  """
  if not len(video):
    return
  folder.mkdir(parents=True, exist_ok=True)
  own = {k: np.asarray(v)[: len(video)] for k, v in targets.items()}
  said = {k: np.asarray(v)[: len(video)] for k, v in outputs.items()}
  scores = task.score(said, own, dict(reference))
  drawn, note = _draw(task, video, own, said, scores)
  strips.write(
    folder, task.name, f"{task.title}: truth and prediction", note, drawn
  )
  if attention is not None:
    note = (
      "Share of the probe's attention that each feature token gets, a mean over"
      " its heads, over the largest of the clip."
    )
    few = video[:MOST_MAPS]
    maps = list(_attention(task, few, own, np.asarray(attention)))
    title = f"{task.title}: where the probe looks"
    strips.write(folder, "attention", title, note, maps)


def _draw(
  task: Task,
  video: Clips,
  targets: Arrays,
  outputs: Arrays,
  scores: Scores,
) -> tuple[list[strips.Row], str]:
  """All clips of a task, and how to read them."""
  parts = _parts(task.primary, scores)
  match task:
    case depth.Depth():
      note = (
        "Bright is near; one scale a clip, that of the truth. Error: relative,"
        f" black 0 to yellow {WORST_ERROR:.0%} and more."
      )
      return list(_depth(task, video, targets, outputs, parts)), note
    case points.Points():
      note = (
        "White rings: where points are. Dots: where the probe says they are,"
        " joined by a line. Faint: occluded, or said to be."
      )
      return list(_points(video, targets, outputs, parts)), note
    case boxes.Boxes():
      note = "White, thin: true boxes. In colour: predicted ones."
      return list(_boxes(video, targets, outputs, parts)), note
    case pose.Pose():
      note = (
        "Grey: camera of the first frame. Dark: of the last one. Orange: as"
        " predicted. From above: where it went and looks, one scale for all."
        " Its view: the picture's outline, seen from the first camera."
      )
      return list(_pose(video, targets, outputs, scores)), note
    case classes.Classes():
      note = "Green: the true class. Red: the likeliest one, where it is wrong."
      return list(_classes(task, video, targets, outputs)), note
  raise NotImplementedError(f"nobody has said how to draw {type(task)}")


def _depth(
  task: depth.Depth,
  video: Clips,
  targets: Arrays,
  outputs: Arrays,
  parts: list[str],
) -> Iterator[strips.Row]:
  near, far = depth.VALID_M
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
    lines = [parts[i], f"{range_m[0]:.1f} to {range_m[1]:.1f} m"]
    shown = {k: strips.enlarge(v) for k, v in pictures.items()}
    yield strips.Row(_heading(i, lines), shown, task.frames)


def _points(
  video: Clips,
  targets: Arrays,
  outputs: Arrays,
  parts: list[str],
) -> Iterator[strips.Row]:
  said = _sigmoid(outputs["visible"]) * _sigmoid(outputs["certain"]) > 0.5
  for i, clip in enumerate(video):
    asked = _some(targets["query_visible"][i], MOST_POINTS)
    strip = panels.draw_answers(
      strips.enlarge(clip),
      targets["points_xy"][i][asked],
      targets["points_visible"][i][asked],
      outputs["points_xy"][i][asked],
      said[i][asked],
    )
    total = int(targets["query_visible"][i].sum())
    lines = [parts[i], f"{len(asked)} of {total} points"]
    yield strips.Row(_heading(i, lines), {"": strip}, _frames(clip))


def _boxes(
  video: Clips,
  targets: Arrays,
  outputs: Arrays,
  parts: list[str],
) -> Iterator[strips.Row]:
  for i, clip in enumerate(video):
    valid, true = targets["boxes_valid"][i], targets["boxes_yxyx"][i]
    strip = draw.draw_boxes(
      strips.enlarge(clip), outputs["boxes_yxyx"][i], valid, width=2.2
    )
    white = np.full((len(true), 3), 255, np.uint8)
    strip = draw.draw_boxes(strip, true, valid, white, width=1.1)
    yield strips.Row(_heading(i, [parts[i]]), {"": strip}, _frames(clip))


def _pose(
  video: Clips, targets: Arrays, outputs: Arrays, scores: Scores
) -> Iterator[strips.Row]:
  true, pred = (x["pose"].astype(np.float64) for x in (targets, outputs))
  finite = np.all(np.isfinite(pred), axis=(1, 2))
  pred = np.where(finite[:, None, None], pred, np.nan)
  pred[finite, :, :3] = pose_metrics.project_rotation(pred[finite, :, :3])
  reach = max(LEAST_REACH, float(np.abs(true[..., 3]).max()))
  for i, clip in enumerate(video):
    cameras = [(true[i], panels.TRUTH), (pred[i], panels.SAID)]
    above = panels.camera_map(strips.SIDE_PX, cameras, reach)
    view = panels.camera_view(strips.SIDE_PX, cameras, VIEW_DISTANCE)
    errors = [
      float(scores[name].values()[i])
      for name in ("translation_error", "rotation_error_deg")
    ]
    lines = [
      f"true: {_motion(true[i])}",
      f"predicted: {_motion(pred[i])}",
      f"apart: {errors[0]:.2f} m, {errors[1]:.1f}°",
    ]
    shown = {
      "first frame": strips.enlarge(clip[:1]),
      "last frame": strips.enlarge(clip[-1:]),
      "from above": above[None],
      "its view": view[None],
    }
    yield strips.Row(_heading(i, lines, 2 * strips.SIDE_PX), shown, (0,))


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
) -> Iterator[strips.Row]:
  logits = outputs["logits"].astype(np.float64)
  shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
  shares = shares / shares.sum(axis=-1, keepdims=True)
  for i, clip in enumerate(video):
    label = int(targets[task.label][i])
    name = "unknown"
    if label >= 0:
      name = fonts.label(task.class_names[label], label)
    bars = panels.bars(
      strips.SIDE_PX, task.class_names, shares[i], label if label >= 0 else None
    )
    heading = page.grid([[_heading(i, [f"true: {name}"])], [bars]], gap=0)
    yield strips.Row(heading, {"": strips.enlarge(clip)}, _frames(clip))


def _attention(
  task: Task, video: Clips, targets: Arrays, attention: np.ndarray
) -> Iterator[strips.Row]:
  """Heat maps of some queries, with a ring where the asked thing is."""
  for i, clip in enumerate(video):
    shown: dict[str, draw.Clip] = {}
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
      strip = strips.enlarge(panels.heat(clip, own[covering] / largest))
      if places is not None:
        ring = places[1][chosen[n]][None]
        seen_all = np.zeros(ring.shape[:2], bool)
        nowhere = np.full_like(ring, np.nan)
        strip = panels.draw_answers(strip, ring, ~seen_all, nowhere, seen_all)
      shown[name] = strip
    yield strips.Row(_heading(i, []), shown, _frames(clip))


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


def _parts(name: str, scores: Scores) -> list[str]:
  """Each clip's own part in a metric."""
  return [
    f"{name} {value:.3f}" if np.isfinite(value) else "nothing to score"
    for value in scores[name].values()
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


def _heading(i: int, lines: list[str], width: int = 0) -> page.Picture:
  return strips.heading(f"clip {i}", lines, width)
