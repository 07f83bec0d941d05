"""The tokenizer verb: files, scores, refusals; a kill changes nothing."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import tokenizer as tokenizer_config
from tests.data import fakes
from vdr import train_tokenizer
from vdr.data import source
from vdr.models import tokenizer
from vdr.runtime import errors


class Waves(fakes.Alone):
  """Clips of coloured waves that move; `path` says what is wrong."""

  class_names: dict[str, tuple[str, ...]] = {}

  def __init__(self, cfg):
    self.cfg = cfg

  def __len__(self):
    return 12

  def clip_id(self, index):
    return f"{self.cfg.split}/{index}"

  def read(self, index, rng):
    if self.cfg.path == "broken" or (self.cfg.path == "holes" and index == 3):
      raise source.BadClipError("broken")
    seed = index + 100 * (self.cfg.split == "select")
    rng = np.random.default_rng(seed)
    t, y, x = np.mgrid[: self.cfg.num_frames, :16, :16]
    waves = [
      np.sin(rng.normal() * x + rng.normal() * y + rng.normal() * t + k)
      for k in range(3)
    ]
    video = np.stack(waves, axis=-1) * 100 + 128
    return {"video": video.astype(np.uint8)}


@pytest.fixture(autouse=True)
def waves(monkeypatch):
  monkeypatch.setattr(source, "open_source", Waves)


def config(variant="debug", **overrides):
  cfg = tokenizer_config.get_config(variant)
  fields = {
    "tokenizer.conv.width": 4,
    "tokenizer.channels": 8,
    "tokenizer.fit_clips": 12,
    "tokenizer.evaluation.num_clips": 6,
    "tokenizer.evaluation.drawn_clips": 2,
    "data.batch_size": 4,
    "data.sources.main.num_frames": 5,
  }
  cfg.update_from_flattened_dict(fields | overrides)
  return cfg


def test_a_patch_tokenizer_is_fitted_measured_and_drawn(tmp_path, capsys):
  cfg = config("local")
  train_tokenizer.run(cfg, tmp_path)
  loaded_cfg, params = tokenizer.load(tmp_path / "tokenizer.npz")
  assert loaded_cfg.to_dict() == cfg.tokenizer.to_dict()
  held_out = Waves(cfg.data.sources.main)
  held_out.cfg = cfg.data.sources.main.copy_and_resolve_references()
  with held_out.cfg.unlocked():
    held_out.cfg.split = "select"
  video = np.stack([held_out.read(i, None)["video"] for i in range(6)])
  latents = tokenizer.encode(loaded_cfg, params, video).mean
  pred = np.asarray(tokenizer.decode(loaded_cfg, params, latents), np.float64)
  error = np.clip(pred, -1, 1) - tokenizer.to_unit(video)
  psnr = 10 * np.log10(4 / (error**2).mean(axis=(2, 3, 4)))
  result = json.loads((tmp_path / "result.json").read_text())
  scores = result["scores"]
  assert scores["num_clips"] == 6
  assert scores["psnr_first_db"] == pytest.approx(psnr[:, 0].mean(), abs=1e-3)
  assert scores["psnr_later_db"] == pytest.approx(psnr[:, 1:].mean(), abs=1e-3)
  assert 0 < scores["ssim_later"] <= scores["ssim_first"] <= 1
  with Image.open(tmp_path / "reconstructions.png") as picture:
    assert picture.height > 2 * 3 * 96  # three rows for each clip
  assert "PSNR" in capsys.readouterr().out


def test_a_finished_work_directory_is_left_alone(tmp_path, capsys):
  train_tokenizer.run(config("local"), tmp_path)
  before = (tmp_path / "tokenizer.npz").stat().st_mtime_ns
  capsys.readouterr()
  train_tokenizer.run(config("local"), tmp_path)
  assert "is done" in capsys.readouterr().out
  assert (tmp_path / "tokenizer.npz").stat().st_mtime_ns == before


def test_clips_that_can_not_be_read_are_left_out(tmp_path):
  fields = {"data.sources.main.path": "holes", "data.max_bad_share": 1.0}
  train_tokenizer.run(config("local", **fields), tmp_path)
  scores = json.loads((tmp_path / "result.json").read_text())["scores"]
  assert scores["num_clips"] == 6
  assert scores["psnr_first_db"] > 10  # a row of zeros would come back whole


def test_images_alone_have_no_scores_of_later_frames(tmp_path, monkeypatch):
  monkeypatch.setattr(
    train_tokenizer,
    "make_step",
    lambda config: lambda state, *rest: (state, {"loss": jnp.float32(1)}),
  )
  train_tokenizer.run(config(**{"data.sources.main.num_frames": 1}), tmp_path)
  scores = json.loads((tmp_path / "result.json").read_text())["scores"]
  assert "psnr_first_db" in scores
  assert "psnr_later_db" not in scores


TRAINING = {
  "tokenizer.training.num_steps": 20,
  "tokenizer.training.save_every_steps": 8,
}


# A step takes long to compile for a CPU, however small the network.
compiles = pytest.mark.slow


@pytest.fixture(scope="module")
def step():
  """The step of `TRAINING`, compiled once for all tests."""
  return train_tokenizer.make_step(config(**TRAINING))


@compiles
def test_a_critic_is_trained_along_and_kept(tmp_path):
  fields = {
    "tokenizer.training.num_steps": 3,
    "tokenizer.loss.adversarial": 0.1,
    "tokenizer.loss.critic_width": 4,
  }
  cfg = config(**fields)
  before = train_tokenizer.init_state(cfg, jax.random.key(0))["critic"]
  train_tokenizer.run(cfg, tmp_path)
  cfg.tokenizer.loss.critic_path = str(tmp_path / "critic.npz")
  after = train_tokenizer.init_state(cfg, jax.random.key(0))["critic"]
  moved = jax.tree.map(
    lambda a, b: bool(jnp.any(a != b)), before["params"], after["params"]
  )
  assert all(jax.tree.leaves(moved))


class Stopped(Exception):
  pass


@compiles
def test_a_killed_training_goes_on_to_the_same_end(tmp_path, monkeypatch, step):
  monkeypatch.setattr(train_tokenizer, "make_step", lambda config: step)
  monkeypatch.setattr(
    train_tokenizer, "_evaluate", lambda *args: {"num_clips": 0}
  )
  cfg = config(**TRAINING)
  train_tokenizer.run(cfg, tmp_path / "whole")
  save = train_tokenizer.save_state

  def save_and_stop(path, state, *rest):
    save(path, state, *rest)
    if int(state["step"]) == 8:
      raise Stopped

  monkeypatch.setattr(train_tokenizer, "save_state", save_and_stop)
  with pytest.raises(Stopped):
    train_tokenizer.run(cfg, tmp_path / "cut")
  assert not (tmp_path / "cut" / "tokenizer.npz").exists()
  train_tokenizer.run(cfg, tmp_path / "cut")
  assert_same_tokenizers(tmp_path / "whole", tmp_path / "cut")
  _, params = tokenizer.load(tmp_path / "cut" / "tokenizer.npz")
  latents = np.concatenate(
    [
      tokenizer.normalise(
        params,
        jax.jit(lambda v: tokenizer.encode(cfg.tokenizer, params, v).mean)(
          np.stack([Waves(cfg.data.sources.main).read(i, None)["video"]])
        ),
      )
      for i in range(12)
    ]
  )
  for frames in (latents[:, :1], latents[:, 1:]):
    np.testing.assert_allclose(frames.mean(axis=(0, 1, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(frames.std(axis=(0, 1, 2, 3)), 1, atol=1e-3)


def assert_same_tokenizers(first, second):
  one, other = (dict(np.load(x / "tokenizer.npz")) for x in (first, second))
  assert one.keys() == other.keys()
  for name, value in one.items():
    np.testing.assert_array_equal(other[name], value, err_msg=name)


@compiles
class TestTheStep:
  def clips(self, n=4):
    waves = Waves(config().data.sources.main)
    return np.stack([waves.read(i, None)["video"] for i in range(n)])

  def test_it_compiles_once_and_learns(self, step):
    before, losses = step._cache_size(), []
    state = train_tokenizer.init_state(config(**TRAINING), jax.random.key(0))
    for _ in range(20):
      state, means = step(
        state, self.clips(), np.ones(4, bool), jax.random.key(1)
      )
      losses.append(float(means["l2"]))
    assert step._cache_size() <= before + 1
    assert losses[-1] < 0.6 * losses[0]
    assert int(state["step"]) == 20

  def test_a_row_of_padding_changes_nothing(self, step):
    video, found = self.clips(), []
    for other in (0, 255):
      video[1] = other
      state = train_tokenizer.init_state(config(**TRAINING), jax.random.key(0))
      valid = np.array([True, False, True, True])
      state, means = step(state, video, valid, jax.random.key(1))
      found.append((jax.device_get(state["model"]), float(means["loss"])))
    jax.tree.map(np.testing.assert_array_equal, *(x for x, _ in found))
    assert found[0][1] == found[1][1]


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch):
  monkeypatch.setattr(
    train_tokenizer,
    "make_step",
    lambda config: lambda state, *rest: (state, {"loss": jnp.float32(np.nan)}),
  )
  fields = TRAINING | {"tokenizer.training.save_every_steps": 1}
  with pytest.raises(errors.UserError, match="loss is nan at step 1"):
    train_tokenizer.run(config(**fields), tmp_path)
  assert not (tmp_path / "training.npz").exists()


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"optimizer.ema_decays": (0.9, 0.99)}, "one average"),
    ({"optimizer.accumulation_steps": 2}, "accumulation_steps=2"),
    ({"data.sources.main.num_frames": 6}, "6 frames"),
    (
      {"data.sources.main.path": "broken", "data.max_bad_share": 1.0},
      "none of 12 clips.*can be read",
    ),
  ],
)
def test_what_can_not_be_done_is_refused(fields, message, tmp_path):
  with pytest.raises(errors.UserError, match=message):
    train_tokenizer.run(config("local", **fields), tmp_path / "x")


class TestStateFiles:
  def like(self):
    return {"model": {"a": np.arange(3.0)}, "step": np.int32(4)}

  def test_what_is_saved_is_loaded(self, tmp_path):
    path = tmp_path / "training.npz"
    train_tokenizer.save_state(path, self.like(), {"position": 7}, 1.5)
    like = jax.tree.map(np.zeros_like, self.like())
    state, data, seconds = train_tokenizer.load_state(path, like)
    jax.tree.map(np.testing.assert_array_equal, state, self.like())
    assert (data, seconds) == ({"position": 7}, 1.5)

  def test_a_damaged_file_and_another_network_are_refused(self, tmp_path):
    path = tmp_path / "training.npz"
    train_tokenizer.save_state(path, self.like(), {}, 0.0)
    other = self.like() | {"model": {"a": np.zeros(4)}}
    with pytest.raises(errors.UserError, match="another network"):
      train_tokenizer.load_state(path, other)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(errors.UserError, match="delete it"):
      train_tokenizer.load_state(path, self.like())


@pytest.mark.slow
def test_sigkill_in_a_shell_changes_nothing(tmp_path):
  """Killed at a random moment of training, and started again."""
  root = pathlib.Path(__file__).resolve().parents[1]

  def start(workdir):
    return subprocess.Popen(
      [
        sys.executable,
        "-m",
        "vdr.main",
        f"--config={root}/configs/tokenizer.py:debug",
        f"--workdir={workdir}",
        "--config.tokenizer.training.num_steps=30",
        "--config.tokenizer.training.save_every_steps=1",
      ],
      cwd=root,
      stderr=subprocess.DEVNULL,
    )

  assert start(tmp_path / "whole").wait() == 0
  process = start(tmp_path / "cut")
  while not (tmp_path / "cut" / "training.npz").exists():
    assert process.poll() is None
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  assert not (tmp_path / "cut" / "tokenizer.npz").exists()
  assert start(tmp_path / "cut").wait() == 0
  assert_same_tokenizers(tmp_path / "whole", tmp_path / "cut")
