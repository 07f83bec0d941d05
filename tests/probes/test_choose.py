import numpy as np
import pytest

from vdr.probes import choose


def test_it_is_the_best_mean_over_seeds_of_each_cell():
  scores = np.array(
    [[[1.0, 9.0], [4.0, 4.0], [6.0, 6.0]], [[3.0, 3.0], [2.0, 2.0], [9.0, 0.0]]]
  )
  assert choose.choose(scores, lower_is_better=True).tolist() == [1, 1]
  assert choose.choose(scores, lower_is_better=False).tolist() == [2, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("lower", [True, False])
def test_a_score_that_is_no_number_is_never_chosen(bad, lower):
  scores = np.array([[[bad, 0.0], [5.0, 5.0]]])
  assert choose.choose(scores, lower).tolist() == [1]


def test_a_diverged_member_is_never_chosen():
  scores = np.array([[[0.0], [5.0]], [[0.0], [5.0]]])
  diverged = np.array([[[True], [False]], [[True], [True]]])
  chosen = choose.choose(scores, True, diverged)
  assert chosen.tolist() == [1, choose.NONE]


def test_ties_go_to_the_first():
  assert choose.choose(np.ones((2, 3, 1)), True).tolist() == [0, 0]


def test_the_chosen_keep_the_axis_of_hypers():
  params = {"kernel": np.arange(2 * 3 * 2 * 4).reshape(2, 3, 2, 4)}
  taken = choose.take(params, np.array([2, choose.NONE]))["kernel"]
  assert taken.shape == (2, 1, 2, 4)
  np.testing.assert_array_equal(taken[0, 0], params["kernel"][0, 2])
  np.testing.assert_array_equal(taken[1, 0], params["kernel"][1, 0])
