"""Single frames say nothing about the action; factors change one by one."""

import dataclasses

import numpy as np
import pytest
from sklearn import (
  discriminant_analysis,
  neighbors,
  pipeline,
  preprocessing,
)

from vdr import geometry
from vdr.data.physics import motion, render, sampling, scenes

NUM_FIT = NUM_SCORED = 2048
CHANCE = 1 / len(scenes.ACTIONS)
# Standard error of a guesser's accuracy; the labels are uniform.
SE = np.sqrt(CHANCE * (1 - CHANCE) / NUM_SCORED)
TIMES_S = np.arange(17) / 12


@dataclasses.dataclass(frozen=True)
class Mains:
  """Main objects and cameras of many scenes; n scenes, t frames."""

  label: np.ndarray  # [n]
  object_to_world: np.ndarray  # [n t 4 4]
  camera_to_world: np.ndarray  # [n t 4 4]
  intrinsics: np.ndarray  # [n 3 3]
  half_extents_m: np.ndarray  # [n 3]

  def features(self) -> np.ndarray:
    """Place, pose and size in each single frame: [t n f]."""
    n, t = self.object_to_world.shape[:2]
    world_m = self.object_to_world[..., :3, 3]
    xy, depth = geometry.project(
      world_m[:, :, None],
      self.camera_to_world,
      np.broadcast_to(self.intrinsics[:, None], (n, t, 3, 3)),
    )
    rotation = (
      self.camera_to_world[..., :3, :3].swapaxes(-1, -2)
      @ self.object_to_world[..., :3, :3]
    )
    extents = np.broadcast_to(self.half_extents_m[:, None], (n, t, 3))
    features = [
      xy[:, :, 0],
      depth,
      world_m,
      rotation.reshape(n, t, 9),
      extents,
      extents / depth,
    ]
    return np.concatenate(features, axis=-1).swapaxes(0, 1)


def _draw(scene):
  count = NUM_FIT + NUM_SCORED
  drawn = [sampling.sample(scene, "train", 0, i, 0) for i in range(count)]
  return Mains(
    label=np.array([scenes.ACTIONS.index(s.motion.action) for s in drawn]),
    object_to_world=np.stack(
      [motion.main_poses(s.main, s.motion, TIMES_S) for s in drawn]
    ),
    camera_to_world=np.stack(
      [motion.camera_poses(s.camera, len(TIMES_S)) for s in drawn]
    ),
    intrinsics=np.stack([render.intrinsics(s.camera, 64, 64) for s in drawn]),
    half_extents_m=np.stack([s.main.half_extents_m for s in drawn]),
  )


@pytest.fixture(scope="module")
def mains():
  return _draw("default")


PROBES = {
  "1 neighbour": lambda: neighbors.KNeighborsClassifier(1),
  "15 neighbours": lambda: neighbors.KNeighborsClassifier(15),
  "linear": lambda: discriminant_analysis.LinearDiscriminantAnalysis(),
}


def _accuracies(features, label):
  """Accuracy of each probe, fit on the one half and scored on the other."""
  fit, scored = slice(NUM_FIT), slice(NUM_FIT, None)
  return {
    name: pipeline.make_pipeline(preprocessing.StandardScaler(), probe())
    .fit(features[fit], label[fit])
    .score(features[scored], label[scored])
    for name, probe in PROBES.items()
  }


def test_no_single_frame_tells_the_action(mains):
  for t, features in enumerate(mains.features()):
    for name, accuracy in _accuracies(features, mains.label).items():
      where = f"{name}, frame {t}: {accuracy:.4f}"
      assert abs(accuracy - CHANCE) <= 3 * SE, where


