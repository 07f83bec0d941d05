"""What a batch holds depends on (seed, position) and on nothing else."""

import json
import os
import signal
import subprocess
import sys
import time

import ml_collections
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdr.data import loader, schema
from vdr.data import source as source_lib
from vdr.runtime import errors


class Fake:
  """Clips that show their index and a random number; some are bad."""

  class_names: dict[str, tuple[str, ...]] = {}

  def __init__(self, n, bad=(), frames=2, size=4, label=False, odd=()):
    self.n, self.bad, self.frames, self.size = n, frozenset(bad), frames, size
    self.label, self.odd = label, odd

  def __len__(self):
    return self.n

  def clip_id(self, index):
    return f"clip{index}"

  def read(self, index, rng):
    if index in self.bad:
      raise source_lib.BadClipError(f"broken {index}")
    size = self.size + (index in self.odd)
    video = np.zeros((self.frames, size, size, 3), np.uint8)
    video[0] = index % 256
    video[-1] = rng.integers(256)
    example = {"video": video, "caption": schema.text(f"a clip, {index}")}
    if self.label:
      example["label"] = np.array(7, np.int32)
    return example


class Killed(Fake):
  """A source whose reader is killed at clip 5."""

  def read(self, index, rng):
    if index == 5:
      os.kill(os.getpid(), signal.SIGKILL)
    return super().read(index, rng)


class Buggy(Fake):
  def read(self, index, rng):
    if index == 5:
      raise KeyError("a bug")
    return super().read(index, rng)


class Pid(Fake):
  def read(self, index, rng):
    example = super().read(index, rng)
    return example | {"caption": schema.text(str(os.getpid()))}


def config(weights=None, **overrides):
  weights = weights or {"main": 1.0}
  return ml_collections.ConfigDict(
    dict(
      sources={name: dict(weight=w) for name, w in weights.items()},
      batch_size=4,
      shuffle=True,
      num_epochs=-1,
      prefetch=2,
      max_bad_share=1.0,
    )
    | overrides
  )


def make(
  sources, weights=None, seed=3, workers=0, host=(0, 1), path=None, **kw
):
  if not isinstance(sources, dict):
    sources = {"main": sources}
  weights = weights or dict.fromkeys(sources, 1.0)
  return loader.Loader(
    config(weights, **kw),
    seed=seed,
    num_workers=workers,
    process_index=host[0],
    process_count=host[1],
    sources=sources,
    failures_path=path,
  )


def take(batches, n):
  out = [next(batches) for _ in range(n)]
  batches.close()
  return out


def indices(batches):
  return np.concatenate([b["clip_index"] for b in batches])


def assert_same(first, second):
  assert len(first) == len(second)
  for a, b in zip(first, second, strict=True):
    assert a.keys() == b.keys()
    for name in a:
      assert a[name].dtype == b[name].dtype
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def mixture():
  return {"a": Fake(7, bad=(2,)), "b": Fake(13)}


def test_workers_change_nothing_and_a_state_fits_any_number_of_them():
  weights = {"a": 0.3, "b": 0.7}
  expected = take(make(mixture(), weights), 9)
  with make(mixture(), weights, workers=2) as batches:
    first = [next(batches) for _ in range(3)]
    middle = batches.state()
  assert middle == {"position": 3}
  resumed = make(mixture(), weights)  # a state of workers, none to go on
  resumed.restore(middle)
  assert_same(first + take(resumed, 6), expected)
  state = resumed.state()
  assert state == {"position": 9}
  back = make(mixture(), weights, workers=1)
  back.restore({"position": 4})  # and a state of none, workers to go on
  assert_same(take(back, 5), expected[4:])


def test_a_resumed_loader_goes_on_from_every_position():
  kw = dict(num_epochs=2)
  expected = list(make(Fake(9), **kw))
  for k in range(len(expected) + 1):
    batches = make(Fake(9), **kw)
    batches.restore({"position": k})
    assert_same(list(batches), expected[k:])
  for k in (-1, len(expected) + 1):
    with pytest.raises(ValueError, match="position"):
      make(Fake(9), **kw).restore({"position": k})


