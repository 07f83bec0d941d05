"""The recurrent tracking head: predict, look, correct, frame after frame.

MooG's ConditionalAutoregressiveReadout, the kind that arXiv 2502.07001 is said
to track with. A state s of each query starts as an MLP of its Fourier features.
At each frame, with features f,

    c = s + R(f, s)          what is seen corrects the state
    s ← LN(c + MLP(c))       and predicts the next one (eps 1e-4, no bias)

R is a transformer of cross-attention only (published: 3 layers, width 512, 8
heads, MLP 2048, queries and keys with an RMS norm, norms without bias, a last
norm and linear map). From c two MLPs give positions and the two logits. At the
query's own frame the state is set to the query again.

Not stated, and ours: a frame looks at the tokens of the feature frame that
covers it; as several frames may share one, R's queries are told which frame it
is by a learned vector. The tokens carry their places. MLPs of the outputs have
the state's width.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from vdr.models import layers
from vdr.probes import head as head_lib
from vdr.probes import places, readout, tracking
from vdr.runtime import errors

QUERY_FRAME = "query_frame"


@dataclasses.dataclass(frozen=True)
class Recurrent(head_lib.Head):
  """Inputs and outputs: see `tracking.Targets`.

  Inputs may have `query_frame [b n]` int32: the frame of each query, 0 where it
  is left out. Before it, predictions mean nothing.

  Attributes:
    sizes: of the attention; `form` is of no use here.
    targets: what is tracked; `hidden` is the state's width.
    num_layers: layers of R.
    mlp_width: of its MLPs.
  """

  sizes: readout.Sizes
  targets: tracking.Targets
  num_layers: int
  mlp_width: int

  def build(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> "_Recurrent":
    if self.num_layers < 1:
      raise errors.UserError(
        f"a recurrent probe of {self.num_layers} layers; choose 1 or more"
      )
    return _Recurrent(self, shape, rngs)


class _ScaleNorm(nnx.Module):
  """LayerNorm without a bias, or with `rms` the RMS norm; eps is given."""

  def __init__(self, width: int, rngs: nnx.Rngs, eps: float, rms: bool = False):
    self.scale = nnx.Param(layers.constant(1.0)(rngs.params(), (width,)))
    self.eps, self.rms = eps, rms

  def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    if not self.rms:
      x = x - jnp.mean(x, axis=-1, keepdims=True)
    square = jnp.mean(x * x, axis=-1, keepdims=True)
    return (
      x
      * jax.lax.rsqrt(square + self.eps)
      * layers.lead(self.scale[...], x.ndim)
    )


class _Layer(nnx.Module):
  """Cross-attention and an MLP, each with a norm before."""

  def __init__(
    self, head: Recurrent, width: int, token_width: int, rngs: nnx.Rngs
  ):
    sizes = head.sizes
    split = (sizes.num_heads, sizes.head_dim)
    self.norm = _ScaleNorm(width, rngs, 1e-6)
    self.query = layers.Linear(
      (width,), split, rngs, kernel=readout.fan_in(1), bias=None
    )
    self.query_norm = _ScaleNorm(sizes.head_dim, rngs, 1e-6, rms=True)
    self.key = layers.Linear(
      (token_width,), split, rngs, kernel=readout.fan_in(1), bias=None
    )
    self.key_norm = _ScaleNorm(sizes.head_dim, rngs, 1e-6, rms=True)
    self.value = readout.dense((token_width,), split, rngs)
    self.out = readout.dense(split, (width,), rngs)
    self.mlp_norm = _ScaleNorm(width, rngs, 1e-6)
    self.mlp = readout.Mlp((width, head.mlp_width, width), rngs)

  def read(
    self, x: Float[Array, "b t n d"], tokens: readout.Tokens
  ) -> tuple[Float[Array, "b t n a c"], Float[Array, "b t n a c"]]:
    """Keys and values of all frames; the norm's scale and bias folded in."""
    place = tokens.embeddings() + tokens.bias[...][None]
    place = place.reshape(*x.shape[1:])
    scale = tokens.scale[...][:, None, None]
    parts = []
    for kernel in (self.key.kernel[...], self.value.kernel[...]):
      own = jnp.einsum("tnd,dac->tnac", place, kernel)[None]
      parts.append(jnp.einsum("btnd,dac->btnac", x, scale * kernel) + own)
    k, v = parts
    return self.key_norm(k), v + layers.lead(
      readout.bias_of(self.value), v.ndim
    )

  def __call__(
    self,
    x: Float[Array, "b q s"],
    k: Float[Array, "b n a c"],
    v: Float[Array, "b n a c"],
  ) -> Float[Array, "b q s"]:
    q = self.query_norm(self.query(self.norm(x)))
    logits = jnp.einsum("bqac,bnac->baqn", q, k) / q.shape[-1] ** 0.5
    weights = jax.nn.softmax(logits, axis=-1)
    x = x + self.out(jnp.einsum("baqn,bnac->bqac", weights, v))
    return x + self.mlp(self.mlp_norm(x))


