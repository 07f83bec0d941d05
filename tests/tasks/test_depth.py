"""Depth: which pixels count, and what the blind say of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vdr.tasks import depth, task


def test_the_sky_is_not_scored():
  one = depth.make_task(5)
  assert one.frames == (0, 4)
  depth_m = np.full((2, 5, 4, 4), 2.0, np.float32)
  depth_m[:, :, 0] = 0.0  # sky
  targets = one.targets({"depth_m": depth_m})
  pred = np.full((2, 2, 4, 4, 1), 3.0, np.float32)
  pred[:, :, 0] = 77.0
  scores = one.score({"map": pred}, targets, {})
  assert scores["abs_rel"].score() == pytest.approx(0.5, rel=1e-5)
  assert scores["rmse_m"].score() == pytest.approx(1.0)
  assert scores["delta_1"].score() == 0 and scores["delta_2"].score() == 1


@pytest.mark.parametrize("loss", ["l1", "log_l1"])
def test_a_probe_starts_about_the_depths_of_training(loss):
  cfg = base.override(base.probe(), {"dense.depth_loss": loss})
  shape = task.Shape(1, 8, 8, (0,))
  depth_m = np.exp(np.random.default_rng(0).normal(1, 1, (8, 1, 8, 8)))
  depth_m[:, :, 0] = 0.0  # sky
  train = {"depth_m": depth_m.astype(np.float32)}
  readout = depth.make_task(1).readout(cfg, shape, train)
  head = readout.head
  grid = (1, 2, 2, 4)
  nothing = jax.tree.map(jnp.zeros_like, head.init(jax.random.key(0), grid))
  found = head.apply(nothing, jnp.zeros((1, *grid)), {})["map"]
  seen = depth_m[:, :, 1:]
  expected = seen.mean() if loss == "l1" else np.exp(np.log(seen).mean())
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  assert (readout.num_steps, readout.batch_size) == (1000, 4)
  assert readout.loss.kind == loss


def test_the_blind_say_the_mean_of_each_pixel():
  one = depth.make_task(1)
  train = np.array([[[[1.0, 0.0]]], [[[3.0, 0.0]]]], np.float32)
  train = {"depth_m": train}
  blind = one.blind(train, {"depth_m": train["depth_m"][:1]})
  # Of a pixel that was always sky, the mean of all others.
  np.testing.assert_allclose(blind["map"][..., 0], [[[[2.0, 2.0]]]])
