"""Checkpoints come back bit by bit, whole or not at all, and budgets stay.

That they come back on other meshes is in `test_mesh.py`.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vdr.runtime import checkpoints, errors, fingerprint, mesh, optimizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
META = {"config": {"seed": 3}, "versions": {"jax": jax.__version__}}


@pytest.fixture
def cfg():
  cfg = base.default().saving
  cfg.update(every_steps=10, keep_last=2, keep_every=0, budgets_percent=(100,))
  return cfg


def make_state(seed=0):
  """A training state with every type that one has."""
  rng = np.random.default_rng(seed)
  params = {
    "blocks": {"kernel": jnp.asarray(rng.normal(size=(2, 4, 3)), jnp.float32)},
    "bias": jnp.asarray(rng.normal(size=5), jnp.bfloat16),
    "nan": jnp.array([np.nan, -0.0, np.inf], jnp.float32),
  }
  tx = optimizer.make_optimizer(base.default().optimizer, 10, params)
  return {
    "params": params,
    "ema": optimizer.init_ema(params, (0.9, 0.999)),
    "optimizer": tx.init(params),
    "step": jnp.int32(seed),
    "skips": optimizer.init_skips(),
  }


def abstract(state):
  made = mesh.make_mesh(base.default().mesh, jax.devices()[:1])
  return mesh.with_shardings(made, state)


def assert_same(a, b):
  """Structure, types and bits."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype
    assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def test_what_is_saved_comes_back(tmp_path, cfg):
  state = make_state(7)
  with checkpoints.Checkpoints(tmp_path, cfg, 100, META) as store:
    assert store.latest_step() is None
    assert store.save(20, state, {"position": 20, "name": "é"})
  with checkpoints.Checkpoints(tmp_path, cfg, 100, META) as store:
    assert store.latest_step() == 20
    found = store.restore(abstract(state))
  assert_same(found.state, state)
  assert (found.step, found.data_state) == (20, {"position": 20, "name": "é"})
  assert found.meta["config"] == {"seed": 3}
  assert found.meta["versions"] == META["versions"]
  assert (found.meta["step"], found.meta["num_steps"]) == (20, 100)
  assert found.meta["budgets"] == {"100": 100}
  hashes = found.meta["hashes"]
  assert set(hashes) == {"params", "ema/0.9", "ema/0.999"}
  assert hashes["params"] == fingerprint.of(state["params"])


