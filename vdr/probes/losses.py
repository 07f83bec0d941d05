"""Losses of the tasks, one number a clip.

All have the signature of the engine, `(outputs, targets) -> [b]`, and are
frozen dataclasses that name the entries of `targets` they read: equal ones
compile once. A clip with nothing to learn from has the loss 0.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from vdr.probes import head as head_lib
from vdr.runtime import errors

DEPTH_KINDS = ("l1", "l2", "log_l1")


def masked_mean(
  x: Float[Array, " b *n"], valid: Bool[Array, " b *n"]
) -> Float[Array, " b"]:
  """Mean over what is valid, by clip; 0 where nothing is."""
  axes = tuple(range(1, x.ndim))
  total = jnp.sum(jnp.where(valid, x, 0.0), axis=axes)
  return total / jnp.maximum(jnp.sum(valid, axis=axes).astype(x.dtype), 1.0)


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
  """Of `logits [b k]` and class indices [b]; −1 is unknown.

  Attributes:
    label: name of the indices.
    smoothing: share of probability that all classes share.
  """

  label: str
  smoothing: float = 0.0

  def __call__(
    self, outputs: head_lib.Outputs, targets: head_lib.Inputs
  ) -> Float[Array, " b"]:
    logits, label = outputs["logits"], targets[self.label]
    num = logits.shape[-1]
    hot = jax.nn.one_hot(label, num) * (1 - self.smoothing)
    hot = hot + self.smoothing / num
    loss = optax.softmax_cross_entropy(logits, hot)
    return jnp.where(label >= 0, loss, 0.0)


@dataclasses.dataclass(frozen=True)
class Depth:
  """Of the first channel of `map`, over valid pixels.

  Which one arXiv 2502.07001 uses is not stated; we use l1 of logarithms, which
  AbsRel is near to. In metres the horizon would decide: where it is 50 m away,
  a probe of few steps learns nothing of an object at 5 m. Valid depths are
  those between .001 and 10 metres on ScanNet (InternVideo-Next).

  Attributes:
    depth_m: name of the true depths, `[b …]` as the map without channels.
    kind: one of `DEPTH_KINDS`: l1 or l2 of metres, or l1 of logarithms.
    valid_m: least and largest valid depth, both excluded.
  """

  depth_m: str = "depth_m"
  kind: str = "l1"
  valid_m: tuple[float, float] = (1e-3, 1e3)

  @property
  def of_logarithms(self) -> bool:
    return self.kind == "log_l1"

  def check(self) -> None:
    """Raises UserError if the kind is unknown."""
    if self.kind not in DEPTH_KINDS:
      raise errors.UserError(
        f"config.probe.dense.depth_loss {self.kind!r} is unknown; choose from"
        f" {', '.join(DEPTH_KINDS)}"
      )

  def __call__(
    self, outputs: head_lib.Outputs, targets: head_lib.Inputs
  ) -> Float[Array, " b"]:
    pred, depth = outputs["map"][..., 0], targets[self.depth_m]
    low, high = self.valid_m
    valid = (depth > low) & (depth < high)
    depth = jnp.where(valid, depth, 1.0)
    if self.of_logarithms:
      pred, depth = jnp.log(jnp.maximum(pred, low)), jnp.log(depth)
    error = pred - depth
    error = error**2 if self.kind == "l2" else jnp.abs(error)
    return masked_mean(error, valid)


@dataclasses.dataclass(frozen=True)
class Pose:
  """Squared error of the 12 numbers of `pose`, their mean.

  What arXiv 2502.07001 uses could not be confirmed; this is ours.

  Attributes:
    pose: name of the true ones, [b 3 4].
    std: divides the errors: 12 numbers row by row, or one for all.
  """

  pose: str = "pose"
  std: tuple[float, ...] = (1.0,)

  def __call__(
    self, outputs: head_lib.Outputs, targets: head_lib.Inputs
  ) -> Float[Array, " b"]:
    error = (outputs["pose"] - targets[self.pose]).reshape(-1, 12)
    std = jnp.array(self.std, jnp.float32)[None]
    return jnp.mean((error / std) ** 2, axis=-1)


@dataclasses.dataclass(frozen=True)
class Points:
  """SciVid's loss of tracked points (its losses/tap.py).

  100 · Huber of the distance (δ = 1 / r, normalised units), where the target is
  visible and the query is; .1 · cross-entropy of visibility where the query is
  visible; .1 · cross-entropy of certainty, whose target is a distance of at
  most 6 / r, where the first counts. r is the resolution, pixels of a side.

  That each term is a mean over what counts of a clip, and clips weigh the same,
  is ours: how it is normalised is not stated in our notes on it.

  Attributes:
    resolution: r; SciVid's clips have 224.
    points_xy: name of the true points, [b n t 2].
    visible: name of where they are visible, bool [b n t].
    query_visible: name of which queries are, bool [b n].
  """

  resolution: float = 224.0
  points_xy: str = "points_xy"
  visible: str = "points_visible"
  query_visible: str = "query_visible"

  def __call__(
    self, outputs: head_lib.Outputs, targets: head_lib.Inputs
  ) -> Float[Array, " b"]:
    query = targets[self.query_visible][..., None]
    query = jnp.broadcast_to(query, targets[self.visible].shape)
    seen = targets[self.visible] & query
    error = outputs["points_xy"] - targets[self.points_xy]
    error = jnp.where(seen[..., None], error, 0.0)
    distance = jnp.sqrt(jnp.sum(error**2, axis=-1) + 1e-12)
    near = jax.lax.stop_gradient(distance <= 6.0 / self.resolution)
    visible = _binary(outputs["visible"], targets[self.visible])
    certain = _binary(outputs["certain"], near)
    return (
      100.0 * masked_mean(huber(distance, 1.0 / self.resolution), seen)
      + 0.1 * masked_mean(visible, query)
      + 0.1 * masked_mean(certain, seen)
    )


@dataclasses.dataclass(frozen=True)
class Boxes:
  """Of the four coordinates of `boxes_yxyx`, at annotated frames.

  Which one arXiv 2502.07001 uses is not stated; we use the squared error.

  Attributes:
    kind: l2, or huber, quadratic below `delta`.
    delta: in normalised units.
    boxes_yxyx: name of the true boxes, [b n t 4].
    valid: name of where they are, bool [b n t].
  """

  kind: Literal["l2", "huber"] = "l2"
  delta: float = 0.05
  boxes_yxyx: str = "boxes_yxyx"
  valid: str = "boxes_valid"

  def __call__(
    self, outputs: head_lib.Outputs, targets: head_lib.Inputs
  ) -> Float[Array, " b"]:
    valid = targets[self.valid]
    error = outputs["boxes_yxyx"] - targets[self.boxes_yxyx]
    error = jnp.abs(jnp.where(valid[..., None], error, 0.0))
    if self.kind == "huber":
      error = huber(error, self.delta)
    else:
      error = error**2
    return masked_mean(jnp.mean(error, axis=-1), valid)


def huber(x: Float[Array, "*b"], delta: float) -> Float[Array, "*b"]:
  """x² / 2 below delta, then δ (x − δ / 2); x is at least 0."""
  return jnp.where(x < delta, 0.5 * x**2, delta * (x - 0.5 * delta))


def _binary(
  logits: Float[Array, "*b"], target: Bool[Array, "*b"]
) -> Float[Array, "*b"]:
  return optax.sigmoid_binary_cross_entropy(logits, target.astype(logits.dtype))
