import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes import clips
from vdr.models import functional
from vdr.probes import dense, heads, places, readout, recurrent, tracking
from vdr.probes import head as head_lib
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


def reads(p, x, query, place, weights):
  """What a readout of one head takes home, given its weights; float64.

  Args:
    p: its parameters, plain.
    x: prepared features [b t h w d].
    query: [b q p] or [q p].
    place: embeddings of the tokens [n d].
    weights: [b q t h w].
  """
  b, *_, d = x.shape
  tokens = np.asarray(x, np.float64).reshape(b, -1, d) * p["tokens"]["scale"]
  tokens = tokens + p["tokens"]["bias"] + place
  value = tokens @ p["value"]["kernel"][:, 0] + p["value"]["bias"][0]
  taken = weights.reshape(*weights.shape[:2], -1) @ value
  z = query + taken @ p["out"]["kernel"][0] + p["out"]["bias"]
  centred = z - z.mean(-1, keepdims=True)
  normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
  normed = normed * p["norm"]["scale"] + p["norm"]["bias"]
  return z + clips.mlp(p["mlp"], normed)


ONE = clips.sizes(num_heads=1)
HEADS = {
  "attentive": heads.Attentive(3, ONE),
  "pose": heads.Pose(ONE),
  "dense": dense.Dense(ONE, (0, 2, 4), 4, 6, (1, 2, 3)),
  "points": tracking.Track(ONE, tracking.Targets("points", 2, 3, 10), 2),
  "boxes": tracking.Track(ONE, tracking.Targets("boxes", 4, 3, 10), 5),
}


class TestAttention:
  @pytest.mark.parametrize("form", ["auto", "pooled", "projected"])
  @pytest.mark.parametrize("name", list(HEADS))
  def test_values_weighted_by_it_are_the_head_s_answer(self, name, form):
    sizes = dataclasses.replace(ONE, form=form)
    head = dataclasses.replace(HEADS[name], sizes=sizes)
    own, x = clips.params(head), head.prepare(clips.features())
    inputs = {}
    if name in ("points", "boxes"):
      shape = (2, 4, head.targets.query_dim)
      rng = np.random.default_rng(3)
      inputs["query"] = jnp.asarray(rng.uniform(size=shape), jnp.float32)
    run = jax.jit(lambda *args: readout.attention(head, *args))
    weights = np.asarray(run(own, x, inputs), np.float64)
    module = functional.bind(lambda r: head.build(clips.SHAPE, r), own)
    query = np.asarray(module.queries(inputs), np.float64)
    assert weights.shape == (2, query.shape[-2], *clips.SHAPE[:3])
    np.testing.assert_allclose(weights.sum((2, 3, 4)), 1, rtol=1e-5)
    p = clips.plain(own["attentive"] if name == "pose" else own)
    z = reads(p["readout"], x, query, table(p["readout"]), weights)
    y = np.tensordot(z, p["out"]["kernel"], 1) + p["out"]["bias"]
    outputs = jax.jit(head.apply)(own, x, inputs)
    if name == "attentive":
      found, y = outputs["logits"], y[:, 0]
    elif name == "pose":
      found, y = outputs["pose"], (heads.IDENTITY + y[:, 0]).reshape(-1, 3, 4)
    elif name == "dense":
      found = outputs["map"]
      y = dense.from_patches(head, jnp.asarray(y, jnp.float32))
    else:
      y = y.reshape(2, 4, -1, 4)[:, :, : clips.NUM_FRAMES]
      found = outputs["boxes_yxyx"] if name == "boxes" else outputs["visible"]
      y = y if name == "boxes" else y[..., 2]
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-4)

  def test_of_several_heads_it_is_the_mean(self):
    own, x = params(), clips.features()
    query = clips.normal(5, 8, seed=3)
    each = []
    for form in ("pooled", "projected"):
      module = functional.bind(make(clips.sizes(form=form)), own)
      each.append(module.weights(head_lib.tokens(x), query))
    assert each[0].shape == (2, 5, 2, clips.NUM_TOKENS)
    np.testing.assert_allclose(*each, atol=1e-5)
    head = heads.Attentive(3, clips.sizes())
    whole = clips.params(head)
    module = functional.bind(lambda r: head.build(clips.SHAPE, r), whole)
    prepared = head.prepare(x)
    weights = module.readout.weights(prepared, module.queries({}))
    assert float(jnp.std(weights, axis=2).max()) > 1e-3  # the two differ
    found = readout.attention(head, whole, prepared, {})
    expected = np.asarray(weights).mean(2).reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6)

  def test_heads_that_do_not_read_so_have_none(self):
    head = recurrent.Recurrent(
      ONE, tracking.Targets("points", 2, 3, 10), num_layers=1, mlp_width=8
    )
    x = head.prepare(clips.features())
    assert readout.attention(head, clips.params(head), x, {}) is None
