"""Which hyper-parameters each cell gets, by scores on the select split only.

Scores of the split that is reported never come here: the best of many members
on the split that is reported would be reported as what one of them can do.
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

PyTree = Any
NONE = -1  # no hyper can be chosen: all of them diverged


def choose(
  scores: Float[np.ndarray, "cells hypers seeds"],
  lower_is_better: bool,
  diverged: Bool[np.ndarray, "cells hypers seeds"] | None = None,
) -> Int[np.ndarray, " cells"]:
  """The best hyper of each cell, its score a mean over seeds.

  A hyper with a seed that diverged, or whose score is not finite, is never
  chosen. Ties go to the first.

  Args:
    scores: on the select split.
    lower_is_better: of the score.
    diverged: as in `engine.Fitted`.

  Returns:
    Numbers of hypers; `NONE` where there is none to choose.
  """
  members = np.asarray(~np.isfinite(scores))
  if diverged is not None:
    members = members | diverged
  bad = np.asarray(members.any(axis=2))
  mean = np.where(bad[..., None], 0.0, scores).mean(axis=2)
  mean = np.where(bad, np.inf, mean if lower_is_better else -mean)
  return np.where(bad.all(axis=1), NONE, mean.argmin(axis=1))


def take(params: PyTree, chosen: Int[np.ndarray, " cells"]) -> PyTree:
  """The chosen members: axes [cells 1 seeds …], as the engine takes them.

  Where none could be chosen, the first stands in; its predictions are not to be
  used.
  """
  cells, hypers = np.arange(len(chosen)), np.maximum(chosen, 0)
  return jax.tree.map(lambda x: x[cells, hypers][:, None], params)
