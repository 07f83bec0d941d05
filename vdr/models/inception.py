"""Inception as FID has it: pool3 of `pt_inception-2015-12-05`, in JAX.

The network of pytorch-fid, whose weights are those of the first FID
(arXiv 1706.08500), ported from TensorFlow. It is torchvision's Inception-v3 but
for its pools: averages leave padding out, and the last block takes a maximum;
it knows 1008 classes, which no feature depends on. vdr ships no weights; it
reads the official file, `pt_inception-2015-12-05-6726825d.pth`, without
PyTorch.

Pixels 0 … 255 become [0, 1], are brought to 299 × 299 (bilinear, corners not
aligned, no antialiasing), and then to [-1, 1].
"""

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from vdr.models import state_dict
from vdr.runtime import errors

Params = dict[str, dict[str, Any]]

SIDE = 299  # pixels
DIM = 2048  # features of a picture
EPSILON = 1e-3  # of batch norms


class Conv(NamedTuple):
  """A convolution with batch norm and ReLU, in the names of the state dict.

  Attributes:
    name: within its block.
    outs: channels.
    kernel: rows and columns.
    stride: 2 goes without padding; so does `valid`.
    valid: no padding; otherwise places stay.
  """

  name: str
  outs: int
  kernel: tuple[int, int] = (1, 1)
  stride: int = 1
  valid: bool = False


class Fork(NamedTuple):
  """Two convolutions of the same input, side by side."""

  left: Conv
  right: Conv


AVERAGE, MAXIMUM, HALVE = "average", "maximum", "halve"  # pools
Branch = tuple[Conv | Fork | str, ...]

SQUARE, ROW, COLUMN = (3, 3), (1, 7), (7, 1)


def _block_a(pooled: int) -> tuple[Branch, ...]:
  return (
    (Conv("branch1x1", 64),),
    (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))),
    (
      Conv("branch3x3dbl_1", 64),
      Conv("branch3x3dbl_2", 96, SQUARE),
      Conv("branch3x3dbl_3", 96, SQUARE),
    ),
    (AVERAGE, Conv("branch_pool", pooled)),
  )


def _block_b() -> tuple[Branch, ...]:
  return (
    (Conv("branch3x3", 384, SQUARE, 2),),
    (
      Conv("branch3x3dbl_1", 64),
      Conv("branch3x3dbl_2", 96, SQUARE),
      Conv("branch3x3dbl_3", 96, SQUARE, 2),
    ),
    (HALVE,),
  )


def _block_c(width: int) -> tuple[Branch, ...]:
  return (
    (Conv("branch1x1", 192),),
    (
      Conv("branch7x7_1", width),
      Conv("branch7x7_2", width, ROW),
      Conv("branch7x7_3", 192, COLUMN),
    ),
    (
      Conv("branch7x7dbl_1", width),
      Conv("branch7x7dbl_2", width, COLUMN),
      Conv("branch7x7dbl_3", width, ROW),
      Conv("branch7x7dbl_4", width, COLUMN),
      Conv("branch7x7dbl_5", 192, ROW),
    ),
    (AVERAGE, Conv("branch_pool", 192)),
  )


def _block_d() -> tuple[Branch, ...]:
  return (
    (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, SQUARE, 2)),
    (
      Conv("branch7x7x3_1", 192),
      Conv("branch7x7x3_2", 192, ROW),
      Conv("branch7x7x3_3", 192, COLUMN),
      Conv("branch7x7x3_4", 192, SQUARE, 2),
    ),
    (HALVE,),
  )


def _block_e(pool: str) -> tuple[Branch, ...]:
  return (
    (Conv("branch1x1", 320),),
    (
      Conv("branch3x3_1", 384),
      Fork(
        Conv("branch3x3_2a", 384, (1, 3)), Conv("branch3x3_2b", 384, (3, 1))
      ),
    ),
    (
      Conv("branch3x3dbl_1", 448),
      Conv("branch3x3dbl_2", 384, SQUARE),
      Fork(
        Conv("branch3x3dbl_3a", 384, (1, 3)),
        Conv("branch3x3dbl_3b", 384, (3, 1)),
      ),
    ),
    (pool, Conv("branch_pool", 192)),
  )


# From pixels to pool3; a block is its branches, beside each other.
LAYERS: tuple[Conv | str | tuple[str, tuple[Branch, ...]], ...] = (
  Conv("Conv2d_1a_3x3", 32, SQUARE, 2),
  Conv("Conv2d_2a_3x3", 32, SQUARE, valid=True),
  Conv("Conv2d_2b_3x3", 64, SQUARE),
  HALVE,
  Conv("Conv2d_3b_1x1", 80),
  Conv("Conv2d_4a_3x3", 192, SQUARE, valid=True),
  HALVE,
  ("Mixed_5b", _block_a(32)),
  ("Mixed_5c", _block_a(64)),
  ("Mixed_5d", _block_a(64)),
  ("Mixed_6a", _block_b()),
  ("Mixed_6b", _block_c(128)),
  ("Mixed_6c", _block_c(160)),
  ("Mixed_6d", _block_c(160)),
  ("Mixed_6e", _block_c(192)),
  ("Mixed_7a", _block_d()),
  ("Mixed_7b", _block_e(AVERAGE)),
  ("Mixed_7c", _block_e(MAXIMUM)),
)


