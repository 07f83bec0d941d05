"""What a task is: what is asked of a clip, how a probe answers, what counts.

Everything about a task is here or follows from it: the fields of the batch
schema it reads, the head and the loss, the metrics and which of them decides.
`vdr.tasks.scoring` scores a whole split with it.
Adding a task is one file and one line in `vdr/tasks/__init__.py`.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from vdr.metrics import accumulators, statistics
from vdr.probes import head as head_lib
from vdr.probes import steps

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Arrays = dict[str, np.ndarray]
Scores = dict[str, accumulators.Ratio]


class Shape(NamedTuple):
  """What heads know of the clips and of the features.

  Attributes:
    num_frames: pixel frames of a clip.
    height: pixels.
    width: pixels.
    frame_times: the last pixel frame that each feature frame covers.
  """

  num_frames: int
  height: int
  width: int
  frame_times: tuple[int, ...]


class Readout(NamedTuple):
  """How a task is learned.

  Attributes:
    head: the head.
    loss: its loss.
    batch_size: clips of a step.
    num_steps: of the optimiser.
    draw: what a step sees of the targets; None: all of them.
  """

  head: head_lib.Head
  loss: steps.LossFn
  batch_size: int
  num_steps: int
  draw: steps.Draw | None = None


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
  """A task.

  Attributes:
    name: in configs and results.
    title: for people, a few words.
    fields: of `data.schema` that it reads, besides the video.
    primary: the metric that decides.
    goal: which way it is better, and its chance level if it has one.
    is_image: it is asked of one frame, the middle one, not of the clip.
  """

  name: str
  title: str
  fields: tuple[str, ...]
  primary: str
  goal: statistics.Goal
  is_image: bool = False

  @abc.abstractmethod
  def targets(self, batch: Mapping[str, np.ndarray]) -> Arrays:
    """What heads are asked and compared with, from fields of a batch.

    Every entry has the clips on its first axis. `clip_valid` is no part of it:
    clips that can't be read are dropped before.
    """

  @abc.abstractmethod
  def readout(self, cfg: Config, shape: Shape, train: Arrays) -> Readout:
    """The head and its loss.

    Args:
      cfg: config.probe.
      shape: of clips and features.
      train: targets of the clips to fit on: means and spreads come from them.
    """

  def reference(self, targets: Arrays) -> Arrays:
    """What a score takes from all clips of a split, for instance their mean.

    It is found once, before any clip is scored; a score of one clip follows
    from that clip and from this alone, so that clips score the same in batches
    of any size. By default a task needs nothing.

    Args:
      targets: of all clips of the split that can be read.
    """
    del targets
    return {}

  @abc.abstractmethod
  def score(
    self, outputs: Arrays, targets: Arrays, reference: Arrays
  ) -> Scores:
    """Metrics by name, a row for each clip; see `metrics.accumulators`.

    Args:
      outputs: of some clips, as the head gives them.
      targets: of these clips.
      reference: of the split that they belong to.
    """

  def answers(
    self, targets: Arrays, video: Int[np.ndarray, " n"]
  ) -> Int[np.ndarray, " n"]:
    """Which answer each clip is a part of; an answer is scored once.

    By default every clip is answered by itself. A class is the same in all
    views of a video, so `Classes` averages over them. A depth map, a track and
    a camera's motion are not: they are those of one clip's frames and of one
    crop's pixels, so views of a video are scored one by one (and resampled
    together).

    Args:
      targets: of all clips of the split that can be read.
      video: the number of each clip's video.

    Returns:
      A number for each clip, equal for clips that are answered together.
    """
    del targets
    return np.arange(len(video))

  def average(
    self, outputs: Arrays, starts: Int[np.ndarray, " m"], axis: int
  ) -> Arrays:
    """One output for each answer, from those of its clips.

    Args:
      outputs: of clips, those of an answer beside each other.
      starts: where along `axis` each answer begins.
      axis: of the clips.
    """
    raise NotImplementedError(f"{self.name} answers every clip by itself")

  @abc.abstractmethod
  def blind(self, train: Arrays, targets: Arrays) -> Arrays:
    """Outputs of who never saw a clip: the prior, the mean, what is at rest.

    Args:
      train: targets of the clips to fit on.
      targets: those of the clips to score; inputs (queries) may be read, what
        is to be predicted only for its shape.
    """
