"""The extract verb: files that are features, skipped clips, second starts."""

import json
import shutil

import numpy as np
import pytest

from configs import base
from configs import extract as extract_config
from tests.features import models
from vdr import extract, features, media
from vdr.features import videos
from vdr.runtime import errors, made_of

LENGTH = 5  # frames of a clip, so that programs are those of other tests


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  """A trained model, and a folder of five videos, one of them broken."""
  root = tmp_path_factory.mktemp("extract")
  model = models.trained_model(data__sources__main__num_frames=LENGTH)
  models.save(root / "run", model)
  (root / "videos").mkdir()
  for i, video in enumerate(models.clips(b=4, t=LENGTH)):
    media.write_mp4(root / "videos" / f"{i}.mp4", video, 10.0)
  (root / "videos" / "1b.mp4").write_bytes(b"no video")
  return root


def config(root, **fields):
  return base.override(
    extract_config.get_config(),
    {
      "checkpoint": str(root / "run"),
      "data.sources.main.path": str(root / "videos"),
      "data.batch_size": 2,
      "data.max_bad_share": 0.5,
      "runtime.num_workers": 0,
      "extract.layers": (0, 1, 2),
      "extract.noise_levels": (0.1, 0.6),
    }
    | {name.replace("__", "."): value for name, value in fields.items()},
  )


@pytest.fixture(scope="module")
def made(places):
  extract.run(config(places), places / "out")
  return places / "out"


def test_a_file_for_each_clip_that_can_be_read(made, places):
  index = json.loads((made / "index.json").read_text())
  found = {clip["clip_id"]: clip["file"] for clip in index["clips"]}
  assert list(found) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
  assert index["skipped"] == ["1b.mp4"]
  assert "1b.mp4" in (made / "skipped.jsonl").read_text()
  assert len(list((made / "clips").iterdir())) == 4
  assert len(index["backbone"]["hash"]) == 16
  assert index["spec"]["noise_levels"] == [0.1, 0.6]
  name = "layer2_noise0.6"
  assert index["arrays"][name]["layer"] == 2
  assert index["arrays"][name]["noise_level"] == 0.6
  assert index["arrays"][name]["log_snr"] < 0
  with np.load(made / found["2.mp4"]) as file:
    assert set(index["arrays"]) | {"frames", "times_s", "clip_id"} == set(file)
    assert file[name].shape == (2, 4, 4, 64)
    assert file[name].dtype == np.float32
    assert str(file["clip_id"]) == "2.mp4"
    np.testing.assert_array_equal(file["frames"], [[0, 0], [1, 4]])
    np.testing.assert_allclose(file["times_s"], [[0, 0], [0.1, 0.4]], atol=1e-6)


def test_its_features_are_those_of_the_backbone(made, places):
  model = models.trained_model(data__sources__main__num_frames=LENGTH)
  videos_model = videos.VideoModel(
    features.build("checkpoint", model), model.config
  )
  # As windows, videos are read in the same way; their number is 0.
  found = videos_model.features(
    places / "videos" / "0.mp4", [0, 1, 2], noise_level=0.6
  )
  with np.load(made / "clips" / "0000000.npz") as file:
    np.testing.assert_allclose(
      file["layer2_noise0.6"], found.values[2, 0.6], atol=1e-5
    )


def test_a_second_start_makes_what_is_missing_alone(made, places, tmp_path):
  path = tmp_path / "again"
  shutil.copytree(made, path)
  (path / ".lock").unlink()
  (path / "index.json").unlink()
  first, third = path / "clips" / "0000000.npz", path / "clips" / "0000003.npz"
  before = dict(np.load(third))
  first.write_bytes(b"kept as it is")
  third.unlink()
  extract.run(config(places), path)
  assert first.read_bytes() == b"kept as it is"
  after = dict(np.load(third))
  assert before.keys() == after.keys()
  np.testing.assert_allclose(
    after["layer2_noise0.6"], before["layer2_noise0.6"], atol=1e-6
  )
  assert (path / "index.json").exists()


def test_features_of_another_checkpoint_are_kept_aside(
  made, places, tmp_path, capsys
):
  path = tmp_path / "again"
  shutil.copytree(made, path)
  (path / ".lock").unlink()
  parts = json.loads((path / made_of.NAME).read_text())
  parts["checkpoint"]["hash"] = "other"
  (path / made_of.NAME).write_text(json.dumps(parts))
  old = path / "clips" / "0000000.npz"
  old.write_bytes(b"of the other checkpoint")
  extract.run(config(places), path)
  assert "of another checkpoint" in capsys.readouterr().out
  kept = path / made_of.EARLIER / "1" / "clips" / "0000000.npz"
  assert kept.read_bytes() == b"of the other checkpoint"
  assert set(np.load(old)) == set(np.load(made / "clips" / "0000000.npz"))


def test_a_control_in_half_precision_of_a_few(places, tmp_path):
  cfg = config(
    places,
    extract__backbone="pixels",
    extract__layers=(),
    extract__noise_levels=(),
    extract__dtype="float16",
    extract__max_clips=1,
  )
  extract.run(cfg, tmp_path / "few")
  (file,) = (tmp_path / "few" / "clips").iterdir()
  assert np.load(file)["layer0_noise0"].dtype == np.float16


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(extract__layers=(7,)), "layer 7 does not exist"),
    (dict(extract__backbone="dino"), "backbone 'dino' is unknown"),
    (dict(checkpoint=""), "no checkpoint is named"),
    (dict(data__sources__main__kind="latents"), "features are made of pixels"),
  ],
)
def test_what_can_not_be_made_is_refused(places, fields, message, tmp_path):
  with pytest.raises(errors.UserError, match=message):
    extract.run(config(places, **fields), tmp_path / "no")
  assert not (tmp_path / "no").exists()
