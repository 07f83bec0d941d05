"""Runs in a process of its own, with eight emulated devices.

Prints one JSON object, which the tests of meshes and checkpoints look into.
"""

import json
import os
import pathlib
import sys

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import base
from vdr.models import fused_attention, positions
from vdr.runtime import checkpoints, mesh, optimizer

NUM_STEPS = 4
BATCH = 16
DEPTH, WIDTH, HEADS, CHANNELS, HIDDEN = 2, 8, 2, 4, 16
# Devices, and how they are laid out: (data, fsdp, tensor).
MESHES = {"1": (1, 1, 1), "2": (2, 1, 1), "4": (1, 2, 2), "8": (2, 2, 2)}


def make_params():
  """A stack of small blocks with the names of the real ones."""
  rng = np.random.default_rng(0)

  def normal(*shape):
    return rng.normal(size=shape, scale=0.3).astype(np.float32)

  return {
    "embed": {"kernel": normal(3, WIDTH), "bias": normal(WIDTH)},
    "blocks": {
      "attention": {
        "qkv": {"kernel": normal(DEPTH, WIDTH, 3, HEADS, CHANNELS)},
        "out": {"kernel": normal(DEPTH, HEADS, CHANNELS, WIDTH)},
      },
      "mlp": {
        "up": {"kernel": normal(DEPTH, WIDTH, HIDDEN)},
        "down": {"kernel": normal(DEPTH, HIDDEN, WIDTH)},
      },
    },
  }


def loss_fn(params, batch):
  x = batch["x"] @ params["embed"]["kernel"]
  x = x + params["embed"]["bias"][None, None]

  def block(x, p):
    qkv = jnp.einsum("btd,dsac->sbtac", x, p["attention"]["qkv"]["kernel"])
    q, k, v = qkv[0], qkv[1], qkv[2]
    weights = jax.nn.softmax(jnp.einsum("bqac,bkac->baqk", q, k))
    y = jnp.einsum("baqk,bkac->bqac", weights, v)
    x = x + jnp.einsum("btac,acd->btd", y, p["attention"]["out"]["kernel"])
    y = jax.nn.gelu(x @ p["mlp"]["up"]["kernel"])
    return x + y @ p["mlp"]["down"]["kernel"], None

  x, _ = jax.lax.scan(block, x, params["blocks"])
  rows = jnp.mean((x - batch["y"]) ** 2, axis=(1, 2))
  return jnp.sum(rows) / BATCH, {}


def batch_of(step, sharding):
  rng = np.random.default_rng((1, step))
  batch = {
    "x": rng.normal(size=(BATCH, 5, 3)).astype(np.float32),
    "y": rng.normal(size=(BATCH, 5, WIDTH)).astype(np.float32),
  }
  return jax.device_put(batch, sharding)


class Run:
  """A training run on one mesh, as the verb does it, in small."""

  def __init__(self, layout, parts=2):
    config = base.default()
    config.optimizer.update(
      warmup_steps=1, learning_rate=0.01, weight_decay=0.1
    )
    config.mesh.update(dict(zip(mesh.AXES, layout, strict=True)))
    count = int(np.prod(layout))
    self.mesh = mesh.make_mesh(config.mesh, jax.devices()[:count])
    mesh.check_batch_size(self.mesh, BATCH)
    params = make_params()
    self.tx = optimizer.make_optimizer(config.optimizer, NUM_STEPS, params)

    def start():
      return {
        "params": params,
        "ema": optimizer.init_ema(params, (0.9, 0.99)),
        "optimizer": self.tx.init(params),
        "step": jnp.int32(0),
      }

    self.abstract = mesh.with_shardings(self.mesh, jax.eval_shape(start))
    shardings = mesh.param_shardings(self.mesh, self.abstract)
    self.state = jax.jit(start, out_shardings=shardings)()

    def step(state, batch):
      (loss, _), grads = optimizer.accumulate(
        loss_fn, state["params"], batch, parts
      )
      updates, opt = self.tx.update(grads, state["optimizer"], state["params"])
      params = optax.apply_updates(state["params"], updates)
      ema = optimizer.update_ema(state["ema"], params, state["step"])
      return loss, {
        "params": params,
        "ema": ema,
        "optimizer": opt,
        "step": state["step"] + 1,
      }

    self._step = jax.jit(
      step, out_shardings=(None, shardings), donate_argnums=0
    )

  def advance(self, steps):
    losses = []
    for _ in range(steps):
      batch = batch_of(int(self.state["step"]), mesh.batch_sharding(self.mesh))
      loss, self.state = self._step(self.state, batch)
      losses.append(float(loss))
    return losses


