"""The contract of a source, tested on every kind that can be opened."""

import inspect
import pickle
import re

import numpy as np
import PIL.Image
import pytest

from configs import base
from tests.data import numbered
from vdr.data import schema, source
from vdr.runtime import errors

KINDS = re.findall(r'case "(\w+)"', inspect.getsource(source.open_source))


def config(kind, **fields):
  cfg = base.source()
  cfg.update(kind=kind, num_frames=5, height=32, width=32, **fields)
  return cfg


def videos(folder):
  for label in ("cat", "dog"):
    (folder / label).mkdir(parents=True)
    numbered.write(folder / label / "a.mp4", num_frames=12)
  return config(
    "video_folder",
    path=str(folder),
    fields=("video", "label"),
    split="all",
  )


def images(folder):
  for label in ("cat", "dog"):
    (folder / label).mkdir(parents=True)
    picture = numbered.picture(len(label))
    PIL.Image.fromarray(picture).save(folder / label / "a.png")
  return config(
    "image_folder",
    path=str(folder),
    fields=("video", "label"),
    split="all",
  )


def physics(folder):
  return config("physics", fields=("video", "depth_m", "points_xy"))


# TFDS needs a prepared data set, and latents have no pixels: their own tests
# hold them to the contract.
MAKERS = {"video_folder": videos, "image_folder": images, "physics": physics}


@pytest.fixture(params=KINDS)
def opened(request, tmp_path):
  """A small source of each kind."""
  if request.param in ("tfds", "latents"):
    pytest.skip(f"tests/data/test_{request.param}*.py hold it to the contract")
  cfg = MAKERS[request.param](tmp_path / "clips")
  return source.open_source(cfg), cfg


def rng():
  return np.random.default_rng(3)


def test_every_kind_is_named_where_people_look():
  text = inspect.getsource(base.source)
  for kind in KINDS:
    assert kind in text
  with pytest.raises(errors.UserError) as caught:
    source.open_source(config("folder"))
  for kind in ("'folder'", *KINDS):
    assert kind in str(caught.value)


def test_it_is_a_source(opened):
  assert isinstance(opened[0], source.Source)
  assert len(opened[0]) > 0


def test_it_reads_what_was_asked_for_in_the_schema(opened):
  it, cfg = opened
  example = it.read(0, rng())
  schema.check(example)
  asked = set(schema.resolve_fields(cfg.fields))
  assert asked <= example.keys()
  frames = 1 if cfg.kind == "image_folder" else cfg.num_frames
  assert example["video"].shape == (frames, cfg.height, cfg.width, 3)
  loaders = {"clip_valid", "clip_index", "clip_id", "error"}
  assert not loaders & example.keys()


def test_reading_is_a_function_of_the_index_and_the_generator(opened):
  it, _ = opened
  first, again = it.read(1, rng()), it.read(1, rng())
  assert first.keys() == again.keys()
  for name in first:
    np.testing.assert_array_equal(first[name], again[name])


def test_it_travels_to_another_process(opened):
  it, _ = opened
  copy = pickle.loads(pickle.dumps(it))
  assert len(copy) == len(it)
  assert copy.clip_id(1) == it.clip_id(1)
  here, there = it.read(1, rng()), copy.read(1, rng())
  np.testing.assert_array_equal(here["video"], there["video"])


def test_its_ids_differ_and_its_labels_have_names(opened):
  it, _ = opened
  assert it.clip_id(0) != it.clip_id(1)
  example = it.read(0, rng())
  for name, classes in it.class_names.items():
    assert schema.FIELDS[name].dtype == "int32"
    if name in example:
      assert -1 <= example[name] < len(classes)


@pytest.mark.parametrize("kind", MAKERS)
def test_views_of_a_video_share_it_and_its_group(kind, tmp_path):
  cfg = MAKERS[kind](tmp_path / "clips")
  alone = source.open_source(cfg)
  assert alone.video_of(0) != alone.video_of(1)
  assert alone.group_of(0) != alone.group_of(1)
  cfg = cfg.copy_and_resolve_references()
  cfg.crop, views = "three", 3
  if kind != "image_folder":
    cfg.sampling, cfg.clips_per_video, views = "uniform", 2, 6
  it = source.open_source(cfg)
  ids = [it.clip_id(i) for i in range(2 * views)]
  assert len(set(ids)) == 2 * views
  for i in range(2 * views):
    assert it.video_of(i) == alone.video_of(i // views)
    assert it.group_of(i) == alone.group_of(i // views)
  copy = pickle.loads(pickle.dumps(it))
  assert copy.group_of(views) == it.group_of(views)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_directory_is_told_with_its_name(kind, tmp_path):
  path = str(tmp_path / "nothing_here")
  with pytest.raises(errors.UserError, match="nothing_here") as caught:
    source.open_source(config(kind, path=path, tfds_name="mnist"))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_is_told(kind, tmp_path):
  cfg = MAKERS.get(kind, physics)(tmp_path / "clips")
  cfg.kind, cfg.fields = kind, ("video", "colour")
  with pytest.raises(errors.UserError, match="'colour'"):
    source.open_source(cfg)
