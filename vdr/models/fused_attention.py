"""Attention inside windows as one TPU kernel: norm, rotation and softmax too.

It goes from the product that makes queries, keys and values to the attended
values. What XLA moves through memory between the two, it keeps in vector
memory. All logits of a head's window fit there at once, so that keys are not
walked in parts and nothing of the softmax has to be kept, other than in
FlashAttention (arXiv 2205.14135): the backward pass computes the weights again
from queries and keys alone.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from vdr.models import layers, positions
from vdr.runtime import mesh

Ref = Any  # of Pallas: memory that a kernel reads and writes

# Shorter windows leave the matrix unit idle and are many; logits of longer ones
# do not fit, several of their arrays at a time.
_TOKENS = range(128, 513)
_ROWS, _LANES = 16, 128  # of a register, in bfloat16
_CHANNELS = 64  # of a head, or multiples: two heads fill the lanes, or one does
# Bytes of the blocks of one turn, together with the next, fetched meanwhile.
_BLOCKS = 6 * 2**20
_VECTOR_MEMORY = 32 * 2**20  # that the compiler may take; 16 MiB if not told
# The axes of what all devices have together; they share windows and heads.
_QKV = "windows n 3 heads c"
_VALUES = "windows n heads c"
_OF_SCALES = "windows heads 2 1 c"
_WHOLE = "2 n c"


def fits(num_tokens: int, head_dim: int) -> bool:
  """Whether the kernel is made for windows of so many tokens."""
  return (
    num_tokens in _TOKENS
    and num_tokens % _ROWS == 0
    and head_dim % _CHANNELS == 0
  )


def attend(
  qkv: Float[Array, "b n 3 a c"],
  q_scale: Float[Array, " c"],
  k_scale: Float[Array, " c"],
  angles: Float[np.ndarray, "n h"],
  *,
  interpret: bool = False,
) -> Float[Array, "b n a c"]:
  """Attended values of windows, with normed and rotated queries and keys.

  Args:
    qkv: queries, keys and values of `a` heads.
    q_scale: of the norm of queries (`layers.rms_norm`).
    k_scale: of that of keys.
    angles: of `positions.rotations`.
    interpret: run it without a TPU, slowly.

  Returns:
    The attended values in the type of `qkv`; the softmax is in float32.
  """
  scales = jnp.stack([q_scale, k_scale])[:, None]
  turns = jnp.stack([jnp.cos(angles), jnp.sin(angles)])
  return _attend(qkv, scales, turns, interpret)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _attend(qkv, scales, turns, interpret):
  call = functools.partial(_attend_own, interpret=interpret)
  ins = (_QKV, _WHOLE, _WHOLE)
  return mesh.on_own(call, ins, _VALUES, _sizes(qkv))(qkv, scales, turns)


def _forward(qkv, scales, turns, interpret):
  return _attend(qkv, scales, turns, interpret), (qkv, scales, turns)


def _backward(interpret, kept, gradient):
  call = functools.partial(_gradients_own, interpret=interpret)
  ins = (_QKV, _WHOLE, _WHOLE, _VALUES)
  call = mesh.on_own(call, ins, (_QKV, _OF_SCALES), _sizes(kept[0]))
  of_qkv, of_scales = call(*kept, gradient)
  return of_qkv, jnp.sum(of_scales, axis=(0, 1)), None


_attend.defvjp(_forward, _backward)


def _sizes(qkv: Array) -> dict[str, int]:
  return {"windows": qkv.shape[0], "heads": qkv.shape[3]}


def _attend_own(qkv, scales, turns, *, interpret):
  """Attended values of the windows and heads that a device has."""
  call = _in_turns(
    _attend_heads,
    ("qkv", "scales", "turns"),
    ("values",),
    num_products=2,
    interpret=interpret,
  )
  (y,) = call(_to_lanes(qkv), scales, turns)
  return _from_lanes(y, qkv.shape[-1])


def _gradients_own(qkv, scales, turns, gradient, *, interpret):
  """Gradients of `qkv`, and of the scales one for each turn of the kernel."""
  call = _in_turns(
    _gradients_of_heads,
    ("qkv", "scales", "turns", "values"),
    ("qkv", "of_scales"),
    num_products=5,
    interpret=interpret,
  )
  of_qkv, of_scales = call(_to_lanes(qkv), scales, turns, _to_lanes(gradient))
  return _from_lanes(of_qkv, qkv.shape[-1]), of_scales


def _to_lanes(x: Float[Array, "b n *p a c"]) -> Float[Array, "b *p g n l"]:
  """Tokens and channels last; a group is the heads that fill a register."""
  *rest, a, c = x.shape
  beside = _LANES // c if c < _LANES and a % (_LANES // c) == 0 else 1
  return jnp.moveaxis(x.reshape(*rest, a // beside, beside * c), 1, -2)


def _from_lanes(
  x: Float[Array, "b *p g n l"], c: int
) -> Float[Array, "b n *p a c"]:
  x = jnp.moveaxis(x, -2, 1)
  return x.reshape(*x.shape[:-2], -1, c)


def _in_turns(
  kernel: Callable[..., None],
  ins: tuple[str, ...],
  outs: tuple[str, ...],
  *,
  num_products: int,
  interpret: bool,
) -> Callable[..., list[Array]]:
  """A function that runs a kernel for some heads of a window after another.

  Args:
    kernel: of references to the blocks of a turn.
    ins: names of the blocks that it reads, as they are below; qkv comes first.
    outs: of those that it writes.
    num_products: of matrices, of the size of a head's logits.
    interpret: run it without a TPU.
  """
  names = (*ins, *outs)
  num_arrays = 3 * names.count("qkv") + names.count("values")

  def call(qkv, scales, turns, *gradient):
    b, _, groups, n, lanes = qkv.shape
    c = scales.shape[-1]
    values = b * groups * n * lanes
    logits = values // c * n
    nbytes = num_arrays * values * qkv.dtype.itemsize
    most = max(1, _BLOCKS * b * groups // (2 * nbytes))
    step = max(s for s in range(1, groups + 1) if groups % s == 0 and s <= most)
    # Of the whole array, of the block of a turn, and where that is.
    blocks = {
      "qkv": (qkv.shape, (1, 3, step, n, lanes), lambda i, j: (i, 0, j, 0, 0)),
      "values": (
        (b, groups, n, lanes),
        (1, step, n, lanes),
        lambda i, j: (i, j, 0, 0),
      ),
      "scales": (scales.shape, scales.shape, lambda i, j: (0, 0, 0)),
      "turns": (turns.shape, turns.shape, lambda i, j: (0, 0, 0)),
      "of_scales": (
        (b, groups // step, 2, 1, c),
        (1, 1, 2, 1, c),
        lambda i, j: (i, j, 0, 0, 0),
      ),
    }
    return pl.pallas_call(
      kernel,
      grid=(b, groups // step),
      in_specs=[pl.BlockSpec(*blocks[name][1:]) for name in ins],
      out_specs=[pl.BlockSpec(*blocks[name][1:]) for name in outs],
      out_shape=[
        jax.ShapeDtypeStruct(
          blocks[name][0], jnp.float32 if name == "of_scales" else qkv.dtype
        )
        for name in outs
      ],
      compiler_params=pltpu.CompilerParams(
        dimension_semantics=("parallel", "parallel"),
        vmem_limit_bytes=_VECTOR_MEMORY,
      ),
      cost_estimate=pl.CostEstimate(
        flops=2 * num_products * logits * c,
        transcendentals=logits,
        bytes_accessed=nbytes,
      ),
      interpret=interpret,
    )(qkv, scales, turns, *gradient)

  return call


def _heads(ref: Ref, c: int) -> Iterator[tuple]:
  """Where the heads of a block are, in its last three axes."""
  *_, groups, _, lanes = ref.shape
  for group in range(groups):
    for start in range(0, lanes, c):
      yield group, slice(None), pl.ds(start, c)


def _attend_heads(qkv_ref: Ref, scales_ref: Ref, turns_ref: Ref, y_ref: Ref):
  for head in _heads(y_ref, scales_ref.shape[-1]):
    q, k, v = (qkv_ref[0, part, *head] for part in range(3))
    q = _place(q, scales_ref[0], turns_ref[0], turns_ref[1])
    k = _place(k, scales_ref[1], turns_ref[0], turns_ref[1])
    y_ref[0, *head] = _values_of_head(q, k, v)


def _gradients_of_heads(
  qkv_ref: Ref,
  scales_ref: Ref,
  turns_ref: Ref,
  gradient_ref: Ref,
  of_qkv_ref: Ref,
  of_scales_ref: Ref,
):
  q_scale, k_scale = scales_ref[0], scales_ref[1]
  cos, sin = turns_ref[0], turns_ref[1]
  of_scales = [jnp.zeros_like(q_scale), jnp.zeros_like(k_scale)]
  for head in _heads(gradient_ref, scales_ref.shape[-1]):
    q, k, v = (qkv_ref[0, part, *head] for part in range(3))
    q, pull_q = jax.vjp(lambda q, s: _place(q, s, cos, sin), q, q_scale)
    k, pull_k = jax.vjp(lambda k, s: _place(k, s, cos, sin), k, k_scale)
    of_q, of_k, of_v = _gradients_of_head(q, k, v, gradient_ref[0, *head])
    of_qkv_ref[0, 0, *head], of_q_scale = pull_q(of_q)
    of_qkv_ref[0, 1, *head], of_k_scale = pull_k(of_k)
    of_qkv_ref[0, 2, *head] = of_v
    of_scales = [of_scales[0] + of_q_scale, of_scales[1] + of_k_scale]
  of_scales_ref[0, 0, 0], of_scales_ref[0, 0, 1] = of_scales


def _place(x, scale, cos, sin):
  """Queries or keys `[n c]` as their products are the logits."""
  return positions.turn(layers.rms_norm(x, scale), cos, sin)


def _values_of_head(q, k, v):
  weights, shares = _weights(q, k)
  return (_dot(weights.astype(v.dtype), v, 1, 0) * shares).astype(v.dtype)


def _gradients_of_head(q, k, v, gradient):
  """Of queries, keys and values `[n c]`.

  What stands in front of a row of weights, or of all, is multiplied with rows
  of `c` numbers instead, which are fewer.
  """
  weights, shares = _weights(q, k)
  gradient = (gradient.astype(jnp.float32) * shares).astype(v.dtype)
  of_v = _dot(weights.astype(v.dtype), gradient, 0, 0)
  of_weights = _dot(gradient, v, 1, 1)
  along = jnp.sum(weights * of_weights, axis=1, keepdims=True) * shares
  of_logits = (weights * (of_weights - along)).astype(q.dtype)
  scale = q.shape[1] ** -0.5
  of_q = _dot(of_logits, k, 1, 0) * scale
  of_k = _dot(of_logits, q, 0, 0) * scale
  return tuple(x.astype(v.dtype) for x in (of_q, of_k, of_v))


def _weights(q, k):
  """Of queries over keys `[n n]` before they are divided, and one over sums."""
  logits = _dot(q, k, 1, 1)
  logits = logits - jnp.max(logits, axis=1, keepdims=True)
  weights = jnp.exp(logits * q.shape[1] ** -0.5)
  return weights, 1 / jnp.sum(weights, axis=1, keepdims=True)


def _dot(x, y, x_axis, y_axis):
  """A product of matrices that sums over these axes, in float32."""
  return jax.lax.dot_general(
    x,
    y,
    (((x_axis,), (y_axis,)), ((), ())),
    preferred_element_type=jnp.float32,
  )
