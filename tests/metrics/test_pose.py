"""Poses: angles at their hard ends, thresholds, alignment, no motion."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.spatial import transform

from tests import needs
from tests.metrics import rows
from vdr import geometry
from vdr.metrics import pose

SCORES = {
  "epe": pose.end_point_error,
  "rotation": pose.rotation_error_deg,
  "translation": pose.translation_error,
  "rra": pose.rotation_accuracy,
  "rta": pose.translation_accuracy,
  "maa": pose.mean_average_accuracy,
}
BOUNDED = ("rra", "rta", "maa")


def rotations(seed, n, spread_deg=180.0):
  rng = np.random.default_rng(seed)
  axis = rng.normal(size=(n, 3))
  axis /= np.linalg.norm(axis, axis=1, keepdims=True)
  angle = np.radians(spread_deg) * rng.random((n, 1))
  return transform.Rotation.from_rotvec(angle * axis)


def batch(seed, n=6, pairs=2):
  rng = np.random.default_rng(seed)
  target = rotations(seed, n * pairs).as_matrix()
  pred = rotations(seed + 1, n * pairs, 40).as_matrix() @ target
  direction = rng.normal(size=(n * pairs, 3, 1))
  error = rng.normal(size=direction.shape)
  valid = rng.random((n, pairs)) < 0.8
  valid[0] = False
  shape = (n, pairs, 3, 4)
  return {
    "pred": np.concatenate([pred, direction + 0.3 * error], 2).reshape(shape),
    "target": np.concatenate([target, direction], 2).reshape(shape),
    "valid": valid,
  }


def one(rotation=None, translation=(1.0, 0.0, 0.0)):
  rotation = np.eye(3) if rotation is None else rotation
  column = np.array(translation, float)[:, None]
  return np.concatenate([rotation, column], axis=1)[None]


VALID = np.ones(1, bool)


def slow_scores(p, d):
  """Of one pose."""
  grid = [(x, y, z) for x in (-5, 5) for y in (-5, 5) for z in (0, 10)]
  moved = [
    np.linalg.norm(p[:, :3] @ q + p[:, 3] - d[:, :3] @ q - d[:, 3])
    for q in np.array(grid, float)
  ]
  turn = transform.Rotation.from_matrix(p[:, :3] @ d[:, :3].T).magnitude()
  turn = np.degrees(turn)
  cosine = p[:, 3] @ d[:, 3]
  cosine /= np.linalg.norm(p[:, 3]) * np.linalg.norm(d[:, 3])
  aside = np.degrees(np.arccos(cosine))
  within = [max(turn, aside) < k for k in range(1, 31)]
  return {
    "epe": np.mean(moved),
    "rotation": turn,
    "translation": np.linalg.norm(p[:, 3] - d[:, 3]),
    "rra": turn < 15,
    "rta": aside < 15,
    "maa": np.mean(within),
  }


@pytest.mark.parametrize("name", SCORES)
@hypothesis.settings(max_examples=10)
@hypothesis.given(seed=st.integers(0, 999))
def test_all_are_the_slow_ones(name, seed):
  x = batch(seed)
  hypothesis.assume(x["valid"].any())
  each = [
    slow_scores(p, d)[name]
    for p, d in zip(x["pred"][x["valid"]], x["target"][x["valid"]], strict=True)
  ]
  assert SCORES[name](**x).score() == pytest.approx(np.mean(each), abs=1e-9)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("pairs", [0, 2])
def test_rows(name, pairs):
  x = batch(0)
  if not pairs:
    x = {k: v[:, 0] for k, v in x.items()}
  rows.check(SCORES[name], x)


@pytest.mark.parametrize("name", SCORES)
def test_the_truth_scores_perfectly_and_nan_does_not(name):
  x = batch(1)
  x["pred"] = x["target"]
  perfect = 1.0 if name in BOUNDED else 0.0
  assert SCORES[name](**x).score() == pytest.approx(perfect, abs=1e-5)
  x["pred"] = np.full_like(x["pred"], np.nan)
  expected = 0.0 if name in BOUNDED else np.nan
  np.testing.assert_equal(SCORES[name](**x).score(), expected)


def test_the_end_point_error_by_hand():
  moved = pose.end_point_error(one(), one(translation=(1, 3, 4)), VALID)
  assert moved.score() == pytest.approx(5)
  half_turn = np.diag([-1.0, -1.0, 1.0])  # about z: points go to -x, -y
  turned = pose.end_point_error(one(half_turn), one(), VALID)
  assert turned.score() == pytest.approx(10 * np.sqrt(2))


def test_the_truth_is_that_of_geometry():
  # A relative pose and its inverse have different errors: this is which.
  a, b = (np.eye(4) for _ in range(2))
  a[:3, :3] = rotations(5, 1).as_matrix()[0]
  b[:3, 3] = (1, 2, 3)
  relative = geometry.relative_pose(a, b)
  assert pose.end_point_error(
    relative[None, :3], (np.linalg.inv(a) @ b)[None, :3], VALID
  ).score() == pytest.approx(0, abs=1e-12)


@hypothesis.given(
  st.integers(0, 99), st.sampled_from([0, 1e-9, 1e-5, 15, 90, 180 - 1e-9, 180])
)
def test_angles_keep_their_digits(seed, angle_deg):
  a = rotations(seed, 1).as_matrix()[0]
  axis = np.random.default_rng(seed).normal(size=3)
  axis /= np.linalg.norm(axis)
  turn = transform.Rotation.from_rotvec(np.radians(angle_deg) * axis)
  found = pose.rotation_angle_deg(turn.as_matrix() @ a, a)
  assert float(found) == pytest.approx(angle_deg, abs=1e-13)
  side = np.cross(axis, [1.0, 2.0, 3.0])
  found = pose.direction_angle_deg(turn.apply(side), 7 * side)
  assert float(found) == pytest.approx(angle_deg, abs=1e-13)


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1.0, 1e200])
def test_directions_have_no_size(size):
  a, b = np.array([size, 0, 0]), np.array([0, 2.0, 0])
  assert float(pose.direction_angle_deg(a, b)) == pytest.approx(90)


def test_directions_are_signed():
  back = one(translation=(-1, 0, 0))
  angle = pose.direction_angle_deg(back[:, :, 3], one()[:, :, 3])
  np.testing.assert_allclose(angle, 180)
  assert pose.translation_accuracy(back, one(), VALID).score() == 0


@pytest.mark.parametrize(
  "score", [pose.translation_accuracy, pose.mean_average_accuracy]
)
def test_standing_still_has_no_direction(score):
  still = one(translation=(0, 0, 0))
  skipped = score(one(), still, VALID)
  assert np.isnan(skipped.score())
  assert skipped.num_skipped == 1
  assert score(still, one(), VALID).score() == 0


@pytest.mark.parametrize("angle_deg", [15, 30])
def test_thresholds_are_strict(angle_deg):
  angles = np.radians([angle_deg + 1e-9, angle_deg - 1e-9])
  turn, back = geometry.rotation_about(np.array([0.0, 0.0, 1.0]), angles)
  for rotation, expected in ((turn, 0), (back, 1)):
    hit = pose.rotation_accuracy(one(rotation), one(), VALID, float(angle_deg))
    assert hit.score() == expected
  # Of 1° … 30°, those above the error.
  share = pose.mean_average_accuracy(one(back), one(), VALID).score()
  assert share == pytest.approx((31 - angle_deg) / 30)


@hypothesis.given(st.integers(0, 999))
def test_r_squared_is_the_share_of_all_variance(seed):
  rng = np.random.default_rng(seed)
  target = rng.normal(size=(9, 3, 4)) * rng.lognormal(size=(3, 4))
  pred = target + rng.normal(size=target.shape)
  valid = rng.random(9) < 0.8
  hypothesis.assume(valid.sum() > 1)
  p, d = pred[valid], target[valid]
  expected = 1 - ((p - d) ** 2).sum() / ((d - d.mean(axis=0)) ** 2).sum()
  found = pose.r_squared(pred, target, valid, d.mean(axis=0)).score()
  assert found == pytest.approx(expected)


def test_r_squared_of_the_truth_the_mean_and_nothing():
  x = batch(2)
  target, valid = x["target"][:, 0], np.ones(6, bool)
  mean = target.mean(axis=0)
  assert pose.r_squared(target, target, valid, mean).score() == 1
  constant = np.broadcast_to(mean, target.shape)
  assert pose.r_squared(constant, target, valid, mean).score() == 0
  assert np.isnan(pose.r_squared(constant, constant, valid, mean).score())
  bad = np.where(np.arange(6)[:, None, None] == 1, np.nan, target)
  assert np.isnan(pose.r_squared(bad, target, valid, mean).score())


def test_rows_of_r_squared():
  x = {k: v[:, 0] for k, v in batch(3).items()}
  mean = np.full((3, 4), 0.1)
  rows.check(lambda **y: pose.r_squared(**y, mean=mean), x)
  # A clip that lies on the mean has an error that counts.
  x["target"][1] = mean
  x["valid"][1] = True
  with_it = pose.r_squared(**x, mean=mean)
  assert with_it.numerator[1] > 0
  assert with_it.num_skipped == (~x["valid"]).sum()


@hypothesis.given(st.integers(0, 999))
def test_the_projection_is_the_nearest_rotation(seed):
  rng = np.random.default_rng(seed)
  m = rng.normal(size=(3, 3))
  r = pose.project_rotation(m)
  np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-12)
  assert np.linalg.det(r) == pytest.approx(1)
  others = rotations(seed, 200).as_matrix()
  nearby = rotations(seed, 200, 5).as_matrix() @ r
  for other in (others, nearby):
    distances = np.square(other - m).sum(axis=(1, 2))
    assert np.square(r - m).sum() <= distances.min() + 1e-12
  np.testing.assert_allclose(pose.project_rotation(3 * r), r, atol=1e-12)


def test_projections_of_what_is_no_matrix():
  zero, mirrored = np.zeros((3, 3)), -np.eye(3)
  for m in (zero, mirrored, np.diag([1.0, 0, 0])):
    r = pose.project_rotation(m)
    assert np.linalg.det(r) == pytest.approx(1)
  both = pose.project_rotation(np.stack([np.eye(3), np.full((3, 3), np.nan)]))
  np.testing.assert_array_equal(both[0], np.eye(3))
  assert np.isnan(both[1]).all()


@hypothesis.given(
  st.integers(0, 999), st.booleans(), st.floats(0.1, 10), st.booleans()
)
def test_alignment_undoes_a_similarity(seed, with_scale, scale, flat):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(8, 3))
  if flat:  # a mirror image of a plane is a rotation of it
    x[:, 2] = 0
  scale = scale if with_scale else 1.0
  r, t = rotations(seed, 1).as_matrix()[0], rng.normal(size=3)
  y = scale * x @ r.T + t
  found = pose.umeyama(x, y, with_scale)
  np.testing.assert_allclose(found[0], scale, rtol=1e-9)
  np.testing.assert_allclose(found[0] * x @ found[1].T + found[2], y, atol=1e-9)
  assert np.linalg.det(found[1]) == pytest.approx(1)


@pytest.mark.parametrize("with_scale", [True, False])
def test_trajectories_are_compared_after_alignment(with_scale):
  rng = np.random.default_rng(0)
  target = rng.normal(size=(4, 7, 3))
  valid = rng.random((4, 7)) < 0.8
  valid[:, :3] = True
  r = rotations(0, 1).as_matrix()[0]
  pred = (1 + with_scale) * target @ r.T + 5
  x = {"pred_xyz": pred, "target_xyz": target, "valid": valid}
  exact = pose.trajectory_error(**x, with_scale=with_scale)
  assert exact.score() == pytest.approx(0, abs=1e-9)
  assert exact.num_skipped == 0
  x["pred_xyz"] = pred + 0.1 * rng.normal(size=pred.shape)
  rows.check(lambda **y: pose.trajectory_error(**y, with_scale=with_scale), x)
  # No other scale or turn does better.
  best = pose.trajectory_error(**x, with_scale=with_scale).values()
  for i in range(4):
    p, d = x["pred_xyz"][i, valid[i]], target[i, valid[i]]
    for turn in rotations(1, 20, 3).as_matrix():
      s, q, t = pose.umeyama(p, d, with_scale)
      if with_scale:
        s *= 1.01
      worse = s * p @ (turn @ q).T
      worse += d.mean(axis=0) - worse.mean(axis=0)
      assert np.sqrt(np.square(worse - d).sum(1).mean()) >= best[i]


def test_trajectories_that_go_nowhere():
  still, moving = np.full((1, 5, 3), 0.1), np.arange(15.0).reshape(1, 5, 3)
  valid = np.ones((1, 5), bool)
  assert pose.trajectory_error(moving, still, valid).num_skipped == 1
  lost = pose.trajectory_error(still, moving, valid).score()
  assert lost == pytest.approx(
    np.sqrt(np.square(moving - moving.mean(axis=1)).sum(-1).mean())
  )
  one_frame = np.arange(5)[None] == 2
  assert pose.trajectory_error(moving, moving, one_frame).num_skipped == 1
  assert np.isnan(pose.trajectory_error(np.nan * still, moving, valid).score())


def test_roma_agrees():
  torch = needs.reference("torch")
  roma = needs.reference("roma")
  rng = np.random.default_rng(0)
  m = rng.normal(size=(50, 3, 3))
  np.testing.assert_allclose(
    pose.project_rotation(m),
    roma.special_procrustes(torch.tensor(m)).numpy(),
    atol=1e-9,
  )
  a, b = rotations(1, 50).as_matrix(), rotations(2, 50).as_matrix()
  other = roma.rotmat_geodesic_distance(torch.tensor(a), torch.tensor(b))
  np.testing.assert_allclose(
    pose.rotation_angle_deg(a, b), np.degrees(other.numpy()), atol=1e-6
  )
  x, y = rng.normal(size=(2, 9, 3))
  for with_scale in (True, False):
    found = roma.rigid_points_registration(
      torch.tensor(x), torch.tensor(y), compute_scaling=with_scale
    )
    r, t, scale = (*found, torch.tensor(1.0))[:3]
    ours = pose.umeyama(x, y, with_scale)
    np.testing.assert_allclose(ours[0], float(scale), rtol=1e-9)
    np.testing.assert_allclose(ours[1], r.numpy(), atol=1e-9)
    np.testing.assert_allclose(ours[2], t.numpy(), atol=1e-9)


def test_scikit_learn_agrees():
  metrics = needs.reference("sklearn.metrics")
  rng = np.random.default_rng(0)
  target, pred = rng.normal(size=(2, 30, 12)) * rng.lognormal(size=12)
  valid, mean = np.ones(30, bool), target.mean(axis=0)
  assert pose.r_squared(pred, target, valid, mean).score() == pytest.approx(
    metrics.r2_score(target, pred, multioutput="variance_weighted")
  )
