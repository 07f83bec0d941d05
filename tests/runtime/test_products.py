"""FLOPs that are read in programs are those that the programs compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime import texts
from vdr.runtime import hlo, products


def count(fn, *shapes):
  args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  text = jax.jit(fn).lower(*args).compile().as_text()
  return products.flops(hlo.parse(text))


def test_products_of_matrices():
  assert count(jnp.matmul, (6, 5), (5, 7)) == 2 * 6 * 5 * 7


def test_batches_of_heads():
  def logits(q, k):
    return jnp.einsum("bqac,bnac->baqn", q, k)

  assert count(logits, (2, 6, 3, 8), (2, 7, 3, 8)) == 2 * 2 * 3 * 6 * 7 * 8


def test_a_loop_counts_as_often_as_it_turns():
  def loop(x, kernels):
    return jax.lax.scan(lambda x, k: (jnp.tanh(x @ k), None), x, kernels)[0]

  assert count(loop, (6, 16), (5, 16, 16)) == 5 * 2 * 6 * 16 * 16


@settings(max_examples=25, deadline=None)
@given(
  side=st.integers(3, 7),
  window=st.integers(1, 3),
  stride=st.integers(1, 3),
  pad=st.tuples(st.integers(0, 3), st.integers(0, 3)),
  dilation=st.tuples(st.integers(1, 3), st.integers(1, 2)),
)
def test_a_convolution_of_ones_counts_itself(
  side, window, stride, pad, dilation
):
  """Each multiply-add of ones adds one, and those with padding nothing."""
  places = (side - 1) * dilation[0] + 1 + sum(pad)
  if places < (window - 1) * dilation[1] + 1:
    return  # no place for the window

  def convolve(x, k):
    return jax.lax.conv_general_dilated(
      x,
      k,
      (stride, 1),
      (pad, (0, 0)),
      (dilation[0], 1),
      (dilation[1], 1),
      ("NHWC", "HWIO", "NHWC"),
    )

  shapes = (2, side, 4, 5), (window, 2, 5, 7)
  added = np.sum(convolve(*(jnp.ones(shape) for shape in shapes)))
  x = hlo.Instruction(
    "x", "parameter", (hlo.Shape(0, shapes[0]),), (), "", False, "0"
  )
  k = hlo.Instruction(
    "k", "parameter", (hlo.Shape(0, shapes[1]),), (), "", False, "1"
  )
  out = jax.eval_shape(
    convolve, *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
  )
  window_text = (
    f"size={window}x2 stride={stride}x1 pad={pad[0]}_{pad[1]}x0_0"
    f" lhs_dilate={dilation[0]}x1 rhs_dilate={dilation[1]}x1"
  )
  own = hlo.Instruction(
    "y",
    "convolution",
    (hlo.Shape(0, out.shape),),
    ("x", "k"),
    f", window={{{window_text}}}, dim_labels=b01f_01io->b01f",
    True,
    "%x, %k",
  )
  module = hlo.Module({"main": {i.name: i for i in (x, k, own)}}, "main")
  assert products.flops(module) == 2 * added


def test_a_batch_as_dilated_places_counts_each_once():
  """As TPUs have it: 8 products of [6, 5] and [5, 7]."""
  text = """ENTRY %main (x: f32[8,6,5], k: f32[8,5,7]) -> f32[8,6,7] {
  %x = f32[8,6,5]{2,1,0} parameter(0)
  %k = f32[8,5,7]{2,1,0} parameter(1)
  ROOT %y = f32[8,6,7]{2,1,0} convolution(%x, %k), window={size=8 stride=7 lhs_dilate=8}, dim_labels=0bf_0io->0bf
}
"""  # noqa: E501
  assert products.flops(hlo.parse(text)) == 2 * 8 * 6 * 5 * 7


def test_a_convolution_of_no_known_axes_is_refused():
  text = """ENTRY %main (x: f32[4,4]) -> f32[4,4] {
  %x = f32[4,4]{1,0} parameter(0)
  ROOT %y = f32[4,4]{1,0} convolution(%x, %x)
}
"""
  with pytest.raises(ValueError, match="y: a convolution without dim_labels"):
    products.flops(hlo.parse(text))


def test_a_kernel_says_what_it_computes():
  module = texts.entry("%x = f32[4]{0} parameter(0)", texts.KERNEL)
  assert products.flops(module) == 70