@pytest.mark.parametrize("num_epochs", (-1, 2))
def test_hosts_yield_the_rows_of_one_batch(num_epochs):
  def read(count):
    shares = [
      take(make(mixture(), host=(h, count), num_epochs=num_epochs), 10)
      for h in range(count)
    ]
    return [
      {name: np.concatenate([b[name] for b in rows]) for name in rows[0]}
      for rows in zip(*shares, strict=True)
    ]

  expected = read(1)
  assert_same(read(2), expected)
  assert_same(read(4), expected)


def test_every_epoch_is_another_permutation_and_so_is_every_seed():
  order = indices(take(make(Fake(40)), 30)).reshape(3, 40)
  for epoch in order:
    assert sorted(epoch) == list(range(40))
  other = indices(take(make(Fake(40), seed=4), 30)).reshape(3, 40)
  orders = [tuple(epoch) for epoch in (*order, *other, np.arange(40))]
  # Neighbouring seeds do not share epochs either.
  assert len(set(orders)) == len(orders)


def test_random_draws_differ_between_epochs_and_seeds():
  def draws(seed):
    batches = take(make(Fake(4), seed=seed, shuffle=False), 2)
    return np.stack([b["video"][:, -1, 0, 0, 0] for b in batches])

  first, second = draws(0), draws(1)
  assert (first[0] != first[1]).any() and (first != second).any()


@pytest.mark.parametrize("weights", ((1, 1, 1), (0.7, 0.2, 0.1), (1, 1.009, 3)))
def test_mixtures_keep_their_shares_in_every_prefix(weights):
  names = "abc"
  sources = {n: Fake(5 + i, frames=1) for i, n in enumerate(names)}
  batches = make(sources, dict(zip(names, weights, strict=True)))
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
  forward = make(mixture(), {"a": 1.0, "b": 2.0})
  backward = make(mixture(), {"b": 2.0, "a": 1.0})
  assert_same(take(forward, 5), take(backward, 5))


def test_a_source_of_weight_zero_is_left_out():
  batches = make({"a": Fake(4), "b": Fake(0)}, {"a": 1.0, "b": 0.0})
  assert list(batches.sources) == ["a"]
  assert_same(take(batches, 3), take(make(Fake(4)), 3))


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
    batches = make(Fake(n), host=(host, hosts), **kw)
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


def test_evaluation_reads_a_mixture_once_in_order():
  batches = list(make(mixture(), shuffle=False, num_epochs=1, batch_size=6))
  assert indices(batches).tolist() == [*range(7), *range(13), *[-1] * 4]
  assert batches[-1]["clip_valid"].tolist() == [True] * 2 + [False] * 4


@pytest.mark.parametrize("num_workers", (0, 1))
def test_bad_clips_are_masked_in_place_and_change_no_other(num_workers):
  good = take(make(Fake(20)), 5)
  batches = make(Fake(20, bad=(3, 11), odd=(5,)), workers=num_workers)
  bad = take(batches, 5)
  assert set(indices(bad)) == set(range(20))
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


def test_bad_clips_are_written_down_once(tmp_path):
  path = tmp_path / "skipped.jsonl"
  take(make(Fake(8, bad=(1, 2)), path=path), 4)  # two epochs
  with path.open("a") as file:
    file.write('{"source": "main", "clip_')  # killed while writing
  take(make(Fake(8, bad=(1, 2, 6)), path=path), 4)  # started again
  entries = [json.loads(line) for line in path.read_text().splitlines()]
  assert sorted(e["clip_id"] for e in entries) == ["clip1", "clip2", "clip6"]
  assert {e["reason"] for e in entries} == {"broken 1", "broken 2", "broken 6"}
  assert {e["source"] for e in entries} == {"main"}
  take(make(Fake(8, bad=(1,)), host=(1, 2), path=path), 4)
  assert (tmp_path / "skipped-1.jsonl").exists()


