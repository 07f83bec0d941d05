"""Attention: all implementations against a slow one in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdr.models import attention
from vdr.runtime import errors

HERE = [
  name
  for name in attention.IMPLEMENTATIONS
  if name != "cudnn" or attention.cudnn_works()
]


def slow(q, k, v, bias=None, mask=None):
  """One query, one head at a time, in float64."""
  q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
  out = np.zeros(q.shape)
  for b, i, a in np.ndindex(*q.shape[:3]):
    logits = k[b, :, a] @ q[b, i, a] / np.sqrt(q.shape[-1])
    if bias is not None:
      logits = logits + np.asarray(bias)[a, i]
    keep = np.ones(len(logits), bool) if mask is None else np.asarray(mask)[b]
    weights = np.exp(logits[keep] - logits[keep].max())
    out[b, i, a] = weights / weights.sum() @ v[b, keep, a]
  return out


def inputs(b=3, num_queries=6, num_keys=5, a=2, c=8, dtype=jnp.float32):
  keys = jax.random.split(jax.random.key(0), 5)
  q = jax.random.normal(keys[0], (b, num_queries, a, c))
  k, v = (jax.random.normal(key, (b, num_keys, a, c)) for key in keys[1:3])
  bias = jax.random.normal(keys[3], (a, num_queries, num_keys))
  mask = jax.random.bernoulli(keys[4], 0.5, (b, num_keys)).at[:, 0].set(True)
  return (q.astype(dtype), k.astype(dtype), v.astype(dtype)), bias, mask


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_it_is_attention(name, with_bias, with_mask, monkeypatch):
  monkeypatch.setattr(attention, "_MAPPED_LOGITS", 60)  # two heads a step
  qkv, bias, mask = inputs()
  extra = dict(bias=bias if with_bias else None)
  extra["mask"] = mask if with_mask else None
  out = attention.attend(*qkv, implementation=name, **extra)
  atol = 2e-2 if name == "cudnn" else 1e-5
  np.testing.assert_allclose(out, slow(*qkv, **extra), atol=atol)


@pytest.mark.parametrize("name", HERE)
def test_bfloat16_stays_and_the_softmax_is_float32(name):
  qkv, *_ = inputs(num_keys=200, dtype=jnp.bfloat16)
  out = attention.attend(*qkv, implementation=name)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(out.astype(jnp.float32), slow(*qkv), atol=0.02)


def test_a_step_of_heads_divides_them(monkeypatch):
  monkeypatch.setattr(attention, "_MAPPED_LOGITS", 100)
  assert attention._step(12, 20) == 4  # of at most 5
  assert attention._step(7, 20) == 1
  assert attention._step(7, 1000) == 1
  assert attention._step(3, 1) == 3


def test_on_a_cpu_long_sequences_are_mapped(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
  assert attention.choose(16, jnp.dtype("float32")) == "plain"
  assert attention.choose(1280, jnp.dtype("float32")) == "mapped"


@pytest.mark.parametrize("works", [True, False])
def test_on_a_gpu_cudnn_is_taken_where_it_works(monkeypatch, works):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  monkeypatch.setattr(attention, "cudnn_works", lambda: works)
  expected = "cudnn" if works else "xla"
  assert attention.choose(1280, jnp.dtype("bfloat16")) == expected
  assert attention.choose(1280, jnp.dtype("float32")) == "xla"


def test_a_gpu_where_cudnn_fails_is_logged(monkeypatch, caplog):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  attention.cudnn_works.cache_clear()
  try:
    # This machine's XLA has no cuDNN, or has it and says that it works.
    works = attention.cudnn_works()
  finally:
    attention.cudnn_works.cache_clear()
  assert works or "cuDNN does not work here" in caplog.text


@pytest.mark.skipif("cudnn" in HERE, reason="cuDNN works here")
def test_cudnn_is_refused_where_it_is_not():
  with pytest.raises(errors.UserError, match="'cudnn' does not run on .*auto"):
    attention.check("cudnn")


def test_an_unknown_implementation_names_the_known_ones():
  with pytest.raises(errors.UserError, match="'flash' is unknown.*mapped"):
    attention.check("flash")


def test_a_program_for_another_backend_has_its_implementation():
  assert attention.choose(512, jnp.dtype("bfloat16")) == "mapped"
  with attention.chosen_for("tpu"):
    assert attention.choose(512, jnp.dtype("bfloat16")) == "xla"
    assert attention.choose(16, jnp.dtype("float32")) == "xla"
  assert attention.choose(512, jnp.dtype("bfloat16")) == "mapped"
