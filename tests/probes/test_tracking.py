import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes import clips
from vdr.probes import places, tracking
from vdr.runtime import errors


def head(kind="points", tile_frames=2, **fields):
  given = dict(query_dim=3 if kind == "points" else 4, octaves=3, hidden=10)
  targets = tracking.Targets(kind, **{**given, **fields})
  return tracking.Track(clips.sizes(), targets, tile_frames)


def queries(own, n=7):
  rng = np.random.default_rng(5)
  shape = (2, n, own.targets.query_dim)
  return jnp.asarray(rng.uniform(0.1, 0.9, shape), jnp.float32)


def apply(own, params, query):
  x = own.prepare(clips.features())
  outputs = jax.jit(own.apply)(params, x, {"query": query})
  return {k: np.asarray(v) for k, v in outputs.items()}


class TestTrack:
  def test_points_have_places_in_the_picture_and_two_logits(self):
    own = head()
    found = apply(own, clips.params(own), queries(own))
    assert found["points_xy"].shape == (2, 7, 5, 2)
    assert found["visible"].shape == found["certain"].shape == (2, 7, 5)
    assert 0 < found["points_xy"].min() and found["points_xy"].max() < 1

  def test_boxes_have_four_numbers_of_any_size(self):
    own = head("boxes", tile_frames=5)
    found = apply(own, clips.params(own), queries(own))
    assert list(found) == ["boxes_yxyx"]
    assert found["boxes_yxyx"].shape == (2, 7, 5, 4)
    assert np.abs(found["boxes_yxyx"]).max() > 1

  def test_a_query_is_repeated_for_each_tile(self):
    """The same readout by hand, tile after tile, query after query."""
    own = head("boxes")
    params, query = clips.params(own), queries(own, 2)
    p = jax.tree.map(np.asarray, params)
    s = np.asarray(places.fourier(query, 3), np.float64)
    s = clips.mlp(p["embed"]["mlp"], s)  # [b n d]
    tokens = p["readout"]["tokens"]["place"]
    sines = places.sines(places.middles(clips.FRAME_TIMES), 2, 4)
    place = np.repeat(tokens[:3], 8, axis=0)
    place = place + sines.reshape(24, -1) @ tokens[3:]
    frames = []
    for tile in range(3):
      q = (s + p["tiles"][tile]) @ p["query"]["kernel"] + p["query"]["bias"]
      z = clips.reference(p["readout"], clips.features(), q, place, 2)
      y = np.einsum("bnp,ptc->bntc", z, p["out"]["kernel"]) + p["out"]["bias"]
      frames.append(y)
    expected = np.concatenate(frames, axis=2)[:, :, :5]  # the sixth is surplus
    found = apply(own, params, query)["boxes_yxyx"]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)

  @pytest.mark.parametrize("kind", ["points", "boxes"])
  def test_from_its_query_it_starts_at_rest(self, kind):
    own = head(kind, from_query=True)
    query, params = queries(own), clips.params(own)
    params["out"] = jax.tree.map(jnp.zeros_like, params["out"])
    found = apply(own, params, query)
    name, v = ("points_xy", 2) if kind == "points" else ("boxes_yxyx", 4)
    expected = np.broadcast_to(query[:, :, None, :v], (2, 7, 5, v))
    np.testing.assert_allclose(found[name], expected, atol=1e-6)

  def test_only_from_its_query_the_last_map_starts_at_zero(self):
    for own in (head(from_query=True), head()):
      kernel = own.targets.last_kernel(jax.random.key(0), (8, 4))
      assert (np.abs(kernel).max() == 0) == own.targets.from_query
    whole = head(from_query=True)
    last = jax.jit(lambda key: whole.init(key, clips.SHAPE)["out"])
    assert not any(x.any() for x in jax.tree.leaves(last(jax.random.key(0))))

  def test_its_parameters_are_counted(self):
    d, p, t, s, e = 6, 8, 3, places.CHANNELS, 10
    tokens = 2 * d + (t + s) * d
    attention = 2 * d * p + p + p * p + p
    mlp = 2 * p + 8 * p * p + 5 * p
    embed = (2 * 3 * 3 * e + e) + (e * e + e)
    own = 3 * e + (e * p + p) + p * 8 + 8
    assert head().num_params(clips.SHAPE) == (
      tokens + attention + mlp + embed + own
    )

  def test_tiles_longer_than_the_clip_are_refused(self):
    with pytest.raises(errors.UserError, match="tiles of 6 frames"):
      head(tile_frames=6).num_params(clips.SHAPE)

  def test_queries_with_too_few_coordinates_are_refused(self):
    with pytest.raises(errors.UserError, match="need 4 coordinates"):
      head("boxes", query_dim=3).num_params(clips.SHAPE)

  def test_queries_of_other_coordinates_are_refused(self):
    own = head()
    with pytest.raises(ValueError, match="2 coordinates, the head 3"):
      apply(own, clips.params(own), queries(own)[..., :2])


class TestDrawQueries:
  def test_valid_ones_come_first_and_entries_stay_together(self):
    n = jnp.broadcast_to(jnp.arange(6)[None], (4, 6))
    valid = jnp.asarray(np.random.default_rng(0).uniform(size=(4, 6)) < 0.5)
    inputs = {
      "query": n[..., None].astype(jnp.float32),
      "points_xy": jnp.broadcast_to(n[..., None, None], (4, 6, 5, 2)),
      "ok": valid,
      "label": jnp.arange(4),
    }
    draw = tracking.DrawQueries(3, ("points_xy",), "ok")
    drawn = draw(jax.random.key(0), inputs)
    index = np.asarray(drawn["query"])[..., 0].astype(int)
    assert index.shape == (4, 3)
    assert all(len(set(row)) == 3 for row in index.tolist())
    np.testing.assert_array_equal(drawn["points_xy"][..., 0, 0], index)
    np.testing.assert_array_equal(
      drawn["ok"], np.take_along_axis(np.asarray(valid), index, 1)
    )
    wanted = np.minimum(valid.sum(1), 3)
    np.testing.assert_array_equal(drawn["ok"].sum(1), wanted)
    np.testing.assert_array_equal(drawn["label"], np.arange(4))

  def test_another_key_draws_others(self):
    inputs = {
      "query": clips.normal(8, 20, 2),
      "ok": jnp.ones((8, 20), bool),
    }
    draw = tracking.DrawQueries(4, (), "ok")
    a, b = (draw(jax.random.key(i), inputs)["query"] for i in (0, 1))
    assert np.abs(a - b).max() > 0