def test_a_state_may_be_donated_while_it_is_saved(tmp_path, cfg):
  cfg.update(keep_last=9)
  step = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  state = {"params": {"w": jnp.zeros((512, 512))}}
  shapes = abstract(state)
  with checkpoints.Checkpoints(tmp_path, cfg, 90, META) as store:
    for i in range(10, 90, 10):
      state = step(state)
      store.save(i, state, {})
      for _ in range(3):
        state = step(state)
    for i in store.steps():
      found = store.restore(shapes, i).state["params"]["w"]
      np.testing.assert_array_equal(found, 1 + 4 * (i // 10 - 1))


def run_all(folder, cfg, num_steps, steps=None):
  with checkpoints.Checkpoints(folder, cfg, num_steps, META) as store:
    for step in steps or range(1, num_steps + 1):
      store.save(step, {"params": {"w": jnp.ones(1)}}, {"position": step})
    store.wait()
    return store.steps()


def test_budgets_and_the_last_ones_stay(tmp_path, cfg):
  cfg.update(every_steps=3, budgets_percent=(1, 2, 5, 10, 20, 50, 100))
  found = run_all(tmp_path, cfg, 40)
  assert found == [1, 2, 4, 8, 20, 39, 40]


def test_multiples_stay_too_and_the_rest_goes(tmp_path, cfg):
  cfg.update(every_steps=2, keep_last=1, keep_every=6, budgets_percent=(50,))
  assert run_all(tmp_path, cfg, 21) == [6, 11, 12, 18, 21]


def test_budgets_stay_over_a_restart(tmp_path, cfg):
  cfg.update(every_steps=2, keep_last=1, budgets_percent=(10, 100))
  assert run_all(tmp_path, cfg, 20, range(1, 9)) == [2, 8]
  assert run_all(tmp_path, cfg, 20, range(9, 21)) == [2, 20]


def test_without_an_interval_there_are_only_budgets(tmp_path, cfg):
  cfg.update(every_steps=0, budgets_percent=(25,))
  assert run_all(tmp_path, cfg, 12) == [3, 12]


def test_the_steps_of_the_budgets():
  percents = (1, 2, 5, 10, 20, 50, 100)
  found = checkpoints.budgets(700, percents)
  assert list(found.values()) == [7, 14, 35, 70, 140, 350, 700]
  # So short a run has fewer checkpoints than budgets.
  found = checkpoints.budgets(10, percents)
  assert list(found.values()) == [1, 1, 1, 1, 2, 5, 10]


def test_what_is_not_due_is_saved_by_force_and_nothing_twice(tmp_path, cfg):
  state = {"params": {"w": jnp.ones(1)}}
  with checkpoints.Checkpoints(tmp_path, cfg, 100, META) as store:
    assert not store.save(7, state, {})
    assert store.save(7, state, {}, force=True)
    assert not store.save(7, state, {}, force=True)
    assert store.save(10, state, {})
    assert not store.save(10, state, {}, force=True)
    store.wait()
    assert store.steps() == [7, 10]


CHILD = """
import pathlib, sys, time
import jax.numpy as jnp
from orbax.checkpoint._src.path import atomicity
from configs import base
from vdr.runtime import checkpoints

cfg = base.default().saving
store = checkpoints.Checkpoints(pathlib.Path(sys.argv[1]), cfg, 9, {})
store.save(4, {"params": {"w": jnp.full((99,), 4.0)}}, {"position": 4}, True)
store.wait()

def hang(*unused):
  print("written, not yet named", flush=True)
  time.sleep(600)

atomicity.AtomicRenameTemporaryPath.finalize = hang
store.save(5, {"params": {"w": jnp.full((99,), 5.0)}}, {"position": 5}, True)
time.sleep(600)
"""


def test_killed_while_saving_the_one_before_counts(tmp_path, cfg):
  process = subprocess.Popen(
    [sys.executable, "-c", CHILD, tmp_path],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
  )
  assert process.stdout is not None
  assert process.stdout.readline() == b"written, not yet named\n"
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  process.stdout.close()
  torn = [p.name for p in tmp_path.iterdir() if p.name != "4"]
  assert torn and torn[0].startswith("5")
  # Someone who only reads neither sees nor removes it.
  params, meta = checkpoints.restore_params(tmp_path, "params")
  assert (meta["step"], float(params["w"][0])) == (4, 4.0)
  assert (tmp_path / torn[0]).exists()
  shapes = abstract({"params": {"w": jnp.zeros(99)}})
  with checkpoints.Checkpoints(tmp_path, cfg, 9, META) as store:
    assert store.steps() == [4]
    assert store.restore(shapes).data_state == {"position": 4}
    assert store.save(5, {"params": {"w": jnp.ones(99)}}, {}, force=True)
    store.wait()
    assert store.steps() == [4, 5]
    assert not (tmp_path / torn[0]).exists()


@pytest.fixture
def saved(tmp_path, cfg):
  """A work directory with two checkpoints, and the state of the last."""
  folder = tmp_path / checkpoints.FOLDER
  with checkpoints.Checkpoints(folder, cfg, 20, META) as store:
    store.save(10, make_state(1), {"position": 10})
    store.save(20, make_state(2), {"position": 20})
  return tmp_path, make_state(2)


@pytest.mark.parametrize(
  ("which", "part"),
  [
    ("params", "params"),
    ("ema", "ema/0.999"),
    ("ema/0.9", "ema/0.9"),
    ("ema/0.999", "ema/0.999"),
  ],
)
def test_parameters_alone(saved, which, part):
  workdir, state = saved
  expected = state
  for key in part.split("/"):
    expected = expected[key]
  params, meta = checkpoints.restore_params(workdir, which)
  assert_same(params, expected)
  assert (meta["step"], meta["which"]) == (20, part)
  assert meta["hash"] == fingerprint.of(expected)


def test_a_checkpoint_is_named_in_three_ways(saved):
  workdir, _ = saved
  folder = workdir / checkpoints.FOLDER
  for path in (workdir, folder, folder / "20"):
    assert checkpoints.read_meta(path)["step"] == 20
    assert checkpoints.restore_params(path)[1]["step"] == 20
  assert checkpoints.read_meta(folder / "10")["step"] == 10
  assert checkpoints.read_meta(workdir, step=10)["step"] == 10
  assert checkpoints.restore_params(workdir, step=10)[1]["step"] == 10


def test_parameters_in_the_place_and_shape_asked_for(saved):
  workdir, state = saved
  shapes = abstract(state["params"])
  params, _ = checkpoints.restore_params(workdir, "params", abstract=shapes)
  assert params["bias"].sharding == shapes["bias"].sharding
  shapes["bias"] = jax.ShapeDtypeStruct((6,), jnp.bfloat16)
  with pytest.raises(errors.UserError, match=r"params/bias .*\[5\].*\[6\]"):
    checkpoints.restore_params(workdir, "params", abstract=shapes)


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    ("params/blocks/kernel", (2, 4, 5), r"float32\[2, 4, 3\].*\[2, 4, 5\]"),
    ("params/extra", (1,), r"there params/extra is absent, here"),
    ("params/bias", None, r"there params/bias is bfloat16\[5\], here absent"),
  ],
)
def test_another_architecture_is_named_by_its_first_difference(
  saved, cfg, path, value, message
):
  workdir, state = saved
  shapes = abstract(state)
  node = shapes
  *above, last = path.split("/")
  for key in above:
    node = node[key]
  node.pop(last, None)
  if value is not None:
    node[last] = jax.ShapeDtypeStruct(value, jnp.float32)
  folder = workdir / checkpoints.FOLDER
  with checkpoints.Checkpoints(folder, cfg, 20, META) as store:
    with pytest.raises(errors.UserError, match=message):
      store.restore(shapes)


