"""How different two pictures look: distances of VGG-16's features (LPIPS).

arXiv 1801.03924: features after the last ReLU of each of five levels, unit
length over channels, squared differences, weighted by channel, summed over
levels. Weights are read from a file that the user has; vdr ships none:

    net = torchvision.models.vgg16(weights="DEFAULT").features.state_dict()
    numpy.savez("vgg16.npz", **{f"features.{k}": v for k, v in net.items()})

LPIPS's own channel weights may be in the file, too, under their names
(`lin0.model.1.weight` …); without them all channels weigh alike (a mean).
"""

import pathlib
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vdr.runtime import errors

Params = dict[str, Any]

# Convolutions of each level, by their numbers in torchvision's `features`.
LEVELS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
# LPIPS's scaling of pixels in [-1, 1] (its ScalingLayer).
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
LEAST_SIDE = 16  # pixels: four halvings


def load(path: str | pathlib.Path) -> Params:
  """Reads the weights: kernels [h w in out] and biases, by level.

  Raises:
    UserError: there is no such file, or it lacks one of them.
  """
  try:
    with np.load(path, allow_pickle=False) as file:
      found = {name: np.asarray(file[name], np.float32) for name in file.files}
    return {
      "levels": [
        [
          {
            "kernel": found[f"features.{i}.weight"].transpose(2, 3, 1, 0),
            "bias": found[f"features.{i}.bias"],
          }
          for i in level
        ]
        for level in LEVELS
      ],
      "channels": [
        found.get(f"lin{n}.model.1.weight", _alike(found, level)).reshape(-1)
        for n, level in enumerate(LEVELS)
      ],
    }
  except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise errors.UserError(
      f"tokenizer.loss.perceptual_path={path} has no weights of VGG-16"
      f" ({error}); vdr/models/perceptual.py says how to save them"
    ) from error


def _alike(found: dict[str, np.ndarray], level: tuple[int, ...]) -> np.ndarray:
  count = len(found[f"features.{level[-1]}.bias"])
  return np.full(count, 1 / count, np.float32)


def distance(
  params: Params,
  pred: Float[Array, "b t h w 3"],
  target: Float[Array, "b t h w 3"],
) -> Float[Array, " b"]:
  """The distance of each clip, a mean over its frames; 0 is the same.

  Args:
    params: from `load`.
    pred: pixels in [-1, 1], at least 16 on a side.
    target: the same of the original.
  """
  b = pred.shape[0]
  pairs = [_features(params, clip) for clip in (pred, target)]
  total = jnp.zeros(b)
  for x, y, weights in zip(*pairs, params["channels"], strict=True):
    apart = jnp.square(_unit(x) - _unit(y)) @ jnp.asarray(weights)
    total = total + apart.reshape(b, -1).mean(axis=1)
  return total


def _features(params: Params, clip: Array) -> list[Array]:
  x = clip.reshape(-1, *clip.shape[2:])
  x = (x - jnp.array(SHIFT)[None, None, None]) / jnp.array(SCALE)[
    None, None, None
  ]
  found = []
  for number, level in enumerate(params["levels"]):
    if number:
      x = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
      )
    for layer in level:
      x = jax.lax.conv_general_dilated(
        x,
        jnp.asarray(layer["kernel"]),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
      )
      x = jax.nn.relu(x + jnp.asarray(layer["bias"])[None, None, None])
    found.append(x)
  return found


def _unit(x: Array) -> Array:
  """Features at unit length over channels."""
  return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-10)