def across_meshes(runs, folder):
  """Saved after two steps on eight devices, gone on with on all layouts."""
  saved = Run(MESHES["8"])
  saved.advance(2)
  expected = jax.tree.map(np.array, saved.state)
  cfg = base.default().saving
  with checkpoints.Checkpoints(folder, cfg, NUM_STEPS, {}) as store:
    store.save(2, saved.state, {"position": 2})
    saved.advance(1)  # donates what is being saved
    store.wait()
    found = {}
    for name, run in runs.items():
      restored = store.restore(run.abstract, step=2)
      run.state = restored.state
      same = jax.tree.map(np.array_equal, jax.device_get(run.state), expected)
      placed = jax.tree.map(
        lambda x, a: x.sharding == a.sharding, run.state, run.abstract
      )
      found[name] = {
        "same": bool(jax.tree.all(same)),
        "placed": jax.tree.all(placed),
        "position": restored.data_state["position"],
        "rest": run.advance(2),
      }
  params, _ = checkpoints.restore_params(
    folder, "params", abstract=saved.abstract["params"]
  )
  placed = params["blocks"]["mlp"]["up"]["kernel"].sharding
  return {"restored": found, "eval_spec": str(placed.spec)}


def split_bytes(run):
  """Bytes of the parameters on each device, counted and predicted."""
  leaves = jax.tree.leaves(run.state["params"])
  counted = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
  return counted, mesh.bytes_per_device(run.state["params"], run.mesh)


def largest_difference(num_windows):
  """Of the kernel's results on 2 x 2 x 2 devices from those on one."""
  keys = jax.random.split(jax.random.key(0), 3)
  args = (
    jax.random.normal(keys[0], (num_windows, 6, 3, 4, 64)),
    *(1 + jax.random.normal(keys[1], (2, 64)) / 4),
  )
  gradient = jax.random.normal(keys[2], (num_windows, 6, 4, 64))
  angles = positions.rotations((1, 2, 3), 64)

  def run(args, gradient):
    def attend(*args):
      return fused_attention.attend(*args, angles, interpret=True)

    y, pull = jax.vjp(attend, *args)
    return y, *pull(gradient)

  def split(args, gradient):
    with mesh.split_rows(layout):
      return run(args, gradient)

  config = base.default()
  config.mesh.update(dict(zip(mesh.AXES, MESHES["8"], strict=True)))
  layout = mesh.make_mesh(config.mesh)
  one, eight = jax.jit(run)(args, gradient), jax.jit(split)(args, gradient)
  shares = [x.addressable_shards[0].data.shape for x in eight[:2]]
  differences = jax.tree.map(lambda x, y: np.max(np.abs(x - y)), one, eight)
  return float(max(differences)), shares


def main():
  runs = {name: Run(layout) for name, layout in MESHES.items()}
  found = {
    "trajectories": {n: run.advance(NUM_STEPS) for n, run in runs.items()},
    "bytes": split_bytes(runs["8"]),
    "kernel": {num: largest_difference(num) for num in (8, 3)},
    **across_meshes(runs, pathlib.Path(sys.argv[1])),
  }
  print(json.dumps(found))


if __name__ == "__main__":
  main()
