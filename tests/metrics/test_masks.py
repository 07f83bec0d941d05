"""J and F against loops over pixels, and masks with nothing in them."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests import needs
from tests.metrics import rows
from vdr.metrics import masks


def blob(rng, h=20, w=24, size=6.0):
  y, x = np.mgrid[:h, :w]
  centre = rng.uniform(0, [h, w])
  stretch = rng.uniform(0.5, 2)
  square = (y - centre[0]) ** 2 + stretch * (x - centre[1]) ** 2
  return square < rng.uniform(0, size) ** 2


def slow_outline(mask):
  h, w = mask.shape
  edge = np.zeros((h, w), bool)
  for y, x in np.ndindex(h, w):
    for dy, dx in ((0, 1), (1, 0), (1, 1)):
      # Beyond the border the picture goes on as it ends.
      other = mask[min(y + dy, h - 1), min(x + dx, w - 1)]
      edge[y, x] |= mask[y, x] != other
  return edge


def slow_f(pred, target, radius):
  a, b = (np.argwhere(slow_outline(mask)) for mask in (pred, target))
  if not len(a) or not len(b):
    return float(len(a) == len(b))
  near = np.square(a[:, None] - b[None]).sum(axis=-1) <= radius**2
  precision, recall = near.any(axis=1).mean(), near.any(axis=0).mean()
  either = precision + recall
  return 2 * precision * recall / either if either else 0.0


@hypothesis.settings(max_examples=25)
@hypothesis.given(st.integers(0, 9999), st.sampled_from([0.008, 0.05, 0.1]))
def test_both_are_the_slow_ones(seed, tolerance):
  rng = np.random.default_rng(seed)
  a, b = blob(rng), blob(rng)
  np.testing.assert_array_equal(masks.outline(a), slow_outline(a))
  radius = np.ceil(tolerance * np.hypot(20, 24))
  found = masks.boundary(a, b, tolerance)
  assert float(found) == pytest.approx(slow_f(a, b, radius))
  assert float(masks.boundary(b, a, tolerance)) == pytest.approx(float(found))
  union = (a | b).sum()
  expected = (a & b).sum() / union if union else 1
  assert float(masks.region(a, b)) == pytest.approx(expected)


def test_equal_masks_score_perfectly_even_empty_ones():
  rng = np.random.default_rng(0)
  some = np.stack(
    [blob(rng), np.zeros((20, 24), bool), np.ones((20, 24), bool)]
  )
  np.testing.assert_array_equal(masks.region(some, some), 1)
  np.testing.assert_array_equal(masks.boundary(some, some), 1)


def test_something_and_nothing_have_no_overlap():
  some, nothing = np.zeros((2, 9, 9), bool)
  some[3:6, 3:6] = True
  for a, b in ((some, nothing), (nothing, some)):
    assert masks.region(a, b) == 0
    assert masks.boundary(a, b) == 0


def test_outlines_far_apart_do_not_match():
  a, b = np.zeros((2, 40, 40), bool)
  a[2:5, 2:5] = b[30:33, 30:33] = True
  assert masks.boundary(a, b) == 0


def batch(seed):
  rng = np.random.default_rng(seed)
  shape = (4, 2, 3)
  pred, target = (
    np.stack([blob(rng) for _ in range(24)]).reshape(*shape, 20, 24)
    for _ in range(2)
  )
  scored = rng.random(shape) < 0.7
  scored[0], scored[1, 0] = False, False
  return {"pred": pred, "target": target, "scored": scored}


def test_frames_are_averaged_by_object():
  x = batch(1)
  found = masks.j_and_f(**x)
  each = {"j": [], "f": []}
  for i, o in np.ndindex(4, 2):
    frames = x["scored"][i, o]
    if frames.any():
      pair = x["pred"][i, o, frames], x["target"][i, o, frames]
      each["j"].append(masks.region(*pair).mean())
      each["f"].append(masks.boundary(*pair).mean())
  for name, values in each.items():
    assert found[name].score() == pytest.approx(np.mean(values))
  both = np.mean(each["j"] + each["f"])
  assert found["j_and_f"].score() == pytest.approx(both)


def test_rows():
  rows.check(masks.j_and_f, batch(0))


@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
def test_trackeval_agrees():
  needs.reference("skimage")
  needs.reference("cv2")  # needs system libraries
  coco = needs.reference("pycocotools.mask")
  module = needs.reference("trackeval.metrics.j_and_f")
  rng = np.random.default_rng(0)
  pred, target = (
    np.stack([blob(rng, 96, 160, 50.0) for _ in range(12)]) for _ in range(2)
  )
  coded = [
    [[coco.encode(np.asfortranarray(m.astype(np.uint8)))] for m in several]
    for several in (pred, target)
  ]
  metric = module.JAndF()
  other = metric._compute_f(coded[1], coded[0], 0, 0, masks.TOLERANCE)
  np.testing.assert_allclose(masks.boundary(pred, target), other, atol=1e-12)
  other = metric._compute_j(coded[1], coded[0], 1, 1, 12)
  np.testing.assert_allclose(masks.region(pred, target), other[0, 0])
