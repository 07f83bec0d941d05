import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vdr.probes import groups


def sizes(found):
  return [
    (g.cells.start, g.cells.stop, g.hypers.start, g.hypers.stop) for g in found
  ]


class TestSplit:
  def test_all_together_if_they_fit(self):
    assert sizes(groups.split(4, 2, 10, 5, 80)) == [(0, 4, 0, 2)]

  def test_cells_are_parted_first_and_equally(self):
    found = groups.split(6, 2, 10, 5, 119)  # five would fit, three divide six
    assert sizes(found) == [(0, 3, 0, 2), (3, 6, 0, 2)]

  def test_then_hypers_of_one_cell(self):
    found = groups.split(2, 4, 10, 5, 25)
    assert sizes(found) == [
      (0, 1, 0, 2),
      (0, 1, 2, 4),
      (1, 2, 0, 2),
      (1, 2, 2, 4),
    ]

  def test_one_member_is_computed_whatever_it_takes(self):
    assert len(groups.split(3, 2, 10, 5, 0)) == 6

  @pytest.mark.parametrize("most", [0, 25, 60, 1000])
  def test_joining_undoes_it(self, most):
    found = groups.split(6, 4, 10, 5, most)
    whole = {"x": np.arange(6 * 4 * 3).reshape(6, 4, 3)}
    joined = groups.join([g.of(whole) for g in found], found)
    np.testing.assert_array_equal(joined["x"], whole["x"])


class TestTurns:
  def test_results_are_in_order_and_the_first_runs_alone(self):
    running, most, lock = [], [], threading.Lock()

    def run(x, y):
      with lock:
        running.append(x)
        most.append(len(running))
      with lock:
        running.remove(x)
      return x + y

    with groups.turns() as take_turns:
      for _ in range(2):
        assert take_turns(run, range(9), range(9)) == list(range(0, 18, 2))
    assert most[0] == 1

  def test_an_error_comes_through(self):
    def run(x):
      raise ValueError(f"no {x}")

    with pytest.raises(ValueError, match="no 1"), groups.turns() as take_turns:
      take_turns(run, [1, 2])


class TestTracedBytes:
  def test_results_of_all_operations_are_added(self):
    def run(x):
      return jnp.sum(jnp.sin(x) * x)

    jaxpr = jax.make_jaxpr(run)(jnp.ones(100))
    assert groups.traced_bytes(jaxpr.jaxpr) == 400 + 400 + 4

  def test_loops_count_each_turn_and_calls_their_body(self):
    def run(x):
      return jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, length=7)[0]

    jaxpr = jax.make_jaxpr(jax.jit(run))(jnp.ones(100))
    assert groups.traced_bytes(jaxpr.jaxpr) == 7 * 400
