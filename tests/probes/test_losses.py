import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes import clips
from vdr.probes import losses
from vdr.runtime import errors


def test_a_masked_mean_without_anything_is_zero():
  x = jnp.array([[1.0, 5.0], [2.0, 3.0], [jnp.nan, 4.0]])
  valid = jnp.array([[True, False], [False, False], [False, True]])
  np.testing.assert_allclose(losses.masked_mean(x, valid), [1.0, 0.0, 4.0])


class TestCrossEntropy:
  @pytest.mark.parametrize("smoothing", [0.0, 0.3])
  def test_it_is_that_of_the_known_labels(self, smoothing):
    logits = clips.normal(3, 4)
    targets = {"action": jnp.array([2, -1, 0], jnp.int32)}
    found = losses.CrossEntropy("action", smoothing)(
      {"logits": logits}, targets
    )
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for i, label in ((0, 2), (2, 0)):
      hot = np.full(4, smoothing / 4)
      hot[label] += 1 - smoothing
      np.testing.assert_allclose(found[i], -(hot * np.log(p[i])).sum(), 1e-5)
    assert found[1] == 0


class TestDepth:
  @pytest.mark.parametrize(
    ("kind", "expected"),
    [("l1", 1.5), ("l2", 2.5), ("log_l1", (np.log(2) + np.log(1.5)) / 2)],
  )
  def test_it_is_over_valid_pixels(self, kind, expected):
    depth = jnp.array([[[2.0, 0.0], [4.0, 50.0]]])
    pred = jnp.array([[[1.0, 7.0], [6.0, 7.0]]])[..., None]
    loss = losses.Depth(kind=kind, valid_m=(1e-3, 10.0))
    found = loss({"map": pred}, {"depth_m": depth})
    np.testing.assert_allclose(found, [expected], rtol=1e-6)

  def test_an_unknown_kind_is_refused(self):
    with pytest.raises(errors.UserError, match="depth_loss 'l3' is unknown"):
      losses.Depth(kind="l3").check()

  def test_parts_of_a_map_are_as_good(self):
    depth = 1 + jnp.abs(clips.normal(2, 3, 1, 4, 4))
    pred = clips.normal(2, 3, 1, 4, 4, 1, seed=1)
    found = losses.Depth()({"map": pred}, {"depth_m": depth})
    expected = np.abs(pred[..., 0] - depth).mean((1, 2, 3, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_pose_loss_is_of_twelve_numbers():
  pred, pose = clips.normal(2, 3, 4), clips.normal(2, 3, 4, seed=1)
  std = tuple(np.linspace(1, 2, 12).tolist())
  found = losses.Pose(std=std)({"pose": pred}, {"pose": pose})
  error = np.asarray(pred - pose).reshape(2, 12) / np.array(std, np.float32)
  np.testing.assert_allclose(found, (error**2).mean(1), rtol=1e-5)


class TestPoints:
  def test_it_is_that_of_a_case_by_hand(self):
    """r = 10: one frame is .05 off, one .8, one is hidden."""
    target = jnp.zeros((1, 2, 3, 2))
    pred = target.at[0, 0, 0, 0].set(0.05).at[0, 0, 1, 1].set(0.8)
    outputs = {
      "points_xy": pred.at[0, 1].set(9.0),
      "visible": jnp.zeros((1, 2, 3)),
      "certain": jnp.zeros((1, 2, 3)).at[0, 0, 1].set(2.0),
    }
    targets = {
      "points_xy": target,
      "points_visible": jnp.array([[[True, True, False], [True] * 3]]),
      "query_visible": jnp.array([[True, False]]),
    }
    found = losses.Points(resolution=10.0)(outputs, targets)
    huber = (0.5 * 0.05**2 + 0.1 * (0.8 - 0.05)) / 2
    visible = np.log(2)
    certain = (np.log(2) + np.log1p(np.exp(2.0))) / 2  # .05 is near, .8 is not
    expected = 100 * huber + 0.1 * visible + 0.1 * certain
    np.testing.assert_allclose(found, [expected], rtol=1e-5)

  def test_without_queries_there_is_nothing_to_learn(self):
    x = clips.normal(1, 2, 3, 2)
    outputs = {"points_xy": x, "visible": x[..., 0], "certain": x[..., 1]}
    targets = {
      "points_xy": jnp.full_like(x, jnp.nan),
      "points_visible": jnp.ones((1, 2, 3), bool),
      "query_visible": jnp.zeros((1, 2), bool),
    }
    assert losses.Points()(outputs, targets) == 0


class TestBoxes:
  @pytest.mark.parametrize(
    ("kind", "expected"), [("l2", 0.04), ("huber", 0.05 * (0.2 - 0.025))]
  )
  def test_it_is_over_annotated_frames(self, kind, expected):
    target = jnp.full((1, 1, 2, 4), jnp.nan).at[0, 0, 0].set(0.5)
    outputs = {"boxes_yxyx": jnp.full((1, 1, 2, 4), 0.7)}
    targets = {
      "boxes_yxyx": target,
      "boxes_valid": jnp.array([[[True, False]]]),
    }
    found = losses.Boxes(kind=kind)(outputs, targets)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_huber_is_half_a_square_then_a_line():
  found = losses.huber(jnp.array([0.0, 0.5, 1.0, 3.0]), 1.0)
  np.testing.assert_allclose(found, [0.0, 0.125, 0.5, 2.5])
