import jax
import numpy as np
import pytest

from tests.probes import clips
from vdr.probes import head as head_lib
from vdr.probes import heads
from vdr.runtime import errors


def apply(head, params, x):
  return jax.jit(head.apply)(params, head.prepare(x), {})


def test_the_linear_head_is_one_map_of_the_mean():
  head = heads.Linear(3)
  params = clips.params(head, clips.SHAPE[-1:])
  x = clips.features()
  out = clips.plain(params)["out"]
  expected = np.asarray(x).mean((1, 2, 3)) @ out["kernel"] + out["bias"]
  found = apply(head, params, x)["logits"]
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert head.num_params(clips.SHAPE[-1:]) == 6 * 3 + 3


def test_the_attentive_head_maps_what_its_query_reads():
  head = heads.Attentive(3, clips.sizes(places=False))
  params, x = clips.params(head), clips.features()
  t, h, w, _ = clips.SHAPE
  p = clips.plain(params)
  place = np.repeat(p["readout"]["tokens"]["place"], h * w, axis=0)
  query = np.broadcast_to(p["query"], (2, 1, 8))
  z = clips.reference(p["readout"], x, query, place, 2)[:, 0]
  expected = z @ p["out"]["kernel"] + p["out"]["bias"]
  found = apply(head, params, x)["logits"]
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_attentive_head_of_the_paper_s_size_is_counted():
  sizes = clips.sizes(width=1024, num_heads=16, places=False)
  head = heads.Attentive(10, sizes)
  d, p, t = clips.SHAPE[-1], 1024, 3
  attention = 2 * d + t * d + (2 * d * p + p) + (p * p + p)
  mlp = 2 * p + 8 * p * p + 5 * p
  assert head.num_params(clips.SHAPE) == p + attention + mlp + 10 * p + 10


class TestPose:
  def test_it_is_twelve_numbers_of_an_attentive_head(self):
    head = heads.Pose(clips.sizes(), tuple(map(float, range(12))), (2.0,))
    params, x = clips.params(head), clips.features()
    attentive = heads.Attentive(12, clips.sizes())
    y = apply(attentive, params["attentive"], x)["logits"]
    expected = (np.arange(12) + 2 * np.asarray(y)).reshape(-1, 3, 4)
    found = apply(head, params, x)["pose"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)

  def test_without_a_mean_it_starts_around_no_motion(self):
    np.testing.assert_array_equal(
      np.reshape(heads.Pose(clips.sizes()).mean, (3, 4)), np.eye(3, 4)
    )

  def test_eleven_numbers_are_refused(self):
    with pytest.raises(errors.UserError, match="12 numbers"):
      heads.Pose(clips.sizes(), (0.0,) * 11).num_params(clips.SHAPE)


def test_what_heads_are_given_is_shared_by_function():
  assert heads.Linear.prepare is head_lib.mean
  assert heads.Attentive.prepare is heads.Pose.prepare is head_lib.tokens
