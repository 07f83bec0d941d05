"""Clips that fail are masked where they stand; sources must fit together."""

import numpy as np
import pytest

from tests.data import fakes
from vdr.data import schema
from vdr.runtime import errors


@pytest.mark.parametrize("num_workers", (0, 1))
def test_bad_clips_are_masked_in_place_and_change_no_other(num_workers):
  good = fakes.take(fakes.make(fakes.Fake(20)), 5)
  batches = fakes.make(
    fakes.Fake(20, bad=(3, 11), odd=(5,)), workers=num_workers
  )
  bad = fakes.take(batches, 5)
  assert set(fakes.indices(bad)) == set(range(20))
  for a, b in zip(good, bad, strict=True):
    np.testing.assert_array_equal(a["clip_index"], b["clip_index"])
    np.testing.assert_array_equal(a["clip_id"], b["clip_id"])
    masked = np.isin(b["clip_index"], (3, 5, 11))
    np.testing.assert_array_equal(b["clip_valid"], ~masked)
    np.testing.assert_array_equal(a["video"][~masked], b["video"][~masked])
    assert not b["video"][masked].any()
    for index, error in zip(b["clip_index"], b["error"], strict=True):
      reason = {3: "broken 3", 11: "broken 11"}.get(index, "")
      if index == 5:  # of another shape than the rest
        assert "video is 2×5×5×3" in schema.untext(error)
      else:
        assert schema.untext(error) == reason
  reasons = {f.clip_id: f.reason for f in batches.failures.unique}
  assert reasons.keys() == {"clip3", "clip5", "clip11"}
  assert batches.failures.num_bad == 3 and batches.failures.num_seen == 20


def test_a_source_without_a_readable_clip_is_an_error_that_says_why():
  with pytest.raises(errors.UserError, match="'main'.*broken 0"):
    fakes.make(fakes.Fake(200, bad=range(200)))
  # The shapes are learned from whichever can be read.
  batches = fakes.make(fakes.Fake(200, bad=range(150)))
  assert next(batches)["video"].shape == (4, 2, 4, 4, 3)
  batches.close()


@pytest.mark.parametrize(
  "other, words",
  (
    (fakes.Fake(4, frames=1), "one loader for each length"),
    (fakes.Fake(4, size=8), "video is 2×8×8×3 uint8, not 2×4×4×3"),
    (fakes.Fake(4, label=True), "label is there"),
    (fakes.Fake(0), "no clips"),
  ),
)
def test_sources_that_do_not_go_together_are_named(other, words):
  with pytest.raises(errors.UserError, match=words) as caught:
    fakes.make({"one": fakes.Fake(4), "two": other})
  assert "'two'" in str(caught.value)
