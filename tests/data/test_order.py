"""Positions are arithmetic: permutations and shares hold at every size."""

import numpy as np
import pytest

from vdr.data import order


def stream(length, seed=0, shuffle=True, weights=None):
  return order.Order((length,), weights, seed, shuffle)


@pytest.mark.parametrize("length", (1, 2, 500, 501))
def test_epochs_are_permutations_below_and_above_the_table(length, monkeypatch):
  monkeypatch.setattr(order, "_MAX_TABLE", 500)
  epochs = np.array([stream(length).locate(p)[1] for p in range(2 * length)])
  for epoch in epochs.reshape(2, length):
    np.testing.assert_array_equal(np.sort(epoch), np.arange(length))
  if length > 2:
    # Neither order is near the other one or near the unshuffled one.
    first, second = epochs.reshape(2, length)
    assert (first == second).sum() < 20
    assert (first == np.arange(length)).sum() < 20


def test_sources_behind_one_another():
  both = order.Order((2, 3), None, 0, False)
  assert [both.locate(p) for p in range(6)] == [
    *((0, 0), (0, 1)),
    *((1, 0), (1, 1), (1, 2)),
    (0, 0),
  ]


def test_interleaving_counts_the_places_before():
  counts = [0, 0, 0]
  for position in range(500):
    number, place = order.interleave(position, (5, 1, 3))
    assert place == counts[number]
    counts[number] += 1


def test_whole_weights_keep_their_proportions():
  assert order.whole_weights([2.0, 2.0]) == (500_000, 500_000)
  for weights in ([0.3, 0.7], [1.0, 1.009], [1.0, 1 / 3, 1e-3], [5.0]):
    whole = order.whole_weights(weights)
    np.testing.assert_allclose(
      np.array(whole) / sum(whole), np.array(weights) / sum(weights), rtol=1e-3
    )
  assert min(order.whole_weights([1.0, 1e-9])) >= 1


def test_rngs_of_positions_and_seeds_are_independent():
  draws = [
    stream(10, seed=seed).rng(p).integers(2**60)
    for seed in range(3)
    for p in (0, 1, 2, 2**33)
  ]
  assert len(set(draws)) == len(draws)
