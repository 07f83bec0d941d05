"""A clip is a pure function; settings out of bounds are refused."""

import dataclasses
import json
import random

import ml_collections
import numpy as np
import pytest

from configs import base
from vdr.data import schema
from vdr.data.physics import clip, records, sampling, scenes
from vdr.runtime import errors

SETTINGS = clip.Settings("default", 5, 16, 24, 12.0, 8, 2)


def _simulate(index, split="train", seed=0, **changes):
  settings = dataclasses.replace(SETTINGS, **changes)
  return clip.simulate(settings, split, seed, index)


def _assert_equal(one, other):
  assert one.keys() == other.keys()
  for name in one:
    np.testing.assert_array_equal(one[name], other[name], name)


def test_defaults_of_the_config_are_accepted():
  settings = clip.Settings.from_config(base.physics())
  assert settings == clip.Settings("default", 17, 64, 64, 12.0, 64, 3)


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("scene", "kitchen"),
    ("num_frames", 0),
    ("num_frames", 16),
    ("num_frames", -3),
    ("height", 15),
    ("height", 257),
    ("width", 8),
    ("width", 1024),
    ("fps", 0.5),
    ("fps", 121.0),
    ("fps", float("nan")),
    ("num_points", 0),
    ("num_points", 5000),
    ("max_distractors", -1),
    ("max_distractors", 17),
  ],
)
def test_bad_settings_are_named(name, value):
  cfg = base.physics()
  cfg[name] = value
  with pytest.raises(errors.UserError, match=f"physics.{name}=") as caught:
    clip.Settings.from_config(cfg)
  assert str(value) in str(caught.value)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_frames", [1, 5, 17, 65])
def test_good_numbers_of_frames(num_frames):
  dataclasses.replace(SETTINGS, num_frames=num_frames).check()


@pytest.mark.parametrize("split", ["train", "test_ood"])
@pytest.mark.parametrize("scene", scenes.SCENES)
def test_clips_fit_the_schema(scene, split):
  for index in range(4):
    example = _simulate(index, split, scene=scene)
    schema.check(example)
    assert set(example) == set(records.FIELDS)
    assert len(example["object_valid"]) == 3
    for name, value in example.items():
      if value.dtype.kind == "f":
        assert np.isfinite(value).all(), name


def test_clips_do_not_depend_on_those_before_them():
  order = list(range(6))
  in_order = {i: _simulate(i, scene="cluttered") for i in order}
  random.Random(1).shuffle(order)
  for i in order:
    _simulate(i + 100)
    _assert_equal(_simulate(i, scene="cluttered"), in_order[i])


def test_clips_differ_by_number_split_and_seed():
  first = _simulate(0)["video"]
  for other in (_simulate(1), _simulate(0, "test"), _simulate(0, seed=1)):
    assert not np.array_equal(other["video"], first)


def test_the_size_of_the_picture_changes_no_scene():
  small, large = _simulate(3), _simulate(3, height=48, width=48)
  for name in ("factors", "caption", "object_to_world", "camera_to_world"):
    np.testing.assert_array_equal(small[name], large[name])


@pytest.mark.parametrize("height", [16, 40])
def test_a_clip_of_one_frame(height):
  example = _simulate(0, num_frames=1, height=height)
  schema.check(example)
  assert example["video"].shape == (1, height, 24, 3)
  assert example["frame_times_s"].tolist() == [0.0]


def test_labels_are_those_of_the_scene(known_clips):
  for known in known_clips:
    example, scene = known.example, known.scene
    for field, name in (
      ("shape", scene.main.shape if scene.main else None),
      ("action", scene.motion.action),
      ("camera_motion", scene.camera.motion),
    ):
      names = clip.CLASS_NAMES[field]
      expected = names.index(name) if name in names else -1
      assert example[field] == expected
    times_s = example["frame_times_s"]
    np.testing.assert_allclose(times_s, np.arange(17) / 12, rtol=1e-6)


def test_every_class_has_a_clip(known_clips):
  for field, names in clip.CLASS_NAMES.items():
    seen = {int(known.example[field]) for known in known_clips}
    assert set(range(len(names))) <= seen


def test_factors_are_all_of_the_scene(known_clips):
  for known in known_clips:
    factors = json.loads(schema.untext(known.example["factors"]))
    scene = known.scene
    assert factors.keys() == dataclasses.asdict(scene).keys()
    assert factors["motion"]["action"] == scene.motion.action
    assert factors["varied"] == scene.varied
    assert factors["camera"]["distance_m"] == pytest.approx(
      scene.camera.distance_m, abs=1e-5
    )
    assert len(factors["distractors"]) == len(scene.distractors)


def test_factors_fit_even_with_many_distractors():
  longest = 0
  for index in range(60):
    scene = sampling.sample("cluttered", "test_ood", 0, index, 16)
    factors = clip.factors_json(scene)
    json.loads(factors)
    # Padded with empty space to the largest number there can be.
    bodies = [scene.distractors[0]] * 16
    full = dataclasses.replace(scene, distractors=tuple(bodies))
    longest = max(longest, len(clip.factors_json(full).encode()))
  assert longest < schema.MAX_JSON_BYTES


def test_config_dict_without_a_field_is_an_error():
  cfg = ml_collections.ConfigDict(base.physics())
  del cfg.fps
  with pytest.raises(KeyError, match="fps"):
    clip.Settings.from_config(cfg)
