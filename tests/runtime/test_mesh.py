"""Meshes: who holds what, and the same numbers on all of them.

What needs several devices runs once, in a process with eight emulated ones.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from configs import base
from vdr.models import dit
from vdr.runtime import errors, mesh, optimizer, trees

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
  """What `on_eight_devices.py` found."""
  folder = tmp_path_factory.mktemp("eight") / "checkpoints"
  script = ROOT / "tests" / "runtime" / "on_eight_devices.py"
  done = subprocess.run(
    [sys.executable, "-W", "error", script, folder],
    cwd=ROOT,
    env=dict(os.environ, PYTHONPATH=str(ROOT)),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""  # Orbax is quiet
  return json.loads(done.stdout)


@pytest.mark.parametrize("count", ["2", "4", "8"])
def test_losses_are_those_of_one_device(eight, count):
  found, one = (np.array(eight["trajectories"][n]) for n in (count, "1"))
  assert one[0] > 1.05 * one[-1]  # it learns
  np.testing.assert_allclose(found, one, rtol=1e-5)


@pytest.mark.parametrize("count", ["1", "2", "4", "8"])
def test_a_checkpoint_of_eight_devices_goes_on_with_any_number(eight, count):
  found = eight["restored"][count]
  assert found["same"]  # bit by bit: parameters, averages, optimiser, step
  assert found["placed"]
  assert found["position"] == 2
  expected = eight["trajectories"]["1"][2:]
  np.testing.assert_allclose(found["rest"], expected, rtol=1e-5)


def test_parameters_alone_are_restored_to_their_places(eight):
  assert eight["eval_spec"] == "P(None, 'fsdp', 'tensor')"


def test_bytes_per_device_are_what_a_device_holds(eight):
  counted, predicted = eight["bytes"]
  assert counted == predicted


@pytest.mark.parametrize(
  ("num", "own"),
  [
    ("8", 2),  # of four shares
    ("3", 3),  # which they can't share
  ],
)
def test_a_kernel_runs_on_own_windows_and_heads(eight, num, own):
  difference, (values, of_qkv) = eight["kernel"][num]
  assert difference < 1e-5
  assert values == [own, 6, 2, 64]
  assert of_qkv == [own, 6, 3, 2, 64]


def config(**sizes):
  cfg = base.default().mesh
  cfg.update(sizes)
  return cfg


def abstract(**sizes):
  """A mesh of devices that don't exist."""
  sizes = dict(data=1, fsdp=1, tensor=1) | sizes
  return AbstractMesh(
    tuple(sizes.values()),
    tuple(sizes),
    axis_types=(AxisType.Auto,) * 3,
  )


def test_its_axes_are_auto_and_hold_all_devices():
  made = mesh.make_mesh(config())
  assert made.axis_names == mesh.AXES
  assert made.axis_types == (AxisType.Auto,) * 3
  assert made.devices.size == jax.device_count()


@pytest.mark.parametrize(
  ("sizes", "count", "expected"),
  [
    (dict(), 8, (8, 1, 1)),
    (dict(fsdp=4), 8, (2, 4, 1)),
    (dict(data=1, fsdp=-1, tensor=2), 8, (1, 4, 2)),
    (dict(data=2, fsdp=2, tensor=2), 8, (2, 2, 2)),
  ],
)
def test_minus_one_is_the_rest(sizes, count, expected):
  assert mesh._sizes(config(**sizes), count) == expected


@pytest.mark.parametrize(
  ("sizes", "word"),
  [
    (dict(fsdp=3), "8 devices"),
    (dict(data=2), "8 devices"),
    (dict(data=16), "8 devices"),
    (dict(fsdp=-1), "one of them may be -1"),
    (dict(tensor=0), "1 or more"),
  ],
)
def test_sizes_that_do_not_fit(sizes, word):
  with pytest.raises(errors.UserError, match=word):
    mesh._sizes(config(**sizes), 8)


