"""How the network is run: scans, recomputation, segments, conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import networks
from vdr.models import dit, trunk

TEXT = dict(num_classes=4, text_dim=6)


def conditions(b=2):
  key = jax.random.key(3)
  return dict(
    labels=jnp.arange(b),
    text=jax.random.normal(key, (b, 5, 6)),
    text_mask=jnp.arange(5)[None] < jnp.array([5, 2])[:, None],
  )


def loss(cfg, params, z, **call):
  prediction, _ = dit.apply(cfg, params, z, networks.levels(), **call)
  return jnp.mean((prediction - 0.5) ** 2)


def assert_close(found, expected, atol=2e-5):
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=atol), found, expected
  )


def four_blocks(**fields):
  return networks.config(size="tiny", **TEXT, **fields)


def step(cfg):
  """Loss and gradient."""
  z = networks.latents()
  fn = jax.value_and_grad(lambda p: loss(cfg, p, z, **conditions()))
  return jax.jit(fn)(networks.alive(cfg))


@pytest.fixture(scope="module")
def plain_step():
  return step(four_blocks())


@pytest.mark.parametrize(
  "fields",
  [
    dict(scan=True),
    dict(scan=True, remat="block"),
    dict(scan=True, remat="dots", attention="mapped"),
    dict(remat="block"),
  ],
  ids=str,
)
def test_no_way_to_run_it_changes_loss_or_gradient(fields, plain_step):
  found = step(four_blocks(**fields))
  for one, two in zip(
    jax.tree.leaves(found), jax.tree.leaves(plain_step), strict=True
  ):
    scale = float(jnp.max(jnp.abs(two)))
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4 * scale)


def test_an_isolated_frame_has_the_condition_of_its_clip():
  call = trunk.Call(
    networks.latents(b=2, t=3), jnp.array([0.1, 0.9]), labels=jnp.arange(2)
  )
  frames = trunk.isolate(call)
  assert frames.latents.shape == (6, 1, 4, 4, networks.CHANNELS)
  np.testing.assert_array_equal(frames.latents[4, 0], call.latents[1, 1])
  np.testing.assert_array_equal(frames.labels, [0, 0, 0, 1, 1, 1])
  assert frames.text is None


class TestText:
  cfg = networks.config(**TEXT)

  def predict(self, **call):
    params, z = networks.alive(self.cfg), networks.latents()
    return networks.predict(self.cfg, params, z, **call)

  def test_padding_is_not_read(self):
    call = conditions()
    padded = jnp.where(call["text_mask"][..., None], call["text"], jnp.nan)
    expected = self.predict(**call)
    assert_close(self.predict(**{**call, "text": padded}), expected)

  def test_the_text_is(self):
    call = conditions()
    other = self.predict(**{**call, "text": -call["text"]})
    assert not np.allclose(other, self.predict(**call), atol=1e-3)

  def test_no_mask_is_all_of_the_text(self):
    call = conditions() | {"text_mask": jnp.ones((2, 5), bool)}
    expected = self.predict(**call)
    call.pop("text_mask")
    assert_close(self.predict(**call), expected)

  def test_a_dropped_text_is_none(self):
    call = conditions() | {"text_mask": jnp.zeros((2, 5), bool)}
    dropped = self.predict(**call)
    assert_close(dropped, self.predict(labels=call["labels"]))


class TestLabels:
  cfg = networks.config(num_classes=4)

  def predict(self, labels):
    params, z = networks.alive(self.cfg), networks.latents()
    return networks.predict(self.cfg, params, z, labels=labels)

  def test_none_and_negative_ones_are_the_null_class(self):
    null = self.predict(jnp.array([4, 4]))
    assert_close(self.predict(None), null)
    assert_close(self.predict(jnp.array([-1, -1])), null)
    assert not np.allclose(self.predict(jnp.array([0, 0])), null, atol=1e-3)

  def test_every_clip_has_its_own(self):
    both = self.predict(jnp.array([1, 2]))
    assert_close(both[:1], self.predict(jnp.array([1, 1]))[:1])


class TestSelfConditioning:
  cfg = networks.config(self_conditioning=True)

  def test_none_is_zeros(self):
    params, z = networks.alive(self.cfg), networks.latents()
    zeros = networks.predict(
      self.cfg, params, z, self_condition=jnp.zeros_like(z)
    )
    assert_close(networks.predict(self.cfg, params, z), zeros)

  def test_an_estimate_is_read(self):
    params, z = networks.alive(self.cfg), networks.latents()
    other = networks.predict(self.cfg, params, z, self_condition=z)
    assert not np.allclose(
      other, networks.predict(self.cfg, params, z), atol=1e-3
    )


def test_a_clip_s_noise_level_is_its_own():
  cfg = networks.config()
  params, z = networks.alive(cfg), networks.latents()
  z = jnp.broadcast_to(z[:1], z.shape)
  y = networks.predict(cfg, params, z)
  assert not np.allclose(y[0], y[1], atol=1e-3)
  fn = jax.jit(lambda z, level: dit.apply(cfg, params, z, level)[0])
  assert_close(y[1:], fn(z[1:], networks.levels()[1:]))
