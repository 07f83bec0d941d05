"""Configs survive JSON, and new versions of vdr."""

import json
import logging

import pytest

from configs import base, video_dit
from configs.fields import earlier
from vdr.runtime import plain_configs


def stored(cfg):
  return json.loads(json.dumps(plain_configs.to_json(cfg)))


def warnings(caplog):
  found = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARN]
  assert all("\n" not in line for line in found)
  return found


@pytest.fixture
def renames(monkeypatch):
  """Sets `configs.fields.earlier.RENAMED`."""

  def use(**names):
    monkeypatch.setattr(plain_configs, "_renames", lambda: names)

  return use


def test_a_config_comes_back(caplog):
  cfg = video_dit.get_config("local")
  found = plain_configs.from_json(stored(cfg), "here")
  assert found.to_dict() == cfg.to_dict()
  assert isinstance(found.model.window_spatial, tuple)
  assert found.is_locked
  assert not warnings(caplog)


def test_every_field_may_be_missing(caplog):
  """Whichever field a later version adds, an old config has its default."""
  whole = stored(base.default())
  for field in plain_configs.defaults():
    *groups, last = field.split(".")
    tree = json.loads(json.dumps(whole))
    node = tree
    for group in groups:
      node = node[group]
    del node[last]
    found = plain_configs.complete(tree)
    if field in earlier.EARLIER and not earlier.EARLIER[field].kinds:
      continue  # see below
    assert found.tree == whole, field
    assert list(found.missing) == [field] and not found.ignored


def test_what_is_missing_is_in_one_warning(caplog):
  tree = stored(base.default())
  del tree["model"]["patch"], tree["extract"]
  found = plain_configs.from_json(tree, "runs/old")
  assert found.to_dict() == base.default().to_dict()
  plain_configs.from_json(tree, "runs/old")
  (line,) = warnings(caplog)
  assert line.startswith("runs/old is of another version of vdr: it lacks")
  assert "model.patch=1" in line and "extract.dtype=" in line


def test_each_source_gets_what_sources_have_now_and_no_source_is_added():
  cfg = base.default()
  template = cfg.images.sources.main.to_dict()
  assert template["num_frames"] == 1  # unlike those of config.data
  cfg.images.sources = {"a": {**template, "path": "x"}, "b": template}
  tree = stored(cfg)
  del tree["images"]["sources"]["a"]["num_frames"]
  del tree["images"]["sources"]["b"]["stride"]
  found = plain_configs.complete(tree)
  assert found.tree == stored(cfg)
  assert set(found.missing) == {
    "images.sources.a.num_frames",
    "images.sources.b.stride",
  }


def test_a_section_by_itself_is_completed_too():
  tree = stored(base.default().model)
  del tree["remat"]
  found = plain_configs.from_json(tree, section="model")
  assert found.to_dict() == base.default().model.to_dict()


def test_what_does_not_exist_any_more_is_ignored_and_said(caplog):
  tree = stored(base.default())
  tree["model"]["flux"] = 3
  tree["gone"] = {"a": [1, 2]}
  found = plain_configs.from_json(tree, "runs/older")
  assert found.to_dict() == base.default().to_dict()
  (line,) = warnings(caplog)
  assert line.endswith("not exist any more: gone.a=[1, 2], model.flux=3")


def test_a_renamed_field_keeps_its_value(caplog, renames):
  tree = stored(base.default())
  tree["model"]["pieces"] = 4
  del tree["model"]["patch"]
  tree["old"] = tree.pop("sample") | {"num": 7}
  tree["data"]["sources"]["mine"] = tree["data"]["sources"].pop("main")
  tree["data"]["sources"]["mine"]["where"] = "there"
  del tree["data"]["sources"]["mine"]["path"]
  renames(
    **{
      "model.pieces": "model.patch",
      "old": "sample",
      "data.sources.main.where": "data.sources.main.path",
    }
  )
  found = plain_configs.from_json(tree, "here")
  assert found.model.patch == 4 and found.sample.num == 7
  assert found.data.sources.mine.path == "there"
  assert not warnings(caplog)


def test_today_s_renames_lead_to_fields_that_exist():
  known = plain_configs.defaults()
  for old, new in earlier.RENAMED.items():
    assert any(f"{k}.".startswith(f"{new}.") for k in known), new
    assert not any(f"{k}.".startswith(f"{old}.") for k in known), old


def test_a_folder_of_an_earlier_version_was_read_as_a_whole():
  cfg = base.default()
  cfg.data.sources.main.kind = "video_folder"
  tree = stored(cfg)
  for section in ("data", "images"):
    for name in ("split_by", "split_fractions", "group"):
      del tree[section]["sources"]["main"][name]
  tree["data"]["sources"]["mine"] = tree["data"]["sources"].pop("main")
  found = plain_configs.from_json(tree)
  assert found.data.sources.mine.split == "all"
  assert found.images.sources.main.split == "train"  # simulated


def test_what_earlier_versions_did_is_said_by_fields_that_exist():
  known = plain_configs.defaults()
  for lacked, was in earlier.EARLIER.items():
    assert lacked in known
    assert known[was.field] != was.value


def test_controls_of_an_earlier_evaluation_had_the_place_of_the_model():
  tree = stored(base.default())
  del tree["evaluate"]["controls_place"]
  assert plain_configs.from_json(tree).evaluate.controls_place == "same"