def leaf(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


@pytest.mark.parametrize(
  ("shape", "expected"),
  [
    ((3, 8, 16), P(None, "fsdp", "tensor")),
    ((8, 16), P("fsdp", "tensor")),
    ((3, 6, 16), P(None, None, "tensor")),  # 6 is no multiple of 4
    ((3, 8, 15), P(None, "fsdp", None)),
    ((16,), P()),  # a statistic of a matrix, not a matrix
  ],
)
def test_an_axis_that_does_not_divide_is_not_split(shape, expected):
  tree = {"blocks": {"mlp": {"up": {"kernel": leaf(*shape)}}}}
  found = mesh.param_shardings(abstract(fsdp=4, tensor=2), tree)
  assert found["blocks"]["mlp"]["up"]["kernel"].spec == expected


@pytest.fixture
def model_params():
  """Shapes of a model with everything that can be switched on."""
  cfg = base.default().model
  cfg.update(num_classes=10, text_dim=16, positions="learned")
  cfg.update(self_conditioning=True)
  return jax.eval_shape(lambda key: dit.init(cfg, key), jax.random.key(0))


def test_the_rules_know_every_leaf_of_the_model(model_params):
  assert mesh.unmatched(model_params) == []


def test_what_no_rule_knows_is_reported_and_replicated():
  tree = {"a": {"strange": leaf(4, 4), "vector": leaf(4)}}
  assert mesh.unmatched(tree) == ["a/strange"]
  found = mesh.param_shardings(abstract(fsdp=2), tree)
  assert found["a"]["strange"].spec == P(None, None)


def test_large_leaves_of_the_model_are_split_over_all_that_split(model_params):
  where = mesh.param_shardings(abstract(fsdp=2, tensor=2), model_params)
  for path, leaf in jax.tree_util.tree_leaves_with_path(model_params):
    sharding = where
    for key in path:
      sharding = sharding[key.key]
    name = trees.path_name(path)
    used = set(jax.tree.leaves(tuple(sharding.spec)))
    if name.startswith(("blocks/attention", "blocks/mlp", "cross")):
      expected = {"fsdp", "tensor"} if name.endswith("kernel") else set()
      assert used == expected, name
    elif leaf.size > 10_000 and not name.startswith("positions"):
      assert used == {"fsdp"}, name


def test_the_optimiser_lives_where_its_parameters_do(model_params):
  cfg = base.default().optimizer
  tx = optimizer.make_optimizer(cfg, 10, model_params)
  state = {
    "params": model_params,
    "optimizer": jax.eval_shape(tx.init, model_params),
  }
  where = mesh.param_shardings(abstract(fsdp=2, tensor=2), state)
  specs = {
    trees.path_name(path): sharding.spec
    for path, sharding in jax.tree_util.tree_leaves_with_path(where)
  }
  moments = [name for name in specs if "/mu/" in name or "/nu/" in name]
  assert len(moments) == 2 * len(jax.tree.leaves(model_params))
  for name in moments:
    own = name.replace("/nu/", "/mu/").partition("/mu/")[2]
    assert specs[name] == specs[f"params/{own}"], name


def test_batches_are_shared_by_two_axes():
  made = mesh.make_mesh(config())
  assert mesh.batch_sharding(made) == NamedSharding(made, P(("data", "fsdp")))
  assert mesh.replicated(made).is_fully_replicated


def test_rows_are_split_only_where_it_is_said():
  made = mesh.make_mesh(config())
  x = jnp.ones((4, 3))
  plain = jax.make_jaxpr(mesh.rows)(x)
  assert "sharding_constraint" not in str(plain)
  with mesh.split_rows(made):
    split = jax.make_jaxpr(lambda x: mesh.rows(x))(x)
  assert "sharding_constraint" in str(split)
  assert "('data', 'fsdp')" in str(split)


def test_rows_that_can_not_be_shared_are_left_alone():
  with mesh.split_rows(abstract(data=2, fsdp=2)):
    found = jax.make_jaxpr(lambda x: mesh.rows(x))(jnp.ones((3, 2)))
  assert "sharding_constraint" not in str(found)


class TestWhole:
  def test_only_fsdp_is_gathered_and_gradients_are_split_again(self):
    params = {"mlp": {"up": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}}}
    with mesh.split_rows(abstract(data=1, fsdp=2, tensor=2)):
      found = str(jax.make_jaxpr(lambda p: mesh.whole(p))(params))

      def total(p):
        return mesh.whole(p)["mlp"]["up"]["kernel"].sum()

      gradient = str(jax.make_jaxpr(jax.grad(total))(params))
    assert found.count("sharding_constraint") == 1  # a bias is whole already
    assert "'tensor'" in found and "'fsdp'" not in _specs(found)
    assert "'fsdp', 'tensor'" in _specs(gradient)

  @pytest.mark.parametrize("sizes", [None, {"data": 2, "fsdp": 1}])
  def test_nothing_is_said_where_nothing_is_shared(self, sizes):
    params = {"mlp": {"up": {"kernel": jnp.ones((4, 4))}}}
    context = contextlib.nullcontext()
    if sizes:
      context = mesh.split_rows(abstract(**sizes))
    with context:
      found = jax.make_jaxpr(lambda p: mesh.whole(p))(params)
    assert "sharding_constraint" not in str(found)


def _specs(jaxpr):
  """What a program says of the layout of arrays, meshes left out."""
  return " ".join(re.findall(r"spec=(?:P|PartitionSpec)\(([^)]*)\)", jaxpr))


def test_a_mesh_that_the_links_of_a_slice_do_not_have_is_refused(monkeypatch):
  def make_mesh(*_, **__):
    raise NotImplementedError("Failed to find assignment for logical axis")

  monkeypatch.setattr(jax, "make_mesh", make_mesh)
  with pytest.raises(errors.UserError, match="mesh.fsdp=1, .* products of its"):
    mesh.make_mesh(config())


def test_batches_that_can_not_be_shared():
  made = abstract(data=2, fsdp=2, tensor=2)
  mesh.check_batch_size(made, 8)
  mesh.check_batch_size(made, 8, 2)
  with pytest.raises(errors.UserError, match="6 .* 4 devices .* multiple of 4"):
    mesh.check_batch_size(made, 6)
  with pytest.raises(errors.UserError, match="in 4 parts.* multiple of 16"):
    mesh.check_batch_size(made, 8, 4)


def test_shapes_with_shardings_keep_their_types():
  tree = {"mlp": {"up": {"kernel": jax.ShapeDtypeStruct((4, 4), jnp.bfloat16)}}}
  made = mesh.make_mesh(config())
  found = mesh.with_shardings(made, tree)["mlp"]["up"]["kernel"]
  assert (found.shape, found.dtype) == ((4, 4), jnp.bfloat16)
  assert found.sharding == NamedSharding(made, P("fsdp", "tensor"))
