"""The critic: its losses by hand, its slope, and its file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vdr.models import critic
from vdr.runtime import errors


@pytest.fixture
def cfg():
  cfg = base.default().tokenizer.loss
  cfg.critic_width = 4
  return cfg


RNG = np.random.default_rng(0)
REAL, FAKE = (
  jnp.asarray(RNG.uniform(-1, 1, size=(2, 5, 16, 16, 3)), jnp.float32)
  for _ in range(2)
)


def softplus(x):
  return np.log1p(np.exp(np.asarray(x, np.float64)))


def test_losses_by_hand(cfg):
  params = critic.init(cfg, jax.random.key(0))
  real, fake = (critic.judge(cfg, params, x) for x in (REAL, FAKE))
  np.testing.assert_allclose(
    critic.fool(cfg, params, FAKE), softplus(-fake), rtol=1e-5
  )
  cfg.r1 = 0.0
  np.testing.assert_allclose(
    critic.loss(cfg, params, REAL, FAKE),
    softplus(-real) + softplus(fake),
    rtol=1e-5,
  )


def test_r1_is_the_squared_slope_at_real_clips(cfg):
  params = critic.init(cfg, jax.random.key(0))
  assert cfg.r1 == 10
  plain = critic.loss(cfg, params, REAL, FAKE)
  cfg.r1 = 0.0
  without = critic.loss(cfg, params, REAL, FAKE)
  slope = jax.grad(lambda x: critic.judge(cfg, params, x).sum())(REAL)
  steep = np.square(np.asarray(slope, np.float64)).sum(axis=(1, 2, 3, 4))
  np.testing.assert_allclose(plain - without, 5.0 * steep, rtol=1e-3)


def test_the_critics_loss_never_reaches_the_tokenizer(cfg):
  params = critic.init(cfg, jax.random.key(0))
  back = jax.grad(lambda x: critic.loss(cfg, params, REAL, x).sum())(FAKE)
  assert not np.any(back)
  assert np.any(jax.grad(lambda x: critic.fool(cfg, params, x).sum())(FAKE))


def test_images_can_be_judged_too(cfg):
  params = critic.init(cfg, jax.random.key(0))
  assert critic.judge(cfg, params, REAL[:, :1]).shape == (2,)


def test_it_starts_from_a_file(cfg, tmp_path):
  params = critic.init(cfg, jax.random.key(3))
  critic.save(tmp_path / "critic.npz", params)
  cfg.critic_path = str(tmp_path / "critic.npz")
  found = critic.init(cfg, jax.random.key(4))
  jax.tree.map(np.testing.assert_array_equal, found, params)
  cfg.critic_width = 8
  with pytest.raises(errors.UserError, match="of another width"):
    critic.init(cfg, jax.random.key(4))
  cfg.critic_path = str(tmp_path / "none.npz")
  with pytest.raises(errors.UserError, match="is no critic"):
    critic.init(cfg, jax.random.key(4))
