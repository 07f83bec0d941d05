"""Order and correspondence of features, on features made by hand."""

import numpy as np
import pytest

from vdr.metrics import similarity


def _features(n=6, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(n, 2, 3, 4, 5)).astype(np.float32)


class TestOrder:
  def test_it_is_the_ratio_of_mean_squared_distances(self):
    forward, backward = _features(), _features(seed=1)
    own = np.square(forward - backward).sum((1, 2, 3, 4)).mean()
    other = np.mean(
      [
        np.square(forward[i] - forward[j]).sum()
        for i in range(6)
        for j in range(6)
        if i != j
      ]
    )
    found = similarity.order_sensitivity(forward, backward)
    assert found == pytest.approx(own / other, rel=1e-5)

  def test_equal_features_have_none_and_another_clip_s_have_1(self):
    forward = _features(400)
    assert similarity.order_sensitivity(forward, forward) == 0
    other = similarity.order_sensitivity(forward, np.roll(forward, 1, axis=0))
    assert other == pytest.approx(1, abs=0.05)

  def test_scale_and_offset_are_nothing_to_it(self):
    forward, backward = _features(), _features(seed=1)
    expected = similarity.order_sensitivity(forward, backward)
    moved = similarity.order_sensitivity(7 * forward - 3, 7 * backward - 3)
    assert moved == pytest.approx(expected, rel=1e-4)

  def test_clips_that_are_all_the_same_have_no_number(self):
    same = np.ones((3, 1, 1, 1, 2), np.float32)
    assert np.isnan(similarity.order_sensitivity(same, same))
    with pytest.raises(ValueError, match="no other"):
      similarity.order_sensitivity(same[:1], same[:1])


class TestSample:
  def test_it_is_linear_between_middles_and_constant_outside(self):
    y, x = np.mgrid[:3, :4]
    features = np.stack([x, y], axis=-1).astype(np.float32)
    points = np.array(
      [[0.125, 1 / 6], [0.5, 0.5], [0.3, 0.6], [0.0, 1.0], [1.0, 0.0]]
    )
    expected = [[0, 0], [1.5, 1], [0.7, 1.3], [0, 2], [3, 0]]
    found = similarity.sample(features, points)
    np.testing.assert_allclose(found, expected, atol=1e-6)

  def test_one_token_is_everywhere(self):
    features = np.full((1, 1, 3), 2.0, np.float32)
    found = similarity.sample(features, np.array([[0.1, 0.9]]))
    np.testing.assert_array_equal(found, [[2, 2, 2]])


class TestCorrespondence:
  def test_what_moved_is_found_where_it_went(self):
    """Features that are all different, moved by two tokens."""
    features = np.random.default_rng(0).normal(size=(4, 6, 16))
    moved = np.roll(features, 2, axis=1)
    points = np.array([[1.5 / 6, 2.5 / 4], [3.5 / 6, 0.5 / 4]])
    query = similarity.sample(features, points)
    maps = similarity.similarity(query, 3.0 * moved, 4, 6)
    assert maps.max() == pytest.approx(1)
    found = similarity.most_similar(maps)
    np.testing.assert_allclose(found, points + [2 / 6, 0])

  def test_maps_have_the_picture_s_size(self):
    features = np.random.default_rng(0).normal(size=(4, 6, 16))
    query = similarity.sample(features, np.array([[0.5, 0.5]]))
    maps = similarity.similarity(query, features, 12, 18)
    assert maps.shape == (1, 12, 18)
    found = similarity.most_similar(maps)
    assert np.abs(found - 0.5).max() < 1 / 12
    assert maps.min() >= -1.001 and maps.max() <= 1.001