class _Recurrent(nnx.Module):
  def __init__(self, head: Recurrent, shape: tuple[int, ...], rngs: nnx.Rngs):
    self.head = head
    width = head.targets.hidden
    frames = head.sizes.num_frames
    self.embed = tracking.Embedding(head.targets, rngs)
    self.tokens = readout.Tokens(head.sizes, shape, rngs)
    self.frame = nnx.Param(layers.normal(rngs.params(), (frames, width)))
    for i in range(head.num_layers):
      setattr(self, f"layer_{i}", _Layer(head, width, shape[-1], rngs))
    self.last_norm = _ScaleNorm(width, rngs, 1e-6)
    self.last = readout.dense((width,), (width,), rngs)
    self.predict = readout.Mlp((width, width, width), rngs)
    self.state_norm = _ScaleNorm(width, rngs, 1e-4)
    sizes = (width, width, head.targets.num_values)
    self.values = readout.Mlp(sizes, rngs, head.targets.last_kernel)
    self.logits = (
      readout.Mlp((width, width, 2), rngs)
      if head.targets.kind == "points"
      else None
    )

  def __call__(self, x: Float[Array, "b t h w d"], inputs: head_lib.Inputs):
    head, query = self.head, inputs[tracking.QUERY]
    num_frames = head.sizes.num_frames
    x = x.reshape(*x.shape[:2], -1, x.shape[-1])
    each = [getattr(self, f"layer_{i}") for i in range(head.num_layers)]
    # By pixel frame, and as what the loop runs over: the gradient of an index
    # inside it would be a sum over all frames at every step.
    covering = np.array(places.covering(head.sizes.frame_times, num_frames))
    read = [
      jax.tree.map(
        lambda kv: jnp.moveaxis(kv[:, covering], 1, 0),
        layer.read(x, self.tokens),
      )
      for layer in each
    ]
    start = self.embed(query)
    own_frame = inputs.get(QUERY_FRAME)
    if own_frame is None:
      own_frame = jnp.zeros(query.shape[:2], jnp.int32)

    def step(s: Float[Array, "b q s"], now: tuple) -> tuple:
      frame, vector, seeing = now
      s = jnp.where((own_frame == frame)[..., None], start, s)
      seen = s + vector[None, None]
      for layer, (k, v) in zip(each, seeing, strict=True):
        seen = layer(seen, k, v)
      c = s + self.last(self.last_norm(seen))
      return self.state_norm(c + self.predict(c)), c

    now = (jnp.arange(num_frames), self.frame[...], read)
    _, c = jax.lax.scan(step, start, now)
    c = jnp.moveaxis(c, 0, 2)  # [b q t s]
    y = self.values(c)
    if self.logits is not None:
      y = jnp.concatenate([y, self.logits(c)], axis=-1)
    return tracking.outputs(head.targets, y, query)
