"""Cross-attention of queries over the tokens of a clip.

The AttentionReadout of SciVid and 4DS: LayerNorm of the tokens, a learned
embedding of time, keys, values and `z = q + Dense(softmax(q kᵀ / √c) v)`,
`z + MLP(LayerNorm(z))`. Embeddings of places are ours (`places.py`), and so is
the order of the products. With tokens x̂ of mean 0 and variance 1, the norm's
scale s and bias b, and the embedding e of the token's place, a token is

    x = s ⊙ x̂ + b + e        k = Wkᵀ x        v = Wvᵀ x + bv

so the logits of a query are, up to a number that is the same for all tokens and
that softmax cancels (b, and a bias of keys, which is left out for it),

    q · k = (s ⊙ Wk q) · x̂ + (Wk q) · e

and what it takes home is, since weights add up to 1,

    Σ a v = Wvᵀ (s ⊙ Σ a x̂ + b + Σ a e) + bv

Where queries are few (`pooled`), tokens are scored as they are and values are
projected after pooling: no key or value is ever made. Where they are many
(`projected`), keys and values are made with s folded into the matrices. Either
way tokens are constants of the gradient. e is a table of the grid times a
matrix, so that it costs nothing a clip.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from vdr.models import functional, layers
from vdr.probes import head as head_lib
from vdr.probes import places
from vdr.runtime import errors

FORMS = ("auto", "pooled", "projected")


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes that all readouts by attention have.

  Attributes:
    width: channels of queries, keys, values and of what is read out.
    num_heads: heads that share them.
    frame_times: the last pixel frame that each feature frame covers.
    num_frames: pixel frames of a clip.
    places: whether tokens carry their place (ours); False is the published
      readout, which knows time only.
    form: how it is computed, one of `FORMS`.
  """

  width: int
  num_heads: int
  frame_times: places.FrameTimes
  num_frames: int
  places: bool = True
  form: str = "auto"

  @property
  def head_dim(self) -> int:
    return self.width // self.num_heads

  @property
  def num_places(self) -> int:
    """Columns of the table of places."""
    return len(self.frame_times) + (places.CHANNELS if self.places else 0)

  def check(self) -> None:
    """Verifies the sizes.

    Raises:
      UserError: they don't fit one another.
    """
    if self.width < 1 or self.num_heads < 1 or self.width % self.num_heads:
      raise errors.UserError(
        f"a probe of width {self.width} has no {self.num_heads} heads; choose a"
        " divisor of the width"
      )
    if self.form not in FORMS:
      raise errors.UserError(
        f"form {self.form!r} is unknown; choose from {', '.join(FORMS)}"
      )


def fan_in(num_in: int) -> layers.Initializer:
  """Variance 1 / fan-in, as Linen's Dense has it (there from a normal)."""
  return layers.xavier(num_in, mode="fan_in")


def dense(
  ins: tuple[int, ...], outs: tuple[int, ...], rngs: nnx.Rngs
) -> layers.Linear:
  """A linear map with a bias that starts at zero."""
  return layers.Linear(ins, outs, rngs, kernel=fan_in(len(ins)))


def bias_of(linear: layers.Linear) -> Float[Array, "*outs"]:
  """The bias of a map that has one."""
  assert linear.bias is not None
  return linear.bias[...]


