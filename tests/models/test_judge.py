"""The judge's network: its convolutions, its file, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vdr.models import judge, layers
from vdr.runtime import errors

QUESTIONS = {"frames": {"shape": 3}, "clips": {"action": 5, "boxes": 20}}
SHAPE = (5, 8, 12)


@pytest.fixture(scope="module")
def cfg():
  return base.build(None, {}, judge__width=4, judge__features=16).judge


@pytest.fixture(scope="module")
def params(cfg):
  return judge.init(cfg, QUESTIONS, SHAPE, jax.random.key(0))


@pytest.fixture(scope="module")
def apply(cfg):
  """`judge.apply`, compiled."""
  run = {
    kind: jax.jit(lambda params, x, k=kind: judge.apply(cfg, params, k, x))
    for kind in judge.KINDS
  }
  return lambda params, kind, x: run[kind](params, x)


@pytest.fixture(scope="module")
def features(cfg):
  """`judge.features` of clips, compiled."""
  return jax.jit(lambda params, x: judge.features(cfg, params, "clips", x))


@pytest.fixture(scope="module")
def video():
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (3, *SHAPE, 3), dtype=np.uint8)


def test_features_and_answers_of_clips_and_of_frames(apply, params, video):
  found, answers = apply(params, "clips", video)
  assert found.shape == (3, 16)
  assert {k: x.shape for k, x in answers.items()} == {
    "action": (3, 5),
    "boxes": (3, 20),
  }
  found, answers = apply(params, "frames", video[:, 2:3])
  assert found.shape == (3, 16) and answers["shape"].shape == (3, 3)


def test_a_clip_s_features_are_its_own(features, params, video):
  both = features(params, video)
  alone = features(params, np.repeat(video[1:2], 3, axis=0))[:1]
  np.testing.assert_allclose(both[1:2], alone, atol=1e-5)
  assert np.abs(both[0] - both[1]).max() > 1e-2


def test_the_order_of_frames_matters(features, params, video):
  there = features(params, video)
  back = features(params, video[:, ::-1])
  assert np.abs(there - back).max() > 1e-2


def test_features_are_brought_to_unit_scale(apply, features, params, video):
  found, _ = apply(params, "clips", video)
  mean, std = jnp.arange(16.0), jnp.full(16, 2.0)
  scaled = params | {"clips": params["clips"] | {"mean": mean, "std": std}}
  np.testing.assert_allclose(
    features(scaled, video),
    (np.asarray(found) - np.arange(16)) / 2,
    rtol=1e-5,
  )


def test_neighbours_in_time():
  x = jnp.arange(1.0, 5)[None, :, None, None, None]
  found = np.asarray(judge.in_time(x))[0, :, 0, 0]
  assert found.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]]


def test_patches_hold_means_and_differences():
  video = np.zeros((1, 5, 4, 8, 3), np.float32)
  video[0, :, 1, 6, 2] = [0.5, 0.1, 0.2, 0.3, 0.4]
  found = np.asarray(judge.patches(jnp.asarray(video), judge.TIME))
  assert found.shape == (1, 2, 1, 2, 5 * 4 * 4 * 3)
  # The pixel in row 1 and column 2 of the second patch, blue.
  place = found[0, :, 0, 1].reshape(2, 5, 4, 4, 3)[:, :, 1, 2, 2]
  np.testing.assert_allclose(place[0], [0.5, 0, 0, 0, 0], atol=1e-6)
  differences = judge.GAIN * np.array([-0.15, -0.05, 0.05, 0.15])
  np.testing.assert_allclose(place[1], [0.25, *differences], atol=1e-6)
  assert np.count_nonzero(found) == 1 + 5


def test_its_file_brings_it_back(cfg, features, params, video, tmp_path):
  file = tmp_path / judge.FILE_NAME
  judge.save(file, cfg, params, {"height": 8, "scores": {"clips": {}}})
  loaded_cfg, loaded, about = judge.load(file)
  assert loaded_cfg.to_dict() == cfg.to_dict()
  assert about["height"] == 8 and len(about["hash"]) == 16
  np.testing.assert_array_equal(
    features(params, video),
    features(loaded, video),
  )


def test_a_file_that_is_none_is_told(cfg, params, tmp_path):
  with pytest.raises(errors.UserError, match="is no judge.*configs/judge.py"):
    judge.load(tmp_path / "none.npz")
  (tmp_path / "text.npz").write_text("no")
  with pytest.raises(errors.UserError, match="is no judge"):
    judge.load(tmp_path / "text.npz")
  file = tmp_path / judge.FILE_NAME
  judge.save(file, cfg, params, {})
  with np.load(file) as old:
    flat = {name: old[name] for name in old.files}
  flat["clips/mean"] = flat["clips/mean"] + 1
  np.savez(file, **flat)
  with pytest.raises(errors.UserError, match="is damaged"):
    judge.load(file)


@pytest.mark.parametrize(
  ("width", "shape", "message"),
  [
    (12, SHAPE, "use a multiple of 8"),
    (16, (5, 10, 12), "height=10.*multiples of 4"),
  ],
)
def test_what_can_not_be_judged_is_refused(width, shape, message):
  cfg = base.build(None, {}, judge__width=4, judge__features=width).judge
  with pytest.raises(errors.UserError, match=message):
    judge.init(cfg, QUESTIONS, shape, jax.random.key(0))


def test_features_are_normed_within_each_clip(apply, params, video):
  found, _ = apply(params, "frames", video[:, :1])
  np.testing.assert_allclose(found, layers.layer_norm(found), atol=1e-3)
