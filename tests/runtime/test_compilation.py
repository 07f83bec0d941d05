"""The second start reads what the first one compiled."""

import os
import subprocess
import sys

import jax
import pytest

from vdr.runtime import compilation

PROGRAM = """
from vdr.runtime import compilation
compilation.use_cache()
import jax
hits = []
jax.monitoring.register_event_listener(
  lambda name, **_: hits.append(name) if "cache_hit" in name else None
)
jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((32, 32))).block_until_ready()
print(len(hits))
"""


def start(home, **environment):
  clean = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
  environment = clean | {"HOME": str(home)} | environment
  environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM],
    env=environment,
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  return int(done.stdout)


def test_a_second_start_compiles_nothing_anew(tmp_path):
  assert start(tmp_path) == 0
  assert start(tmp_path) > 0


def test_the_users_own_settings_stand(tmp_path):
  place = tmp_path / "elsewhere"
  assert start(tmp_path, JAX_COMPILATION_CACHE_DIR=str(place)) == 0
  assert list(place.iterdir())
  assert not (tmp_path / ".cache").exists()


def test_machines_of_another_kind_have_their_own(monkeypatch):
  here = compilation.folder()
  monkeypatch.setattr(compilation, "_processor", lambda: "another")
  assert compilation.folder() != here
  assert compilation.folder().parent == here.parent


def test_only_gpus_have_options_and_xla_knows_them():
  assert compilation.step_options("cpu") is None
  assert compilation.step_options("tpu") is None
  options = compilation.step_options("gpu")
  # Every XLA has the options of all backends, and refuses what it doesn't know.
  double = jax.jit(lambda x: 2 * x, compiler_options=options)
  assert double(1.5) == 3
  with pytest.raises(jax.errors.JaxRuntimeError, match="no_such_option"):
    jax.jit(lambda x: x, compiler_options={"xla_no_such_option": 1})(1.5)
