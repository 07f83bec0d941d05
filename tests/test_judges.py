"""Which network compares what: by the files that a config names."""

import jax
import numpy as np
import pytest

from configs import base
from vdr import judges
from vdr.models import inception, judge
from vdr.runtime import errors

SHAPE = (5, 16, 16)


@pytest.fixture
def config(tmp_path):
  cfg = base.build(None, {}, judge__width=4, judge__features=8).judge
  questions = {"frames": {"shape": 2}, "clips": {"action": 3}}
  params = judge.init(cfg, questions, SHAPE, jax.random.key(0))
  score = {"accuracy": 0.5, "chance": 0.25}
  about = {"num_frames": 5, "height": 16, "width": 16}
  about["scores"] = {"frames": {"shape": score}, "clips": {"action": score}}
  judge.save(tmp_path / judge.FILE_NAME, cfg, params, about)
  return base.build(
    None,
    {},
    generation__judge=str(tmp_path / judge.FILE_NAME),
    data__sources__main__num_frames=5,
    data__sources__main__height=16,
    data__sources__main__width=16,
  )


def test_the_judge_says_what_it_is(config):
  found = judges.open_networks(config, is_image=False)
  assert set(found) == {"frames", "clips"}
  assert "8 features" in found["clips"].name
  assert "action 0.50 where chance has 0.25" in found["clips"].note
  assert found["clips"].hash == judge.load(config.generation.judge)[2]["hash"]
  video = np.zeros((2, *SHAPE, 3), np.uint8)
  assert found["clips"].features(video).shape == (2, 8)
  assert set(judges.open_networks(config, is_image=True)) == {"frames"}


def test_inception_is_for_frames(config, monkeypatch):
  monkeypatch.setattr(
    inception, "load", lambda path: {"a": np.ones(2, np.float32)}
  )
  monkeypatch.setattr(
    inception,
    "features",
    lambda params, pictures: pictures[:, 0, 0].astype(np.float32),
  )
  cfg = base.override(config, {"generation.inception": "inception.pth"})
  found = judges.open_networks(cfg, is_image=False)
  assert found["frames"].name.startswith("Inception")
  assert found["clips"].name.startswith("judge")
  frames = np.arange(2 * 3, dtype=np.uint8).reshape(2, 1, 1, 1, 3)
  np.testing.assert_array_equal(
    found["frames"].features(frames), frames[:, 0, 0, 0]
  )
  alone = base.override(cfg, {"generation.judge": ""})
  assert set(judges.open_networks(alone, is_image=True)) == {"frames"}
  with pytest.raises(errors.UserError, match="configs/judge.py"):
    judges.open_networks(alone, is_image=False)
