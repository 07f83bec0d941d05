"""Attention with a gradient written by hand, against what JAX derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdr.models import attention, plain_attention


def inputs(b, num_queries, num_keys, a, c, dtype=jnp.float32):
  keys = jax.random.split(jax.random.key(0), 5)
  q = jax.random.normal(keys[0], (b, num_queries, a, c), dtype)
  k, v = (jax.random.normal(x, (b, num_keys, a, c), dtype) for x in keys[1:3])
  bias = jax.random.normal(keys[3], (a, num_queries, num_keys))
  mask = jax.random.bernoulli(keys[4], 0.5, (b, num_keys)).at[:, 0].set(True)
  return (q, k, v), bias, mask


def values_and_gradients(attend, qkv, bias):
  def loss(qkv, bias):
    y = attend(*qkv, bias).astype(jnp.float32)
    return jnp.sum(jnp.sin(y)), y

  return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(qkv, bias)


def check(shape, step, with_bias, with_mask):
  qkv, bias, mask = inputs(*shape)
  bias = bias if with_bias else None
  mask = mask if with_mask else None
  ours = values_and_gradients(
    lambda q, k, v, bias: plain_attention.attend(q, k, v, bias, mask, step),
    qkv,
    bias,
  )
  derived = values_and_gradients(
    lambda q, k, v, bias: attention.attend(
      q, k, v, bias=bias, mask=mask, implementation="xla"
    ),
    qkv,
    bias,
  )
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5), ours, derived
  )


@pytest.mark.parametrize("step", [1, 2, 3, 6])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_gradients_are_those_that_jax_derives(step, with_bias, with_mask):
  check((3, 6, 5, 2, 8), step, with_bias, with_mask)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 7, 1, 3, 5)])
def test_so_they_are_where_there_is_one_of_a_kind(shape):
  check(shape, 1, with_bias=True, with_mask=True)


@pytest.mark.slow  # a program for each example
@settings(max_examples=15, deadline=None)
@given(
  st.tuples(*[st.integers(1, size) for size in (3, 7, 7, 3, 5)]),
  st.booleans(),
  st.booleans(),
)
def test_so_they_are_for_any_shape(shape, with_bias, with_mask):
  check(shape, 1, with_bias, with_mask)


def test_large_logits_have_weights_that_sum_to_one():
  (q, k, v), *_ = inputs(1, 4, 5, 1, 8)
  gradient = jax.grad(
    lambda v: jnp.sum(plain_attention.attend(1e3 * q, k, v, None, None, 1))
  )(v)
  np.testing.assert_allclose(jnp.sum(gradient), 4 * 8, rtol=1e-3)


def test_bfloat16_gradients_are_near_those_of_float32():
  qkv, bias, _ = inputs(2, 6, 200, 2, 8, jnp.bfloat16)

  def attend(q, k, v, bias):
    return plain_attention.attend(q, k, v, bias, None, 2)

  low = values_and_gradients(attend, qkv, bias)
  wide = tuple(x.astype(jnp.float32) for x in qkv)
  high = values_and_gradients(attend, wide, bias)
  assert [x.dtype for x in low[0][0]] == [jnp.bfloat16] * 3
  assert low[0][1].dtype == jnp.float32
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(
      np.asarray(x, np.float32), y, atol=0.03
    ),
    low,
    high,
  )


def test_one_step_of_all_heads_is_no_loop():
  (q, k, v), *_ = inputs(2, 6, 5, 2, 8)
  attend = jax.jit(plain_attention.attend, static_argnums=5)
  for step, loops in ((1, True), (4, False)):
    text = attend.lower(q, k, v, None, None, step).compile().as_text()
    assert (" while(" in text) == loops
