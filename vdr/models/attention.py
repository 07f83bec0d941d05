"""Softmax attention in five implementations, and the choice between them.

All of them compute the same numbers within float error. Which one is fast
depends on the machine: on a CPU XLA walks the logits of all heads through
memory several times, so that long sequences are better taken a few heads at a
time (`mapped`); on GPUs cuDNN fuses everything.
"""

import contextlib
import contextvars
import functools
import logging
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vdr.runtime import errors

IMPLEMENTATIONS = ("auto", "plain", "mapped", "xla", "cudnn")

# Measured on a 2-core CPU: from here on `mapped` is faster than `plain`, by 2.5
# times at 320 tokens; at 80 and fewer `plain` is.
_MAPPED_FROM_TOKENS = 128
# Logits of a step of `mapped` (float32 numbers): what stays in the cache.
_MAPPED_LOGITS = 2**19

# "": the one that JAX runs on.
_backend: contextvars.ContextVar[str] = contextvars.ContextVar(
  "backend", default=""
)


def attend(
  q: Float[Array, "b q a c"],
  k: Float[Array, "b n a c"],
  v: Float[Array, "b n a c"],
  *,
  bias: Float[Array, "a q n"] | None = None,
  mask: Bool[Array, "b n"] | None = None,
  implementation: str = "auto",
) -> Float[Array, "b q a c"]:
  """Attention of queries over keys, `a` heads of `c` channels each.

  Args:
    q: queries.
    k: keys.
    v: values.
    bias: added to the scaled logits.
    mask: True where a key may be attended; at least one of each row.
    implementation: one of `IMPLEMENTATIONS`; `auto` chooses by the backend and
      the shapes.

  Returns:
    The attended values in their type; the softmax is in float32.
  """
  if implementation == "auto":
    implementation = choose(q.shape[1], q.dtype)
  if implementation == "plain":
    return _plain(q, k, v, bias, mask)
  if implementation == "mapped":
    return _mapped(q, k, v, bias, mask)
  # JAX's own function mixes types inside, bfloat16 with its float32 softmax.
  with jax.numpy_dtype_promotion("standard"):
    return jax.nn.dot_product_attention(
      q,
      k,
      v,
      bias=None if bias is None else bias[None].astype(q.dtype),
      mask=None if mask is None else mask[:, None, None, :],
      implementation="cudnn" if implementation == "cudnn" else "xla",
    )


def check(implementation: str) -> None:
  """Verifies config.model.attention against this machine.

  Raises:
    UserError: it is unknown, or cuDNN is asked for where it doesn't work.
  """
  if implementation not in IMPLEMENTATIONS:
    raise errors.UserError(
      f"config.model.attention {implementation!r} is unknown; choose from"
      f" {', '.join(IMPLEMENTATIONS)}"
    )
  if implementation == "cudnn" and not cudnn_works():
    raise errors.UserError(
      "config.model.attention 'cudnn' does not run on this machine's"
      f" {jax.default_backend()}; set it to auto"
    )


def choose(num_queries: int, dtype: jnp.dtype) -> str:
  """What `auto` is for a length and type, on the backend JAX runs on.

  A program that is compiled ahead of time for another one is traced inside
  `chosen_for`.
  """
  backend = _backend.get() or jax.default_backend()
  if backend == "cpu":
    return "mapped" if num_queries >= _MAPPED_FROM_TOKENS else "plain"
  if backend == "gpu" and dtype != jnp.float32 and cudnn_works():
    return "cudnn"
  return "xla"


@contextlib.contextmanager
def chosen_for(backend: str) -> Iterator[None]:
  """While a program is traced in here, `auto` is what it is on `backend`."""
  token = _backend.set(backend)
  try:
    yield
  finally:
    _backend.reset(token)


@functools.cache
def cudnn_works() -> bool:
  """Whether cuDNN's attention compiles and runs here; tried once and logged."""
  if jax.default_backend() != "gpu":
    return False
  x = jnp.ones((1, 64, 1, 64), jnp.bfloat16)

  def loss(x):
    y = jax.nn.dot_product_attention(x, x, x, implementation="cudnn")
    return jnp.sum(y.astype(jnp.float32))

  try:
    jax.block_until_ready(jax.jit(jax.grad(loss))(x))
  except Exception as error:  # whatever the driver has to say
    logging.warning(
      "attention: cuDNN does not work here, XLA instead: %s", error
    )
    return False
  logging.info("attention: cuDNN works here")
  return True


def _plain(q, k, v, bias, mask):
  logits = jnp.einsum("bqac,bnac->baqn", q, k)
  if bias is not None:
    bias = bias[None]
  if mask is not None:
    mask = mask[:, None, None, :]
  weights = _softmax(logits, q.shape[-1], bias, mask).astype(v.dtype)
  return jnp.einsum("baqn,bnac->bqac", weights, v)


def _mapped(q, k, v, bias, mask):
  b, num_queries, a, c = q.shape
  num_keys = k.shape[1]
  step = _step(b * a, num_queries * num_keys)

  def split(x):
    return x.transpose(0, 2, 1, 3).reshape(-1, step, x.shape[1], c)

  # The backward pass computes the weights again: reading them back from memory
  # would cost more than they do.
  @jax.checkpoint
  def one(args):
    index, q, k, v = args
    logits = _match(q, k)
    own_bias = None if bias is None else bias[index % a]
    own_mask = None if mask is None else mask[index // a][:, None, :]
    weights = _softmax(logits, c, own_bias, own_mask).astype(v.dtype)
    return _mix(weights, v)

  index = jnp.arange(b * a).reshape(-1, step)
  out = jax.lax.map(one, (index, split(q), split(k), split(v)))
  return out.reshape(b, a, num_queries, c).transpose(0, 2, 1, 3)


# Gradients of these products are written by hand: a sum over queries takes XLA
# on a CPU four times as long with the large matrix on the left as on the right.
_OVER_QUERIES = (((1,), (1,)), ((0,), (0,)))


@jax.custom_vjp
def _match(q, k):
  return jnp.einsum("iqc,inc->iqn", q, k)


def _match_backward(kept, gradient):
  q, k = kept
  of_k = jax.lax.dot_general(q, gradient, _OVER_QUERIES)  # [i c n]
  return jnp.einsum("iqn,inc->iqc", gradient, k), of_k.swapaxes(1, 2)


_match.defvjp(lambda q, k: (_match(q, k), (q, k)), _match_backward)


@jax.custom_vjp
def _mix(weights, v):
  return jnp.einsum("iqn,inc->iqc", weights, v)


def _mix_backward(kept, gradient):
  weights, v = kept
  of_v = jax.lax.dot_general(gradient, weights, _OVER_QUERIES)  # [i c n]
  return jnp.einsum("iqc,inc->iqn", gradient, v), of_v.swapaxes(1, 2)


_mix.defvjp(lambda weights, v: (_mix(weights, v), (weights, v)), _mix_backward)


def _softmax(logits, channels, bias, mask):
  logits = logits.astype(jnp.float32) / channels**0.5
  if bias is not None:
    logits = logits + bias.astype(jnp.float32)
  if mask is not None:
    logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
  return jax.nn.softmax(logits, axis=-1)


def _step(num_heads: int, num_logits: int) -> int:
  """Heads of a step of `mapped`: a divisor of all of them."""
  most = max(1, min(num_heads, _MAPPED_LOGITS // num_logits))
  return next(n for n in range(most, 0, -1) if num_heads % n == 0)
