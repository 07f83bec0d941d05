"""When bad clips are too many, and when they are not yet."""

import numpy as np
import pytest

from vdr.data import failures
from vdr.runtime import errors


def bad(index):
  return failures.Failure("main", index, f"clip{index}", "broken")


@pytest.mark.parametrize("share", (0.002, 0.01, 0.1))
def test_chance_does_not_end_a_run_whose_share_is_allowed(share):
  n = 2000
  for seed in range(20):
    rng = np.random.default_rng(seed)
    wrong = set(rng.permutation(n)[: int(share * n)].tolist())
    log = failures.Failures(share, n)
    for _ in range(2):
      for index in rng.permutation(n).tolist():
        log.add(1, [bad(index)] if index in wrong else [])


def test_hosts_that_see_all_bad_clips_in_time_do_not_end_the_run():
  log = failures.Failures(0.01, 1000, num_hosts=4)
  for index in range(10):
    log.add(300, [bad(index)])


@pytest.mark.parametrize("share", (0.0, 0.01, 0.1))
def test_broken_data_ends_the_run_soon(share):
  log = failures.Failures(share, 10**6)
  with pytest.raises(errors.UserError, match="clip0 of source 'main': broken"):
    for index in range(20):
      log.add(1, [bad(index)])


def test_padding_counts_for_nothing():
  log = failures.Failures(0.0, 10)
  log.add(0, [])
  assert log.num_seen == 0 and log.unique == ()


def test_the_message_names_the_list(tmp_path):
  path = tmp_path / "deep" / "skipped.jsonl"
  log = failures.Failures(0.0, 10, path=path)
  with pytest.raises(errors.UserError, match="skipped.jsonl lists them"):
    log.add(1, [bad(0)])
  assert path.read_text().count("\n") == 1  # written before the run ends
