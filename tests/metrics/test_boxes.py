"""Overlap of boxes against counting, and boxes that are none."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests import needs
from tests.metrics import rows
from vdr.metrics import boxes

POOLS = ("object_frames", "objects", "clips")
CORNER = st.integers(0, 12)
BOX = st.tuples(CORNER, CORNER, CORNER, CORNER)


def as_boxes(*several):
  return np.array(several, float) / 12


def counted(a, b):
  """Cells of a grid of 12 × 12 that each box covers."""
  y, x = np.mgrid[:12, :12] + 0.5
  inside = [(y > p[0]) & (y < p[2]) & (x > p[1]) & (x < p[3]) for p in (a, b)]
  union = (inside[0] | inside[1]).sum()
  return (inside[0] & inside[1]).sum() / union if union else 0.0


@hypothesis.given(BOX, BOX)
def test_overlap_is_what_is_counted(a, b):
  pair = as_boxes(a, b)
  assert boxes.iou(pair[:1], pair[1:])[0] == pytest.approx(counted(a, b))
  assert boxes.iou(pair[1:], pair[:1])[0] == pytest.approx(counted(a, b))


@hypothesis.given(BOX, BOX)
def test_rastered_overlap_is_what_is_counted(a, b):
  pair = as_boxes(a, b)
  hypothesis.assume(a[0] <= a[2] and a[1] <= a[3])
  thin = any(max(a[i], b[i]) - min(a[i - 2], b[i - 2]) <= 1 for i in (2, 3))
  expected = 1.0 if thin else counted(a, b)
  found = boxes.raster_iou(pair[:1], pair[1:], height=12, width=12)
  assert found[0] == pytest.approx(expected)


def test_rastering_rounds_corner_and_size():
  a, b = as_boxes((0.6, 0, 4.4, 6), (1, 0, 5, 6))
  # 0.6 … 4.4 starts at pixel 1 and is 4 high: the same pixels.
  assert boxes.raster_iou(a, b, 12, 12) == 1
  assert boxes.iou(a, b) == pytest.approx(3.4 / 4.4)


def test_large_boxes_overlap_alike_on_a_raster():
  rng = np.random.default_rng(0)
  low, high = rng.uniform(0, 0.3, (2, 99, 2)), rng.uniform(0.6, 1, (2, 99, 2))
  a, b = np.concatenate([low, high], axis=-1)
  np.testing.assert_allclose(
    boxes.raster_iou(a, b, 720, 1280), boxes.iou(a, b), atol=0.01
  )


@pytest.mark.parametrize(
  "box",
  [
    *((8, 3, 2, 9), (2, 9, 8, 3), (8, 9, 2, 3), (5, 5, 5, 9), (5, 5, 5, 5)),
    [np.nan] * 4,
  ],
  ids=["upside down", "mirrored", "inside out", "flat", "a point", "NaN"],
)
def test_a_prediction_that_is_no_box_overlaps_nothing(box):
  pred, target = as_boxes(box, (2, 3, 8, 9))
  assert boxes.iou(pred, target) == 0
  assert boxes.raster_iou(pred, target, 240, 240) == 0
  assert boxes.iou(pred, pred) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_truth_overlaps_itself(dtype):
  box = np.array([[0.1, 0.2, 0.7, 0.9], [0, 0, 1, 1]], dtype)
  np.testing.assert_allclose(boxes.iou(box, box), 1)
  np.testing.assert_allclose(boxes.raster_iou(box, box, 64, 64), 1)


def batch(seed):
  rng = np.random.default_rng(seed)
  scored = rng.random((5, 3, 4)) < 0.6
  scored[0], scored[1, 1] = False, False
  overlap = np.where(scored, rng.random(scored.shape), np.nan)
  return {"overlap": overlap, "scored": scored}


@hypothesis.given(st.integers(0, 99))
def test_means_weigh_boxes_objects_or_clips_alike(seed):
  x = batch(seed)
  pooled = x["overlap"][x["scored"]]
  by_object = [
    [o[s].mean() for o, s in zip(*clip, strict=True) if s.any()]
    for clip in zip(*x.values(), strict=True)
  ]
  by_clip = [np.mean(clip) for clip in by_object if clip]
  expected = [pooled.mean(), np.mean(sum(by_object, [])), np.mean(by_clip)]
  for pool, mean in zip(POOLS, expected, strict=True):
    ratio = boxes.mean_iou(**x, pool=pool)
    assert ratio.score() == pytest.approx(mean)
    assert ratio.num_skipped == 5 - len(by_clip)


@pytest.mark.parametrize("pool", POOLS)
def test_rows(pool):
  rows.check(lambda **x: boxes.mean_iou(**x, pool=pool), batch(0))


def test_pycocotools_agrees():
  mask = needs.reference("pycocotools.mask")
  rng = np.random.default_rng(0)
  low, sides = rng.uniform(0, 0.7, (2, 50, 2)), rng.uniform(0, 0.3, (2, 50, 2))
  a, b = np.concatenate([low, low + sides], axis=-1)
  xywh = np.concatenate([low[..., ::-1], sides[..., ::-1]], axis=-1)
  other = mask.iou(xywh[0], xywh[1], np.zeros(50))
  np.testing.assert_allclose(boxes.iou(a, b), np.diag(other), atol=1e-12)
