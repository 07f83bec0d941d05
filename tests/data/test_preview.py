"""The preview of a source whose truth is known, and of sources that break."""

import itertools
import json

import ml_collections
import numpy as np
import pytest
from PIL import Image

from configs import preview as preview_config
from tests.data import fakes
from vdr import fonts
from vdr.data import preview, schema, source
from vdr.runtime import errors

H, W, NUM_POINTS = 32, 48, 6


def _discs(index, num_frames):
  """Two discs over a ground plane; the nearer one moves to the right."""
  y, x = np.mgrid[0.5:H, 0.5:W]
  shape = (num_frames, H, W)
  video = np.full((*shape, 3), (90, 110, 120), np.uint8)
  segmentation = np.where(y < H / 4, 0, 1).astype(np.uint8)
  segmentation = np.tile(segmentation, (num_frames, 1, 1))
  ground_m = np.where(y < H / 4, 0, 8 * H / np.maximum(y, 1))
  depth_m = np.tile(ground_m, (num_frames, 1, 1)).astype(np.float32)
  boxes = np.zeros((3, num_frames, 4), np.float32)  # the third one is padding
  points = np.zeros((NUM_POINTS, num_frames, 2), np.float32)
  for t, (o, metres) in itertools.product(
    range(num_frames), [(1, 6.0), (0, 3.0)]
  ):
    r, cx, cy = 6, 10 + 1.5 * t * (o == 0) + index % 3, 16 + 4 * o
    inside = (x - cx) ** 2 + (y - cy) ** 2 < r**2
    video[t, inside] = (220, 160, 60) if o else (60, 90, 220)
    depth_m[t, inside], segmentation[t, inside] = metres, 2 + o
    boxes[o, t] = (cy - r) / H, (cx - r) / W, (cy + r) / H, (cx + r) / W
    points[o::2, t] = (cx / W, cy / H)
  return {
    "video": video,
    "depth_m": depth_m,
    "segmentation": segmentation,
    "normals": np.tile(np.float32([0, -1, 0]), (*shape, 1)),
    "boxes_yxyx": boxes,
    "boxes_valid": np.tile([[True], [True], [False]], num_frames),
    "points_xy": points,
    "points_visible": np.ones((NUM_POINTS, num_frames), bool),
    "points_object": np.int32([0, 1] * (NUM_POINTS // 2)),
    "shape": np.array(index % 2, np.int32),
    "action": np.array(-1, np.int32),
    "caption": schema.text("A disc moves to the right while another rests."),
  }


class FakeSource(fakes.Alone):
  """Discs; `path` says what is wrong with the source."""

  class_names = {"shape": ("disc", "other_disc"), "label": ("cats", "dogs")}

  def __init__(self, cfg):
    if cfg.path == "missing":
      raise errors.UserError("path 'missing' does not exist")
    self.fields = schema.resolve_fields(cfg.fields)
    self.num_frames = cfg.num_frames
    self.num_clips, self.bad = 40, ()
    self.known = tuple(schema.FIELDS)
    if cfg.path == "three_bad_of_six":
      self.num_clips, self.bad = 6, (0, 3, 5)
    elif cfg.path == "all_bad":
      self.num_clips, self.bad = 10**6, range(10**6)
    elif cfg.path == "some_bad":
      self.bad = (0, 1, 10, 39)
    elif cfg.path == "empty":
      self.num_clips = 0
    elif cfg.path == "no_truth":
      self.known = ("video",)
    self.read_items = []

  def __len__(self):
    return self.num_clips

  def clip_id(self, index):
    return f"clip/{index:03}"

  def read(self, index, rng):
    if index in self.bad:
      raise source.BadClipError("not a video")
    example = _discs(index, self.num_frames)
    example = {
      k: v for k, v in example.items() if k in self.fields and k in self.known
    }
    schema.check(example)
    return example


@pytest.fixture(autouse=True)
def fake(monkeypatch):
  monkeypatch.setattr(source, "open_source", FakeSource)


def _config(**overrides) -> ml_collections.ConfigDict:
  config = preview_config.get_config(None)
  main = {
    "num_frames": 5,
    **{k: v for k, v in overrides.items() if k in ("path", "num_frames")},
  }
  config.data.sources.main.update(main)
  rest = {k: v for k, v in overrides.items() if k not in main}
  config.preview.update({"num_clips": 4, "columns": 2, **rest})
  return config


def _picture(path):
  return np.array(Image.open(path).convert("RGB"))


def _skipped(directory):
  lines = (directory / "skipped.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_every_clip_is_on_the_sheet_and_moves(tmp_path, capsys):
  preview.run(_config(), tmp_path / "run")
  sheet = _picture(tmp_path / "run" / "sheet.png")
  # Heading column, three frames, depth, normals, objects; headings, four rows.
  assert sheet.shape[1] == 290 + 6 * 192 + 8 * 8
  assert sheet.shape[0] >= 4 * 128 + 6 * 8
  # All the columns are there in the last row, one after the other.
  row = sheet[-8 - 64]
  for j in range(6):
    left = 290 + 16 + j * 200
    assert (row[left : left + 192] < 255).any(-1).all()
    assert (row[left - 8 : left] == 255).all()
  with Image.open(tmp_path / "run" / "clips.gif") as animation:
    assert animation.n_frames == 5
    assert animation.size[0] == 2 * 192 + 3 * 8
  out = capsys.readouterr().out
  assert "sheet.png" in out and "clips.gif" in out and "skipped" not in out
  assert not (tmp_path / "run" / "skipped.jsonl").exists()


def test_mp4_takes_the_place_of_the_gif(tmp_path):
  preview.run(_config(animation="mp4"), tmp_path)
  names = sorted(path.name for path in tmp_path.glob("[!.]*"))
  assert names == ["clips.mp4", "config.json", "sheet.png"]


def test_the_same_again_gives_the_same_files(tmp_path):
  preview.run(_config(), tmp_path)
  before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
  preview.run(_config(), tmp_path)
  assert before == {p.name: p.read_bytes() for p in tmp_path.iterdir()}


def test_every_bad_clip_of_a_small_source_is_reported(tmp_path, capsys):
  preview.run(_config(path="three_bad_of_six", num_clips=8), tmp_path)
  assert [s["clip_index"] for s in _skipped(tmp_path)] == [0, 3, 5]
  assert _skipped(tmp_path)[1] == {
    "source": "main",
    "clip_index": 3,
    "clip_id": "clip/003",
    "reason": "not a video",
  }
  out = capsys.readouterr().out
  assert out.count("skipped clip/") == 3 and "clip/005: not a video" in out
  assert _picture(tmp_path / "sheet.png").shape[0] > 3 * 128


def test_the_next_clip_takes_the_place_of_a_bad_one():
  opened = FakeSource(_config(path="some_bad").data.sources.main)
  with preview.progress.bar(4, quiet=True) as bar:
    found, bad = preview._read(opened, "main", [0, 10, 20, 30], 0, bar)
  ids = [clip_id for clip_id, _ in found]
  assert ids == ["clip/002", "clip/011", "clip/020", "clip/030"]
  assert [failure.clip_index for failure in bad] == [0, 1, 10]


@pytest.mark.parametrize("num_clips", [1, 5, 6, 7, 100])
def test_no_clip_is_drawn_twice(num_clips):
  opened = FakeSource(_config(path="three_bad_of_six").data.sources.main)
  with preview.progress.bar(4, quiet=True) as bar:
    starts = preview._starts(len(opened), num_clips)
    found, _ = preview._read(opened, "main", starts, 0, bar)
  ids = [clip_id for clip_id, _ in found]
  assert len(set(ids)) == len(ids) == min(num_clips, 3)


@pytest.mark.parametrize(
  ("path", "message"),
  [
    ("missing", "does not exist"),
    ("all_bad", "64 clips were tried.*clip/000: not a video"),
    ("empty", "nothing to draw"),
  ],
)
def test_nothing_to_draw_is_an_error_for_people(tmp_path, path, message):
  with pytest.raises(errors.UserError, match=message):
    preview.run(_config(path=path), tmp_path / "run")
  if path == "missing":  # so that the mended command may use the directory
    assert not (tmp_path / "run").exists()


def test_pictures_have_no_animation(tmp_path, capsys):
  preview.run(_config(path="no_truth", num_frames=5), tmp_path / "a")
  assert (tmp_path / "a" / "clips.gif").exists()
  preview.run(_config(path="no_truth", num_frames=1), tmp_path / "b")
  names = {path.name for path in (tmp_path / "b").glob("[!.]*")}
  assert names == {"config.json", "sheet.png"}
  assert "no animation" in capsys.readouterr().out
  # Two rows of two, as in an animation.
  assert _picture(tmp_path / "b" / "sheet.png").shape[1] == 2 * 192 + 3 * 8


def test_more_frames_than_there_are(tmp_path):
  preview.run(_config(num_frames=5, sheet_frames=9), tmp_path)
  width = _picture(tmp_path / "sheet.png").shape[1]
  assert width == 290 + 8 * 192 + 10 * 8


def test_sources_share_the_clips(tmp_path):
  config = _config(num_clips=3)
  main = config.data.sources.main.to_dict()
  with config.unlocked():
    config.data.sources.other = {**main, "path": "no_truth", "num_frames": 1}
  preview.run(config, tmp_path)
  # 2 of one and 1 of the other; places without truth stay empty.
  sheet = _picture(tmp_path / "sheet.png")
  assert 3 * 128 < sheet.shape[0] < 4 * 140 + 60
  assert (sheet[-100:, -8 - 192 : -8] == 255).all()
  with Image.open(tmp_path / "clips.gif") as animation:
    assert animation.n_frames == 5


def test_a_name_that_no_font_has_is_its_number(monkeypatch):
  monkeypatch.setattr(fonts, "covers", lambda text: text.isascii())
  example = {
    "video": np.zeros((1, 8, 8, 3), np.uint8),
    "label": np.array(1, np.int32),
  }
  names = {"label": ("cats", "鵝")}
  assert preview._make_clip("", "a", example, names, 2).title == "class 1"


def test_labels_name_the_clips():
  example = {
    "video": np.zeros((1, 8, 8, 3), np.uint8),
    "label": np.array(1, np.int32),
    "shape": np.array(-1, np.int32),
  }
  names = FakeSource.class_names
  clip = preview._make_clip("", "a.mp4", example, names, 0)
  assert clip.title == "dogs" and clip.facts == ("a.mp4",)
  assert clip.video.shape == (1, 192, 192, 3)
  example["label"] = np.array(-1, np.int32)
  assert preview._make_clip("web: ", "a", example, names, 2).title == "web: a"
  example["label"] = np.array(7, np.int32)  # a name too few
  assert preview._make_clip("", "a", example, names, 2).title == "a"
