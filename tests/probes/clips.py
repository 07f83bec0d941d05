"""Small features, and the sizes of heads for them."""

import jax
import jax.numpy as jnp
import numpy as np

from vdr.probes import readout

FRAME_TIMES = (0, 2, 4)
NUM_FRAMES = 5
SHAPE = (3, 2, 4, 6)  # t h w d
NUM_TOKENS = 24


def sizes(**fields) -> readout.Sizes:
  given = dict(
    width=8, num_heads=2, frame_times=FRAME_TIMES, num_frames=NUM_FRAMES
  )
  return readout.Sizes(**{**given, **fields})


def normal(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=shape), jnp.float32)


def features(b=2, seed=0):
  return normal(b, *SHAPE, seed=seed)


def params(head, shape=SHAPE, seed=1):
  """Parameters none of which is special; nothing is compiled for them."""
  shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), shape))
  leaves, tree = jax.tree.flatten(shapes)
  drawn = [
    0.4 * normal(*leaf.shape, seed=seed + i) for i, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(tree, drawn)


def plain(tree):
  """NumPy's arrays of float64."""
  return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def reference(params, x, query, place, num_heads):
  """The published readout, written down plainly in float64.

  Args:
    params: of `readout.Readout`.
    x: features [b t h w d], not normalised.
    query: [b q p].
    place: the table that is added to the tokens, [n d].
    num_heads: heads.
  """
  p = plain(params)
  x = np.asarray(x, np.float64).reshape(x.shape[0], -1, x.shape[-1])
  x = _norm(x) * p["tokens"]["scale"] + p["tokens"]["bias"] + place
  d, width = x.shape[-1], query.shape[-1]
  z = np.array(query, np.float64)
  # A bias of keys changes nothing: any number will do.
  k = x @ p["key"]["kernel"].reshape(d, width) + 0.7
  v = x @ p["value"]["kernel"].reshape(d, width)
  v = v + p["value"]["bias"].reshape(width)
  c = width // num_heads
  out = np.zeros_like(z)
  for head in range(num_heads):
    own = slice(head * c, (head + 1) * c)
    logits = z[..., own] @ k[..., own].swapaxes(1, 2) / c**0.5
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out[..., own] = weights @ v[..., own]
  kernel = p["out"]["kernel"].reshape(width, width)
  z = z + out @ kernel + p["out"]["bias"]
  return z + mlp(p["mlp"], _norm(z) * p["norm"]["scale"] + p["norm"]["bias"])


def mlp(params, x):
  """Dense, GELU (tanh form), Dense, in float64."""
  p = plain(params)
  x = x @ p["up"]["kernel"] + p["up"]["bias"]
  x = 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
  return x @ p["down"]["kernel"] + p["down"]["bias"]


def _norm(x):
  x = x - x.mean(-1, keepdims=True)
  return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