def shapes() -> dict[str, tuple[int, int, int, int]]:
  """Every kernel, [out in rows columns], by its convolution's full name."""
  found, ins = {}, 3
  for layer in LAYERS:
    if isinstance(layer, Conv):
      found[layer.name] = (layer.outs, ins, *layer.kernel)
      ins = layer.outs
    elif not isinstance(layer, str):
      name, branches = layer
      parts = [list(_branch_shapes(name, branch, ins)) for branch in branches]
      found |= {key: shape for part in parts for key, shape in part[:-1]}
      ins = sum(part[-1][1][0] for part in parts)
  return found


def _branch_shapes(
  block: str, branch: Branch, ins: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
  """The kernels of a branch; at last ("", (its channels,))."""
  for step in branch:
    if isinstance(step, str):
      continue
    convs = step if isinstance(step, Fork) else (step,)
    for conv in convs:
      yield f"{block}.{conv.name}", (conv.outs, ins, *conv.kernel)
    ins = sum(conv.outs for conv in convs)
  yield "", (ins,)


def load(path: str | pathlib.Path) -> Params:
  """Reads the weights, and folds batch norms into the convolutions.

  Returns:
    By convolution, `kernel` [rows columns in out] and `bias`.

  Raises:
    UserError: there is no such file, or it lacks one of them.
  """
  params: Params = {}
  try:
    found = state_dict.read(path)
    for name, shape in shapes().items():
      kernel = found[f"{name}.conv.weight"].astype(np.float64)
      if kernel.shape != shape:
        raise ValueError(f"{name} is {kernel.shape}, not {shape}")
      norm = {
        part: found[f"{name}.bn.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
      }
      scale = norm["weight"] / np.sqrt(norm["running_var"] + EPSILON)
      kernel = kernel.transpose(2, 3, 1, 0) * scale
      bias = norm["bias"] - norm["running_mean"] * scale
      params[name] = {
        "kernel": kernel.astype(np.float32),
        "bias": bias.astype(np.float32),
      }
  except (OSError, ValueError, KeyError) as error:
    raise errors.UserError(
      f"generation.inception={path} has no weights of Inception ({error});"
      " name the file pt_inception-2015-12-05-6726825d.pth of pytorch-fid"
    ) from error
  return params


def features(
  params: Params, pictures: UInt8[Any, "b h w 3"]
) -> Float[Array, "b 2048"]:
  """Features of pictures: pool3, averaged over places."""
  return trunk(params, resized(pictures)).mean(axis=(1, 2))


def resized(pictures: UInt8[Any, "b h w 3"]) -> Float[Array, "b i j 3"]:
  """Pictures of the size that the network knows, in [-1, 1]."""
  x = jnp.asarray(pictures).astype(jnp.float32) / 255
  shape = (x.shape[0], SIDE, SIDE, 3)
  return 2 * jax.image.resize(x, shape, "linear", antialias=False) - 1


def trunk(
  params: Params, x: Float[Array, "b h w 3"]
) -> Float[Array, "b i j 2048"]:
  """The last map of features, of pixels in [-1, 1] of any size."""
  for layer in LAYERS:
    if isinstance(layer, Conv):
      x = _conv(params[layer.name], layer, x)
    elif isinstance(layer, str):
      x = _pool(layer, x)
    else:
      name, branches = layer
      parts = [_branch(params, name, branch, x) for branch in branches]
      x = jnp.concatenate(parts, axis=-1)
  return x


def _branch(params: Params, block: str, branch: Branch, x: Array) -> Array:
  for step in branch:
    if isinstance(step, str):
      x = _pool(step, x)
    elif isinstance(step, Fork):
      parts = [_conv(params[f"{block}.{c.name}"], c, x) for c in step]
      x = jnp.concatenate(parts, axis=-1)
    else:
      x = _conv(params[f"{block}.{step.name}"], step, x)
  return x


def _conv(weights: dict[str, Any], conv: Conv, x: Array) -> Array:
  x = jax.lax.conv_general_dilated(
    x,
    jnp.asarray(weights["kernel"]),
    (conv.stride, conv.stride),
    "VALID" if conv.valid or conv.stride > 1 else "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return jax.nn.relu(x + jnp.asarray(weights["bias"])[None, None, None])


def _pool(kind: str, x: Array) -> Array:
  """3 × 3: a maximum of every other place, or of or over all of them."""
  window = (1, 3, 3, 1)
  if kind == AVERAGE:
    ones = (1, 1, 1, 1)
    total = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, ones, "SAME")
    count = jax.lax.reduce_window(
      jnp.ones((1, *x.shape[1:3], 1)), 0.0, jax.lax.add, window, ones, "SAME"
    )
    return total / count
  strides, padding = (
    ((1, 2, 2, 1), "VALID")
    if kind == HALVE
    else (
      (1, 1, 1, 1),
      "SAME",
    )
  )
  return jax.lax.reduce_window(
    x, -jnp.inf, jax.lax.max, window, strides, padding
  )
