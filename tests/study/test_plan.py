"""Which cells there are, and what a change makes run again."""

import pytest

from configs import image_dit
from configs import study as study_config
from vdr.runtime import command_line, errors
from vdr.study import plan

VARIANTS = tuple(study_config.VARIANTS)


def config(variant="local", **fields):
  cfg = study_config.get_config(variant)
  with cfg.unlocked():
    cfg.update_from_flattened_dict(
      {k.replace("__", "."): v for k, v in fields.items()}
    )
  return cfg


def made(variant="local", **fields):
  return {cell.name: cell for cell in plan.make(config(variant, **fields))}


@pytest.mark.parametrize("variant", VARIANTS)
def test_inputs_come_before_what_needs_them(variant):
  seen, cells = set(), plan.make(config(variant))
  for cell in cells:
    assert cell.name not in seen
    assert {one.name for one in cell.inputs} <= seen
    seen.add(cell.name)
  roles = {cell.about["role"] for cell in cells}
  assert {"data", "tokenizer", "train", "main", "budget"} <= roles


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_models_are_trained_alike(variant):
  """They differ in the fields that are known to differ, and in no other."""
  cells = made(variant)
  for name, video in cells.items():
    if not name.startswith("train-video"):
      continue
    image = cells[name.replace("video", "image")]
    one, other = (command_line.flatten(c.config) for c in (video, image))
    changed = {key for key in one if one[key] != other[key]}
    assert changed == set(image_dit.DIFFERENCES)


def rerun(before, after):
  return {n for n, cell in after.items() if cell.key != before[n].key}


def test_a_change_reruns_what_depends_on_it():
  before = made()
  assert not rerun(before, made())
  probes = rerun(before, made(probe__num_steps=7))
  assert probes == {n for n, c in before.items() if c.config.job == "evaluate"}
  steps = rerun(before, made(train__amount=7.0))
  assert steps == {
    n
    for n, c in before.items()
    if c.about["role"] not in ("data", "tokenizer", "judge")
  }
  assert rerun(before, made(physics__fps=24.0)) == set(before)
  assert not rerun(before, made(runner__kind="here", log__every_steps=1))


def test_sizes_and_seeds_multiply_the_models():
  cells = made(study__sizes=("micro", "tiny"), study__seeds=(0, 3))
  models = [c for c in cells.values() if c.about["role"] == "train"]
  assert len({c.about["model"] for c in models}) == 8
  assert {c.config.seed for c in models} == {0, 3}
  assert len({c.key for c in models}) == 8
  others = [c for c in cells.values() if c.about["role"] == "main"]
  assert {c.config.seed for c in others} == {0}  # the same probes


def test_evaluations_read_the_checkpoint_of_their_step():
  cells = made(train__amount=500.0)
  budget = cells["budget-video-mini-0-10"]
  assert budget.config.checkpoint == "@train-video-mini-0/checkpoints/50"
  assert budget.about["step"] == 50
  main = cells["main-video-mini-0"]
  assert main.config.checkpoint == "@train-video-mini-0"
  assert main.config.evaluate.frames == "clip"
  assert cells["main-image-mini-0"].config.evaluate.frames == "latent"
  every = cells["every_frame-image-mini-0"]
  assert every.config.evaluate.frames == "every"


@pytest.mark.parametrize(
  ("pretrain", "kinds"),
  [
    ("simulated", {"main": "physics"}),
    ("folder:clips", {"main": "video_folder"}),
    (
      "simulated+folder:clips",
      {"main": "physics", "folder": "video_folder"},
    ),
  ],
)
def test_what_is_pretrained_on(pretrain, kinds):
  cells = made(data__pretrain=pretrain)
  for name in ("train-video-mini-0", "train-image-mini-0"):
    for section, frames in (("data", 17), ("images", 1)):
      sources = cells[name].config[section].sources
      assert {k: s.kind for k, s in sources.items()} == kinds
      assert {s.num_frames for s in sources.values()} == {frames}
      assert {s.height for s in sources.values()} == {32}
  sources = cells["tokenizer"].config.data.sources
  assert {k: s.kind for k, s in sources.items()} == kinds
  (tasks,) = cells["main-video-mini-0"].config.data.sources.values()
  assert tasks.kind == "physics"


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(data__pretrain="films"), "'films' is unknown; use simulated"),
    (dict(data__pretrain="folder:"), "'folder:' is unknown"),
    (dict(study__sizes=()), "study.sizes is empty"),
    (dict(study__seeds=()), "study.seeds is empty"),
    (dict(study__budgets_percent=(3,)), "3 % is no checkpoint"),
    (dict(study__budgets_percent=(100,)), "100 % is no checkpoint"),
    (dict(train__budget="flops"), "set train.budget=steps"),
    (
      dict(study__overrides__main=("evaluate.layrs=(1,)",)),
      "did you mean config.evaluate.layers",
    ),
  ],
)
def test_what_makes_no_study_is_refused(fields, message):
  with pytest.raises(errors.UserError, match=message):
    made(**fields)


def test_latents_stand_between_tokenizer_and_training():
  cells = made(study__latents=True)
  train = cells["train-video-mini-0"]
  (source,) = train.config.data.sources.values()
  assert (source.kind, source.path) == ("latents", "@latents")
  assert "latents" in [one.name for one in train.inputs]
