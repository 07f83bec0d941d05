"""The diffusion transformer as a whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import networks
from vdr.models import dit, functional, layers, trunk
from vdr.runtime import errors

BOTH = pytest.mark.parametrize("t", [1, 3], ids=["image", "clip"])


def paths(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in leaves
  }


class TestUntrained:
  @BOTH
  @pytest.mark.parametrize("positions", ["rope", "learned"])
  def test_it_predicts_zeros_and_its_blocks_are_the_identity(
    self, t, positions
  ):
    cfg = networks.config(positions=positions)
    params, z = networks.fresh(cfg), networks.latents(t=t)
    prediction, _ = networks.run(cfg, params, z)
    np.testing.assert_array_equal(prediction, np.zeros(z.shape))
    _, features = networks.run(cfg, params, z, layers=(0, 1, 2))
    np.testing.assert_array_equal(features[1], features[0])
    np.testing.assert_array_equal(features[2], features[0])

  def test_the_random_control_is_not(self):
    cfg = networks.config(text_dim=4)
    params = networks.fresh(cfg, gate_scale=0.5)
    _, features = networks.run(
      cfg, params, networks.latents(), layers=(0, 1, 2)
    )
    for shallow, deep in ((0, 1), (1, 2)):
      change = features[deep] - features[shallow]
      assert jnp.std(change) > 0.1 * jnp.std(features[shallow])

  def test_gates_begin_where_they_are_set(self):
    params = networks.fresh(networks.config(text_dim=4), gate_scale=0.5)
    bias = params["adaln"]["bias"]
    assert (bias[2::3] == 0.5).all()
    assert not bias[:2].any() and not bias[3:5].any()
    assert (params["cross"]["gate"] == 0.5).all()


class TestTwins:
  image = networks.config(spatiotemporal_blocks="spatial")
  video = networks.config()

  def test_they_have_the_same_parameters_and_first_values(self):
    twins = [paths(networks.fresh(cfg)) for cfg in (self.image, self.video)]
    assert list(twins[0]) == list(twins[1])
    for name, leaf in twins[0].items():
      assert leaf.dtype == jnp.float32
      np.testing.assert_array_equal(leaf, twins[1][name], name)

  def test_the_program_that_makes_them_is_the_same(self):
    programs = [
      str(jax.make_jaxpr(functools.partial(dit.init, cfg))(jax.random.key(0)))
      for cfg in (
        networks.config(
          spatiotemporal_blocks=kind,
          positions="learned",
          num_classes=3,
          text_dim=4,
          self_conditioning=True,
        )
        for kind in ("spatial", "spatiotemporal")
      )
    ]
    assert programs[0] == programs[1]

  def test_the_key_decides(self):
    make = functools.partial(layers.Linear, (4,), (4,))
    one, two = (functional.init(make, jax.random.key(seed)) for seed in (0, 1))
    assert not np.allclose(one["kernel"], two["kernel"])

  def test_images_are_seen_by_the_video_model_as_it_is_told(self):
    told = networks.config(image_in_spatiotemporal="spatial")
    params, z = networks.alive(self.video), networks.latents(t=1)
    image = networks.predict(self.image, params, z)
    np.testing.assert_allclose(
      networks.predict(told, params, z), image, atol=2e-5
    )
    other = networks.predict(self.video, params, z)
    assert not np.allclose(other, image, atol=1e-3)

  def reach(self, cfg, layout=None):
    """Which frames' predictions change with each frame."""
    params, z = networks.alive(cfg), networks.latents(b=1)
    change = np.eye(3, dtype=np.float32)[:, :, None, None, None]
    changed = jnp.concatenate([z, z + change])

    @jax.jit
    def forward(z):
      return dit.apply(cfg, params, z, jnp.full(4, 0.5), layout=layout)[0]

    y = forward(changed)
    return np.abs(y[1:] - y[:1]).max(axis=(2, 3, 4)) > 1e-6

  def test_frames_meet_in_the_video_model_only(self):
    assert self.reach(self.video).all()
    alone = np.eye(3, dtype=bool)
    np.testing.assert_array_equal(self.reach(self.image), alone)
    np.testing.assert_array_equal(self.reach(self.image, "full"), alone)
    np.testing.assert_array_equal(self.reach(self.video, "isolated"), alone)