class Norm(nnx.Module):
  """LayerNorm with a learned scale and bias (eps 1e-6)."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.scale = nnx.Param(layers.constant(1.0)(rngs.params(), (width,)))
    self.bias = nnx.Param(layers.zeros(rngs.params(), (width,)))

  def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    scale = layers.lead(self.scale[...], x.ndim)
    return layers.layer_norm(x) * scale + layers.lead(self.bias[...], x.ndim)


class Mlp(nnx.Module):
  """Dense, GELU (tanh form), Dense."""

  def __init__(
    self,
    sizes: tuple[int, int, int],
    rngs: nnx.Rngs,
    last: layers.Initializer | None = None,
  ):
    ins, hidden, outs = sizes
    self.up = dense((ins,), (hidden,), rngs)
    last = last or fan_in(1)
    self.down = layers.Linear((hidden,), (outs,), rngs, kernel=last)

  def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b e"]:
    return self.down(jax.nn.gelu(self.up(x)))


class Tokens(nnx.Module):
  """What heads learn about tokens: scale and bias, embeddings of places."""

  def __init__(self, sizes: Sizes, shape: tuple[int, ...], rngs: nnx.Rngs):
    if len(shape) != 4:
      raise errors.UserError(f"features of a clip are [t h w d], not {shape}")
    sizes.check()
    places.check(sizes.frame_times, shape[0], sizes.num_frames)
    self.sizes = sizes
    self.grid = shape[:3]
    width = shape[-1]
    self.scale = nnx.Param(layers.constant(1.0)(rngs.params(), (width,)))
    self.bias = nnx.Param(layers.zeros(rngs.params(), (width,)))
    # Rows: feature frames (as published, N(0, .02²)), then sines (ours).
    self.place = nnx.Param(
      layers.normal(rngs.params(), (sizes.num_places, width))
    )

  def table(self) -> Float[np.ndarray, "n s"]:
    """Each token's place: which feature frame, and the sines."""
    return _table(self.sizes, self.grid)

  def embeddings(self) -> Float[Array, "n d"]:
    """e of each token."""
    return jnp.asarray(self.table()) @ self.place[...]


@functools.cache
def _table(
  sizes: Sizes, grid: tuple[int, int, int]
) -> Float[np.ndarray, "n s"]:
  t, h, w = grid
  parts = [np.repeat(np.eye(t, dtype=np.float32), h * w, axis=0)]
  if sizes.places:
    times = places.middles(sizes.frame_times)
    parts.append(places.sines(times, h, w).reshape(t * h * w, -1))
  return np.concatenate(parts, axis=-1)


