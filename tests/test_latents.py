"""The latents verb: training on latents is training on pixels."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from configs import latents as latents_config
from configs import physics as physics_config
from tests import training
from vdr import latents, train_step, validation
from vdr.data import held_out, source
from vdr.data.physics import generate
from vdr.models import tokenizer
from vdr.runtime import errors, workdir

ROOT = pathlib.Path(__file__).resolve().parents[1]


def config(**fields):
  cfg = latents_config.get_config("debug")
  with cfg.unlocked():
    cfg.update_from_flattened_dict(
      {"latents.max_clips": 12}
      | {name.replace("__", "."): value for name, value in fields.items()}
    )
  return cfg


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
  """A simulated data set of twelve held-out clips."""
  cfg = physics_config.get_config("debug")
  cfg.physics.num_clips.update(pretrain=4, train=0, select=12, test=0)
  cfg.physics.num_clips.test_ood = 0
  cfg.runtime.num_workers = 0
  path = tmp_path_factory.mktemp("physics") / "pixels"
  generate.run(cfg, path)
  return path


@pytest.fixture(scope="module")
def made(pixels, tmp_path_factory):
  path = tmp_path_factory.mktemp("latents") / "latents"
  latents.run(config(data__sources__main__path=str(pixels)), path)
  return path


def training_on(kind, path):
  """A config of the video model that reads every held-out clip in order."""
  source = {
    "kind": kind,
    "path": str(path),
    "split": "select",
    "sampling": "random",
  }
  fields = {
    f"{group}__sources__main__{name}": value
    for group in ("data", "images")
    for name, value in source.items()
  }
  return training.config(**fields, data__shuffle=False, images__shuffle=False)


def first_batches(cfg):
  """The first batch of each group, as a step sees it."""
  found = {}
  for name, loader_cfg in train_step.groups(cfg).items():
    sources = validation.open_sources(cfg, {"clips": loader_cfg})["clips"]
    with validation.open_loader(cfg, loader_cfg, sources) as batches:
      batch = next(batches)
    known = ("video", "latents", "clip_valid")
    found[name] = {k: batch[k] for k in known if k in batch}
  return found


def test_the_loss_on_latents_is_that_on_pixels(pixels, made):
  """Of clips and of single frames, in the same order."""
  configs = training_on("physics", pixels), training_on("latents", made)
  step, _ = training.built(configs[0])
  params = tokenizer.load(made / tokenizer.FILE_NAME)[1]
  state = step.init(jax.random.key(0))
  evaluate = [
    step.evaluate(
      state["params"], params, first_batches(cfg), jax.random.key(1)
    )
    for cfg in configs
  ]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *evaluate
  )


def test_items_are_of_the_videos_that_were_encoded(pixels, made):
  cfgs = (
    training_on(kind, path).data.sources.main
    for kind, path in (("physics", pixels), ("latents", made))
  )
  theirs, ours = map(source.open_source, cfgs)
  assert len(ours) == 12
  for i in range(12):
    assert ours.video_of(i) == theirs.video_of(i) != ours.clip_id(i)
    assert ours.group_of(i) == theirs.group_of(i)


def test_a_killed_run_gives_the_same_files(pixels, made, tmp_path):
  command = [
    *(sys.executable, "-m", "vdr.main", f"--workdir={tmp_path / 'killed'}"),
    *("--config=configs/latents.py:debug", "--config.latents.max_clips=12"),
    f"--config.data.sources.main.path={pixels}",
  ]
  process = subprocess.Popen(command, cwd=ROOT)
  for _ in range(1200):
    if list((tmp_path / "killed").glob("latents-*")):
      break
    time.sleep(0.05)
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  assert not (tmp_path / "killed" / "latents.json").exists()
  subprocess.run(command, cwd=ROOT, check=True)
  ours = {f.name: f.read_bytes() for f in (tmp_path / "killed").iterdir()}
  theirs = {f.name: f.read_bytes() for f in made.iterdir()}
  del ours[workdir.LOCK_NAME], theirs[workdir.LOCK_NAME]
  assert ours.keys() == theirs.keys()
  different = {n for n in ours if ours[n] != theirs[n]}
  assert not different - {tokenizer.FILE_NAME}  # a zip with the time in it


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(data__sources__main__crop="random"), "set crop=center"),
    (dict(data__sources__main__kind="latents"), "encoded already"),
    (dict(latents__clips_per_shard=6), "must be a multiple of"),
    (dict(tokenizer__kind="conv"), "has to be trained"),
  ],
)
def test_what_can_not_be_encoded_is_refused(fields, message, tmp_path):
  with pytest.raises(errors.UserError, match=message):
    latents.run(config(**fields), tmp_path / "no")
  assert not (tmp_path / "no").exists()


def test_latents_hold_the_clips_that_were_encoded(pixels, made):
  def data(kind, path, split):
    cfg = training_on(kind, path).data
    return held_out.of_split(cfg, split)

  held_out.check(
    {
      "latents": [data("latents", made, "pretrain")],
      "pixels": [data("physics", pixels, "select")],
    }
  )
  with pytest.raises(errors.UserError, match="latents and pixels have 12 clip"):
    held_out.check(
      {
        "latents": [data("latents", made, "select")],
        "pixels": [data("physics", pixels, "select")],
      }
    )


def test_no_clip_is_encoded_for_two_splits(pixels, tmp_path):
  cfg = config(
    data__sources__main__path=str(pixels),
    latents__splits=("select", "all"),
  )
  with pytest.raises(errors.UserError, match="latents.splits=select and"):
    latents.run(cfg, tmp_path / "no")
  assert not (tmp_path / "no").exists()
