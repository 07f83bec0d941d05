"""The perceptual distance, against SciPy's convolutions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from vdr.models import perceptual
from vdr.runtime import errors

WIDTHS = (4, 5, 3, 4, 2)  # VGG-16's are 64, 128, 256, 512 and 512


@pytest.fixture
def weights():
  """Random weights under torchvision's names, of a narrow VGG-16."""
  rng, found, c_in = np.random.default_rng(0), {}, 3
  for level, width in zip(perceptual.LEVELS, WIDTHS, strict=True):
    for i in level:
      kernel = rng.normal(size=(width, c_in, 3, 3)) / (3 * c_in**0.5)
      found[f"features.{i}.weight"] = kernel.astype(np.float32)
      found[f"features.{i}.bias"] = rng.normal(size=width).astype(np.float32)
      c_in = width
  return found


def write(path, weights):
  np.savez(path, **weights)
  return perceptual.load(path)


def slow_features(weights, picture):
  x = (picture - np.array(perceptual.SHIFT)) / np.array(perceptual.SCALE)
  found = []
  for number, level in enumerate(perceptual.LEVELS):
    if number:
      h, w, c = x.shape
      x = x.reshape(h // 2, 2, w // 2, 2, c).max(axis=(1, 3))
    for i in level:
      kernel, bias = (weights[f"features.{i}.{k}"] for k in ("weight", "bias"))
      planes = [
        sum(
          signal.correlate2d(x[..., c], kernel[o, c], mode="same")
          for c in range(x.shape[-1])
        )
        for o in range(len(kernel))
      ]
      x = np.maximum(np.stack(planes, axis=-1) + bias, 0)
    found.append(x)
  return found


@pytest.mark.parametrize("learned", [False, True])
def test_it_is_lpips(weights, learned, tmp_path):
  rng = np.random.default_rng(1)
  channels = [np.full(w, 1 / w) for w in WIDTHS]
  if learned:
    channels = [rng.random(w) for w in WIDTHS]
    weights |= {
      f"lin{n}.model.1.weight": w.reshape(1, -1, 1, 1).astype(np.float32)
      for n, w in enumerate(channels)
    }
  params = write(tmp_path / "vgg16.npz", weights)
  pred, target = rng.uniform(-1, 1, size=(2, 2, 2, 16, 16, 3))
  found = perceptual.distance(
    params, jnp.asarray(pred, jnp.float32), jnp.asarray(target, jnp.float32)
  )
  expected = np.zeros(2)
  for clip in range(2):
    for frame in range(2):
      for x, y, w in zip(
        slow_features(weights, pred[clip, frame]),
        slow_features(weights, target[clip, frame]),
        channels,
        strict=True,
      ):
        x, y = (
          z / np.sqrt((z**2).sum(-1, keepdims=True) + 1e-10) for z in (x, y)
        )
        expected[clip] += (((x - y) ** 2) @ w).mean() / 2
  np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_the_same_picture_is_no_distance_away(weights, tmp_path):
  params = write(tmp_path / "vgg16.npz", weights)
  clip = jnp.ones((1, 1, 16, 16, 3)) * 0.3
  assert float(perceptual.distance(params, clip, clip)[0]) == 0


def test_a_file_that_lacks_a_layer_is_told(weights, tmp_path):
  del weights["features.28.bias"]
  with pytest.raises(errors.UserError, match="no weights of VGG-16"):
    write(tmp_path / "vgg16.npz", weights)
  with pytest.raises(errors.UserError, match="how to save them"):
    perceptual.load(tmp_path / "none.npz")
