"""Text embeddings beside clips."""

import numpy as np
import pytest
from PIL import Image

from tests.data import fakes
from vdr.data import loader, text
from vdr.runtime import errors


@pytest.fixture
def file(tmp_path):
  rng = np.random.default_rng(0)
  arrays = {
    "text": rng.normal(size=(6, 3, 4)),
    "mask": rng.random((6, 3)) < 0.5,
  }
  np.savez(tmp_path / "text.npz", **arrays)
  return tmp_path / "text.npz", arrays


def test_each_clip_has_its_own_text(file):
  path, arrays = file
  cfg = loader_config()
  source = text.WithText(fakes.Fake(6), str(path))
  with loader.Loader(
    cfg, seed=0, num_workers=0, sources={"main": source}
  ) as batches:
    for batch in batches:
      rows = batch["clip_index"]
      np.testing.assert_array_equal(
        batch["text"], arrays["text"][rows].astype(np.float32)
      )
      np.testing.assert_array_equal(batch["text_mask"], arrays["mask"][rows])


def test_videos_and_groups_are_those_of_the_source(file):
  class Scenes(fakes.Fake):
    def video_of(self, index):
      return f"video {index // 2}"

    def group_of(self, index):
      return f"scene {index // 4}"

  source = text.WithText(Scenes(6), str(file[0]))
  assert [source.video_of(i) for i in (1, 2)] == ["video 0", "video 1"]
  assert [source.group_of(i) for i in (3, 4)] == ["scene 0", "scene 1"]


def loader_config():
  from configs import base

  cfg = base.loader()
  cfg.update(batch_size=3, num_epochs=1)
  return cfg


def test_text_without_a_mask_is_all_text(tmp_path):
  np.savez(tmp_path / "t.npz", text=np.zeros((2, 3, 4)))
  assert text.load(tmp_path / "t.npz")[1].all()


def test_what_does_not_fit_is_refused(file, tmp_path):
  path, _ = file
  with pytest.raises(errors.UserError, match="6 texts, and the source 5"):
    text.WithText(fakes.Fake(5), str(path))
  with pytest.raises(errors.UserError, match="no text embeddings"):
    text.load(tmp_path / "none.npz")
  np.savez(tmp_path / "flat.npz", text=np.zeros((2, 3)))
  with pytest.raises(errors.UserError, match="they must be"):
    text.load(tmp_path / "flat.npz")


def test_a_split_of_a_folder_has_its_rows_of_the_file(tmp_path):
  from configs import base
  from vdr.data import source as source_lib

  (tmp_path / "c").mkdir()
  for i in range(30):
    Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(
      tmp_path / f"c/{i:02}.png"
    )
  np.savez(tmp_path / "text.npz", text=np.arange(30.0)[:, None, None])
  cfg = base.source()
  cfg.update(
    kind="image_folder",
    path=str(tmp_path),
    text=str(tmp_path / "text.npz"),
    height=4,
    width=4,
  )
  seen = []
  for split in ("train", "select", "test"):
    cfg.split = split
    opened = source_lib.open_source(cfg)
    for index in range(len(opened)):
      example = opened.read(index, np.random.default_rng(0))
      assert example["text"].item() == example["video"][0, 0, 0, 0]
      seen.append(int(example["text"].item()))
  assert sorted(seen) == list(range(30))
  np.savez(tmp_path / "text.npz", text=np.zeros((29, 1, 1)))
  with pytest.raises(errors.UserError, match="30 items in all splits"):
    source_lib.open_source(cfg)
