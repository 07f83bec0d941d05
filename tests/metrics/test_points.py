"""TAP-Vid's scores against loops over frames, by hand, with nothing seen."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.metrics import rows
from vdr.metrics import points

THRESHOLDS = (1, 2, 4, 8, 16)


def batch(seed, b=5, q=4, t=7):
  rng = np.random.default_rng(seed)
  target = rng.random((b, q, t, 2)).astype(np.float32)
  noise = rng.normal(size=target.shape) * rng.lognormal(-4, 1.5, (b, q, t, 1))
  visible = rng.random((b, q, t)) < 0.7
  visible[0] = False  # nothing to see here, and some say so
  query = points.first_queries(visible)
  return {
    "pred_xy": (target + noise).astype(np.float32),
    "pred_visible": (rng.random((b, q, t)) < 0.2) ^ visible,
    "target_xy": np.where(visible[..., None], target, np.float32(np.nan)),
    "target_visible": visible,
    "query_frame": query[0],
    "query_valid": query[1],
  }


def slow_video(p, said, d, seen, query, valid, mode):
  """Counts one frame of one track after another."""
  counts = dict.fromkeys(("agree", "frames", "seen"), 0)
  hits, found, false = ({k: 0 for k in THRESHOLDS} for _ in range(3))
  errors = []
  for i, t in np.ndindex(seen.shape):
    skip = t <= query[i] if mode == "first" else t == query[i]
    if skip or not valid[i]:
      continue
    counts["frames"] += 1
    counts["agree"] += said[i, t] == seen[i, t]
    counts["seen"] += seen[i, t]
    delta = 256 * (p[i, t].astype(float) - d[i, t].astype(float))
    distance = np.sqrt(delta[0] ** 2 + delta[1] ** 2)
    if seen[i, t]:
      errors.append(distance)
    for k in THRESHOLDS:
      near = bool(seen[i, t] and distance < k)
      found[k] += near
      hits[k] += near and said[i, t]
      false[k] += said[i, t] and not near

  def quotient(a, b):
    return a / b if b else np.nan

  scores = {"occlusion_accuracy": quotient(counts["agree"], counts["frames"])}
  scores["error_px"] = np.mean(errors) if errors else np.nan
  for k in THRESHOLDS:
    scores[f"delta_{k}"] = quotient(found[k], counts["seen"])
    scores[f"jaccard_{k}"] = quotient(hits[k], counts["seen"] + false[k])
  for name, part in (("average_jaccard", "jaccard"), ("delta_avg", "delta")):
    scores[name] = np.mean([scores[f"{part}_{k}"] for k in THRESHOLDS])
  return scores


@pytest.mark.parametrize("mode", ["first", "strided"])
@hypothesis.settings(max_examples=15)
@hypothesis.given(seed=st.integers(0, 999))
def test_all_are_the_slow_ones(mode, seed):
  x = batch(seed)
  x["query_frame"] = np.random.default_rng(seed).integers(0, 7, (5, 4))
  found = points.tap_vid(**x, mode=mode)
  slow = [slow_video(*video, mode) for video in zip(*x.values(), strict=True)]
  assert set(found) == set(slow[0])
  for name, ratio in found.items():
    each = np.array([video[name] for video in slow])
    np.testing.assert_allclose(ratio.values(), each, rtol=1e-12, err_msg=name)
    assert ratio.score() == pytest.approx(np.nanmean(each)), name
    assert ratio.num_skipped == np.isnan(each).sum()


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_rows(mode):
  rows.check(lambda **x: points.tap_vid(**x, mode=mode), batch(0))


def hand(offset_px, said=True, seen=True, t=3):
  """One track, queried in frame 0 and off by so much ever after."""
  shape = (1, 1, t)
  offset = np.zeros((*shape, 2))
  offset[..., 0] = np.array(offset_px) / 256
  return {
    "pred_xy": 0.25 + offset,
    "pred_visible": np.full(shape, said),
    "target_xy": np.full((*shape, 2), 0.25),
    "target_visible": np.full(shape, seen),
    "query_frame": np.zeros((1, 1), int),
    "query_valid": np.ones((1, 1), bool),
  }


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_the_truth_scores_perfectly(mode):
  scores = points.tap_vid(**hand(0), mode=mode)
  assert scores.pop("error_px").score() == 0
  assert {name: ratio.score() for name, ratio in scores.items()} == (
    dict.fromkeys(scores, 1.0)
  )


def test_thresholds_are_strict():
  scores = points.tap_vid(**hand(2), mode="first")
  assert scores["delta_2"].score() == 0
  assert scores["delta_4"].score() == 1
  assert scores["delta_avg"].score() == 0.6
  assert scores["error_px"].score() == 2
  # A visible point in the wrong place is missed, and is a false alarm, too.
  half = points.tap_vid(**hand([0, 0, 99]), mode="first")
  assert half["jaccard_16"].score() == pytest.approx(1 / 3)


def test_scores_after_the_query_or_all_around_it():
  x = hand([0, 0, 0, 99], t=4)
  x["query_frame"] += 2
  assert points.tap_vid(**x, mode="first")["delta_16"].score() == 0
  strided = points.tap_vid(**x, mode="strided")
  assert strided["delta_16"].score() == pytest.approx(2 / 3)


def test_a_video_in_which_nothing_is_visible():
  quiet = points.tap_vid(**hand(0, said=False, seen=False), mode="first")
  assert quiet["occlusion_accuracy"].score() == 1
  for name in ("average_jaccard", "delta_avg", "error_px"):
    assert quiet[name].num_skipped == 1
    assert np.isnan(quiet[name].score())
  # Who sees something where there is nothing has a score, of zero.
  loud = points.tap_vid(**hand(0, seen=False), mode="first")
  assert loud["average_jaccard"].score() == 0
  assert loud["occlusion_accuracy"].score() == 0
  assert loud["delta_avg"].num_skipped == 1


def test_a_video_without_frames_after_its_query():
  x = hand(0)
  x["query_frame"] += 2
  scores = points.tap_vid(**x, mode="first")
  assert all(ratio.num_skipped == 1 for ratio in scores.values())


def test_nan_is_nowhere_near():
  x = hand(0)
  x["pred_xy"][:] = np.nan
  scores = points.tap_vid(**x, mode="first")
  assert scores["average_jaccard"].score() == 0
  assert scores["delta_avg"].score() == 0
  assert scores["occlusion_accuracy"].score() == 1
  assert np.isnan(scores["error_px"].score())


@hypothesis.given(st.integers(0, 999))
def test_scores_are_shares_and_thresholds_nested(seed):
  x = {k: v for k, v in batch(seed).items()}
  scores = points.tap_vid(**x, mode="first")
  for part in ("delta", "jaccard"):
    values = [scores[f"{part}_{k}"].score() for k in THRESHOLDS]
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)


def test_queries_where_a_track_is_first_seen():
  visible = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]], bool)
  frame, valid = points.first_queries(visible)
  np.testing.assert_array_equal(frame, [1, 0, 0])
  np.testing.assert_array_equal(valid, [True, True, False])


def test_queries_every_few_frames():
  visible = np.zeros((3, 12), bool)
  visible[0] = visible[2, 5] = visible[1, 7] = True
  tracks, frames = points.strided_queries(visible)
  pairs = list(zip(tracks, frames, strict=True))
  assert pairs == [(0, 0), (0, 5), (2, 5), (0, 10)]
  tracks, frames = points.strided_queries(visible[1:], stride=7)
  assert list(zip(tracks, frames, strict=True)) == [(0, 7)]
