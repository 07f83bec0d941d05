"""How close pictures are to what they should be: PSNR and SSIM."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Of SSIM, from Wang et al., "Image quality assessment: from error visibility to
# structural similarity" (2004), §III: a Gaussian window of 11 × 11 pixels.
SIGMA_PX, RADIUS_PX = 1.5, 5
K1, K2 = 0.01, 0.03


def mse(
  pred: Float[Array, "*b h w c"], target: Float[Array, "*b h w c"]
) -> Float[Array, "*b"]:
  """Mean squared error of each picture."""
  return jnp.square(pred - target).mean(axis=(-3, -2, -1))


def psnr(
  pred: Float[Array, "*b h w c"],
  target: Float[Array, "*b h w c"],
  data_range: float = 1.0,
) -> Float[Array, "*b"]:
  """Peak signal-to-noise ratio of each picture.

  Args:
    pred: the pictures.
    target: what they should be.
    data_range: largest minus smallest value that a pixel may have.

  Returns:
    Decibels, higher is better; infinite for equal pictures.
  """
  return 20 * np.log10(data_range) - 10 * jnp.log10(mse(pred, target))


def ssim(
  pred: Float[Array, "*b h w c"],
  target: Float[Array, "*b h w c"],
  data_range: float = 1.0,
) -> Float[Array, "*b"]:
  """Structural similarity of each picture, a mean over pixels and channels.

  The window only takes places where it lies inside the picture, and variances
  are those of its weights, as in the authors' program.

  Args:
    pred: the pictures, at least 11 pixels high and wide.
    target: what they should be.
    data_range: largest minus smallest value that a pixel may have.

  Returns:
    At most 1, which is reached by equal pictures.

  Raises:
    ValueError: the pictures are smaller than the window.
  """
  c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
  # Around the middle: small differences of large squares lose float32's digits.
  centre = (pred + target).mean(axis=(-3, -2), keepdims=True) / 2
  pred, target = pred - centre, target - centre
  mean_p, mean_t = _blur(pred), _blur(target)
  variance_p = _blur(pred * pred) - mean_p * mean_p
  variance_t = _blur(target * target) - mean_t * mean_t
  covariance = _blur(pred * target) - mean_p * mean_t
  mean_p, mean_t = mean_p + centre, mean_t + centre
  likeness = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
  likeness *= (2 * covariance + c2) / (variance_p + variance_t + c2)
  return likeness.mean(axis=(-3, -2, -1))


def _blur(x: Float[Array, "*b h w c"]) -> Float[Array, "*b y x c"]:
  """The mean under the window, at every place inside the picture."""
  rows, columns = (_windows(size) for size in x.shape[-3:-1])
  high = jax.lax.Precision.HIGHEST
  x = jnp.einsum("yh,...hwc->...ywc", rows, x, precision=high)
  return jnp.einsum("xw,...ywc->...yxc", columns, x, precision=high)


def _windows(size: int) -> Float[np.ndarray, "m n"]:
  """The one-dimensional window at each of its places, as rows."""
  width = 2 * RADIUS_PX + 1
  if size < width:
    raise ValueError(f"SSIM needs {width} pixels in each direction, not {size}")
  weights = np.exp(
    -0.5 * (np.arange(-RADIUS_PX, RADIUS_PX + 1) / SIGMA_PX) ** 2
  )
  rows = np.zeros((size - width + 1, size), np.float32)
  for i, row in enumerate(rows):
    row[i : i + width] = weights / weights.sum()
  return rows
