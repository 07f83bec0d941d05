"""Every task is drawn; the truth looks like itself, a mistake does not."""

import functools

import numpy as np
import pytest
from PIL import Image

from tests.tasks import batches
from vdr import predictions, strips, tasks

NAMES = tuple(tasks.TASKS)
SEEN = (5, 4, 4)  # feature frames, rows, columns


@functools.cache
def case(name):
  """A task, two clips for it, what is asked and what is right."""
  one = batches.make(name)
  targets = one.targets({k: v[:2] for k, v in batches.batch().items()})
  video = batches.batch()["video"][:2]
  if one.is_image:
    video = video[:, 8:9]
  return one, video, targets, batches.perfect(one, targets)


def pictures(folder):
  """All frames of all files, by name."""
  found = {}
  for path in sorted(folder.iterdir()):
    with Image.open(path) as file:
      frames = []
      for k in range(getattr(file, "n_frames", 1)):
        file.seek(k)
        frames.append(np.array(file.convert("RGB")))
    found[path.name] = np.stack(frames)
  return found


@pytest.fixture
def draw(tmp_path, monkeypatch):
  def run(name, outputs=None, label="a", **fields):
    if name not in ("pose", "points"):  # a quarter of the work; texts fit
      monkeypatch.setattr(strips, "SIDE_PX", 96)
    one, video, targets, perfect = case(name)
    folder = tmp_path / label
    answer = perfect if outputs is None else outputs
    reference = one.reference(targets)
    predictions.write(folder, one, video, targets, answer, reference, **fields)
    return pictures(folder)

  return run


@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_drawn_and_a_mistake_is_seen(name, draw):
  one, video, _, perfect = case(name)
  rng = np.random.default_rng(0)
  wrong = {
    k: (v + rng.normal(0, 1, np.shape(v))).astype(np.float32)
    for k, v in perfect.items()
  }
  right, other = draw(name, label="right"), draw(name, wrong, label="wrong")
  moves = not one.is_image and name != "pose"
  expected = [f"{name}.gif", f"{name}.png"] if moves else [f"{name}.png"]
  assert list(right) == list(other) == expected
  frames = {"depth": 5}.get(name, 17)
  for file, picture in right.items():
    assert len(picture) == (frames if file.endswith(".gif") else 1)
    assert min(picture.shape[1:3]) >= 96
    assert (picture != other[file]).mean() > 1e-3


def test_a_perfect_depth_is_coloured_as_the_truth(draw):
  picture = draw("depth")["depth.png"][0]
  # Cells of clip, true, predicted, error of the first frame, row for row.
  side, gap = strips.SIDE_PX, 4
  top = picture.shape[0] - 2 * (side + gap)
  left = picture.shape[1] - 8 * (side + gap)
  cells = [
    picture[top : top + side, x : x + side]
    for x in range(left, picture.shape[1] - side + 1, side + gap)
  ]
  assert len(cells) == 8
  for first in (0, 4):
    _, true, predicted, error = cells[first : first + 4]
    np.testing.assert_array_equal(true, predicted)
    assert (error != true).any() and error.max() < 60  # black, or the sky


@pytest.mark.parametrize("name", ["points", "boxes", "pose"])
def test_the_truth_is_drawn_whatever_is_said(name, draw):
  """What can't be drawn is left out, and the rest stays."""
  _, _, _, perfect = case(name)
  nothing = {k: np.full(np.shape(v), np.nan) for k, v in perfect.items()}
  bare = draw(name, nothing, label="nothing")[f"{name}.png"]
  said = draw(name, label="perfect")[f"{name}.png"]
  assert bare.shape == said.shape
  share = (bare != said).any(axis=-1).mean()
  assert 1e-4 < share < 0.1


@pytest.mark.parametrize(
  ("name", "num"), [("shape", 1), ("action", 1), ("depth", 80), ("boxes", 2)]
)
def test_attention_is_bright_where_the_weight_is(name, num, draw):
  one, _, targets, _ = case(name)
  if name == "boxes":
    num *= targets["asked"].shape[1]  # two tiles for each
  t, h, w = (1, 4, 4) if one.is_image else SEEN
  weights = np.zeros((2, num, t, h, w), np.float32)
  weights[..., t - 1, 3, 0] = 1.0
  found = draw(name, attention=weights)
  assert ("attention.gif" in found) != one.is_image
  picture = found["attention.png"][0].astype(int)
  yellow = picture[..., 0] - picture[..., 2] > 50
  assert yellow.mean() > 1e-3
  moved = np.roll(weights, 1, axis=-1)
  other = draw(name, attention=moved, label="b")["attention.png"][0]
  assert (other != picture).any()
  if not one.is_image:
    # The last feature frame stands for the last four pixel frames.
    bright = [
      ((f[..., 0].astype(int) - f[..., 2]) > 50).mean() > 1e-3
      for f in found["attention.gif"]
    ]
    assert bright == [False] * 13 + [True] * 4


def test_no_clips_make_no_pictures(tmp_path):
  one, video, targets, perfect = case("depth")
  predictions.write(tmp_path / "a", one, video[:0], targets, perfect, {})
  assert not (tmp_path / "a").exists()
