"""PSNR and SSIM against slow ones, and where there is nothing to compare."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from vdr.metrics import images


def pictures(*shape, seed=0):
  x = np.random.default_rng(seed).uniform(size=shape)
  return jnp.asarray(x, jnp.float32)


def slow_ssim(a, b, data_range):
  """One window after another, from the definition, in float64."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  y, x = np.mgrid[-5:6, -5:6]
  weights = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
  weights = (weights / weights.sum())[..., None]
  c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
  values = []
  for i in range(a.shape[0] - 10):
    for j in range(a.shape[1] - 10):
      p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
      mp, mq = (weights * p).sum((0, 1)), (weights * q).sum((0, 1))
      vp = (weights * (p - mp) ** 2).sum((0, 1))
      vq = (weights * (q - mq) ** 2).sum((0, 1))
      cov = (weights * (p - mp) * (q - mq)).sum((0, 1))
      values.append(
        (2 * mp * mq + c1)
        * (2 * cov + c2)
        / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
      )
  return np.mean(values)


@hypothesis.settings(max_examples=20)
@hypothesis.given(
  st.integers(0, 99), st.floats(0, 1), st.sampled_from([1.0, 2.0, 255.0])
)
def test_both_are_the_slow_ones(seed, noise, data_range):
  a = data_range * pictures(2, 13, 16, 3, seed=seed)
  b = a + noise * data_range * pictures(2, 13, 16, 3, seed=seed + 1)
  expected = [slow_ssim(x, y, data_range) for x, y in zip(a, b, strict=True)]
  np.testing.assert_allclose(images.ssim(a, b, data_range), expected, atol=2e-5)
  difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
  error = (difference**2).mean(axis=(1, 2, 3))
  hypothesis.assume(error.min() > 1e-6 * data_range**2)
  np.testing.assert_allclose(
    images.psnr(a, b, data_range),
    10 * np.log10(data_range**2 / error),
    rtol=1e-3,
  )


def test_a_psnr_by_hand():
  black, grey = jnp.zeros((4, 4, 3)), jnp.full((4, 4, 3), 0.1)
  assert images.mse(black, grey) == pytest.approx(0.01)
  assert images.psnr(black, grey) == pytest.approx(20)
  assert images.psnr(black, grey, 10.0) == pytest.approx(40)


@pytest.mark.parametrize("value", [None, 0.0, 0.5, 1.0])
def test_equal_pictures_score_perfectly(value):
  a = (
    pictures(2, 12, 12, 3) if value is None else jnp.full((2, 12, 12, 3), value)
  )
  np.testing.assert_allclose(images.ssim(a, a), 1, atol=1e-6)
  np.testing.assert_array_equal(images.psnr(a, a), np.inf)


def test_flat_pictures_are_compared_by_their_level():
  a, b = jnp.full((12, 12, 3), 0.2), jnp.full((12, 12, 3), 0.6)
  expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
  assert images.ssim(a, b) == pytest.approx(expected, rel=1e-5)


def test_a_flat_picture_has_no_structure():
  a = pictures(12, 12, 3)
  assert images.ssim(a, jnp.full_like(a, a.mean())) < 0.05
  assert images.ssim(a, 1 - a) < 0


def test_ssim_does_not_care_which_is_which():
  a, b = pictures(2, 14, 12, 3), pictures(2, 14, 12, 3, seed=1)
  np.testing.assert_allclose(images.ssim(a, b), images.ssim(b, a), atol=1e-6)


def test_leading_axes_stay():
  a, b = pictures(2, 3, 12, 11, 3), pictures(2, 3, 12, 11, 3, seed=1)
  for score in (images.mse, images.psnr, images.ssim):
    whole = jax.jit(score)(a, b)
    assert whole.shape == (2, 3)
    np.testing.assert_allclose(whole[1, 2], score(a[1, 2], b[1, 2]), rtol=1e-4)


@pytest.mark.parametrize("size", [(12, 10), (10, 12), (10, 10), (1, 1)])
def test_a_picture_smaller_than_the_window_is_refused(size):
  """Others score what is reflected at its edges, as if it were seen."""
  x = jnp.zeros((*size, 3))
  with pytest.raises(ValueError, match=f"11 pixels.*not {min(size)}"):
    images.ssim(x, x)
