"""What a batch holds depends on (seed, position) and on nothing else."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import base
from tests.data import fakes
from vdr.data import loader
from vdr.runtime import errors


def test_workers_change_nothing_and_a_state_fits_any_number_of_them():
  weights = {"a": 0.3, "b": 0.7}
  expected = fakes.take(fakes.make(fakes.mixture(), weights), 9)
  with fakes.make(fakes.mixture(), weights, workers=2) as batches:
    first = [next(batches) for _ in range(3)]
    middle = batches.state()
  assert middle == {"position": 3}
  resumed = fakes.make(
    fakes.mixture(), weights
  )  # a state of workers, none to go on
  resumed.restore(middle)
  fakes.assert_same(first + fakes.take(resumed, 6), expected)
  state = resumed.state()
  assert state == {"position": 9}
  back = fakes.make(fakes.mixture(), weights, workers=1)
  back.restore({"position": 4})  # and a state of none, workers to go on
  fakes.assert_same(fakes.take(back, 5), expected[4:])


def test_a_resumed_loader_goes_on_from_every_position():
  kw = dict(num_epochs=2)
  expected = list(fakes.make(fakes.Fake(9), **kw))
  for k in range(len(expected) + 1):
    batches = fakes.make(fakes.Fake(9), **kw)
    batches.restore({"position": k})
    fakes.assert_same(list(batches), expected[k:])
  for k in (-1, len(expected) + 1):
    with pytest.raises(ValueError, match="position"):
      fakes.make(fakes.Fake(9), **kw).restore({"position": k})


@pytest.mark.parametrize("num_epochs", (-1, 2))
def test_hosts_yield_the_rows_of_one_batch(num_epochs):
  def read(count):
    shares = [
      fakes.take(
        fakes.make(fakes.mixture(), host=(h, count), num_epochs=num_epochs), 10
      )
      for h in range(count)
    ]
    return [
      {name: np.concatenate([b[name] for b in rows]) for name in rows[0]}
      for rows in zip(*shares, strict=True)
    ]

  expected = read(1)
  fakes.assert_same(read(2), expected)
  fakes.assert_same(read(4), expected)


def test_every_epoch_is_another_permutation_and_so_is_every_seed():
  order = fakes.indices(fakes.take(fakes.make(fakes.Fake(40)), 30)).reshape(
    3, 40
  )
  for epoch in order:
    assert sorted(epoch) == list(range(40))
  other = fakes.indices(
    fakes.take(fakes.make(fakes.Fake(40), seed=4), 30)
  ).reshape(3, 40)
  orders = [tuple(epoch) for epoch in (*order, *other, np.arange(40))]
  # Neighbouring seeds do not share epochs either.
  assert len(set(orders)) == len(orders)


def test_random_draws_differ_between_epochs_and_seeds():
  def draws(seed):
    batches = fakes.take(fakes.make(fakes.Fake(4), seed=seed, shuffle=False), 2)
    return np.stack([b["video"][:, -1, 0, 0, 0] for b in batches])

  first, second = draws(0), draws(1)
  assert (first[0] != first[1]).any() and (first != second).any()


@pytest.mark.parametrize("weights", ((1, 1, 1), (0.7, 0.2, 0.1), (1, 1.009, 3)))
def test_mixtures_keep_their_shares_in_every_prefix(weights):
  names = "abc"
  sources = {n: fakes.Fake(5 + i, frames=1) for i, n in enumerate(names)}
  batches = fakes.make(sources, dict(zip(names, weights, strict=True)))
  order = batches._clips.order
  numbers = np.array([order.locate(p)[0] for p in range(3000)])
  for number, weight in enumerate(weights):
    share = np.cumsum(numbers == number)
    expected = np.arange(1, 3001) * weight / sum(weights)
    assert np.abs(share - expected).max() < 3
  # Within the mixture each source goes through its own epochs.
  for number, source in enumerate(sources.values()):
    places = np.flatnonzero(numbers == number).tolist()
    own = [order.locate(p)[1] for p in places]
    assert sorted(own[: source.n]) == list(range(source.n))
    assert sorted(own[source.n : 2 * source.n]) == list(range(source.n))


def test_the_order_of_sources_in_the_config_does_not_matter():
  forward = fakes.make(fakes.mixture(), {"a": 1.0, "b": 2.0})
  backward = fakes.make(fakes.mixture(), {"b": 2.0, "a": 1.0})
  fakes.assert_same(fakes.take(forward, 5), fakes.take(backward, 5))


def test_a_source_of_weight_zero_is_left_out():
  batches = fakes.make(
    {"a": fakes.Fake(4), "b": fakes.Fake(0)}, {"a": 1.0, "b": 0.0}
  )
  assert list(batches.sources) == ["a"]
  fakes.assert_same(
    fakes.take(batches, 3), fakes.take(fakes.make(fakes.Fake(4)), 3)
  )


@settings(max_examples=40, deadline=None)
@given(
  n=st.integers(1, 30),
  rows=st.integers(1, 5),
  hosts=st.integers(1, 4),
  epochs=st.integers(1, 2),
  shuffle=st.booleans(),
)
def test_finite_epochs_give_each_clip_as_often_and_hosts_equally_many_batches(
  n, rows, hosts, epochs, shuffle
):
  kw = dict(batch_size=rows * hosts, num_epochs=epochs, shuffle=shuffle)
  seen, counts = [], set()
  for host in range(hosts):
    batches = fakes.make(fakes.Fake(n), host=(host, hosts), **kw)
    share = list(batches)
    counts.add(len(share))
    assert len(share) == batches.num_batches
    for batch in share:
      padding = batch["clip_index"] < 0
      np.testing.assert_array_equal(batch["clip_valid"], ~padding)
      assert not batch["video"][padding].any()
      assert (batch["error"] == b"").all()
      assert len(padding) == rows
      seen += list(batch["clip_index"][~padding])
  assert len(counts) == 1
  assert sorted(seen) == sorted(list(range(n)) * epochs)


@pytest.mark.parametrize("num_epochs", (-1, 1))
@pytest.mark.parametrize("shuffle", (False, True))
def test_of_few_clips_no_more_are_read(num_epochs, shuffle):
  class Counted(fakes.Fake):
    reads = 0

    def read(self, index, rng):
      self.reads += 1
      return super().read(index, rng)

  kw = dict(num_epochs=num_epochs, shuffle=shuffle)
  whole = fakes.indices(fakes.take(fakes.make(fakes.Fake(100), **kw), 3))
  source = Counted(100)
  batches = fakes.make(source, max_clips=10, **kw)
  before = source.reads  # of one clip, for the shapes
  found = fakes.indices(list(batches))
  assert batches.num_batches == 3
  assert found.tolist() == [*whole[:10], -1, -1]
  assert source.reads == before + 10


def test_more_clips_than_there_are_can_not_be_read():
  batches = fakes.make(fakes.Fake(6), max_clips=9, num_epochs=1)
  assert sorted(fakes.indices(list(batches))) == [-1, -1, *range(6)]


def test_evaluation_reads_a_mixture_once_in_order():
  batches = list(
    fakes.make(fakes.mixture(), shuffle=False, num_epochs=1, batch_size=6)
  )
  assert fakes.indices(batches).tolist() == [*range(7), *range(13), *[-1] * 4]
  assert batches[-1]["clip_valid"].tolist() == [True] * 2 + [False] * 4


def test_bad_clips_are_written_down_once(tmp_path):
  path = tmp_path / "skipped.jsonl"
  fakes.take(fakes.make(fakes.Fake(8, bad=(1, 2)), path=path), 4)  # two epochs
  with path.open("a") as file:
    file.write('{"source": "main", "clip_')  # killed while writing
  fakes.take(
    fakes.make(fakes.Fake(8, bad=(1, 2, 6)), path=path), 4
  )  # started again
  entries = [json.loads(line) for line in path.read_text().splitlines()]
  assert sorted(e["clip_id"] for e in entries) == ["clip1", "clip2", "clip6"]
  assert {e["reason"] for e in entries} == {"broken 1", "broken 2", "broken 6"}
  assert {e["source"] for e in entries} == {"main"}
  fakes.take(fakes.make(fakes.Fake(8, bad=(1,)), host=(1, 2), path=path), 4)
  assert (tmp_path / "skipped-1.jsonl").exists()


def test_too_many_bad_clips_end_the_work_with_a_reason():
  batches = fakes.make(
    fakes.Fake(1000, bad=range(1, 1000, 2)), max_bad_share=0.01
  )
  with pytest.raises(errors.UserError, match="max_bad_share") as caught:
    fakes.take(batches, 20)
  assert "broken" in str(caught.value) and "clip" in str(caught.value)
  assert batches.state()["position"] < 10


def test_the_allowed_share_is_exact_after_one_pass():
  kw = dict(max_bad_share=0.02, num_epochs=1, batch_size=10)
  assert len(list(fakes.make(fakes.Fake(100, bad=(1, 2)), **kw))) == 10
  with pytest.raises(errors.UserError, match="3.00%"):
    list(fakes.make(fakes.Fake(100, bad=(1, 2, 3)), **kw))


def test_no_bad_clip_is_allowed_with_a_share_of_zero():
  with pytest.raises(errors.UserError, match="broken"):
    fakes.take(
      fakes.make(fakes.Fake(1000, bad=range(500)), max_bad_share=0.0), 20
    )
  fakes.take(fakes.make(fakes.Fake(20), max_bad_share=0.0), 10)


@pytest.mark.parametrize(
  "bad, words",
  (
    (dict(batch_size=6, host=(0, 4)), "multiple of 4"),
    (dict(batch_size=0), "batch_size=0"),
    (dict(num_epochs=0), "num_epochs=0"),
    (dict(seed=-1), "seed=-1"),
    (dict(workers=-2), "num_workers=-2"),
    (dict(max_bad_share=2.0), "max_bad_share"),
    (dict(weights={"a": 1.0, "b": -1.0}), "weights"),
    (dict(weights={"a": 1.0, "b": 2.0}, num_epochs=1), "equal"),
  ),
)
def test_configs_that_cannot_be_met_are_refused(bad, words):
  with pytest.raises(errors.UserError, match=words):
    fakes.make(fakes.mixture(), **bad)


def test_a_batch_that_no_memory_holds_is_refused_before_a_clip_is_read():
  cfg = base.loader()
  cfg.batch_size = 999_999_937  # clips of 17 × 64 × 64
  with pytest.raises(errors.UserError, match="take 208,896 GB, and this"):
    loader.Loader(cfg, seed=0, num_workers=0)
