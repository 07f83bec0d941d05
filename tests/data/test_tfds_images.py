"""Image sets of TFDS, without TensorFlow."""

import io
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from configs import base
from vdr.data import held_out, schema, source
from vdr.runtime import errors

NUM_IMAGES = 6


def picture(k: int) -> np.ndarray:
  return np.full((20 + k, 30, 3), 30 * k, np.uint8)


def png(k: int) -> io.BytesIO:
  file = io.BytesIO()
  Image.fromarray(picture(k)).save(file, "PNG")
  return io.BytesIO(file.getvalue()[:70] if k == 3 else file.getvalue())


class _Builder(tfds.core.GeneratorBasedBuilder):
  """Images in a set whose features have unusual names; image 3 is cut off."""

  VERSION = tfds.core.Version("1.0.0")
  pkg_dir_path = None

  KEYS = None

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(self.FEATURES),
      supervised_keys=self.KEYS,
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for k in range(NUM_IMAGES):
      values = {"name": str(k), "photo": png(k), "kind": k % 2, "count": k}
      values |= {"other": png(0), "a_class": 0}
      yield k, {name: values[name] for name in self.FEATURES}


class MadeImages(_Builder):
  FEATURES = {
    "name": tfds.features.Text(),
    "photo": tfds.features.Image(shape=(None, None, 3)),
    "kind": tfds.features.ClassLabel(names=["even", "odd"]),
  }


class MadeUnlabelled(_Builder):
  FEATURES = {"photo": MadeImages.FEATURES["photo"]}


class MadeTexts(_Builder):
  FEATURES = {"name": tfds.features.Text()}


class MadeSupervised(_Builder):
  """Features that come first are neither the image nor the label."""

  KEYS = ("photo", "kind")
  FEATURES = {
    "a_class": tfds.features.ClassLabel(names=["a"]),
    "other": MadeImages.FEATURES["photo"],
    **MadeImages.FEATURES,
  }


class MadeNumbers(_Builder):
  KEYS = ("photo", "count")
  FEATURES = {
    **MadeImages.FEATURES,
    "count": tfds.features.Scalar(np.int64),
  }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tfds")
  for cls in (
    MadeImages,
    MadeUnlabelled,
    MadeTexts,
    MadeSupervised,
    MadeNumbers,
  ):
    cls(data_dir=folder, file_format="array_record").download_and_prepare()
  return folder


def open_source(root, **fields):
  cfg = base.source()
  cfg.update(
    kind="tfds",
    path=str(root),
    tfds_name="made_images",
    height=20,
    width=30,
    crop="none",
    fields=("video", "label"),
  )
  cfg.update(fields)
  return source.open_source(cfg)


def read(opened, index):
  example = opened.read(index, np.random.default_rng(0))
  schema.check(example)
  return example


def read_all(opened) -> dict[int, int]:
  """Grey levels of all whole images, and their labels."""
  found = {}
  for k in range(len(opened)):
    try:
      example = read(opened, k)
    except source.BadClipError:
      continue
    found[int(example["video"].mean())] = int(example["label"])
  return found


def test_image_and_label_are_found_by_their_types(root):
  opened = open_source(root)
  assert isinstance(opened, source.Source)
  assert len(opened) == NUM_IMAGES
  assert opened.class_names == {"label": ("even", "odd")}
  assert opened.clip_id(2) == "made_images/train/2"
  assert read(opened, 0)["video"].shape == (1, 20, 30, 3)
  # TFDS shuffles; image 3 is damaged, which only concerns itself.
  assert read_all(opened) == {30 * k: k % 2 for k in (0, 1, 2, 4, 5)}


def test_sets_without_labels_are_fine(root):
  opened = open_source(root, tfds_name="made_unlabelled")
  assert opened.class_names == {}
  assert set(read_all(opened).values()) == {-1}


def test_splits_may_be_slices(root):
  assert len(open_source(root, split="train[:50%]")) == 3


def test_crops_are_items(root):
  opened = open_source(root, crop="three", height=10, width=10)
  assert len(opened) == 3 * NUM_IMAGES
  assert opened.clip_id(4) == "made_images/train/1#0.1"
  assert opened.video_of(4) == opened.group_of(3) == "made_images/train/1"


def test_it_travels_to_other_processes(root):
  opened = open_source(root)
  again = pickle.loads(pickle.dumps(opened))
  assert read_all(again) == read_all(opened)


@pytest.mark.parametrize(
  "fields, word",
  [
    ({"tfds_name": "made_texts"}, "no image"),
    ({"tfds_name": ""}, "tfds_name"),
    ({"tfds_name": "no_such_set"}, "no_such_set"),
    ({"split": "validation"}, "validation"),
    ({"tfds_name": "mnist"}, "array_record"),
  ],
)
def test_mistakes_are_told_at_the_start(root, fields, word):
  with pytest.raises(errors.UserError, match=word) as caught:
    open_source(root, **fields)
  assert "\n" not in str(caught.value)


def test_supervised_keys_say_which_image_and_which_label(root):
  opened = open_source(root, tfds_name="made_supervised")
  assert opened.class_names == {"label": ("even", "odd")}
  assert read_all(opened) == {30 * k: k % 2 for k in (0, 1, 2, 4, 5)}


def test_whole_numbers_are_labels(root):
  # Those of all splits: this one has few of them.
  opened = open_source(root, tfds_name="made_numbers", split="train[:1]")
  assert opened.class_names == {"label": tuple("012345")}
  opened = open_source(root, tfds_name="made_numbers")
  assert read_all(opened) == {30 * k: k for k in (0, 1, 2, 4, 5)}
  assert pickle.loads(pickle.dumps(opened)).class_names == opened.class_names


@pytest.mark.parametrize(
  ("one", "two", "count"),
  [
    ("train[:50%]", "train[50%:]", 0),
    ("train[:4]", "train[2:]", 2),
    ("train[:2]+train[4:]", "train[3:5]", 1),
    ("all", "train[5:]", 1),
  ],
)
def test_slices_of_one_split_that_overlap_are_found_out(root, one, two, count):
  def loader(split):
    cfg = base.data()
    cfg.sources.main.update(
      kind="tfds", path=str(root), tfds_name="made_images", split=split
    )
    return cfg

  parts = {"a": [loader(one)], "b": [loader(two)]}
  if not count:
    return held_out.check(parts)
  with pytest.raises(errors.UserError, match=f"a and b have {count} clips"):
    held_out.check(parts)


def test_contents_may_be_those_of_the_first_items(root):
  opened = open_source(root, split="train[:1]+train[4:]", crop="three")
  (ranges,) = opened.contents(most=4).names.values()
  assert ranges == (range(0, 1), range(4, 5))
