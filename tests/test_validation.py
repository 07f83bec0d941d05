"""Validation: means over noise levels, and the same noise every time."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

from configs import base
from configs import physics as physics_config
from tests import training
from vdr import train, train_step, validation
from vdr.data.physics import generate
from vdr.runtime import errors, processes
from vdr.runtime import mesh as mesh_lib


def test_means_weigh_every_example_alike():
  sums = {
    "clips_error": np.array([2.0, 0.0, 6.0]),
    "clips_count": np.array([1.0, 0.0, 2.0]),
  }
  means = validation.bucket_means(sums, "train")
  assert means == {
    "train/clips": pytest.approx(8 / 3),
    "train/clips_noise_0.0_0.3": 2.0,
    "train/clips_noise_0.7_1.0": 3.0,
  }
  empty = {k: np.zeros(3) for k in sums}
  assert validation.bucket_means(empty, "train") == {}


def test_streams_of_a_seed_are_independent():
  keys = [
    jax.random.key_data(validation.stream_key(seed, name)).tobytes()
    for seed in (0, 1)
    for name in validation.STREAMS
  ]
  assert len(set(keys)) == len(keys)


def test_validation_is_the_same_every_time_and_sees_held_out_clips():
  cfg = training.config()
  step, tokenizer_params = training.built(cfg)
  mesh = mesh_lib.make_mesh(cfg.mesh)
  params = training.perturbed(step.init(jax.random.key(0))["params"])
  check = validation.Validation(cfg, mesh, step)
  first = check(params, tokenizer_params)
  assert first == check(params, tokenizer_params)
  assert first == validation.Validation(cfg, mesh, step)(
    params, tokenizer_params
  )
  other = training.config(train__validation_split="test")
  assert first != validation.Validation(other, mesh, step)(
    params, tokenizer_params
  )


def test_no_more_batches_are_read_than_the_split_has(tmp_path, caplog):
  size = dict(num_frames=9, height=32, width=32, num_points=4)
  clips = dict(pretrain=4, train=0, select=5, test=0, test_ood=0)
  made = base.override(
    physics_config.get_config("debug"),
    {f"physics.{k}": v for k, v in size.items()}
    | {f"physics.num_clips.{k}": v for k, v in clips.items()}
    | {"runtime.num_workers": 0},
  )
  generate.run(made, tmp_path)
  cfg = training.config(
    data__sources__main__path=str(tmp_path),
    data__sources__main__num_frames=9,
    images__batch_size=0,
    train__validation_batches=999_999_937,
  )
  step, tokenizer_params = training.built(cfg)
  mesh = mesh_lib.make_mesh(cfg.mesh)
  params = step.init(jax.random.key(0))["params"]
  counts = []

  def evaluate(*args):
    found = step.evaluate(*args)
    counts.append(int(found["clips_count"].sum()))
    return found

  counting = dataclasses.replace(step, evaluate=evaluate)
  validation.Validation(cfg, mesh, counting)(params, tokenizer_params)
  assert counts == [2, 2, 2]  # five clips in batches of two
  assert "3 batches, all that split 'select' has" in caplog.text


def test_validation_on_clips_of_training_is_refused_before_it_starts(tmp_path):
  cfg = training.config(train__validation_split="pretrain")
  with pytest.raises(errors.UserError, match="^the clips of training and trai"):
    train.run(cfg, tmp_path / "run")
  assert not (tmp_path / "run").exists()
  validation.check(
    training.config(
      train__validation_split="pretrain", train__validate_every_steps=0
    )
  )


def of_folders(tmp_path, num_classes):
  """Images of cats and dogs as clips, and of birds and cats beside them."""
  for folder, names in (("one", ("cat", "dog")), ("two", ("bird", "cat"))):
    for name in names:
      path = tmp_path / folder / name
      path.mkdir(parents=True, exist_ok=True)
      Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path / "a.png")
  fields = {"model__num_classes": num_classes}
  for section, folder in (("data", "one"), ("images", "two")):
    source = {
      "kind": "image_folder",
      "path": str(tmp_path / folder),
      "split": "all",
      "fields": ("video", "label"),
    }
    fields |= {f"{section}__sources__main__{k}": v for k, v in source.items()}
  return training.config(**fields, train__validate_every_steps=0)


def test_clips_and_images_number_their_classes_alike(tmp_path):
  cfg = of_folders(tmp_path, 3)
  opened = validation.open_sources(cfg, train_step.groups(cfg))
  names = ("bird", "cat", "dog")
  assert validation.class_names(cfg, opened) == list(names)
  rng = np.random.default_rng(0)
  for group, shown in (("clips", "cat"), ("images", "bird")):
    (source,) = opened[group].values()
    assert source.class_names["label"] == names
    assert names[source.read(0, rng)["label"]] == shown


@pytest.mark.parametrize("num_classes", [2, 4])
def test_another_number_of_classes_is_refused(tmp_path, num_classes):
  cfg = of_folders(tmp_path, num_classes)
  with pytest.raises(errors.UserError, match="3 classes .* set it to 3$"):
    train.run(cfg, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_more_batches_than_memory_holds_are_refused(monkeypatch):
  # Clips that are simulated on the way: the split has a million.
  cfg = training.config(train__validation_batches=999_999_937)
  step, tokenizer_params = training.built(cfg)
  mesh = mesh_lib.make_mesh(cfg.mesh)
  params = step.init(jax.random.key(0))["params"]
  check = validation.Validation(cfg, mesh, step)
  monkeypatch.setattr(processes, "memory_bytes", lambda: 2**30)
  with pytest.raises(errors.UserError, match="=524288, kept, take"):
    check(params, tokenizer_params)
