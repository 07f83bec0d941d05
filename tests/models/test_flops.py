"""Analytic FLOPs against the products of compiled programs."""

import re

import jax
import jax.numpy as jnp
import pytest

from tests.models import networks
from vdr.models import attention, dit, flops

SHAPE = (3, 8, 8)
_OP = re.compile(r"%?([\w.-]+) = \w+\[([\d,]*)\]\S* (\w[\w-]*)\((.*)")


def count(fn, *args) -> int:
  """FLOPs of all products in the optimised program, a multiply-add as two."""
  # Otherwise a scatter is a loop on a CPU (tests/conftest.py).
  options = {"xla_cpu_use_fusion_emitters": True}
  text = jax.jit(fn).lower(*args).compile(options).as_text()
  assert " while(" not in text  # a loop's body would be counted once
  total, shapes = 0, {}
  for line in text.splitlines():
    match = _OP.search(line)
    if not match:
      continue
    name, shape, kind, rest = match.groups()
    shapes[name] = [int(n) for n in shape.split(",") if n]
    assert kind not in ("convolution", "while")
    if kind == "custom-call":
      assert "matmul" not in rest
    if kind != "dot":
      continue
    left = shapes[rest.split(",")[0].strip("% ")]
    axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)
    size = 2
    for n in shapes[name]:
      size *= n
    for axis in axes.group(1).split(","):
      size *= left[int(axis)]
    total += size
  return total


def abstract(cfg, t=3):
  params = jax.eval_shape(lambda: dit.init(cfg, jax.random.key(0)))
  z = jax.ShapeDtypeStruct((2, t, *SHAPE[1:], networks.CHANNELS), jnp.float32)
  return params, z, jax.ShapeDtypeStruct((2,), jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_pass_ends_at_its_deepest_layer(layer):
  cfg = networks.config()

  def features(params, z, level):
    return dit.apply(cfg, params, z, level, layers=(0, layer))[1]

  found = count(features, *abstract(cfg)) / 2
  assert found == pytest.approx(
    flops.forward(cfg, SHAPE, layer=layer), rel=0.01
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("fields", "t", "layout"),
  [
    ({"size": "tiny"}, 3, None),
    ({}, 1, None),
    ({"spatiotemporal_blocks": "spatial"}, 1, None),
    ({"patch": 2}, 3, "full"),
    ({}, 3, "isolated"),
  ],
)
def test_forward(fields, t, layout):
  cfg = networks.config(**fields)

  def predict(params, z, level):
    return dit.apply(cfg, params, z, level, layout=layout)[0]

  found = count(predict, *abstract(cfg, t)) / 2
  expected = flops.forward(cfg, (t, *SHAPE[1:]), layout=layout)
  assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
  "remat",
  [
    pytest.param("none", marks=pytest.mark.slow),
    pytest.param("block", marks=pytest.mark.slow),
    # Not a slow one: what hides products from this policy, as a gradient of
    # one's own inside another does, shows nowhere else.
    "dots",
  ],
)
def test_training(remat):
  cfg = networks.config(
    remat=remat, text_dim=16, num_classes=3, self_conditioning=True
  )
  params, z, level = abstract(cfg)
  text = jax.ShapeDtypeStruct((2, 7, 16), jnp.float32)

  def step(params, z, level, text):
    def loss(params):
      y, _ = dit.apply(cfg, params, z, level, text=text, self_condition=z)
      return jnp.sum(y**2)

    return jax.grad(loss)(params)

  found = count(step, params, z, level, text) / 2
  expected = flops.training(
    cfg, SHAPE, text_tokens=7, self_condition=True, recomputed=True
  )
  assert found == pytest.approx(expected, rel=0.01)


def test_what_is_recomputed_is_no_work():
  plain, again = (networks.config(remat=kind) for kind in ("none", "block"))
  assert flops.training(again, SHAPE) == flops.training(plain, SHAPE)
  assert flops.training(plain, SHAPE) == 3 * flops.forward(plain, SHAPE)
  assert flops.training(again, SHAPE, recomputed=True) > 1.3 * flops.training(
    plain, SHAPE
  )


def test_the_kernel_of_a_tpu_has_its_logits_twice():
  cfg = networks.config(
    size="walt_284m",
    attention="auto",
    dtype="bfloat16",
    window_spatial=(16, 16),
    window_spatiotemporal=(3, 16, 16),  # 768 tokens, too many
    remat="none",
  )
  shape = (3, 16, 16)
  plain = flops.training(cfg, shape, recomputed=True)
  assert plain == flops.training(cfg, shape)
  with attention.chosen_for("tpu"):
    assert flops.training(cfg, shape) == plain
    again = flops.training(cfg, shape, recomputed=True) - plain
  assert again == 11 * 2 * 768 * 256 * 1024


def test_the_study_s_models_by_hand():
  """Blocks of 22 · 12 · d² multiply-adds a token, and little else."""
  cfg = networks.config(
    size="walt_284m",
    latent_channels=8,
    window_spatial=(16, 16),
    window_spatiotemporal=(5, 8, 8),
  )
  total = flops.forward(cfg, (5, 16, 16))
  blocks = 2 * 1280 * 22 * 12 * 1024**2
  pairs = 2 * 1280 * 11 * (256 + 320) * 2 * 1024
  assert total == pytest.approx(blocks + pairs, rel=0.001)
