"""A network's shapes, from its checkpoint alone."""

import numpy as np
import pytest

from configs import base
from vdr.runtime import architecture, checkpoints, errors


def test_shapes_and_numbers_are_those_that_were_saved(tmp_path, caplog):
  params = {"block": {"w": np.ones((2, 3), np.float32)}, "b": np.ones(4, int)}
  folder = tmp_path / checkpoints.FOLDER
  with checkpoints.Checkpoints(folder, base.saving(), 10, {}) as saved:
    saved.save(10, {"params": params, "opt": {"w": np.ones(99)}}, {})
  for path in (tmp_path, folder, folder / "10"):
    found = architecture.read(path)
    assert found.shapes == {"block/w": "float32[2, 3]", "b": "int64[4]"}
    assert found.num_params == 10
  assert not caplog.records


def test_without_a_checkpoint_it_says_so(tmp_path):
  with pytest.raises(errors.UserError, match="no whole checkpoint"):
    architecture.read(tmp_path)
