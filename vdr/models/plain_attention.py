"""Softmax attention from plain products, with its gradient written by hand.

A few heads at a time are computed, so that their logits stay in the cache. The
backward pass computes the weights again, from the logarithm of what the softmax
divided by (as in FlashAttention, arXiv 2205.14135, section 3.1): reading them
back from memory would cost more than they do.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def _attend(
  q: Float[Array, "b q a c"],
  k: Float[Array, "b n a c"],
  v: Float[Array, "b n a c"],
  bias: Float[Array, "a q n"] | None,
  mask: Bool[Array, "b n"] | None,
  step: int,
) -> Float[Array, "b q a c"]:
  """Attention with the arguments of `attention.attend`.

  `step` of the `b · a` heads are computed at a time; it divides them.
  """
  return _forward(q, k, v, bias, mask, step)[0]


attend = jax.custom_vjp(_attend, nondiff_argnums=(5,))


def _forward(q, k, v, bias, mask, step):
  b, _, a, _ = q.shape

  def one(args):
    index, q, k, v = args
    logits = _logits(q, k, *_own(bias, mask, index, a))
    largest = jnp.max(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - largest)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    y = jnp.einsum("iqn,inc->iqc", (weights / total).astype(v.dtype), v)
    return y, largest + jnp.log(total)

  index = jnp.arange(b * a).reshape(-1, step)
  heads = [_to_heads(x, step) for x in (q, k, v)]
  y, log_total = jax.lax.map(one, (index, *heads))
  y = _from_heads(y, a)
  return y, (q, k, v, bias, mask, y, log_total)


def _backward(step, kept, gradient):
  q, k, v, bias, mask, y, log_total = kept
  b, _, a, c = q.shape
  # How far the gradients of a query's weights go along the weights themselves.
  along = gradient.astype(jnp.float32) * y.astype(jnp.float32)
  along = jnp.sum(along, axis=-1, keepdims=True)

  def one(of_bias, args):
    index, q, k, v, gradient, along, log_total = args
    logits = _logits(q, k, *_own(bias, mask, index, a))
    weights = jnp.exp(logits - log_total)
    of_v = _over_queries(gradient, weights.astype(v.dtype))
    of_weights = jnp.einsum("iqc,inc->iqn", gradient, v)
    of_logits = weights * (of_weights.astype(jnp.float32) - along)
    if bias is not None:
      of_bias = of_bias.at[index % a].add(of_logits)
    of_logits = (of_logits / c**0.5).astype(q.dtype)
    of_q = jnp.einsum("iqn,inc->iqc", of_logits, k)
    return of_bias, (of_q, _over_queries(q, of_logits), of_v)

  index = jnp.arange(b * a).reshape(-1, step)
  heads = [_to_heads(x, step) for x in (q, k, v, gradient, along)]
  none = jnp.zeros(() if bias is None else bias.shape, jnp.float32)
  of_bias, (of_q, of_k, of_v) = jax.lax.scan(
    one, none, (index, *heads, log_total)
  )
  # Turned out of the loop: inside, XLA would turn the products instead.
  of_k, of_v = (_from_heads(x.swapaxes(-1, -2), a) for x in (of_k, of_v))
  of_bias = None if bias is None else of_bias.astype(bias.dtype)
  return _from_heads(of_q, a), of_k, of_v, of_bias, None


attend.defvjp(_forward, _backward)


def _to_heads(x, step):
  """`[b n a c]` as `[steps step n c]`."""
  _, n, _, c = x.shape
  return x.transpose(0, 2, 1, 3).reshape(-1, step, n, c)


def _from_heads(x, num_heads):
  """`[steps step n c]` as `[b n a c]`."""
  *_, n, c = x.shape
  return x.reshape(-1, num_heads, n, c).transpose(0, 2, 1, 3)


def _own(bias, mask, index, num_heads):
  """Bias `[i q n]` and mask `[i 1 n]` of the heads of that index."""
  own_bias = None if bias is None else bias[index % num_heads]
  own_mask = None if mask is None else mask[index // num_heads][:, None]
  return own_bias, own_mask


def _logits(q, k, bias, mask):
  """Scaled, in float32."""
  logits = jnp.einsum("iqc,inc->iqn", q, k)
  logits = logits.astype(jnp.float32) / q.shape[-1] ** 0.5
  if bias is not None:
    logits = logits + bias.astype(jnp.float32)
  if mask is not None:
    logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
  return logits


def _over_queries(x, weights):
  """The sum over queries of `[i q c]` times `[i q n]`, as `[i c n]`.

  The large operand is on the right: on the left, XLA takes four times as long
  on a CPU, since it turns that one.
  """
  return jax.lax.dot_general(x, weights, (((1,), (1,)), ((0,), (0,))))
