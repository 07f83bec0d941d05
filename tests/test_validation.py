"""Validation: means over noise levels, and the same noise every time."""

import jax
import numpy as np
import pytest

from tests import training
from vdr import validation
from vdr.runtime import mesh as mesh_lib


def test_means_weigh_every_example_alike():
  sums = {
    "clips_error": np.array([2.0, 0.0, 6.0]),
    "clips_count": np.array([1.0, 0.0, 2.0]),
  }
  means = validation.bucket_means(sums, "train")
  assert means == {
    "train/clips": pytest.approx(8 / 3),
    "train/clips_noise_0.0_0.3": 2.0,
    "train/clips_noise_0.7_1.0": 3.0,
  }
  empty = {k: np.zeros(3) for k in sums}
  assert validation.bucket_means(empty, "train") == {}


def test_streams_of_a_seed_are_independent():
  keys = [
    jax.random.key_data(validation.stream_key(seed, name)).tobytes()
    for seed in (0, 1)
    for name in validation.STREAMS
  ]
  assert len(set(keys)) == len(keys)


def test_validation_is_the_same_every_time_and_sees_held_out_clips():
  cfg = training.config()
  step, tokenizer_params = training.built(cfg)
  mesh = mesh_lib.make_mesh(cfg.mesh)
  params = training.perturbed(step.init(jax.random.key(0))["params"])
  check = validation.Validation(cfg, mesh, step)
  first = check(params, tokenizer_params)
  assert first == check(params, tokenizer_params)
  assert first == validation.Validation(cfg, mesh, step)(
    params, tokenizer_params
  )
  other = training.config(train__validation_split="test")
  assert first != validation.Validation(other, mesh, step)(
    params, tokenizer_params
  )
