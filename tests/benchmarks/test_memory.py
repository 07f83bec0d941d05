"""The least memory of a step, and the line that lengths are read from."""

import pytest

from benchmarks import memory, our_step
from vdr.models import dit


def test_the_minimum_is_twenty_bytes_a_parameter_and_each_blocks_input():
  cfg = our_step.Work("micro", memory.GRID, 2, 2, memory.CHANNELS).config(
    "float32", scan=True
  )
  # micro: two blocks of width 64; a clip has 5 · 8 · 8 tokens, an image 8 · 8.
  kept = 2 * (2 * (320 + 64)) * 64 * 4
  expected = (20 * dit.num_params(cfg.model) + kept) / 1e6
  assert memory.minimum_mb("micro", 2) == pytest.approx(expected)


@pytest.mark.parametrize(
  ("limit_mb", "frames"), [(1000.0, 397), (1010.0, 401), (5.0, 1)]
)
def test_the_longest_clip_has_4k_and_1_frames_within_the_limit(
  limit_mb, frames
):
  # 5 MB and 2.5 MB a frame.
  assert memory.longest([65, 193], [167.5, 487.5], limit_mb) == frames
