"""Batches reach the device unchanged, ahead of need, and leave no thread."""

import gc
import socket
import subprocess
import sys
import threading

import jax
import ml_collections
import numpy as np
import pytest

from tests.data import fakes
from vdr.data import loader, prefetch, schema


class Fake(fakes.Alone):
  class_names: dict[str, tuple[str, ...]] = {}

  def __len__(self):
    return 12

  def clip_id(self, index):
    return f"clip{index}"

  def read(self, index, rng):
    return {"video": rng.integers(256, size=(2, 4, 4, 3), dtype=np.uint8)}


def make_loader(num_epochs=1):
  cfg = ml_collections.ConfigDict(
    dict(
      sources=dict(main=dict(weight=1.0, num_frames=2, height=4, width=4)),
      batch_size=2,
      shuffle=True,
      num_epochs=num_epochs,
      max_bad_share=0.0,
    )
  )
  return loader.Loader(cfg, seed=0, num_workers=0, sources=dict(main=Fake()))


def numbered():
  """Endless small batches, and a list of how many were read."""
  read = []

  def batches():
    while True:
      read.append(None)
      yield {"label": np.full(2, len(read), np.int32)}

  return batches(), read


def threads():
  return [t for t in threading.enumerate() if t.name == "vdr-prefetch"]


@pytest.fixture(autouse=True)
def no_thread_stays():
  yield
  gc.collect()
  assert not threads()


def test_values_and_dtypes_are_those_of_the_loader():
  expected = list(make_loader())
  with prefetch.prefetch_to_device(make_loader()) as batches:
    got = list(batches)
  assert len(got) == len(expected) == 6
  for batch, (arrays, texts) in zip(expected, got, strict=True):
    assert arrays.keys() | texts.keys() == batch.keys()
    assert texts.keys() == {n for n in batch if schema.FIELDS[n].is_text}
    assert arrays["video"].dtype == np.uint8
    assert all(isinstance(value, jax.Array) for value in arrays.values())
    for name, value in (arrays | texts).items():
      np.testing.assert_array_equal(np.asarray(value), batch[name])


def test_the_state_is_that_of_the_batch_consumed():
  expected = list(make_loader())
  source = make_loader()
  with prefetch.prefetch_to_device(source, size=3) as batches:
    assert batches.state() == {"position": 0}
    for k in range(3):
      next(batches)
      assert batches.state() == {"position": k + 1}
    wait_until(lambda: source.state() == {"position": 6})  # it is ahead
    state = batches.state()
  resumed = make_loader()
  resumed.restore(state)
  np.testing.assert_array_equal(next(resumed)["video"], expected[3]["video"])
  resumed.close()


def wait_until(condition, seconds=60.0):
  event = threading.Event()
  for _ in range(int(seconds / 0.01)):
    if condition():
      return
    event.wait(0.01)
  raise AssertionError("never happened")


@pytest.mark.parametrize("size", (1, 2, 4))
def test_no_more_than_size_batches_are_read_ahead(size):
  source, read = numbered()
  with prefetch.prefetch_to_device(source, size=size) as batches:
    for k in range(3):
      wait_until(lambda k=k: len(read) == size + k)
      threading.Event().wait(0.02)  # time to read too much in
      assert len(read) == size + k
      assert int(next(batches).arrays["label"][0]) == k + 1


def test_an_exception_reaches_the_consumer_behind_the_good_batches():
  def broken():
    yield {"label": np.zeros(2, np.int32)}
    raise KeyError("in the thread")

  batches = prefetch.prefetch_to_device(broken())
  next(batches)
  for _ in range(2):
    with pytest.raises(KeyError, match="in the thread"):
      next(batches)
  assert not threads()


def test_the_end_stays_the_end():
  batches = prefetch.prefetch_to_device([{"label": np.zeros(2, np.int32)}])
  assert len(list(batches)) == 1
  assert not list(batches) and not threads()


def test_stopping_early_leaves_no_thread():
  source, _ = numbered()
  with prefetch.prefetch_to_device(source) as batches:
    next(batches)
    assert threads()
  assert not threads()
  with pytest.raises(ValueError, match="closed"):
    next(batches)


def test_a_dropped_prefetcher_leaves_no_thread():
  source, _ = numbered()
  for _ in prefetch.prefetch_to_device(source):
    break
  gc.collect()
  assert not threads()


def test_waiting_is_counted_while_the_source_is_slow():
  gate = threading.Event()

  def slow():
    gate.wait(60)
    yield {"label": np.zeros(2, np.int32)}

  with prefetch.prefetch_to_device(slow()) as batches:
    assert batches.wait_s == 0.0
    threading.Timer(0.05, gate.set).start()
    next(batches)
    assert batches.wait_s > 0.0


def test_bad_sizes_and_stateless_batches_are_refused():
  with pytest.raises(ValueError, match="size 0"):
    prefetch.prefetch_to_device([], size=0)
  with prefetch.prefetch_to_device([]) as batches:
    with pytest.raises(ValueError, match="state"):
      batches.state()


# One program on each of two hosts, and on one: all print the same sums.
HOST = """
import sys
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from vdr.data import prefetch
process, count, port = map(int, sys.argv[1:])
if count > 1:
  jax.distributed.initialize(f"localhost:{port}", count, process)
mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
video = np.arange(8 * 12, dtype=np.uint8).reshape(8, 1, 2, 2, 3)
rows = 8 // count
mine = slice(process * rows, (process + 1) * rows)
ids = np.array([b"clip%d" % i for i in range(8)])
batch = {"video": video[mine], "clip_id": ids[mine]}
sharding = NamedSharding(mesh, PartitionSpec("data"))
with prefetch.prefetch_to_device([batch], sharding) as batches:
  arrays, texts = next(batches)
assert arrays["video"].shape == video.shape and len(texts["clip_id"]) == rows
for shard in arrays["video"].addressable_shards:
  np.testing.assert_array_equal(shard.data, video[shard.index])
weighted = jax.jit(lambda v: (v.reshape(8, 12).sum(1) * np.arange(8)).sum())
print("sum", int(weighted(arrays["video"])))
"""


@pytest.mark.parametrize("count", (1, 2))
def test_hosts_give_their_rows_of_a_sharded_batch(count, tmp_path):
  flags = f"--xla_force_host_platform_device_count={4 // count}"
  port = free_port()
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", HOST, str(i), str(count), str(port)],
      env=dict(PATH="", JAX_PLATFORMS="cpu", XLA_FLAGS=flags),
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for i in range(count)
  ]
  video = np.arange(96).reshape(8, 12)
  expected = (video.sum(1) * np.arange(8)).sum()
  for process in processes:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert f"sum {expected}" in out


def free_port():
  with socket.socket() as server:
    server.bind(("localhost", 0))
    return server.getsockname()[1]
