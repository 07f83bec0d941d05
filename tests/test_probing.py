"""Reading splits, and what is chosen on which of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests import many_hosts
from vdr import probing, tasks
from vdr.data.physics import clip
from vdr.metrics import accumulators
from vdr.probes import blocks
from vdr.probes.plan import Plan
from vdr.runtime import errors


@pytest.fixture
def action():
  return tasks.make("action", clip.CLASS_NAMES, 5)


def test_a_task_sees_its_own_targets_and_cells(action):
  features = tuple(jnp.full((3, 1, 1, 1, 2), float(i)) for i in range(3))
  targets = {
    "clip_valid": jnp.ones(3, bool),
    "action/action": jnp.arange(3),
    "pose/pose": jnp.zeros((3, 3, 4)),
  }
  own = probing._for_task(blocks.Block(features, targets), action, [0, 2])
  assert isinstance(own, blocks.Block)
  assert set(own.targets) == {"clip_valid", "action"}
  assert [f[0, 0, 0, 0, 0] for f in own.features] == [0, 2]


def extraction(num_cells, made=None):
  block = blocks.Block((jnp.zeros((2, 1)),) * num_cells, {})
  other = block if made is None else made(block)
  cells = [probing.Cell(layer, 0.1, 0.0) for layer in range(num_cells)]
  return probing.Extraction(cells, {"train": block, "test": other}, (0,))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_hosts_share_the_cells_of_all_tasks(monkeypatch, count):
  few = extraction(3)
  fitted = many_hosts.run(
    monkeypatch,
    count,
    lambda index: [probing.mine(few, cells, turn) for cells, turn in TURNS],
  )
  for number, (cells, _) in enumerate(TURNS):
    assert sorted(sum((own[number] for own in fitted), [])) == cells
  sizes = [sum(map(len, own)) for own in fitted]
  assert max(sizes) - min(sizes) <= 1


TURNS = (([0, 1, 2], 0), ([1], 3), ([2], 4), ([0, 2], 5))


def test_where_features_are_streamed_all_hosts_fit_all(monkeypatch):
  streamed = extraction(3, lambda block: blocks.Stream(lambda: iter([block])))
  found = many_hosts.run(
    monkeypatch, 2, lambda index: probing.mine(streamed, [0, 2])
  )
  assert found == [[0, 2], [0, 2]]


def drawn(cell):
  return probing.Drawn({}, {"cell": np.array(cell)}, {}, None)


PLAN = Plan(num_steps=7, batch_size=4, learning_rates=(0.1,))


def fit(cell, select, hyper=(0.1, 0.0), drawn=None):
  ratio = accumulators.Ratio(np.full(2, float(cell)), np.ones(2))
  return probing.Fit(cell, hyper, select, {"top_1": [ratio]}, drawn, PLAN)


def test_the_best_cell_is_that_of_all_hosts(action):
  own = [fit(0, 0.3), fit(2, 0.5, drawn=drawn(2)), fit(4, np.nan, None)]
  others = [fit(1, 0.5, drawn=drawn(1)), fit(3, 0.2)]
  probed = probing.choose_best(action, extraction(5), [own, others, []])
  assert [cell.layer for cell in probed.cells] == [0, 1, 2, 3, 4]
  assert probed.hypers[4] is None and probed.hypers[0] == (0.1, 0.0)
  assert probed.best == 1  # the first of two
  assert probed.plan == PLAN
  assert probed.drawn is not None and probed.drawn.outputs["cell"] == 1
  assert [runs[0].score() for runs in probed.runs["top_1"]] == [0, 1, 2, 3, 4]


def test_of_what_all_hosts_fitted_the_first_one_counts(action):
  parts = [[fit(0, 0.3)], [fit(0, 0.4)]]
  assert probing.choose_best(action, extraction(1), parts).select == [0.3]


def test_only_if_all_diverged_on_all_hosts_it_ends(action):
  lost = [fit(0, np.nan, None)]
  probed = probing.choose_best(action, extraction(2), [lost, [fit(1, 0.1)]])
  assert probed.best == 1
  with pytest.raises(errors.UserError, match="all probes of task action"):
    probing.choose_best(action, extraction(2), [lost, [fit(1, np.nan, None)]])
