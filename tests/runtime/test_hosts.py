"""Hosts that find each other, work together, and end together."""

import contextlib
import io
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from tests.runtime import on_two_hosts
from vdr.runtime import errors, hosts, launcher, preemption

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def both():
  """What each of two hosts found."""
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    patch.setattr(launcher, "PROGRAM", ("-m", "tests.runtime.on_two_hosts"))
    with contextlib.redirect_stdout(io.StringIO()) as out:
      # Tests may share their cores with others: nobody is to be lost.
      assert launcher.launch(["--config.hosts.heartbeat_s=60"], 2) == 0
  lines = out.getvalue().splitlines()
  found = [json.loads(line) for line in lines if line.startswith("{")]
  assert [part["index"] for part in found] in ([0, 1], [1, 0])
  return sorted(found, key=lambda part: part["index"])


def test_one_host_needs_no_other():
  hosts.connect(base.default().hosts)
  assert hosts.is_first()
  assert hosts.first_does(lambda: 3) == 3
  with pytest.raises(errors.UserError, match="full"):
    hosts.first_does(lambda: (_ for _ in ()).throw(errors.UserError("full")))
  np.testing.assert_array_equal(hosts.fetch(jnp.arange(3)), [0, 1, 2])
  (part,) = hosts.gather({"x": np.arange(3.0)})
  np.testing.assert_array_equal(part["x"], [0.0, 1.0, 2.0])
  assert hosts.leave(2, 10) == 2


def test_a_host_needs_a_number_of_its_own():
  cfg = base.default().hosts
  cfg.update(coordinator="localhost:1", count=2, index=2)
  with pytest.raises(errors.UserError, match="index=2 is not within 0 to .* 1"):
    hosts.connect(cfg)


def test_a_heartbeat_takes_time():
  cfg = base.default().hosts
  cfg.update(coordinator="localhost:1", count=2, heartbeat_s=0)
  with pytest.raises(errors.UserError, match="heartbeat_s=0: use 1 second"):
    hosts.connect(cfg)


def test_what_the_first_does_both_wait_for(both):
  first, other = (found["first"] for found in both)
  assert (first["result"], other["result"]) == (5, None)
  assert other["waited_s"] > 0.4
  assert first["error"] == "the disk is full"
  assert other["error"] == "the first host ended with an error; see there"


def test_what_the_first_says_both_hear(both):
  assert hosts.first_says("alone") == "alone"
  for found in both:
    assert found["said"] == ["by host 0", ""]


def test_gathered_scores_are_those_of_one_host_bit_for_bit(both):
  whole = on_two_hosts.ratio_of(slice(None))
  for found in both:
    assert found["metrics"]["rows"] == whole.numerator.tolist()
    assert found["metrics"]["score"] == whole.score()
    np.testing.assert_array_equal(
      np.sum(found["metrics"]["total"], axis=1), whole.sums().total.sum(axis=1)
    )
    # Hosts may have nothing, or nothing of a field.
    assert found["metrics"]["empty"] == [{}, {"ids": [0, 3, "int64"]}]


def test_seven_clips_in_batches_of_two_reach_both_to_the_end(both):
  for index, found in enumerate(both):
    # Clips 0 1 | 2 3 | 4 5 | 6 -, of which 1 and 3 are bad.
    assert found["data"]["totals"] == [[1, 0], [1, 2], [2, 9], [1, 6]]
    assert found["data"]["seen"] == (4, 3)[index]
    assert found["data"]["bad"] == ([], ["clip1", "clip3"])[index]


def test_sigterm_on_one_host_stops_both_after_the_same_step(both):
  first, other = (found["steps"] for found in both)
  assert first == {"stopped": 2 * preemption.AGREE_EVERY, "heard": False}
  assert other == {"stopped": 2 * preemption.AGREE_EVERY, "heard": True}
