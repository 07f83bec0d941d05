"""The vocabulary of scenes: what other modules rely on."""

import dataclasses

import pytest

from tests.data.physics import handmade
from vdr.data.physics import sampling, scenes, textures


def test_names_are_distinct():
  for names in (
    scenes.SHAPES,
    scenes.TEXTURES + scenes.OOD_TEXTURES,
    scenes.ACTIONS,
    scenes.CAMERA_MOTIONS,
    scenes.SCENES,
    scenes.SPLITS,
    scenes.FACTORS,
  ):
    assert len(set(names)) == len(names)


def test_only_the_cone_is_kept_for_test_ood():
  assert set(scenes.SHAPES) - set(scenes.KNOWN_SHAPES) == {"cone"}


def test_every_action_but_none_has_its_opposite():
  kinds = {}
  for action in scenes.ACTIONS:
    kind, sense = action.split("_")
    kinds.setdefault(kind, set()).add(sense)
  assert list(kinds) == ["spin", "orbit", "dash", "bob"]
  assert all(len(senses) == 2 for senses in kinds.values())


def test_every_texture_can_be_drawn():
  for name in scenes.TEXTURES + scenes.OOD_TEXTURES:
    assert name in textures.FIELDS


def test_scenes_are_values():
  one = sampling.sample("default", "train", 0, 1, 3)
  other = sampling.sample("default", "train", 0, 1, 3)
  assert one is not other
  assert one == other
  assert hash(one) == hash(other)
  with pytest.raises(dataclasses.FrozenInstanceError):
    handmade.SCENE.variant = 1
