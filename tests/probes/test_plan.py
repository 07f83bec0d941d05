import dataclasses

import numpy as np
import pytest

from configs import base
from vdr.probes import plan as plan_lib
from vdr.runtime import errors, optimizer

PLAN = plan_lib.Plan(
  num_steps=20,
  batch_size=4,
  learning_rates=(1e-3, 1e-2),
  weight_decays=(0.0, 1.0),
)


def test_hypers_are_all_pairs_rates_first():
  expected = ((1e-3, 0.0), (1e-3, 1.0), (1e-2, 0.0), (1e-2, 1.0))
  assert PLAN.hypers == expected


def test_the_schedule_is_that_of_training():
  cfg = base.optimizer()
  cfg.learning_rate, cfg.warmup_steps, cfg.final_share = 1.0, 5, 0.1
  schedule = optimizer.make_schedule(cfg, 20)
  own = dataclasses.replace(PLAN, warmup_steps=5, final_share=0.1).schedule()
  expected = [schedule(step) for step in range(20)]
  np.testing.assert_allclose(own, expected, rtol=1e-6)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"num_steps": 0}, "num_steps is 0"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"clip_norm": -1.0}, "clip_norm is -1.0"),
    ({"learning_rates": ()}, "learning_rates"),
    ({"learning_rates": (1.0, 1.0)}, "different numbers"),
    ({"seeds": (-1,)}, "none negative"),
    ({"store": "bfloat16"}, "'bfloat16' is unknown"),
  ],
)
def test_numbers_that_mean_nothing_are_refused(fields, message):
  with pytest.raises(errors.UserError, match=message):
    dataclasses.replace(PLAN, **fields).check()