def test_what_is_not_there(saved, tmp_path, cfg):
  workdir, _ = saved
  with pytest.raises(errors.UserError, match="no checkpoint of step 5; .* 10,"):
    checkpoints.restore_params(workdir, step=5)
  with pytest.raises(errors.UserError, match="ema/0.5.*params, ema/0.9, ema"):
    checkpoints.restore_params(workdir, "ema/0.5")
  with pytest.raises(errors.UserError, match="has no checkpoints"):
    checkpoints.read_meta(tmp_path / "nothing")
  (tmp_path / "empty").mkdir()
  with pytest.raises(errors.UserError, match="no whole checkpoint"):
    checkpoints.restore_params(tmp_path / "empty")
  with checkpoints.Checkpoints(tmp_path / "new", cfg, 9, META) as store:
    with pytest.raises(errors.UserError, match="no whole checkpoint"):
      store.restore({})


# TensorStore's other reads end after Orbax has given up.
@pytest.mark.filterwarnings("ignore:Exception ignored in. None")
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_serves(saved, cfg):
  workdir, state = saved
  folder = workdir / checkpoints.FOLDER
  for path in (folder / "20" / "state").rglob("*"):
    if path.is_file() and path.parent.name == "d":
      data = bytearray(path.read_bytes())
      data[len(data) // 2] ^= 1
      path.write_bytes(bytes(data))
  with checkpoints.Checkpoints(folder, cfg, 20, META) as store:
    with pytest.raises(errors.UserError, match="20 is damaged .*delete"):
      store.restore(abstract(state))
  with pytest.raises(errors.UserError, match="20 is damaged"):
    checkpoints.restore_params(workdir)
  shutil.rmtree(folder / "20")
  with checkpoints.Checkpoints(folder, cfg, 20, META) as store:
    assert store.restore(abstract(state)).step == 10


def test_other_numbers_than_were_saved_are_damage_too(saved):
  workdir, _ = saved
  path = workdir / checkpoints.FOLDER / "20" / "meta" / "metadata"
  meta = json.loads(path.read_text())
  meta["hashes"]["ema/0.999"] = "0" * 16
  path.write_text(json.dumps(meta))
  checkpoints.restore_params(workdir, "params")
  with pytest.raises(errors.UserError, match="hash of ema/0.999 differs"):
    checkpoints.restore_params(workdir, "ema")


def test_it_says_nothing(tmp_path, cfg, capfd):
  run_all(tmp_path, cfg, 10)
  checkpoints.read_meta(tmp_path)
  assert capfd.readouterr() == ("", "")