@pytest.mark.parametrize("inside", ["window", "full"])
@pytest.mark.parametrize("positions", ["rope", "learned"])
def test_isolated_frames_are_images(inside, positions):
  cfg = networks.config(layout=inside, positions=positions)
  params, z = networks.alive(cfg), networks.latents(b=2, t=3)
  found = networks.predict(cfg, params, z, layout="isolated")
  _, features = networks.run(cfg, params, z, layout="isolated", layers=(1,))
  for t in range(3):
    image = z[:, t : t + 1]
    expected = networks.predict(cfg, params, image)
    np.testing.assert_allclose(found[:, t : t + 1], expected, atol=2e-5)
    _, expected = networks.run(cfg, params, image, layers=(1,))
    np.testing.assert_allclose(
      features[1][:, t : t + 1], expected[1], atol=2e-5
    )


@BOTH
def test_layer_k_is_the_stream_after_k_blocks(t):
  cfg = networks.config()
  params, z = networks.alive(cfg), networks.latents(t=t)
  prediction, _ = networks.run(cfg, params, z)
  _, found = networks.run(cfg, params, z, layers=range(3))
  model = functional.bind(lambda rngs: dit.VideoDiT(cfg, rngs), params)
  call = trunk.Call(z, networks.levels())
  x = trunk.embed(cfg, model, call)
  condition = trunk.condition_on(model, call)
  shared = model.adaln(condition)
  np.testing.assert_allclose(found[0], x, atol=2e-5)
  to_block, stack = functional.unstack(model.blocks)
  windows = [(1, 4, 2), (3, 2, 2) if t > 1 else None]
  for k, own in enumerate(functional.slices(stack, 0, 2)):
    x = to_block(own)(
      x,
      shared,
      condition,
      window=windows[k],
      implementation="plain",
      between=lambda x: x,
    )
    np.testing.assert_allclose(found[k + 1], x, atol=2e-5)
    assert found[k + 1].shape == (2, t, 4, 4, networks.WIDTH)
  # The last layer lies before the final norm.
  m = shared[:, :2] + model.final_adaln(condition)
  y = model.final(layers.modulate(x, m[:, 0], m[:, 1]))
  np.testing.assert_allclose(y[..., 0, 0, :], prediction, atol=2e-5)


@pytest.mark.parametrize("positions", ["rope", "learned"])
def test_any_grid(positions):
  cfg = networks.config(positions=positions, layout="full")
  params = networks.alive(cfg)
  z = networks.latents(2, 7, 3, 5)
  assert jnp.isfinite(networks.predict(cfg, params, z)).all()
  for grid in ((1, 2, 2), (2, 4, 6), (1, 1, 1), (5, 8, 8), (9, 28, 28)):
    z = jax.ShapeDtypeStruct((2, *grid, networks.CHANNELS), jnp.float32)
    shape = jax.eval_shape(
      lambda z: dit.apply(cfg, params, z, networks.levels())[0], z
    )
    assert shape.shape == z.shape