class Readout(nnx.Module):
  """Reads a vector out of a clip's tokens for every query."""

  def __init__(self, sizes: Sizes, shape: tuple[int, ...], rngs: nnx.Rngs):
    self.sizes = sizes
    self.tokens = Tokens(sizes, shape, rngs)
    split = (sizes.num_heads, sizes.head_dim)
    self.key = layers.Linear(
      (shape[-1],), split, rngs, kernel=fan_in(1), bias=None
    )
    self.value = dense((shape[-1],), split, rngs)
    self.out = dense(split, (sizes.width,), rngs)
    self.norm = Norm(sizes.width, rngs)
    self.mlp = Mlp((sizes.width, 4 * sizes.width, sizes.width), rngs)

  def __call__(
    self, x: Float[Array, "b t h w d"], query: Float[Array, "*b q p"]
  ) -> Float[Array, "b q p"]:
    """Reads out.

    Args:
      x: tokens, from `head.tokens`.
      query: of each clip, or without the axis of clips the same for all.
    """
    b, *_, d = x.shape
    x = x.reshape(b, -1, d)
    split = query.reshape(*query.shape[:-1], self.sizes.num_heads, -1)
    pooled = pools(self.sizes, query.shape[-2], d)
    attend = self._pooled if pooled else self._projected
    if query.ndim == 2:
      query = query[None]
    z = query + self.out(attend(x, split))
    return z + self.mlp(self.norm(z))

  def weights(
    self, x: Float[Array, "b t h w d"], query: Float[Array, "*b q p"]
  ) -> Float[Array, "b q a n"]:
    """What the readout gives each token, by head; adds up to 1 over tokens."""
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    split = query.reshape(*query.shape[:-1], self.sizes.num_heads, -1)
    if pools(self.sizes, query.shape[-2], x.shape[-1]):
      return self._weights_of_tokens(x, split)
    return jnp.swapaxes(self._weights_of_keys(x, split), 1, 2)

  def _weights_of_tokens(self, x, query):
    raw = jnp.einsum("...qac,dac->...qad", query, self.key.kernel[...])
    raw = raw / self.sizes.head_dim**0.5
    scored = raw * layers.lead(self.tokens.scale[...], raw.ndim)
    shift = jnp.einsum("...qad,sd->...qas", raw, self.tokens.place[...])
    shift = jnp.einsum("...qas,ns->...qan", shift, self.tokens.table())
    if query.ndim == 3:
      logits = jnp.einsum("qad,bnd->bqan", scored, x) + shift[None]
    else:
      logits = jnp.einsum("bqad,bnd->bqan", scored, x) + shift
    return jax.nn.softmax(logits, axis=-1)

  def _pooled(self, x, query):
    weights = self._weights_of_tokens(x, query)
    pooled = jnp.einsum("bqan,bnd->bqad", weights, x)
    pooled = pooled * layers.lead(self.tokens.scale[...], pooled.ndim)
    pooled = pooled + layers.lead(self.tokens.bias[...], pooled.ndim)
    share = jnp.einsum("bqan,ns->bqas", weights, self.tokens.table())
    pooled = pooled + jnp.einsum("bqas,sd->bqad", share, self.tokens.place[...])
    value = jnp.einsum("bqad,dac->bqac", pooled, self.value.kernel[...])
    return value + bias_of(self.value)[None, None]

  def _weights_of_keys(self, x, query):
    key = self.key.kernel[...]
    k = jnp.einsum(
      "bnd,dac->bnac", x, self.tokens.scale[...][:, None, None] * key
    )
    k = k + jnp.einsum("nd,dac->nac", self.tokens.embeddings(), key)[None]
    query = query / self.sizes.head_dim**0.5
    if query.ndim == 3:
      logits = jnp.einsum("qac,bnac->baqn", query, k)
    else:
      logits = jnp.einsum("bqac,bnac->baqn", query, k)
    return jax.nn.softmax(logits, axis=-1)

  def _projected(self, x, query):
    weights = self._weights_of_keys(x, query)
    scale, bias = self.tokens.scale[...][:, None, None], self.tokens.bias[...]
    value = self.value.kernel[...]
    v = jnp.einsum("bnd,dac->bnac", x, scale * value)
    place = self.tokens.embeddings() + bias[None]
    shift = jnp.einsum("nd,dac->nac", place, value)
    v = v + shift[None] + bias_of(self.value)[None, None]
    return jnp.einsum("baqn,bnac->bqac", weights, v)


def attention(
  head: head_lib.Head,
  params: head_lib.Params,
  prepared: Float[Array, "b t h w d"],
  inputs: head_lib.Inputs,
) -> Float[Array, "b q t h w"] | None:
  """Where a fitted head looks: its weights of tokens, a mean over its heads.

  Those that `head.apply` reads out with. They add up to 1 for each query.

  Args:
    head: attentive, pose, dense or one-shot tracking.
    params: of one member.
    prepared: what `head.prepare` gives.
    inputs: as in `head.apply`.

  Returns:
    The weights of the head's queries in its own order: one; of maps each
    patch's, of tracks each object's for every tile. None for heads that do not
    read so: the linear and the recurrent one.
  """
  shape = prepared.shape[1:]
  module = functional.bind(lambda rngs: head.build(shape, rngs), params)
  if not hasattr(module, "queries"):
    return None
  weights = module.readout.weights(prepared, module.queries(inputs))
  weights = jnp.mean(weights, axis=2)
  return weights.reshape(*weights.shape[:2], *shape[:3])


def pools(sizes: Sizes, num_queries: int, token_width: int) -> bool:
  """Whether values are projected after pooling, by multiply-adds a token.

  Forward and backward: both products of `pooled` have gradients for one factor,
  and so have keys and values, attention itself for both.
  """
  if sizes.form != "auto":
    return sizes.form == "pooled"
  pooled = 4 * num_queries * sizes.num_heads * token_width
  projected = 4 * sizes.width * token_width + 6 * num_queries * sizes.width
  return pooled <= projected