def test_too_many_bad_clips_end_the_work_with_a_reason():
  batches = make(Fake(1000, bad=range(1, 1000, 2)), max_bad_share=0.01)
  with pytest.raises(errors.UserError, match="max_bad_share") as caught:
    take(batches, 20)
  assert "broken" in str(caught.value) and "clip" in str(caught.value)
  assert batches.state()["position"] < 10


def test_the_allowed_share_is_exact_after_one_pass():
  kw = dict(max_bad_share=0.02, num_epochs=1, batch_size=10)
  assert len(list(make(Fake(100, bad=(1, 2)), **kw))) == 10
  with pytest.raises(errors.UserError, match="3.00%"):
    list(make(Fake(100, bad=(1, 2, 3)), **kw))


def test_no_bad_clip_is_allowed_with_a_share_of_zero():
  with pytest.raises(errors.UserError, match="broken"):
    take(make(Fake(1000, bad=range(500)), max_bad_share=0.0), 20)
  take(make(Fake(20), max_bad_share=0.0), 10)


def test_a_source_without_a_readable_clip_is_an_error_that_says_why():
  with pytest.raises(errors.UserError, match="'main'.*broken 0"):
    make(Fake(200, bad=range(200)))
  # The shapes are learned from whichever can be read.
  batches = make(Fake(200, bad=range(150)))
  assert next(batches)["video"].shape == (4, 2, 4, 4, 3)
  batches.close()


@pytest.mark.parametrize(
  "other, words",
  (
    (Fake(4, frames=1), "one loader for each length"),
    (Fake(4, size=8), "video is 2×8×8×3 uint8, not 2×4×4×3"),
    (Fake(4, label=True), "label is there"),
    (Fake(0), "no clips"),
  ),
)
def test_sources_that_do_not_go_together_are_named(other, words):
  with pytest.raises(errors.UserError, match=words) as caught:
    make({"one": Fake(4), "two": other})
  assert "'two'" in str(caught.value)


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
    make(mixture(), **bad)


def test_a_killed_worker_is_an_error_and_not_a_hang():
  batches = make(Killed(20), workers=1, shuffle=False)
  with pytest.raises(errors.UserError, match="memory"):
    take(batches, 5)  # batch 0 may be lost too: the kill can come before it


def test_a_bug_in_a_worker_reaches_the_consumer_with_its_clip():
  for num_workers in (0, 1):
    batches = make(Buggy(20), workers=num_workers, shuffle=False)
    with pytest.raises(KeyError, match="a bug") as caught:
      take(batches, 5)
    assert any("clip5" in note for note in caught.value.__notes__)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import test_loader as t
with t.make(t.Pid(20), workers=1) as batches:
  print(t.schema.untext(next(batches)["caption"][0]), flush=True)
  {then}
"""


def script(then):
  folder = os.path.dirname(__file__)
  return subprocess.Popen(
    [sys.executable, "-c", SCRIPT.format(tests=folder, then=then)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_workers_start_where_no_flags_were_parsed_and_leave_nothing_behind():
  process = script("pass")
  out, err = process.communicate(timeout=100)
  assert process.returncode == 0, err
  assert int(out) != process.pid and err == ""


def test_workers_die_with_a_killed_parent():
  process = script("import time; time.sleep(100)")
  assert process.stdout is not None
  worker = int(process.stdout.readline())
  os.kill(worker, 0)  # alive
  process.kill()
  process.communicate()
  for _ in range(300):
    if not is_running(worker):
      break
    time.sleep(0.1)
  assert not is_running(worker)


def is_running(pid):
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rpartition(")")[2].split()[0] != "Z"
  except FileNotFoundError:
    return False
