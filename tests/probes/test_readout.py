import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes import clips
from vdr.models import functional
from vdr.probes import head as head_lib
from vdr.probes import places, readout
from vdr.runtime import errors


def make(sizes):
  return lambda rngs: readout.Readout(sizes, clips.SHAPE, rngs)


@dataclasses.dataclass(frozen=True)
class Whole(head_lib.Head):
  """The readout as if it were a head."""

  sizes: readout.Sizes

  def build(self, shape, rngs):
    return readout.Readout(self.sizes, shape, rngs)


@functools.cache
def params(with_places=True):
  return clips.params(Whole(clips.sizes(places=with_places)))


def read(sizes, own, x, query):
  def run(own, x, query):
    module = functional.bind(make(sizes), own)
    return module(head_lib.tokens(x), query)

  return jax.jit(run)(own, x, query)


def table(own, with_places=True):
  """The embedding of each token, written down plainly."""
  place = np.asarray(own["tokens"]["place"], np.float64)
  t, h, w, d = clips.SHAPE
  time = np.repeat(place[:t], h * w, axis=0)
  if not with_places:
    return time
  sines = places.sines(places.middles(clips.FRAME_TIMES), h, w)
  return time + sines.reshape(-1, places.CHANNELS) @ place[t:]


class TestReadout:
  @pytest.mark.parametrize("form", ["pooled", "projected"])
  @pytest.mark.parametrize("with_places", [True, False])
  def test_it_is_the_published_one(self, form, with_places):
    own, x = params(with_places), clips.features()
    query = clips.normal(2, 5, 8, seed=3)
    sizes = clips.sizes(form=form, places=with_places)
    found = read(sizes, own, x, query)
    place = table(own, with_places)
    expected = clips.reference(own, x, query, place, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

  @pytest.mark.parametrize("form", ["pooled", "projected"])
  def test_queries_of_all_clips_are_the_same_as_of_each(self, form):
    own, x = params(), clips.features()
    query = clips.normal(5, 8, seed=3)
    each = jnp.broadcast_to(query[None], (2, 5, 8))
    sizes = clips.sizes(form=form)
    np.testing.assert_allclose(
      read(sizes, own, x, query), read(sizes, own, x, each), atol=1e-5
    )

  def test_both_forms_have_the_same_gradients(self):
    x, query = clips.features(), clips.normal(2, 5, 8, seed=3)

    def loss(own, query, form):
      return jnp.sum(jnp.sin(read(clips.sizes(form=form), own, x, query)))

    grads = [
      jax.grad(loss, argnums=(0, 1))(params(), query, form)
      for form in ("pooled", "projected")
    ]
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
      *grads,
    )

  def test_few_queries_are_pooled_and_many_projected(self):
    sizes = clips.sizes(width=64, num_heads=4)
    assert readout.pools(sizes, 16, 128)
    assert not readout.pools(sizes, 32, 128)
    assert readout.pools(clips.sizes(width=64, form="pooled"), 32, 128)

  def test_its_parameters_are_counted(self):
    t, d, p = clips.SHAPE[0], clips.SHAPE[-1], 8
    for with_places, sines in ((True, places.CHANNELS), (False, 0)):
      count = functional.count(params(with_places))
      tokens = 2 * d + (t + sines) * d
      attention = d * p + (d * p + p) + (p * p + p)
      mlp = 2 * p + (p * 4 * p + 4 * p) + (4 * p * p + p)
      assert count == tokens + attention + mlp

  def test_a_place_can_be_told_from_its_token_only_with_places(self):
    """Equal tokens everywhere: only places tell queries where they are."""
    x = jnp.broadcast_to(
      clips.normal(6)[None, None, None, None], (1, 3, 2, 4, 6)
    )
    moved = {**params(), "tokens": {**params()["tokens"]}}
    place = moved["tokens"]["place"]
    t = clips.SHAPE[0]
    moved["tokens"]["place"] = place.at[t:].set(-place[t:])
    query = clips.normal(1, 8)
    before = read(clips.sizes(), params(), x, query)
    after = read(clips.sizes(), moved, x, query)
    assert np.abs(before - after).max() > 1e-3


class TestErrors:
  @pytest.mark.parametrize(
    ("fields", "message"),
    [
      ({"num_heads": 3}, "width 8 has no 3 heads"),
      ({"form": "fast"}, "form 'fast' is unknown"),
      ({"frame_times": (0, 4)}, "do not fit 3 feature frames"),
    ],
  )
  def test_sizes_that_do_not_fit(self, fields, message):
    with pytest.raises(errors.UserError, match=message):
      functional.skeleton(make(clips.sizes(**fields)))

  def test_features_without_a_grid(self):
    with pytest.raises(errors.UserError, match=r"are \[t h w d\]"):
      functional.skeleton(
        lambda rngs: readout.Readout(clips.sizes(), (24, 6), rngs)
      )
