import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from tests import many_hosts
from tests.probes import clips
from vdr.probes import blocks, head
from vdr.probes.plan import Plan
from vdr.runtime import errors

PLAN = Plan(num_steps=1, batch_size=2, learning_rates=(0.1,), stream_batches=2)
NUM_CELLS = 2
NUM_CLIPS = 6


def extract(batch):
  """Features of two cells that tell the clip, and its number as a target."""
  one = clips.features(NUM_CLIPS)[jnp.asarray(batch)]
  return jnp.stack([one, 2 * one + 1]), {"label": jnp.asarray(batch)}


def batches():
  return iter([np.array([0, 1]), np.array([2, 3]), np.array([4, 5])])


def collected(prepare, store="float32"):
  parts = blocks.read(batches(), extract, prepare, store, NUM_CLIPS)
  return blocks.collect(parts)


class TestCollect:
  def test_it_has_all_clips_in_order_for_each_cell(self):
    block = collected(head.tokens)
    assert (block.num_cells, block.num_clips) == (NUM_CELLS, NUM_CLIPS)
    expected = head.tokens(2 * clips.features(NUM_CLIPS) + 1)
    np.testing.assert_allclose(block.features[1], expected, atol=1e-6)
    np.testing.assert_array_equal(block.targets["label"], np.arange(6))

  def test_tokens_keep_three_digits_in_half_the_memory(self):
    whole = collected(head.tokens)
    half = collected(head.tokens, "float16")
    assert half.features[0].nbytes * 2 == whole.features[0].nbytes
    np.testing.assert_allclose(
      half.features[0], whole.features[0], rtol=1e-3, atol=1e-6
    )

  def test_vectors_are_kept_whole(self):
    block = collected(head.mean, "float16")
    assert block.features[0].dtype == jnp.float32
    assert block.features[0].shape == (NUM_CLIPS, clips.SHAPE[-1])

  def test_no_clips_are_refused(self):
    with pytest.raises(errors.UserError, match="no clips"):
      blocks.collect([])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("store_bytes", [0, 10**9])
def test_hosts_read_in_turns_what_one_does(monkeypatch, count, store_bytes):
  """The last round has batches without clips, of zeros, where it must."""
  plan = dataclasses.replace(PLAN, store_bytes=store_bytes)

  def make(index):
    numbers = list(batches()) + [np.array([0, 0])] * count
    return iter(numbers[index::count][: -(-3 // count)])

  def on_host(index):
    found = blocks.open_blocks(
      lambda: make(index), extract, head.tokens, plan, NUM_CLIPS
    )
    next(iter(found))  # whoever leaves a reading leaves it with all
    return [
      (block.features, {k: np.asarray(v) for k, v in block.targets.items()})
      for block in found
    ]

  for found in many_hosts.run(monkeypatch, count, on_host):
    labels = [targets["label"].tolist() for _, targets in found]
    sizes = [[0, 1, 2, 3], [4, 5]] if store_bytes == 0 else [list(range(6))]
    assert labels == sizes
    whole = np.concatenate([features[1] for features, _ in found])
    np.testing.assert_array_equal(
      whole, collected(head.tokens, "float16").features[1]
    )


class TestOpenBlocks:
  def open(self, store_bytes, make=batches):
    plan = dataclasses.replace(PLAN, store_bytes=store_bytes)
    return blocks.open_blocks(make, extract, head.tokens, plan, NUM_CLIPS)

  def test_the_budget_decides_to_the_byte(self):
    size = NUM_CELLS * NUM_CLIPS * int(np.prod(clips.SHAPE)) * 2
    assert isinstance(self.open(size), blocks.Block)
    assert isinstance(self.open(size - 1), blocks.Stream)

  def test_what_is_stored_is_made_once(self):
    calls = []

    def make():
      calls.append(1)
      return batches()

    stored = self.open(10**9, make)
    assert [b.num_clips for b in stored] == [b.num_clips for b in stored] == [6]
    assert len(calls) == 1

  def test_every_epoch_of_a_stream_has_the_clips_in_blocks(self):
    stream = self.open(0)
    for _ in range(2):
      found = list(stream)
      assert [block.num_clips for block in found] == [4, 2]
      labels = np.concatenate([block.targets["label"] for block in found])
      np.testing.assert_array_equal(labels, np.arange(6))

  def test_both_have_the_same_features(self):
    stored, streamed = self.open(10**9), self.open(0)
    assert isinstance(stored, blocks.Block)
    for cell in range(NUM_CELLS):
      parts = [block.features[cell] for block in streamed]
      np.testing.assert_array_equal(
        np.concatenate(parts), stored.features[cell]
      )

  def test_no_clips_are_refused(self):
    with pytest.raises(errors.UserError, match="no clips"):
      self.open(0, lambda: iter([]))
