"""Patch transforms: orthonormal, the best of their size, and reproducible."""

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from vdr.models import patch_tokenizer
from vdr.runtime import errors

SIZE, CHANNELS = 2, 5


def clips(n=3, t=5, h=4, w=6, seed=0, rank=None):
  """Random clips; with a rank, all patches lie in so many dimensions."""
  rng = np.random.default_rng(seed)
  return rng.uniform(-1, 1, (n, t, h, w, 3)).astype(np.float32)


def fit(channels=CHANNELS, seed=0, n=30):
  video = clips(n, seed=seed)
  params, std = patch_tokenizer.fit([video], SIZE, channels)
  return video, params, std


@pytest.mark.parametrize("t", [1, 5, 9])
def test_patches_join_to_what_was_split(t):
  video = clips(t=t)
  first, later = patch_tokenizer.split_patches(video, SIZE)
  assert first.shape == (3, 1, 2, 3, 12)
  assert later.shape == (3, (t - 1) // 4, 2, 3, 48)
  joined = patch_tokenizer.join_patches(first, later, SIZE)
  np.testing.assert_array_equal(joined, video)


def test_a_patch_holds_the_pixels_of_its_place():
  video = clips(t=9)
  first, later = patch_tokenizer.split_patches(video, SIZE)
  np.testing.assert_array_equal(
    first[1, 0, 1, 2], video[1, 0, 2:4, 4:6].reshape(-1)
  )
  np.testing.assert_array_equal(
    later[1, 1, 1, 2], video[1, 5:9, 2:4, 4:6].reshape(-1)
  )


@pytest.mark.parametrize("make", ["init", "fit"])
def test_rows_are_orthonormal(make):
  if make == "init":
    params = patch_tokenizer.init(SIZE, CHANNELS, jax.random.key(0))
  else:
    _, params, _ = fit()
  for part in params.values():
    basis = np.asarray(part["basis"], np.float64)
    np.testing.assert_allclose(basis @ basis.T, np.eye(CHANNELS), atol=1e-6)


def test_all_channels_give_the_first_frame_back():
  video, params, _ = fit(channels=3 * SIZE**2)
  latents = patch_tokenizer.encode(params, video, SIZE)
  decoded = patch_tokenizer.decode(params, latents, SIZE)
  np.testing.assert_allclose(decoded[:, 0], video[:, 0], atol=2e-6)
  assert np.abs(decoded[:, 1:] - video[:, 1:]).max() > 0.1


def test_later_patches_of_few_dimensions_come_back_whole():
  rng = np.random.default_rng(1)
  later = rng.normal(size=(40, 1, 2, 3, CHANNELS)) @ rng.normal(
    size=(CHANNELS, 48)
  )
  first = np.zeros((40, 1, 2, 3, 12))
  video = np.asarray(patch_tokenizer.join_patches(first, later, SIZE))
  params, _ = patch_tokenizer.fit([video], SIZE, CHANNELS)
  latents = patch_tokenizer.encode(params, video, SIZE)
  decoded = patch_tokenizer.decode(params, latents, SIZE)
  np.testing.assert_allclose(decoded, video, atol=1e-4)


def test_it_is_the_pca_of_a_singular_value_decomposition():
  video, params, std = fit()
  parts = patch_tokenizer.split_patches(video, SIZE)
  for row, (name, patches) in enumerate(
    zip(("first", "later"), parts, strict=True)
  ):
    rows = patches.reshape(-1, patches.shape[-1]).astype(np.float64)
    mean = rows.mean(axis=0)
    np.testing.assert_allclose(params[name]["mean"], mean, atol=1e-6)
    _, values, axes = np.linalg.svd(rows - mean, full_matrices=False)
    np.testing.assert_allclose(
      std[row], values[:CHANNELS] / np.sqrt(len(rows)), rtol=1e-6
    )
    basis = np.asarray(params[name]["basis"], np.float64)
    np.testing.assert_allclose(
      np.abs(np.sum(basis * axes[:CHANNELS], axis=1)), 1, atol=1e-6
    )


def test_the_largest_entry_of_an_axis_is_positive():
  _, params, _ = fit()
  for part in params.values():
    basis = np.asarray(part["basis"])
    largest = np.abs(basis).argmax(axis=1)
    assert (basis[np.arange(len(basis)), largest] > 0).all()


def test_batches_of_any_length_give_one_answer():
  video = clips(30)
  whole, std = patch_tokenizer.fit([video], SIZE, CHANNELS)
  cut = [video[:1], video[1:20], video[20:20], video[20:]]
  parts, other_std = patch_tokenizer.fit(iter(cut), SIZE, CHANNELS)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, parts
  )
  np.testing.assert_allclose(std, other_std, rtol=1e-9)


@hypothesis.given(
  st.lists(st.integers(0, 9), min_size=1, max_size=5),
  st.floats(-1e6, 1e6),
  st.integers(0, 99),
)
def test_moments_are_those_of_all_rows_at_once(lengths, offset, seed):
  hypothesis.assume(sum(lengths) > 0)
  rng = np.random.default_rng(seed)
  parts = [rng.normal(size=(n, 3)) + offset for n in lengths]
  moments = patch_tokenizer.Moments(3)
  for part in parts:
    moments.add(part)
  rows = np.concatenate(parts)
  assert moments.count == len(rows)
  np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
  np.testing.assert_allclose(
    moments.covariance(), np.cov(rows.T, ddof=0).reshape(3, 3), atol=1e-6
  )


def test_images_alone_are_refused():
  with pytest.raises(errors.UserError, match="0 of later.*clip of 5 frames"):
    patch_tokenizer.fit([clips(t=1)], SIZE, CHANNELS)
