"""Scores of a split whose clips come in batches: those of the split as a whole.

    scorer = Scorer(task, targets, clips)  # of the whole split, in one piece
    scores = scorer.score(batches)  # of any sizes, in any order

A scorer knows all targets before it sees an answer, so that no score depends on
which clips come together. Clips that can't be read count nowhere. Where a task
answers views of a video together, a video is scored when all its views are
there; until then they wait, so that memory holds few of them as long as the
views of a video follow each other.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from vdr.metrics import accumulators
from vdr.runtime import errors
from vdr.tasks import task

# What a batch has besides a task's own targets.
VALID, INDEX = "clip_valid", "clip_index"

# Metric → of each member, by its place along the leading axes, its score.
MemberScores = dict[str, dict[tuple[int, ...], accumulators.Ratio]]


class Clips(NamedTuple):
  """The clips of a split that can be read, in its order.

  Attributes:
    index: of each in its source.
    video: the number of the video that each shows; see `Source.video_of`.
    group: the name of its group; see `Source.group_of`.
  """

  index: Int[np.ndarray, " n"]
  video: Int[np.ndarray, " n"]
  group: Shaped[np.ndarray, " n"]


class Scorer:
  """Scores one task on one split.

  Attributes:
    num_rows: answers that are scored: videos of classes, else clips.
    groups: the group of each.
  """

  def __init__(self, one: task.Task, targets: task.Arrays, clips: Clips):
    """Learns what a score takes from the whole split.

    Args:
      one: the task.
      targets: of all clips that can be read.
      clips: which these are.
    """
    self._one, self._targets = one, targets
    self._reference = one.reference(targets)
    order = np.argsort(clips.index)
    self._sorted, self._order = clips.index[order], order
    numbers = one.answers(targets, clips.video)
    # Answers are in the order of their first clips, whatever numbers they have.
    _, first, numbers, sizes = np.unique(
      numbers, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.argsort(np.argsort(first))
    self._answer = rank[numbers.reshape(-1)]
    self._sizes = sizes[np.argsort(first)]
    self.num_rows = len(first)
    self.groups = clips.group[np.sort(first)]

  def whole(self, outputs: task.Arrays) -> task.Scores:
    """Scores of answers to all clips of the split, in its order."""
    valid = np.ones(len(self._order), bool)
    index = np.empty_like(self._sorted)
    index[self._order] = self._sorted
    targets = self._targets | {VALID: valid, INDEX: index}
    found = self.score([(outputs, targets)])
    return {name: places[()] for name, places in found.items()}

  def score(
    self,
    batches: Iterable[tuple[task.Arrays, task.Arrays]],
    num_axes: int = 0,
  ) -> MemberScores:
    """Scores of many members, a row for each answer.

    Args:
      batches: outputs [*members b …], and targets [b …] with `clip_valid` and
        `clip_index`: every clip of the split once, and any number of others
        that can't be read.
      num_axes: leading axes of outputs, those of members.

    Raises:
      UserError: clips that could be read before are missing now.
      ValueError: a clip is not one of the split's.
    """
    parts: dict[tuple[str, tuple[int, ...]], list[accumulators.Ratio]] = {}
    scored: list[np.ndarray] = []
    waiting = _Waiting(self._answer, self._sizes, num_axes)
    for outputs, targets in batches:
      targets = dict(targets)
      valid, index = targets.pop(VALID), targets.pop(INDEX)
      rows = self._rows(index[valid])
      waiting.add(rows, _take(outputs, valid, num_axes), _take(targets, valid))
      rows, outputs, targets = waiting.pop_whole()
      if not len(rows):
        continue
      answers, starts = np.unique(self._answer[rows], return_index=True)
      if len(starts) < len(rows):
        outputs = self._one.average(outputs, starts, num_axes)
        targets = _take(targets, starts)
      scored.append(answers)
      members = next(iter(outputs.values())).shape[:num_axes]
      for place in np.ndindex(*members):
        own = {k: v[place] for k, v in outputs.items()}
        found = self._one.score(own, targets, self._reference)
        for name, ratio in found.items():
          parts.setdefault((name, place), []).append(ratio)
    order = self._check(scored)
    scores: MemberScores = {}
    for (name, place), ratios in parts.items():
      whole = accumulators.concatenate(ratios).take(order)
      scores.setdefault(name, {})[place] = whole
    return scores

  def _rows(self, index: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
    """Where clips are in the split."""
    places = np.searchsorted(self._sorted, index)
    known = places < len(self._sorted)
    if not known.all() or (self._sorted[places] != index).any():
      raise ValueError("a clip to score is not one of the split's")
    return self._order[places]

  def _check(self, scored: list[np.ndarray]) -> Int[np.ndarray, " m"]:
    """The order that sorts what was scored."""
    answers = np.concatenate(scored) if scored else np.zeros(0, int)
    order = np.argsort(answers, kind="stable")
    if not np.array_equal(answers[order], np.arange(self.num_rows)):
      raise errors.UserError(
        f"{self._one.name}: of {self.num_rows} answers only"
        f" {len(np.unique(answers))} can be scored, as clips that could be read"
        " before can't be read now; check the disk that they are on"
      )
    return order


class _Waiting:
  """Clips of answers of which some clips have not come yet."""

  def __init__(self, answer: np.ndarray, sizes: np.ndarray, axis: int):
    self._answer, self._left, self._axis = answer, sizes.copy(), axis
    self._rows: np.ndarray | None = None
    self._outputs: task.Arrays = {}
    self._targets: task.Arrays = {}

  def add(
    self, rows: np.ndarray, outputs: task.Arrays, targets: task.Arrays
  ) -> None:
    np.subtract.at(self._left, self._answer[rows], 1)
    if self._rows is None or not len(self._rows):
      self._rows, self._outputs, self._targets = rows, outputs, targets
      return
    self._rows = np.concatenate([self._rows, rows])
    for kept, more, axis in (
      (self._outputs, outputs, self._axis),
      (self._targets, targets, 0),
    ):
      for name, value in more.items():
        kept[name] = np.concatenate([kept[name], value], axis=axis)

  def pop_whole(self) -> tuple[np.ndarray, task.Arrays, task.Arrays]:
    """The clips of all answers that are whole, answer by answer, in order."""
    assert self._rows is not None
    whole = self._left[self._answer[self._rows]] == 0
    found = np.flatnonzero(whole)
    rows = self._rows[found]
    found = found[np.lexsort((rows, self._answer[rows]))]
    popped = (
      self._rows[found],
      _take(self._outputs, found, self._axis),
      _take(self._targets, found),
    )
    self._rows = self._rows[~whole]
    self._outputs = _take(self._outputs, ~whole, self._axis)
    self._targets = _take(self._targets, ~whole)
    return popped


def _take(arrays: task.Arrays, rows: np.ndarray, axis: int = 0) -> task.Arrays:
  """Rows, by number or by mask, along an axis."""
  before = (slice(None),) * axis
  return {k: np.asarray(v)[(*before, rows)] for k, v in arrays.items()}