def test_what_holds_for_default_holds_for_cluttered():
  """The same random places and poses, at another scale."""
  for index in range(50):
    default = sampling.sample("default", "train", 0, index, 8)
    cluttered = sampling.sample("cluttered", "train", 0, index, 8)
    assert cluttered.motion == default.motion
    assert cluttered.main.orientation == default.main.orientation
    np.testing.assert_allclose(
      cluttered.main.half_extents_m,
      0.7 * np.array(default.main.half_extents_m),
    )
    assert cluttered.camera == dataclasses.replace(
      default.camera, distance_m=cluttered.camera.distance_m
    )


def test_two_frames_do_tell_it(mains):
  poses = mains.object_to_world
  change = np.concatenate(
    [
      poses[:, 1, :3, 3] - poses[:, 0, :3, 3],
      (
        poses[:, 1, :3, :3] @ poses[:, 0, :3, :3].swapaxes(-1, -2)
      ).reshape(-1, 9),
    ],
    axis=-1,
  )  # fmt: skip
  accuracies = _accuracies(change, mains.label)
  assert accuracies["15 neighbours"] > 0.5
  assert accuracies["linear"] > 0.3


def test_the_probes_see_a_motion_that_starts_at_the_same_place(mains):
  """Had all travels begun at the centre, late frames would tell them."""
  poses = mains.object_to_world.copy()
  poses[:, :, :3, 3] -= poses[:, :1, :3, 3]
  leaky = dataclasses.replace(mains, object_to_world=poses)
  features = leaky.features()
  for t in (1, 4, 16):
    accuracies = _accuracies(features[t], mains.label)
    assert max(accuracies.values()) > CHANCE + 6 * SE


def test_the_camera_knows_nothing_of_the_action():
  drawn = [sampling.sample("default", "test", 0, i, 0) for i in range(1024)]
  table = np.zeros((len(scenes.ACTIONS), len(scenes.CAMERA_MOTIONS)))
  for scene in drawn:
    table[
      scenes.ACTIONS.index(scene.motion.action),
      scenes.CAMERA_MOTIONS.index(scene.camera.motion),
    ] += 1
  expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
  chi_squared = ((table - expected) ** 2 / expected).sum()
  degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
  assert chi_squared < degrees + 4 * np.sqrt(2 * degrees)


@pytest.mark.parametrize("scene", scenes.SCENES)
def test_a_scene_is_a_function_of_its_number(scene):
  one = sampling.sample(scene, "train", 3, 9, 3)
  sampling.sample(scene, "train", 3, 10, 3)
  assert sampling.sample(scene, "train", 3, 9, 3) == one
  assert sampling.sample(scene, "train", 4, 9, 3) != one


def test_splits_and_clips_share_no_random_number():
  seen = set()
  for split in scenes.SPLITS:
    for index in range(20):
      drawn = sampling.sample("default", split, 0, index, 0)
      numbers = (
        *drawn.main.half_extents_m,
        *drawn.main.orientation,
        drawn.motion.orbit_phase,
        drawn.motion.dash_phase,
        drawn.camera.distance_m,
        drawn.light.ambient,
        *drawn.light.position_m,
      )
      distinct = set(numbers)  # a sphere has one radius
      assert not distinct & seen
      seen |= distinct


def test_streams_differ_by_name():
  streams = sampling.Streams(0, "train", 0)
  assert streams("shape").uniform() != streams("size").uniform()
  assert streams("shape").uniform() == streams("shape").uniform()


def test_more_distractors_change_nothing_else():
  few = sampling.sample("default", "train", 0, 4, 0)
  many = sampling.sample("default", "train", 0, 4, 9)
  assert few.distractors == ()
  assert dataclasses.replace(many, distractors=()) == few


def _parts(scene):
  """The fields of a scene, grouped by the factor that they belong to."""
  look = scene.main.look
  return {
    "shape": scene.main.shape,
    "texture": (look.texture, look.frequency, look.phase, look.direction),
    "colour": look.colours,
    "size": scene.main.half_extents_m,
    "camera": scene.camera,
    "light": scene.light,
    "action": scene.motion.action,
    "rest": (
      scene.main.position_m,
      scene.main.orientation,
      scene.main.velocity_m_s,
      scene.main.spin_rad_s,
      dataclasses.replace(scene.motion, action=""),
      scene.distractors,
      scene.ground,
      scene.sky,
    ),
  }


