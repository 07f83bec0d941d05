"""Looking at models that nobody trained: numbers, files, refusals."""

import functools
import json
import shutil

import pytest
from PIL import Image

from configs import base
from configs import look as look_config
from tests.features import models
from vdr import look, strips
from vdr.runtime import errors

LENGTH = 5  # frames of a clip


@functools.cache
def trained(image):
  fields = {"image": True} if image else {}
  return models.trained_model(data__sources__main__num_frames=LENGTH, **fields)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  root = tmp_path_factory.mktemp("look")
  for name in ("video", "image"):
    models.save(root / name, trained(name == "image"))
  return root


def config(checkpoint, /, **fields):
  return base.override(
    look_config.get_config("debug"),
    {"checkpoint": str(checkpoint), "physics.max_distractors": 0}
    | {name.replace("__", "."): value for name, value in fields.items()},
  )


@pytest.fixture(scope="module")
def seen(runs):
  """What was found of each model."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(strips, "SIDE_PX", 64)
    found = {}
    for name in ("video", "image"):
      look.run(config(runs / name), runs / f"{name}_look")
      found[name] = look.read(runs / f"{name}_look")
  return found


@pytest.mark.parametrize("name", ["video", "image"])
def test_it_says_what_was_looked_at(seen, runs, name):
  found = seen[name]
  assert found["model"]["kind"] == name
  assert found["model"]["step"] == 1 and len(found["model"]["hash"]) == 16
  assert found["layer"] == round(2 / 3 * 2)
  assert found["noise_level"] == 0.1 and found["log_snr"] > 0
  files = [p["file"] for p in found["pictures"]]
  assert files == ["pca.gif", "scenes.gif", "correspondence.png"]
  for picture in found["pictures"]:
    for key in {"file", "still"} & set(picture):
      with Image.open(runs / f"{name}_look" / picture[key]) as image:
        assert image.size[0] > 64


def test_only_the_video_model_knows_the_order_of_frames(seen):
  video, image = (seen[k]["motion_sensitivity"] for k in ("video", "image"))
  assert video["brick_wall"] > 1e-3 and video["latents"] > 1e-3
  assert image["brick_wall"] < 1e-6 and image["latents"] < 1e-6
  assert video["still"] < 1e-6 and image["still"] < 1e-6
  assert video["n"] == 2


def test_points_are_compared_with_staying(seen):
  video, image = (seen[k]["correspondence"] for k in ("video", "image"))
  assert video["n"] == image["n"] > 0
  assert video["copy_error_px"] == pytest.approx(image["copy_error_px"])
  assert 0 < video["error_px"] < 363  # the raster's diagonal


def test_the_batch_size_changes_nothing(seen, runs, tmp_path, monkeypatch):
  monkeypatch.setattr(strips, "SIDE_PX", 64)
  look.run(config(runs / "video", data__batch_size=3), tmp_path / "other")
  other, found = look.read(tmp_path / "other"), seen["video"]
  for section in ("motion_sensitivity", "correspondence"):
    for key, value in found[section].items():
      if isinstance(value, float):
        assert other[section][key] == pytest.approx(value, rel=1e-3, abs=1e-6)


def test_a_finished_look_is_left_alone(seen, runs, capsys):
  path = runs / "video_look" / look.NAME
  before = path.stat().st_mtime_ns
  look.run(config(runs / "video"), runs / "video_look")
  assert path.stat().st_mtime_ns == before
  assert "motion sensitivity" in capsys.readouterr().out


def test_another_checkpoint_is_looked_at_anew(runs, seen, tmp_path, capsys):
  path = tmp_path / "look"
  path.mkdir()
  for name in ("config.json", look.NAME):
    shutil.copy(runs / "video_look" / name, path)
  old = json.loads((path / look.NAME).read_text())
  old["model"] |= {"hash": "0" * 16, "step": 7}
  old["motion_sensitivity"]["brick_wall"] = 12.0
  (path / look.NAME).write_text(json.dumps(old))
  look.run(config(runs / "video"), path)
  out = capsys.readouterr().out
  assert "another checkpoint (step 7, hash 00000000) than now (step 1" in out
  assert "motion sensitivity 12" not in out
  assert look.read(path)["model"] == seen["video"]["model"]
  assert look.read(path / "earlier" / "1") == old


def test_a_file_that_says_something_else_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match="run the verb look"):
    look.read(tmp_path)
  (tmp_path / look.NAME).write_text(json.dumps({"schema_version": 2}))
  with pytest.raises(errors.UserError, match="no result of this version"):
    look.read(tmp_path)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(look__layers=(7,)), "layer 7 does not exist"),
    (dict(look__backbone="dino"), "backbone 'dino' is unknown"),
    (dict(data__sources__main__height=64), "trained on 32 pixels"),
    (dict(look__split="night"), "no split 'night'"),
    (dict(checkpoint=""), "no checkpoint is named"),
  ],
)
def test_what_can_not_be_looked_at_is_refused(runs, fields, message, tmp_path):
  path = tmp_path / "no"
  with pytest.raises(errors.UserError, match=message):
    look.run(config(runs / "video", **fields), path)
  assert not (path / look.NAME).exists()
