"""Classes: of actions, of shapes, or of a user's own labelled folder.

An attentive head with one learned query, cross-entropy, top-1. Chance is one
over the number of classes. Several clips or crops of a video give one answer:
the mean of their probabilities.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int
from scipy import special

from vdr.metrics import classification, statistics
from vdr.probes import losses, make
from vdr.runtime import errors
from vdr.tasks import task


@dataclasses.dataclass(frozen=True)
class Classes(task.Task):
  """One label of a clip.

  Attributes:
    label: the field.
    class_names: its classes.
  """

  label: str = "label"
  class_names: tuple[str, ...] = ()

  def targets(self, batch: Mapping[str, np.ndarray]) -> task.Arrays:
    return {self.label: batch[self.label]}

  def readout(
    self, cfg: task.Config, shape: task.Shape, train: task.Arrays
  ) -> task.Readout:
    head = make.attentive(
      cfg, len(self.class_names), shape.frame_times, shape.num_frames
    )
    loss = losses.CrossEntropy(self.label)
    return task.Readout(head, loss, cfg.batch_size, cfg.num_steps)

  def score(
    self,
    outputs: task.Arrays,
    targets: task.Arrays,
    reference: task.Arrays,
  ) -> task.Scores:
    """`top_1`, `top_5`, and `per_class`, the mean of top-1 over classes."""
    logits, label = outputs["logits"], targets[self.label]
    return {
      "top_1": classification.top_k(logits, label, 1),
      "top_5": classification.top_k(logits, label, 5),
      "per_class": classification.mean_per_class(logits, label),
    }

  def answers(
    self, targets: task.Arrays, video: Int[np.ndarray, " n"]
  ) -> Int[np.ndarray, " n"]:
    """Videos: their clips and crops are answered together.

    A file that an index lists under two labels is asked for both.
    """
    label = targets[self.label].astype(np.int64)
    pairs = np.stack([video.astype(np.int64), label], axis=1)
    _, numbers = np.unique(pairs, axis=0, return_inverse=True)
    return numbers.reshape(-1)

  def average(
    self, outputs: task.Arrays, starts: Int[np.ndarray, " m"], axis: int
  ) -> task.Arrays:
    """Logits of the mean probabilities."""
    logits = outputs["logits"].astype(np.float64)
    shares = logits - special.logsumexp(logits, axis=-1, keepdims=True)
    total = np.logaddexp.reduceat(shares, starts, axis=axis)
    count = np.diff([*starts, logits.shape[axis]])
    count = np.expand_dims(count, tuple(range(1, logits.ndim - axis)))
    return {"logits": total - np.log(count)}

  def blind(self, train: task.Arrays, targets: task.Arrays) -> task.Arrays:
    """How often each class was seen."""
    known = train[self.label][train[self.label] >= 0]
    count = np.bincount(known, minlength=len(self.class_names))
    rows = (len(targets[self.label]), 1)
    return {"logits": np.tile(count.astype(np.float32), rows)}


def make_task(
  name: str,
  title: str,
  label: str,
  class_names: tuple[str, ...],
  is_image: bool,
) -> Classes:
  """A task of these classes.

  Raises:
    UserError: there are fewer than two.
  """
  if len(class_names) < 2:
    raise errors.UserError(
      f"task {name!r} needs two classes or more; the data have"
      f" {len(class_names)} ({', '.join(class_names) or 'no labels'})"
    )
  return Classes(
    name=name,
    title=title,
    fields=(label,),
    primary="top_1",
    goal=statistics.Goal(chance=1 / len(class_names)),
    is_image=is_image,
    label=label,
    class_names=class_names,
  )