@pytest.mark.parametrize("patch", [2, 4])
def test_patches_stay_where_they_are(patch):
  cfg = networks.config(patch=patch, layout="full")
  params, z = networks.alive(cfg), networks.latents(h=8, w=12)
  _, features = networks.run(cfg, params, z, layers=(0, 2))
  assert features[2].shape == (2, 3, 8 // patch, 12 // patch, networks.WIDTH)
  assert networks.predict(cfg, params, z).shape == z.shape
  _, changed = networks.run(
    cfg, params, z.at[:, 1, patch, 0].add(1.0), layers=(0,)
  )
  moved = jnp.abs(changed[0] - features[0]).sum(axis=(0, -1)) > 0
  np.testing.assert_array_equal(np.argwhere(moved), [[1, 1, 0]])


def test_bfloat16_computes_near_float32_and_keeps_its_parameters():
  cfg, half = networks.config(), networks.config(dtype="bfloat16")
  params, z = networks.alive(cfg), networks.latents()
  y = networks.predict(half, params, z)
  assert y.dtype == jnp.float32
  expected = networks.predict(cfg, params, z)
  error = jnp.sqrt(jnp.mean((y - expected) ** 2) / jnp.mean(expected**2))
  assert 0 < error < 0.03
  _, features = networks.run(half, params, z, layers=(1,))
  assert features[1].dtype == jnp.bfloat16
  grads = jax.jit(
    jax.grad(lambda p: dit.apply(half, p, z, networks.levels())[0].sum())
  )(params)
  assert {g.dtype for g in jax.tree.leaves(grads)} == {jnp.dtype("float32")}


# Parameters that a model of images or of clips can't train, and why.
DEAD = {
  # W.A.L.T's identity mask: blocks 1, 3, … pass values through, no matter what
  # queries and keys are. Checked by block below; the others' do act.
  ("image", "rope"): set(),
  # Within one frame all differences in time are 0, and a bias that all keys
  # share is none.
  ("image", "learned"): {"blocks/attention/relative/frames"},
  ("clip", "rope"): set(),
  ("clip", "learned"): set(),
}


@BOTH
@pytest.mark.parametrize("positions", ["rope", "learned"])
def test_every_parameter_has_a_gradient(t, positions, request):
  kind = "image" if t == 1 else "clip"
  cfg = networks.config(
    positions=positions, num_classes=2, text_dim=4, self_conditioning=True
  )
  params, z = networks.alive(cfg), networks.latents(t=t)

  def loss(params):
    y, _ = dit.apply(
      cfg,
      params,
      z,
      networks.levels(),
      labels=jnp.array([0, -1]),
      text=jnp.tile(jnp.arange(4.0), (2, 2, 1)),
      self_condition=-z,
    )
    return jnp.mean((y - 0.5) ** 2)

  grads = paths(jax.jit(jax.grad(loss))(params))
  assert all(jnp.isfinite(grad).all() for grad in grads.values())
  largest = {name: float(jnp.max(jnp.abs(g))) for name, g in grads.items()}
  # What cancels in the softmax is zero but for rounding.
  least = 1e-6 * max(largest.values())
  dead = {name for name, value in largest.items() if value < least}
  assert dead == DEAD[kind, positions]
  for name in ("qkv/kernel", "q_scale", "k_scale"):
    grad = grads[f"blocks/attention/{name}"]
    if name == "qkv/kernel":
      grad = grad[:, :, 0]
    acts = [bool(jnp.any(own)) for own in grad]
    assert acts == ([True, kind == "clip"])


class TestErrors:
  @pytest.mark.parametrize(
    ("fields", "words"),
    [
      ({"size": "large"}, "size 'large' is unknown.*walt_284m"),
      ({"attention": "flash"}, "attention 'flash'"),
      ({"adaln_rank": 999}, "adaln_rank is 999.*use 64 or fewer"),
    ],
  )
  def test_a_bad_config(self, fields, words):
    with pytest.raises(errors.UserError, match=words):
      dit.init(networks.config(**fields), jax.random.key(0))

  @pytest.mark.parametrize(
    ("call", "words"),
    [
      ({"layers": (2, 3)}, "layer 3 does not exist: .*'micro'.* 2 "),
      ({"layers": (-1,)}, "layer -1 does not exist"),
      ({"layout": "local"}, "layout 'local' is unknown.*isolated"),
      ({"labels": jnp.zeros(2, int)}, "num_classes is 0"),
      ({"text": jnp.zeros((2, 3, 4))}, "text_dim is 0"),
      ({"self_condition": networks.latents()}, "self_conditioning is False"),
    ],
  )
  def test_a_bad_call(self, call, words):
    with pytest.raises(errors.UserError, match=words):
      dit.apply(
        networks.config(), {}, networks.latents(), networks.levels(), **call
      )

  def test_latents_of_another_tokenizer(self):
    with pytest.raises(errors.UserError, match="5 channels.*is 3: set"):
      dit.apply(
        networks.config(), {}, networks.latents(channels=5), networks.levels()
      )

  def test_latents_that_patches_do_not_divide(self):
    with pytest.raises(errors.UserError, match="6x4 can't .*patch 4;"):
      dit.apply(
        networks.config(patch=4), {}, networks.latents(h=6), networks.levels()
      )

  def test_another_text_encoder(self):
    with pytest.raises(errors.UserError, match="4 channels;.*text_dim is 7"):
      dit.apply(
        networks.config(text_dim=7),
        {},
        networks.latents(),
        networks.levels(),
        text=jnp.zeros((2, 3, 4)),
      )

  def test_parameters_of_another_size(self):
    params = networks.alive(networks.config(size="tiny"))
    with pytest.raises(errors.UserError, match="adaln/bias is"):
      dit.apply(
        networks.config(), params, networks.latents(), networks.levels()
      )
