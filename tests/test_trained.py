"""A trained model comes back whole, or says what is missing."""

import json

import jax
import numpy as np
import pytest

from tests import training
from vdr import train, trained
from vdr.models import tokenizer
from vdr.runtime import checkpoints, errors


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  path = tmp_path_factory.mktemp("trained") / "run"
  cfg = training.config(train__amount=1.0, train__validate_every_steps=0)
  train.run(cfg, path)
  return path, cfg


def test_it_comes_back_whole(run):
  path, cfg = run
  found = trained.load(path)
  assert found.config.to_dict() == cfg.to_dict()
  assert found.model.latent_channels == cfg.tokenizer.channels
  average, meta = checkpoints.restore_params(path)
  jax.tree.map(np.testing.assert_array_equal, found.params, average)
  assert found.meta["hash"] == meta["hash"]
  raw = trained.load(path / "checkpoints" / "1", which="params")
  assert raw.meta["hash"] != meta["hash"]


def test_another_tokenizer_in_its_place_is_noticed(run):
  path, cfg = run
  file = path / tokenizer.FILE_NAME
  before = file.read_bytes()
  other = tokenizer.init(cfg.tokenizer, jax.random.key(9))
  tokenizer.save(file, cfg.tokenizer, other)
  with pytest.raises(errors.UserError, match="is not the tokenizer that"):
    trained.load(path)
  file.unlink()
  with pytest.raises(errors.UserError, match="is no tokenizer"):
    trained.load(path)
  file.write_bytes(before)


@pytest.mark.parametrize(
  ("place", "config", "message"),
  [
    ("absent", None, "does not exist; name a work directory of the verb train"),
    ("empty", None, "is empty; name a work directory"),
    ("labels/7", None, "has no checkpoints; name a work directory"),
    ("labels", None, "has no checkpoints; name a work directory"),
    ("train", {}, "has no whole checkpoint; train first"),
    (
      "evaluate",
      {"checkpoint": "runs/video"},
      "a work directory of the verb evaluate, which trains no model; name its"
      " checkpoint, runs/video",
    ),
    ("preview", {}, "of the verb preview, which trains no model; name a work"),
    ("study", {}, "is a study without a trained model; name a work directory"),
    ("broken", "{", "has no checkpoints; name"),
    ("other", [], "has no checkpoints; name"),
    ("s3://bucket/run", None, "is not on a mounted file system; copy"),
    ("back\\slash", {}, "has a backslash in its name"),
    ("logs:/run", {}, 'ends in "gs:", which Orbax takes for a bucket'),
    ("x" * 300, None, "can't be read .File name too long"),
    ("a\0b", None, "does not exist"),
  ],
)
def test_a_place_without_a_model_is_told_as_what_it_is(
  place, config, message, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  if place in ("empty", "labels/7", "labels") or config is not None:
    (tmp_path / place).mkdir(parents=True)
  if place.startswith("labels"):
    (tmp_path / "labels" / "7").mkdir(exist_ok=True)
    (tmp_path / "labels" / "7" / "a.mp4").touch()
  if isinstance(config, dict):
    config = json.dumps({"job": place} | config)
  elif isinstance(config, list):
    config = json.dumps(config)
  if config is not None:
    (tmp_path / place / "config.json").write_text(config)
  with pytest.raises(errors.UserError, match=message) as raised:
    trained.load(place)
  assert "\n" not in str(raised.value)


def test_files_and_parts_of_a_run_are_told_as_what_they_are(run):
  path, _ = run
  for place, message in (
    (
      tokenizer.FILE_NAME,
      "is a tokenizer, and has no checkpoints; name a work",
    ),
    ("config.json", "is a file, and has no checkpoints; name a work directory"),
    ("checkpoints/1/state", "is a part of a checkpoint; name .*checkpoints/1$"),
  ):
    with pytest.raises(errors.UserError, match=message):
      trained.load(path / place)


def test_a_study_names_its_models(run, tmp_path):
  path, _ = run
  (tmp_path / "config.json").write_text(json.dumps({"job": "study"}))
  (tmp_path / "cells").mkdir()
  (tmp_path / "cells" / "video-0").symlink_to(path)
  with pytest.raises(errors.UserError, match="name a model of it: .*video-0$"):
    trained.load(tmp_path)
  assert trained.load(tmp_path / "cells" / "video-0").meta["step"] == 1
