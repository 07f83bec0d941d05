"""The sample verb: a seed decides the samples; they come in files as asked."""

import json

import numpy as np
import pytest
from PIL import Image

from configs import sample as sample_config
from tests.features import models
from vdr import sample
from vdr.runtime import errors, made_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  path = tmp_path_factory.mktemp("trained") / "run"
  models.save(path, models.trained_model(model__num_classes=0))
  return path


def config(run, /, **fields):
  cfg = sample_config.get_config("debug")
  fields = {"checkpoint": str(run), "sample.files": "npy"} | {
    name.replace("__", "."): value for name, value in fields.items()
  }
  with cfg.unlocked():
    cfg.update_from_flattened_dict(fields)
  return cfg


def read(path):
  return np.stack([np.load(f) for f in sorted((path / "samples").iterdir())])


def test_clips_as_files_a_sheet_and_an_animation(checkpoint, tmp_path):
  cfg = config(checkpoint, sample__files="png", sample__num_frames=5)
  sample.run(cfg, tmp_path / "out")
  names = {f.name for f in (tmp_path / "out").iterdir()}
  assert {"sheet.png", "samples.gif", "samples", "result.json"} <= names
  files = sorted(f.name for f in (tmp_path / "out" / "samples").iterdir())
  assert files == ["00000.mp4", "00001.mp4", "00002.mp4"]
  with Image.open(tmp_path / "out" / "samples.gif") as image:
    assert image.n_frames == 5
  result = json.loads((tmp_path / "out" / "result.json").read_text())
  assert result["checkpoint"]["step"] == 1
  assert len(result["checkpoint"]["hash"]) == 16
  assert result["shape"] == [3, 5, 32, 32, 3]


def test_a_sample_depends_on_its_seed_and_number_alone(checkpoint, tmp_path):
  draws = {}
  for name, fields in {
    "two": {},
    "three": dict(sample__batch_size=3, sample__num=2),
    "other": dict(seed=1),
  }.items():
    cfg = config(checkpoint, sample__kind="images", **fields)
    sample.run(cfg, tmp_path / name)
    draws[name] = read(tmp_path / name).astype(int)
  assert draws["two"].shape == (3, 1, 32, 32, 3)
  assert np.abs(draws["two"][:2] - draws["three"]).max() <= 1  # a grey level
  assert np.abs(draws["two"] - draws["other"]).max() > 1
  assert np.abs(draws["two"][0] - draws["two"][1]).max() > 1


def test_samples_of_another_checkpoint_are_kept_aside(
  checkpoint, tmp_path, capsys
):
  cfg = config(checkpoint, sample__num_frames=5)
  sample.run(cfg, tmp_path)
  first = read(tmp_path)
  parts = json.loads((tmp_path / made_of.NAME).read_text())
  parts["checkpoint"]["hash"] = "other"
  (tmp_path / made_of.NAME).write_text(json.dumps(parts))
  (tmp_path / "samples" / "00007.npy").touch()  # one more than is drawn now
  sample.run(cfg, tmp_path)
  assert "another checkpoint (step 1, hash other)" in capsys.readouterr().out
  np.testing.assert_array_equal(read(tmp_path), first)
  assert (tmp_path / made_of.EARLIER / "1" / "samples" / "00007.npy").exists()


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(checkpoint=""), "no checkpoint is named"),
    (dict(checkpoint="/nowhere"), "/nowhere does not exist"),
    (dict(sample__which="ema/0.5"), "no parameters 'ema/0.5'; it has params"),
    (dict(sample__label=3), "trained without classes"),
    (dict(sample__num_frames=6), "4k . 1"),
    (dict(sampler__guidance=2.0), "needs a model with a condition"),
    (dict(sampler__method="euler"), "is for schedule rectified_flow"),
  ],
)
def test_what_can_not_be_drawn_is_refused(
  checkpoint, fields, message, tmp_path
):
  with pytest.raises(errors.UserError, match=message):
    sample.run(config(checkpoint, **fields), tmp_path / "no")
