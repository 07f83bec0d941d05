"""A trained model comes back whole, or says what is missing."""

import jax
import numpy as np
import pytest

from tests import training
from vdr import train, trained
from vdr.models import tokenizer
from vdr.runtime import checkpoints, errors


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  path = tmp_path_factory.mktemp("trained") / "run"
  cfg = training.config(train__amount=1.0, train__validate_every_steps=0)
  train.run(cfg, path)
  return path, cfg


def test_it_comes_back_whole(run):
  path, cfg = run
  found = trained.load(path)
  assert found.config.to_dict() == cfg.to_dict()
  assert found.model.latent_channels == cfg.tokenizer.channels
  average, meta = checkpoints.restore_params(path)
  jax.tree.map(np.testing.assert_array_equal, found.params, average)
  assert found.meta["hash"] == meta["hash"]
  raw = trained.load(path / "checkpoints" / "1", which="params")
  assert raw.meta["hash"] != meta["hash"]


def test_another_tokenizer_in_its_place_is_noticed(run):
  path, cfg = run
  file = path / tokenizer.FILE_NAME
  before = file.read_bytes()
  other = tokenizer.init(cfg.tokenizer, jax.random.key(9))
  tokenizer.save(file, cfg.tokenizer, other)
  with pytest.raises(errors.UserError, match="is not the tokenizer that"):
    trained.load(path)
  file.unlink()
  with pytest.raises(errors.UserError, match="is no tokenizer"):
    trained.load(path)
  file.write_bytes(before)
