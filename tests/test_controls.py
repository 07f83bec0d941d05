"""What controls see."""

import numpy as np
import pytest

from vdr import controls
from vdr.runtime import errors

VIDEO = np.arange(2 * 5, dtype=np.uint8).reshape(2, 5, 1, 1, 1)
VIDEO = np.broadcast_to(VIDEO, (2, 5, 2, 2, 3)).copy()
INDEX = np.array([7, 8])


def frames(view, **kwargs):
  return controls.show(view, VIDEO, INDEX, **kwargs)[:, :, 0, 0, 0].tolist()


def test_views():
  assert frames("clip") == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
  assert frames("frozen") == [[0] * 5, [5] * 5]
  assert frames("frame", frame=2) == [[2], [7]]


def test_shuffling_is_the_clips_own():
  first, second = frames("shuffled")
  assert sorted(first) == [0, 1, 2, 3, 4] and first != sorted(first)
  assert [x - 5 for x in second] != first
  alone = controls.show("shuffled", VIDEO[1:], INDEX[1:])
  assert alone[0, :, 0, 0, 0].tolist() == second


def test_names():
  names = ("random", "blind", "frozen")
  assert [c.name for c in controls.named(names)] == ["random", "frozen"]
  with pytest.raises(errors.UserError, match="'chance' is unknown"):
    controls.named(("chance",))
