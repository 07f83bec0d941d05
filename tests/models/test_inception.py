"""Inception: known counts, a slow convolution, its pools, its files."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from vdr.models import inception, state_dict
from vdr.runtime import errors


def random_state():
  """Weights under the official names, of a size that keeps numbers near 1."""
  rng, found = np.random.default_rng(0), {}
  for name, shape in inception.shapes().items():
    scale = np.sqrt(2 / np.prod(shape[1:]))
    kernel = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
    found[f"{name}.conv.weight"] = kernel
    for part in ("weight", "running_var"):
      found[f"{name}.bn.{part}"] = rng.uniform(0.5, 1.5, shape[0])
    for part in ("bias", "running_mean"):
      found[f"{name}.bn.{part}"] = rng.normal(size=shape[0]) / 10
  return found


@pytest.fixture(scope="module")
def state():
  return random_state()


def load(state, monkeypatch):
  monkeypatch.setattr(state_dict, "read", lambda path: state)
  return inception.load("made-up.pth")


def test_it_has_as_many_parameters_as_torchvision_s():
  shapes = inception.shapes()
  # Inception-v3 of torchvision without its classifiers, batch norms included.
  count = sum(int(np.prod(shape)) + 2 * shape[0] for shape in shapes.values())
  assert (len(shapes), count) == (94, 21_785_568)
  assert shapes["Mixed_5b.branch_pool"] == (32, 192, 1, 1)
  assert shapes["Mixed_7c.branch3x3dbl_3b"] == (384, 384, 3, 1)


def slow_conv(state, name, x, stride, same):
  """Convolution, batch norm and ReLU as PyTorch writes them, [c h w]."""
  kernel = np.asarray(state[f"{name}.conv.weight"], np.float64)
  planes = [
    sum(
      signal.correlate2d(x[c], k[c], mode="same" if same else "valid")
      for c in range(len(x))
    )[::stride, ::stride]
    for k in kernel
  ]
  norm = {
    part: np.asarray(state[f"{name}.bn.{part}"])[:, None, None]
    for part in ("weight", "bias", "running_mean", "running_var")
  }
  y = (np.stack(planes) - norm["running_mean"]) / np.sqrt(
    norm["running_var"] + 1e-3
  )
  return np.maximum(y * norm["weight"] + norm["bias"], 0)


def test_convolutions_are_those_of_pytorch(state, monkeypatch):
  params = load(state, monkeypatch)
  rng = np.random.default_rng(1)
  x = rng.normal(size=(3, 11, 9))
  first = slow_conv(state, "Conv2d_1a_3x3", x, 2, same=False)
  second = slow_conv(state, "Conv2d_2a_3x3", first, 1, same=False)
  third = slow_conv(state, "Conv2d_2b_3x3", second, 1, same=True)
  y = jnp.asarray(x.transpose(1, 2, 0)[None], jnp.float32)
  for layer in inception.LAYERS[:3]:
    y = inception._conv(params[layer.name], layer, y)
  np.testing.assert_allclose(y[0].transpose(2, 0, 1), third, atol=1e-4)
  wide = rng.normal(size=(128, 4, 9))
  row = slow_conv(state, "Mixed_6b.branch7x7_2", wide, 1, same=True)
  y = jnp.asarray(wide.transpose(1, 2, 0)[None], jnp.float32)
  conv = inception.Conv("branch7x7_2", 128, inception.ROW)
  y = inception._conv(params["Mixed_6b.branch7x7_2"], conv, y)
  np.testing.assert_allclose(y[0].transpose(2, 0, 1), row, atol=1e-3)


def test_pools_leave_padding_out():
  x = jnp.arange(12.0).reshape(1, 3, 4, 1) - 20
  average = np.asarray(inception._pool(inception.AVERAGE, x))[0, ..., 0]
  corner = np.mean([-20, -19, -16, -15])
  assert average[0, 0] == pytest.approx(corner)
  assert average[1, 1] == pytest.approx(-15)
  largest = np.asarray(inception._pool(inception.MAXIMUM, x))[0, ..., 0]
  assert largest[0, 0] == -15 and largest.shape == (3, 4)
  halved = inception._pool(inception.HALVE, x)
  assert halved.shape == (1, 1, 1, 1) and float(halved[0, 0, 0, 0]) == -10


def test_pixels_are_resized_as_by_pytorch():
  rng = np.random.default_rng(2)
  picture = rng.integers(0, 256, (1, 32, 20, 3), dtype=np.uint8)
  found = inception.resized(picture)

  def weights(size):  # align_corners=False: half pixels, edges repeat
    place = (np.arange(299) + 0.5) * size / 299 - 0.5
    place = np.clip(place, 0, size - 1)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, size - 1)
    matrix = np.zeros((299, size))
    np.add.at(matrix, (np.arange(299), below), 1 - (place - below))
    np.add.at(matrix, (np.arange(299), above), place - below)
    return matrix

  expected = np.einsum(
    "yh,xw,hwc->yxc", weights(32), weights(20), picture[0] / 255.0
  )
  np.testing.assert_allclose(found[0], 2 * expected - 1, atol=1e-5)


@pytest.mark.slow
def test_pool3_of_the_whole_network(state, monkeypatch):
  params = load(state, monkeypatch)
  rng = np.random.default_rng(3)
  pictures = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
  both = inception.features(params, pictures)
  assert both.shape == (2, inception.DIM) and np.isfinite(both).all()
  alone = inception.features(params, pictures[1:])
  np.testing.assert_allclose(both[1:], alone, rtol=1e-3, atol=1e-4)


def test_a_file_without_the_weights_is_told(state, monkeypatch, tmp_path):
  with pytest.raises(errors.UserError, match="inception=.*name the file"):
    inception.load(tmp_path / "none.pth")
  fewer = {k: v for k, v in state.items() if "7c.branch1x1.bn.bias" not in k}
  with pytest.raises(errors.UserError, match="Mixed_7c.branch1x1.bn.bias"):
    load(fewer, monkeypatch)
  other = state | {"Conv2d_1a_3x3.conv.weight": np.zeros((32, 1, 3, 3))}
  with pytest.raises(errors.UserError, match="Conv2d_1a_3x3 is"):
    load(other, monkeypatch)
