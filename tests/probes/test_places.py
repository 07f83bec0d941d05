import jax.numpy as jnp
import numpy as np
import pytest

from vdr.probes import places
from vdr.runtime import errors

CAUSAL = (0, 4, 8, 12, 16)


class TestTimes:
  def test_a_causal_latent_covers_the_four_frames_up_to_its_own(self):
    expected = (0,) + sum(((k,) * 4 for k in range(1, 5)), ())
    assert places.covering(CAUSAL, 17) == expected

  def test_single_frames_cover_themselves(self):
    assert places.covering(tuple(range(4)), 4) == (0, 1, 2, 3)

  def test_middles_are_those_of_what_is_covered(self):
    expected = np.array([0.5, 3.0, 7.0, 11.0, 15.0]) / 17
    np.testing.assert_allclose(places.middles(CAUSAL), expected)

  def test_models_of_frames_and_of_clips_share_an_axis(self):
    single = places.middles(tuple(range(17)))
    np.testing.assert_allclose(places.middles(CAUSAL)[0], single[0])
    np.testing.assert_allclose(
      places.middles(CAUSAL)[1], single[1:5].mean(), rtol=1e-12
    )

  @pytest.mark.parametrize(
    "frame_times", [(0, 4), (0, 8, 4), (-1, 1, 4), (0, 2, 3), ()]
  )
  def test_times_that_do_not_fit_are_refused(self, frame_times):
    with pytest.raises(errors.UserError, match="last pixel frame that it"):
      places.check(frame_times, 3, 5)


class TestSines:
  def test_places_differ_from_one_another(self):
    table = places.sines(places.middles(CAUSAL), 8, 8)
    assert table.shape == (5, 8, 8, places.CHANNELS)
    flat = table.reshape(-1, places.CHANNELS)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    np.fill_diagonal(distance, 1.0)
    assert distance.min() > 0.2

  def test_an_axis_moves_only_its_own_channels(self):
    table = places.sines(places.middles(CAUSAL), 4, 4)
    share = places.CHANNELS // 3
    assert np.ptp(table[..., :share], axis=(1, 2)).max() == 0
    assert np.ptp(table[..., share : 2 * share], axis=(0, 2)).max() == 0
    assert np.ptp(table[..., 2 * share :], axis=(0, 1)).max() == 0

  def test_a_place_of_the_picture_is_the_same_on_any_grid(self):
    fine = places.sines(np.array([0.5]), 9, 3)
    coarse = places.sines(np.array([0.5]), 3, 1)
    np.testing.assert_allclose(fine[0, 4, 1], coarse[0, 1, 0], atol=1e-6)


class TestFourier:
  def test_it_is_sines_of_octaves_then_of_coordinates(self):
    c = np.array([[0.3, 0.8]])
    phases = np.array([[o * np.pi * x for o in (1, 2, 4) for x in c[0]]])
    expected = np.sin(np.concatenate([phases, phases + np.pi / 2], -1))
    found = places.fourier(jnp.asarray(c, jnp.float32), 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)

  def test_the_highest_of_sixteen_octaves_survives(self):
    c = (np.arange(64, dtype=np.float32) / 2**15)[:, None]  # exact phases
    found = np.asarray(places.fourier(jnp.asarray(c), 16))[:, 15]
    np.testing.assert_allclose(found, 0.0, atol=1e-3)
    c = c + np.float32(2.0**-16)
    found = np.asarray(places.fourier(jnp.asarray(c), 16))[:, 15]
    np.testing.assert_allclose(np.abs(found), 1.0, atol=1e-3)

  def test_halves_are_refused(self):
    with pytest.raises(ValueError, match="not float32"):
      places.fourier(jnp.zeros((1, 2), jnp.bfloat16), 4)
