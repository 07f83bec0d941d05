"""One step: what it weighs, what it skips, and what a budget buys."""

import json
import pathlib
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import image_dit
from tests import training
from vdr import train_step
from vdr.runtime import errors

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def mixed():
  """The step of clips and images together, compiled once."""
  cfg = training.config()
  return cfg, *training.built(cfg)


def evaluate(mixed, batch):
  _, step, tokenizer_params = mixed
  params = training.perturbed(step.init(jax.random.key(0))["params"])
  sums = step.evaluate(params, tokenizer_params, batch, jax.random.key(3))
  return jax.device_get(sums)


def test_an_unreadable_clip_counts_for_nothing(mixed):
  batch = training.batch(mixed[0])
  batch["clips"]["clip_valid"][1] = False
  first = evaluate(mixed, batch)
  batch["clips"]["video"][1] = 0  # whatever is in it
  second = evaluate(mixed, batch)
  jax.tree.map(np.testing.assert_array_equal, first, second)
  assert first["clips_count"].sum() == 1 and first["images_count"].sum() == 2


def test_a_step_changes_parameters_averages_and_the_count(mixed):
  cfg, step, tokenizer_params = mixed
  state = step.init(jax.random.key(0))
  before = jax.device_get(state)
  batch = training.batch(cfg)
  after, metrics = step.update(
    state, tokenizer_params, batch, jax.random.key(0)
  )
  assert int(after["step"]) == 1
  assert np.isfinite(float(metrics["loss"]))
  changed = jax.tree.map(
    lambda a, b: bool((np.asarray(a) != np.asarray(b)).any()),
    before["params"],
    jax.device_get(after["params"]),
  )
  assert any(jax.tree.leaves(changed))
  assert int(metrics["skips"]["total"]) == 0


def test_a_step_that_is_not_finite_is_skipped_and_counted(mixed):
  cfg, step, tokenizer_params = mixed
  broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), tokenizer_params)
  state = step.init(jax.random.key(0))
  before = jax.device_get(state["params"])
  state, metrics = step.update(
    state, broken, training.batch(cfg), jax.random.key(0)
  )
  assert int(metrics["skips"]["in_a_row"]) == 1
  jax.tree.map(
    np.testing.assert_array_equal, before, jax.device_get(state["params"])
  )
  assert int(state["step"]) == 1  # its batch is gone all the same


def make_task(cfg):
  return train_step._Task(
    train_step.resolve_model(cfg, cfg.tokenizer),
    cfg.tokenizer,
    cfg.optimizer,
    train_step.objectives.Objective.from_config(cfg.diffusion),
    optax.identity(),
  )


def test_class_and_text_are_dropped_together():
  cfg = training.config(
    model__num_classes=8, model__text_dim=4, model__condition_dropout=0.5
  )
  mask = jnp.ones((2, 3), bool).at[1, 2].set(False)
  given = make_task(cfg)._condition(
    {
      "drop": jnp.array([0.4, 0.6]),
      "label": jnp.array([5, 6]),
      "text": jnp.ones((2, 3, 4)),
      "text_mask": mask,
    }
  )
  np.testing.assert_array_equal(given["labels"], [-1, 6])
  np.testing.assert_array_equal(given["text_mask"], [[False] * 3, mask[1]])


def test_every_token_counts_alike():
  """Weights are those of latent frames, and sum to one over all groups."""
  cfg = training.config()
  task = make_task(cfg)
  _, tokenizer_params = training.built(cfg)
  batch = training.batch(cfg)
  batch["images"]["clip_valid"][0] = False
  batch = jax.tree.map(jnp.asarray, batch)
  rows = task.draw(tokenizer_params, batch, jax.random.key(0))
  np.testing.assert_allclose(rows["clips"]["weight"], [5 / 11, 5 / 11])
  np.testing.assert_allclose(rows["images"]["weight"], [0, 1 / 11])


def test_a_budget_is_steps_or_tokens_or_flops():
  steps = training.built(training.config(train__amount=7.0))[0]
  assert steps.num_steps == 7
  # Two clips of five latent frames and two images, 4 × 4 each.
  assert steps.tokens == (2 * 5 + 2 * 1) * 16
  for budget, per_step in (("tokens", steps.tokens), ("flops", steps.flops)):
    cfg = training.config(train__budget=budget, train__amount=7.0 * per_step)
    assert training.built(cfg)[0].num_steps == 7


def test_both_models_take_as_many_tokens_a_step():
  video = training.built(training.config())[0]
  image = training.built(image_dit.get_config("debug"))[0]
  assert video.tokens == image.tokens


@pytest.mark.parametrize(
  "fields, words",
  (
    (
      dict(train__amount=1e10),
      "train.amount=10000000000.0 steps are 1.0e\\+10",
    ),
    (dict(data__batch_size=0, images__batch_size=0), "are 0"),
    (dict(data__sources__main__num_frames=16), "4k \\+ 1"),
    (dict(data__sources__main__height=30), "height"),
    (dict(model__num_classes=8), "add it to data.sources.main.fields"),
    (dict(model__text_dim=4), "name their file in data.sources.main.text"),
  ),
)
def test_parts_that_do_not_fit_are_refused(fields, words):
  with pytest.raises(errors.UserError, match=words):
    training.built(training.config(**fields))


@pytest.mark.slow
def test_accumulated_parts_are_one_batch():
  whole = training.losses(training.config(), 2)
  parts = training.losses(training.config(optimizer__accumulation_steps=2), 2)
  np.testing.assert_allclose(parts, whole, rtol=1e-5)


EIGHT = """
  import json, os
  os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
  )
  from tests import training
  found = {}
  for name, (devices, fsdp, tensor) in {
    "1": (1, 1, 1), "dp2": (2, 1, 1), "dp8": (8, 1, 1), "fsdp4": (4, 4, 1),
    "tp2": (2, 1, 2), "mixed8": (8, 2, 2),
  }.items():
    cfg = training.config(
      data__batch_size=8, images__batch_size=8, mesh__fsdp=fsdp,
      mesh__tensor=tensor, optimizer__learning_rate=1e-3, train__amount=5.0,
    )
    found[name] = training.losses(cfg, 5, devices)
  print(json.dumps(found))
"""


@pytest.mark.slow
def test_every_mesh_gives_the_losses_of_one_device():
  done = subprocess.run(
    [sys.executable, "-c", textwrap.dedent(EIGHT)],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  one = found.pop("1")
  assert len(one) == 5 and one[0] != one[-1]
  for name, losses in found.items():
    np.testing.assert_allclose(losses, one, rtol=1e-4, err_msg=name)
