"""The tokenizer that a config means."""

import jax
import numpy as np
import pytest

from configs import image_dit
from configs import latents as latents_config
from tests import training
from vdr import latents, tokenizers
from vdr.models import tokenizer
from vdr.runtime import errors


def test_both_models_get_the_same_one(tmp_path):
  image = image_dit.get_config("debug")
  found = []
  for name, cfg in (("video", training.config()), ("image", image)):
    (tmp_path / name).mkdir()
    tokenizers.make(cfg, tmp_path / name)
    found.append(tokenizers.read(cfg, tmp_path / name))
  jax.tree.map(np.testing.assert_array_equal, *found)


def test_a_named_one_decides_all_fields(tmp_path):
  other = training.config(tokenizer__channels=8).tokenizer
  file = tmp_path / "other.npz"
  params = tokenizer.init(other, jax.random.key(0))
  tokenizer.save(file, other, params)
  cfg = training.config(tokenizer__path=str(file))
  assert tokenizers.config_of(cfg).channels == 8
  tokenizers.make(cfg, tmp_path)
  found = tokenizers.read(cfg, tmp_path)
  jax.tree.map(np.testing.assert_array_equal, found, params)


def test_a_work_directory_keeps_to_the_tokenizer_it_was_started_with(tmp_path):
  named = training.config(tokenizer__path=str(tmp_path / "made.npz"))

  def write(seed):
    cfg = named.tokenizer
    params = tokenizer.init(cfg, jax.random.key(seed))
    tokenizer.save(tmp_path / "made.npz", cfg, params)

  write(0)
  workdir = tmp_path / "run"
  workdir.mkdir()
  tokenizers.make(named, workdir)
  before = (workdir / tokenizer.FILE_NAME).read_bytes()
  write(0)
  tokenizers.make(named, workdir)
  write(1)
  with pytest.raises(errors.UserError, match="another tokenizer now than"):
    tokenizers.make(named, workdir)
  assert (workdir / tokenizer.FILE_NAME).read_bytes() == before


def test_latents_of_another_tokenizer_are_refused(tmp_path):
  stored = latents_config.get_config("debug")
  stored.latents.max_clips = 4
  stored.latents.clips_per_shard = 4
  stored.latents.splits = ("select",)
  latents.run(stored, tmp_path / "latents")
  fields = {
    f"{group}__sources__main__{k}": v
    for group in ("data", "images")
    for k, v in {"kind": "latents", "path": str(tmp_path / "latents")}.items()
  }
  cfg = training.config(**fields)
  tokenizers.make(cfg, tmp_path)  # that of the latents
  tokenizers.read(cfg, tmp_path)
  params = tokenizer.init(cfg.tokenizer, jax.random.key(5))
  tokenizer.save(tmp_path / tokenizer.FILE_NAME, cfg.tokenizer, params)
  with pytest.raises(errors.UserError, match="made with another tokenizer"):
    tokenizers.read(cfg, tmp_path)
