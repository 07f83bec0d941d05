"""Loss terms by hand, and against slow ones."""

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from vdr.models import reconstruction


def clip(*shape, seed=0):
  x = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(x, jnp.float32)


def test_terms_are_those_of_each_clip():
  pred, target = clip(2, 5, 4, 8, 3), clip(2, 5, 4, 8, 3, seed=1)
  mean, log_std = clip(2, 2, 2, 2, 3, seed=2), clip(2, 2, 2, 2, 3, seed=3)
  terms = reconstruction.losses(pred, target, mean, log_std)
  for i in range(2):
    error = np.asarray(pred[i] - target[i], np.float64)
    m, s = np.asarray(mean[i], np.float64), np.exp(np.float64(log_std[i]))
    pooled = [
      error.reshape(5, 4 // n, n, 8 // n, n, 3).mean(axis=(2, 4))
      for n in (2, 4)
    ]
    expected = {
      "l1": np.abs(error).mean(),
      "l2": (error**2).mean(),
      "gradient": np.mean(
        [np.abs(np.diff(error, axis=k)).mean() for k in range(3)]
      ),
      "multiscale": np.mean([(x**2).mean() for x in pooled]),
      "kl": (0.5 * (m**2 + s**2 - 2 * np.log(s) - 1)).mean(),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
      assert terms[name][i] == pytest.approx(value, rel=1e-4), name


def test_a_perfect_reconstruction_costs_nothing():
  x, zero = clip(1, 1, 4, 4, 3), jnp.zeros((1, 1, 1, 1, 2))
  terms = reconstruction.losses(x, x, zero, zero)
  assert all(float(term[0]) == 0 for term in terms.values())


def test_a_shift_in_level_costs_no_gradient():
  error = jnp.ones((1, 5, 4, 4, 3))
  assert reconstruction.gradient(error) == 0
  assert reconstruction.multiscale(error) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_small_and_odd_pictures_have_finite_terms(size):
  error = clip(2, 1, size, size, 3)
  assert jnp.isfinite(reconstruction.gradient(error)).all()
  assert jnp.isfinite(reconstruction.multiscale(error)).all()


def test_the_total_is_weighted_by_name():
  cfg = ml_collections.ConfigDict({"l1": 2.0, "kl": 0.5, "l2": 7.0})
  terms = {"l1": jnp.ones(2), "kl": 4 * jnp.ones(2)}
  np.testing.assert_allclose(reconstruction.total(cfg, terms), [4, 4])
