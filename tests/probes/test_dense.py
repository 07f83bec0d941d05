import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes import clips
from vdr.probes import dense, places, readout
from vdr.runtime import errors


def head(**fields):
  given = dict(
    sizes=clips.sizes(),
    frames=(0, 1, 3, 4),
    height=4,
    width=6,
    patch=(2, 2, 3),
  )
  return dense.Dense(**{**given, **fields})


def apply(own, params, **inputs):
  x = own.prepare(clips.features())
  return np.asarray(jax.jit(own.apply)(params, x, inputs)["map"])


class TestPatches:
  def test_a_map_survives_being_cut(self):
    maps = clips.normal(2, 4, 4, 6, 3)
    patches = dense.to_patches(head(), maps)
    assert patches.shape == (2, 8, 2, 2, 3, 3)
    np.testing.assert_array_equal(dense.from_patches(head(), patches), maps)

  def test_patches_are_numbered_frames_first_and_columns_last(self):
    maps = clips.normal(1, 4, 4, 6, 1)
    patches = dense.to_patches(head(), maps)
    np.testing.assert_array_equal(patches[0, 6], maps[0, 2:4, 2:4, 0:3])


class TestHead:
  def test_patches_that_are_asked_for_are_those_of_the_map(self):
    own = head()
    params = clips.params(own)
    whole = dense.to_patches(own, jnp.asarray(apply(own, params)))
    index = jnp.array([5, 0, 3])
    found = apply(own, params, patch_index=index)
    np.testing.assert_allclose(found, whole[:, index], atol=1e-5)

  def test_mean_and_spread_are_those_of_the_targets(self):
    params = clips.params(head(channels=2))
    plain = apply(head(channels=2), params)
    assert plain.shape == (2, 4, 4, 6, 2)  # all pixels of its frames
    found = apply(head(channels=2, mean=7.0, std=2.0), params)
    np.testing.assert_allclose(found, 7 + 2 * plain, rtol=1e-5, atol=1e-5)

  def test_a_query_knows_the_middle_of_its_patch(self):
    found = dense._places(head())
    times = np.array([(0.5 + 1.5) / 2, (3.5 + 4.5) / 2]) / 5
    expected = places.sines(times, 2, 2).reshape(8, -1)
    np.testing.assert_allclose(found, expected, atol=1e-6)

  def test_a_map_of_logarithms_is_its_exponential(self):
    params = clips.params(head())
    plain = apply(head(), params)
    found = apply(head(mean=2.0, std=0.5, logarithms=True), params)
    np.testing.assert_allclose(found, np.exp(2 + 0.5 * plain), rtol=1e-5)

  def test_at_first_a_query_looks_at_its_own_place(self):
    t, h, w, d = shape = (5, 8, 8, 96)
    times = (0, 4, 8, 12, 16)
    sizes = clips.sizes(width=64, num_heads=4, frame_times=times, num_frames=17)
    own = head(sizes=sizes, frames=times, height=8, width=8, patch=(1, 1, 1))
    params = own.init(jax.random.key(0), shape)
    x = own.prepare(clips.normal(2, *shape))
    weights = np.asarray(readout.attention(own, params, x, {}))
    weights = weights.reshape(2, t * h * w, t, h, w)
    place = np.indices((t, h, w)).reshape(3, -1)
    far = [
      np.abs(index - middle[:, None])
      for index, middle in zip(
        np.indices((t, h, w)).reshape(3, 1, -1), place, strict=True
      )
    ]
    near = (np.stack(far) <= 1).all(axis=0)  # at most a token away
    share = (weights.reshape(2, t * h * w, -1) * near).sum(-1).mean()
    assert share > 3 * near.mean()

  @pytest.mark.parametrize("with_places", [True, False])
  def test_its_parameters_are_counted(self, with_places):
    d, p, t, s = 6, 8, 3, places.CHANNELS * with_places
    tokens = 2 * d + (t + s) * d
    attention = 2 * d * p + p + p * p + p
    mlp = 2 * p + 8 * p * p + 5 * p
    own = 8 * p + s * p + 12 * p + 12
    found = head(sizes=clips.sizes(places=with_places))
    count = found.num_params(clips.SHAPE)
    assert count == tokens + attention + mlp + own

  @pytest.mark.parametrize(
    ("fields", "message"),
    [
      ({"patch": (3, 2, 3)}, "do not split into patches"),
      ({"frames": (0, 1, 3, 5)}, "not all in a clip of 5"),
    ],
  )
  def test_sizes_that_do_not_fit_are_refused(self, fields, message):
    with pytest.raises(errors.UserError, match=message):
      head(**fields).num_params(clips.SHAPE)


class TestDrawPatches:
  def test_targets_are_cut_as_outputs_are(self):
    own = head()
    maps = clips.normal(2, 4, 4, 6)
    draw = dense.DrawPatches(own, 3, ("depth_m",))
    label = jnp.arange(2)
    drawn = draw(jax.random.key(0), {"depth_m": maps, "label": label})
    index = drawn["patch_index"]
    assert len(set(index.tolist())) == 3
    whole = dense.to_patches(own, maps[..., None])[..., 0]
    np.testing.assert_array_equal(drawn["depth_m"], whole[:, index])
    np.testing.assert_array_equal(drawn["label"], label)
    found = apply(own, clips.params(own), **drawn)
    assert found.shape == (*drawn["depth_m"].shape, 1)

  def test_all_of_them_are_each_there_once(self):
    draw = dense.DrawPatches(head(), 99, ())
    index = draw(jax.random.key(1), {})["patch_index"]
    assert sorted(index.tolist()) == list(range(8))