@pytest.mark.parametrize("number", range(2 * len(scenes.FACTORS)))
def test_a_run_of_factors_changes_exactly_one(number):
  factor = scenes.FACTORS[number % len(scenes.FACTORS)]
  first = number * scenes.FACTOR_VALUES
  run = [
    sampling.sample("factors", "train", 0, first + i, 3)
    for i in range(scenes.FACTOR_VALUES)
  ]
  assert [scene.varied for scene in run] == [factor] * scenes.FACTOR_VALUES
  assert [scene.variant for scene in run] == list(range(scenes.FACTOR_VALUES))
  parts = [_parts(scene) for scene in run]
  for name in parts[0]:
    values = {repr(part[name]) for part in parts}
    if name == factor:
      assert len(values) > 1
    elif name == "size" and factor == "shape":
      continue  # each shape has proportions of its own
    else:
      assert len(values) == 1, name
  if factor == "shape":  # the size's random numbers stay, though
    radii = {s.main.shape: s.main.half_extents_m for s in run}
    again = {s.main.shape: s.main.half_extents_m for s in reversed(run)}
    assert radii == again


def test_runs_of_factors_differ():
  bases = {
    repr(
      sampling.sample("factors", "train", 0, run * scenes.FACTOR_VALUES, 0).main
    )
    for run in range(14)
  }
  assert len(bases) == 14


def _bodies(split, count=120):
  for index in range(count):
    scene = sampling.sample("default", split, 0, index, 3)
    yield from (scene.main, *scene.distractors)


@pytest.mark.parametrize("split", scenes.SPLITS)
def test_unseen_looks_and_shapes_are_kept_for_test_ood(split):
  ood = split == "test_ood"
  bodies = list(_bodies(split))
  textures = {body.look.texture for body in bodies}
  assert textures == set(scenes.OOD_TEXTURES if ood else scenes.TEXTURES)
  shapes = {body.shape for body in bodies}
  assert shapes == set(scenes.SHAPES if ood else scenes.KNOWN_SHAPES)
  grounds = {
    sampling.sample("default", split, 0, i, 0).ground.texture
    for i in range(60)
  }  # fmt: skip
  assert grounds <= textures


def test_scenes_have_what_their_names_say():
  for index in range(20):
    wall = sampling.sample("brick_wall", "train", 0, index, 3)
    assert (wall.main, wall.distractors) == (None, ())
    assert wall.ground.texture == "bricks"
    assert wall.camera.motion in ("pan_left", "pan_right")
    still = sampling.sample("still", "train", 0, index, 3)
    assert (still.motion.action, still.distractors) == ("none", ())
    assert (still.camera.motion, still.camera.amount) == ("static", 0.0)
    cluttered = sampling.sample("cluttered", "train", 0, index, 8)
    assert 4 <= len(cluttered.distractors) <= 8
    assert any(cluttered.light.velocity_m_s)


def test_every_class_occurs_about_as_often():
  drawn = [sampling.sample("default", "test", 0, i, 0) for i in range(1600)]
  for names, values in (
    (scenes.ACTIONS, [s.motion.action for s in drawn]),
    (scenes.KNOWN_SHAPES, [s.main.shape for s in drawn]),
  ):
    share = 1 / len(names)
    deviation = np.sqrt(1600 * share * (1 - share))
    for name in names:
      assert abs(values.count(name) - 1600 * share) < 4 * deviation
  moving = [s.camera.motion for s in drawn if s.camera.motion != "static"]
  assert 0.6 < len(moving) / 1600 < 0.8
  assert set(moving) == set(scenes.CAMERA_MOTIONS[1:])
