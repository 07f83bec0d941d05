"""Softmax attention in five implementations, and the choice between them.

All of them compute the same numbers within float error. Which one is fast
depends on the machine: on a CPU XLA walks the logits of all heads through
memory several times, so that long sequences are better taken a few heads at a
time (`mapped`); on GPUs cuDNN fuses everything. On TPUs windows have a kernel
that does more than attend (`fused_attention.py`).
"""

import contextlib
import contextvars
import functools
import logging
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vdr.models import fused_attention, plain_attention
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
  if implementation in ("plain", "mapped"):
    step = num_heads = q.shape[0] * q.shape[2]
    if implementation == "mapped":
      step = _step(num_heads, q.shape[1] * k.shape[1])
    return plain_attention.attend(q, k, v, bias, mask, step)
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
  backend = _on()
  if backend == "cpu":
    return "mapped" if num_queries >= _MAPPED_FROM_TOKENS else "plain"
  if backend == "gpu" and dtype != jnp.float32 and cudnn_works():
    return "cudnn"
  return "xla"


def is_fused(
  implementation: str, num_tokens: int, head_dim: int, dtype: jnp.dtype
) -> bool:
  """Whether windows with rotary positions have the kernel of a TPU.

  It is a part of `auto`: `vdr/models/fused_attention.py` does more than attend.
  In float32 XLA's own products are exacter than the kernel's.

  Args:
    implementation: of the config.
    num_tokens: of a window.
    head_dim: channels of a head.
    dtype: of queries, keys and values.
  """
  return (
    implementation == "auto"
    and _on() == "tpu"
    and dtype == jnp.bfloat16
    and fused_attention.fits(num_tokens, head_dim)
  )


def _on() -> str:
  """The backend that a program is traced for."""
  return _backend.get() or jax.default_backend()


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


def _step(num_heads: int, num_logits: int) -> int:
  """Heads of a step of `mapped`: a divisor of all of them."""
  most = max(1, min(num_heads, _MAPPED_LOGITS // num_logits))
  return next(n for n in range(most, 0, -1) if num_heads % n == 0)
