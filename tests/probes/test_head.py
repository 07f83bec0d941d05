import jax
import numpy as np
import pytest

from tests.probes import clips
from vdr.probes import head as head_lib
from vdr.probes import heads
from vdr.runtime import errors


def test_tokens_have_mean_zero_and_variance_one():
  x = head_lib.tokens(3 + 5 * clips.features())
  np.testing.assert_allclose(x.mean(-1), 0.0, atol=1e-6)
  np.testing.assert_allclose(x.var(-1), 1.0, atol=1e-5)


def test_the_mean_is_over_frames_rows_and_columns():
  x = clips.features()
  expected = np.asarray(x).reshape(2, -1, clips.SHAPE[-1]).mean(1)
  np.testing.assert_allclose(head_lib.mean(x), expected, atol=1e-6)


def test_equal_heads_are_one_to_a_compiler():
  assert hash(heads.Linear(3)) == hash(heads.Linear(3))
  assert heads.Linear(3) == heads.Linear(3) != heads.Linear(4)


def test_a_head_counts_its_parameters_without_making_them():
  head = heads.Linear(3)
  params = head.init(jax.random.key(0), (6,))
  assert head.num_params((6,)) == sum(x.size for x in jax.tree.leaves(params))


def test_parameters_of_another_head_are_refused():
  params = heads.Linear(3).init(jax.random.key(0), (6,))
  with pytest.raises(errors.UserError, match="do not fit"):
    heads.Linear(4).apply(params, head_lib.mean(clips.features()), {})
