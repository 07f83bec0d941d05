"""The judge verb: it learns, keeps what it learned, and refuses the rest."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from configs import judge as judge_config
from tests.data import fakes
from vdr import judge_clips, train_judge
from vdr.data import source
from vdr.models import judge
from vdr.runtime import errors


class Bars(fakes.Alone):
  """A bright bar: where it is says the shape, where it goes the action."""

  class_names = {
    "shape": ("left", "right"),
    "action": ("up", "down"),
    "camera_motion": ("none",),
  }

  def __init__(self, cfg):
    self.cfg = cfg

  def __len__(self):
    return 64

  def clip_id(self, index):
    return f"{self.cfg.split}/{index}"

  def read(self, index, rng):
    if self.cfg.path == "broken":
      raise source.BadClipError("broken")
    rng = np.random.default_rng((index, self.cfg.split == "select"))
    shape, action, start = index % 2, index // 2 % 2, int(rng.integers(8))
    video = rng.integers(0, 60, (5, 8, 8, 3), dtype=np.uint8)
    found = {"video": video, "shape": shape, "action": action}
    boxes = np.zeros((1, 5, 4), np.float32)
    for t in range(5):
      row = (start + t * (1 - 2 * action)) % 8
      video[t, row, 4 * shape : 4 * shape + 4] = 255
      boxes[0, t] = [row / 8, shape / 2, (row + 1) / 8, (shape + 1) / 2]
    found |= {"camera_motion": 0, "boxes_yxyx": boxes}
    found |= {"boxes_valid": np.ones((1, 5), bool)}
    found["depth_m"] = np.full((5, 8, 8), 2, np.float32)
    kept = {*self.cfg.fields, "boxes_valid"}
    dtypes = dict.fromkeys(self.class_names, np.int32)
    return {
      k: np.asarray(v, dtypes.get(k)) for k, v in found.items() if k in kept
    }


@pytest.fixture(autouse=True)
def bars(monkeypatch):
  monkeypatch.setattr(source, "open_source", Bars)


def config(**fields):
  return base.override(
    judge_config.get_config("debug"),
    {
      "data.sources.main.num_frames": 5,
      "data.sources.main.height": 8,
      "data.sources.main.width": 8,
      "judge.num_clips": 64,
      "judge.test_clips": 64,
      "judge.shift_px": 0,
      "judge.frame_labels": ("shape",),
    }
    | {name.replace("__", "."): value for name, value in fields.items()},
  )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  path = tmp_path_factory.mktemp("judge") / "run"
  cfg = config(
    judge__num_steps=150,
    judge__batch_size=32,
    judge__learning_rate=1e-2,
    log__every_steps=50,
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(source, "open_source", Bars)
    train_judge.run(cfg, path)
  return cfg, path


def test_it_learns_a_toy_task(trained):
  _, path = trained
  scores = json.loads((path / "result.json").read_text())["scores"]
  assert scores["clips"]["action"]["accuracy"] > 0.75
  assert scores["clips"]["action"]["chance"] == 0.5
  assert scores["clips"]["shape"]["accuracy"] > 0.75
  assert scores["frames"]["shape"]["accuracy"] > 0.75


def test_its_file_says_what_it_is(trained):
  cfg, path = trained
  loaded, params, about = judge.load(path / judge.FILE_NAME)
  assert loaded.to_dict() == cfg.judge.to_dict()
  size = {"num_frames": 5, "height": 8, "width": 8}
  assert size.items() <= about.items()
  result = json.loads((path / "result.json").read_text())
  assert about["scores"] == result["scores"]
  clips, _ = judge_clips.read(cfg, "train", 0)
  found = judge.features(loaded, params, "clips", clips.video)
  np.testing.assert_allclose(np.mean(found, axis=0), 0, atol=1e-3)
  np.testing.assert_allclose(np.std(found, axis=0), 1, atol=1e-2)


def test_a_finished_work_directory_is_left_alone(trained, capsys):
  cfg, path = trained
  before = (path / judge.FILE_NAME).stat().st_mtime_ns
  train_judge.run(cfg, path)
  assert "is done" in capsys.readouterr().out
  assert (path / judge.FILE_NAME).stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_killed_run_begins_again_and_comes_to_the_same(tmp_path, monkeypatch):
  cfg = config(judge__num_clips=16)
  train_judge.run(cfg, tmp_path / "whole")

  def die(*unused):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(train_judge, "measure", die)
    with pytest.raises(KeyboardInterrupt):
      train_judge.run(cfg, tmp_path / "killed")
  assert not (tmp_path / "killed" / judge.FILE_NAME).exists()
  train_judge.run(cfg, tmp_path / "killed")
  hashes = [
    judge.load(tmp_path / name / judge.FILE_NAME)[2]["hash"]
    for name in ("whole", "killed")
  ]
  assert hashes[0] == hashes[1]
  steps = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in steps] == [1, 2]


def some_clips(labels, valid=True):
  n = len(labels)
  return judge_clips.Clips(
    jnp.zeros((n, 2, 8, 8, 3), jnp.uint8),
    {"action": jnp.asarray(labels, jnp.int32)},
    jnp.full((n, 2, 4), 0.5),
    jnp.full((n, 2), valid),
    jnp.ones((n, 2, 4, 4)),
  )


def test_losses_are_cross_entropies_and_weighted_errors():
  cfg = base.build(None, {}, judge__box_weight=2.0, judge__depth_weight=3.0)
  answers = {
    "action": jnp.array([[0.0, np.log(3.0)], [5.0, 0.0]]),
    "boxes": jnp.zeros((2, 8)),
    "depth": jnp.full((2, 32), 0.75),
  }
  found = train_judge.losses(cfg.judge, answers, some_clips([1, -1]))
  # The second clip's action is unknown; of the first 3 / 4 were sure.
  assert float(found["action"]) == pytest.approx(-np.log(0.75))
  assert float(found["boxes"]) == pytest.approx(2 * 0.5)
  assert float(found["depth"]) == pytest.approx(3 * 0.25)
  unseen = train_judge.losses(
    cfg.judge, answers, some_clips([-1, -1], valid=False)
  )
  assert float(unseen["action"]) == float(unseen["boxes"]) == 0


def test_clips_of_a_step_are_moved_and_their_colours_change():
  cfg = config(judge__shift_px=1, judge__frames_per_clip=3).judge
  rng = np.random.default_rng(0)
  clips = some_clips([0, 1, 0])._replace(
    video=rng.integers(0, 256, (3, 2, 8, 8, 3), dtype=np.uint8)
  )
  clips = jax.tree.map(jnp.asarray, clips)
  rows = jnp.array([2, 0])
  seen = set()
  for seed in range(5):
    some = train_judge.augmented(cfg, clips, rows, jax.random.key(seed))
    video = np.asarray(some["clips"].video)
    padded = np.pad(
      clips.video[rows], ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), "edge"
    )
    found = [
      (y, x, *order)
      for y in range(3)
      for x in range(3)
      for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1))
      + ((2, 1, 0),)
      if np.array_equal(
        padded[:, :, y : y + 8, x : x + 8][..., list(order)], video
      )
    ]
    assert len(found) == 1
    seen.add(found[0])
    frames = np.asarray(some["frames"].video)
    assert frames.shape == (6, 1, 8, 8, 3)
    for i, frame in enumerate(frames):
      assert any(np.array_equal(frame[0], x) for x in video[i % 2])
  assert len(seen) > 2


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(judge__features=12), "multiple of 8"),
    (dict(judge__clip_labels=("label",)), "have no 'label'"),
    (dict(data__sources__main__path="broken"), "can be read|could not|can't"),
  ],
)
def test_what_can_not_be_trained_is_refused(fields, message, tmp_path):
  with pytest.raises(errors.UserError, match=message):
    train_judge.run(config(**fields), tmp_path / "no")
