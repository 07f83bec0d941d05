"""Classes: of actions, of shapes, or of a user's own labelled folder.

An attentive head with one learned query, cross-entropy, top-1. Chance is one
over the number of classes.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

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

  def score(self, outputs: task.Arrays, targets: task.Arrays) -> task.Scores:
    """`top_1`, `top_5`, and `per_class`, the mean of top-1 over classes."""
    logits, label = outputs["logits"], targets[self.label]
    return {
      "top_1": classification.top_k(logits, label, 1),
      "top_5": classification.top_k(logits, label, 5),
      "per_class": classification.mean_per_class(logits, label),
    }

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
