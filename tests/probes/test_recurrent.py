import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.probes import clips
from vdr.probes import places, recurrent, tracking
from vdr.runtime import errors

COVERING = (0, 1, 1, 2, 2)  # which of 3 feature frames each of 5 frames sees


def head(kind="boxes", num_layers=2, **fields):
  targets = tracking.Targets(kind, 4, octaves=3, hidden=10, **fields)
  return recurrent.Recurrent(clips.sizes(), targets, num_layers, 12)


def queries(n=3):
  rng = np.random.default_rng(5)
  return jnp.asarray(rng.uniform(0.1, 0.9, (2, n, 4)), jnp.float32)


def apply(own, params, query, x=None, **inputs):
  x = own.prepare(clips.features() if x is None else x)
  found = jax.jit(own.apply)(params, x, {"query": query, **inputs})
  return {k: np.asarray(v) for k, v in found.items()}


def norm(x, scale, eps, rms=False):
  x = x if rms else x - x.mean(-1, keepdims=True)
  return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * scale


def by_hand(p, query, query_frame):
  """Boxes frame after frame, in a Python loop and with plain attention."""
  x = np.asarray(clips.features(), np.float64)
  x = norm(x, 1.0, 1e-6) * p["tokens"]["scale"] + p["tokens"]["bias"]
  sines = places.sines(places.middles(clips.FRAME_TIMES), 2, 4)
  place = p["tokens"]["place"]
  x = x + place[:3, None, None] + sines @ place[3:]
  x = x.reshape(2, 3, 8, 6)
  first = clips.mlp(
    p["embed"]["mlp"], np.asarray(places.fourier(query, 3), np.float64)
  )
  s, boxes = first, []
  for frame, own in enumerate(COVERING):
    s = np.where((query_frame == frame)[..., None], first, s)
    seen = s + p["frame"][frame]
    for i in range(2):
      layer = p[f"layer_{i}"]
      q = norm(seen, layer["norm"]["scale"], 1e-6)
      q = np.einsum("bqs,sac->bqac", q, layer["query"]["kernel"])
      q = norm(q, layer["query_norm"]["scale"], 1e-6, rms=True)
      k = np.einsum("bnd,dac->bnac", x[:, own], layer["key"]["kernel"])
      k = norm(k, layer["key_norm"]["scale"], 1e-6, rms=True)
      v = np.einsum("bnd,dac->bnac", x[:, own], layer["value"]["kernel"])
      v = v + layer["value"]["bias"]
      weights = np.exp(np.einsum("bqac,bnac->baqn", q, k) / 2)
      weights /= weights.sum(-1, keepdims=True)
      out = np.einsum("baqn,bnac->bqac", weights, v)
      out = np.einsum("bqac,acs->bqs", out, layer["out"]["kernel"])
      seen = seen + out + layer["out"]["bias"]
      own_norm = norm(seen, layer["mlp_norm"]["scale"], 1e-6)
      seen = seen + clips.mlp(layer["mlp"], own_norm)
    read = norm(seen, p["last_norm"]["scale"], 1e-6)
    c = s + read @ p["last"]["kernel"] + p["last"]["bias"]
    boxes.append(clips.mlp(p["values"], c))
    s = norm(c + clips.mlp(p["predict"], c), p["state_norm"]["scale"], 1e-4)
  return np.stack(boxes, axis=2)


@pytest.mark.parametrize("query_frame", [[0, 0, 0], [0, 2, 3]])
def test_it_predicts_looks_and_corrects(query_frame):
  own = head()
  params = clips.params(own)
  frames = jnp.broadcast_to(jnp.array(query_frame, jnp.int32)[None], (2, 3))
  given = {"query_frame": frames} if any(query_frame) else {}
  found = apply(own, params, queries(), **given)["boxes_yxyx"]
  plain = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  expected = by_hand(plain, queries(), np.asarray(frames))
  np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)


def test_it_never_sees_the_future():
  own = head()
  params = clips.params(own)
  x = clips.features()
  before = apply(own, params, queries(), x)["boxes_yxyx"]
  after = apply(own, params, queries(), x.at[:, 1].multiply(-1.0))["boxes_yxyx"]
  changed = np.abs(before - after).max((0, 1, 3)) > 1e-5
  assert changed.tolist() == [False, True, True, True, True]


def test_points_have_logits_too_and_may_start_at_rest():
  own = head("points", num_layers=1, from_query=True)
  params = clips.params(own)
  params["values"]["down"] = jax.tree.map(
    jnp.zeros_like, params["values"]["down"]
  )
  found = apply(own, params, queries())
  assert found["visible"].shape == found["certain"].shape == (2, 3, 5)
  expected = np.broadcast_to(queries()[:, :, None, :2], (2, 3, 5, 2))
  np.testing.assert_allclose(found["points_xy"], expected, atol=1e-6)


def test_its_parameters_are_counted():
  d, p, s, m, t = 6, 8, 10, 12, 3
  tokens = 2 * d + (t + places.CHANNELS) * d
  embed = (2 * 4 * 3 * s + s) + (s * s + s)
  layer = s + s * p + 2 * 4 + 2 * d * p + p + (p * s + s)
  layer += s + (s * m + m) + (m * s + s)
  last = s + (s * s + s) + 2 * (s * s + s) + s  # with the prediction
  values = (s * s + s) + (s * 4 + 4)
  count = head().num_params(clips.SHAPE)
  assert count == tokens + 5 * s + embed + 2 * layer + last + values


def test_no_layers_are_refused():
  with pytest.raises(errors.UserError, match="0 layers"):
    head(num_layers=0).num_params(clips.SHAPE)
