"""The generation verb: floors, noise, what results depend on, refusals."""

import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

from configs import base
from configs import generation as generation_config
from tests import training
from tests.data import fakes
from vdr import judges, quality, trained
from vdr.data import source
from vdr.models import dit, judge, tokenizer
from vdr.runtime import errors

SHAPE = (5, 16, 16)
QUESTIONS = {"frames": {"shape": 2}, "clips": {"action": 3}}
SCORES = {
  "frames": {"shape": {"accuracy": 0.5, "chance": 0.25}},
  "clips": {"action": {"accuracy": 0.75, "chance": 0.125}},
}


class Waves(fakes.Alone):
  """Coloured waves that move; no two clips are the same."""

  class_names: dict[str, tuple[str, ...]] = {}

  def __init__(self, cfg):
    self.cfg = cfg

  def __len__(self):
    return 256 if self.cfg.path == "many" else 96

  def clip_id(self, index):
    return f"{self.cfg.split}/{index}"

  def read(self, index, rng):
    if self.cfg.path == "holes" and index % 2:
      raise source.BadClipError("broken")
    rng = np.random.default_rng(index)
    t, y, x = np.mgrid[: self.cfg.num_frames, : SHAPE[1], : SHAPE[2]]
    waves = [
      np.sin(rng.normal() * x / 4 + rng.normal() * y / 4 + rng.normal() * t + k)
      for k in range(3)
    ]
    video = np.stack(waves, axis=-1) * 100 + 128
    return {"video": video.astype(np.uint8)}


@pytest.fixture(autouse=True)
def waves(monkeypatch):
  monkeypatch.setattr(source, "open_source", Waves)


def model_of(blocks):
  """A model as if it were trained, too little to know anything."""
  fields = {
    f"{group}.sources.main.{side}": size
    for group in ("data", "images")
    for side, size in zip(("height", "width"), SHAPE[1:], strict=True)
  }
  cfg = base.override(
    training.config(model__spatiotemporal_blocks=blocks, model__num_classes=2),
    fields | {"data.sources.main.num_frames": SHAPE[0]},
  )
  if blocks == "spatial":
    cfg = base.override(cfg, {"data.batch_size": 0})
  model = cfg.model.copy_and_resolve_references()
  with model.unlocked():
    model.latent_channels = cfg.tokenizer.channels
  params = jax.jit(lambda key: dit.init(model, key))(jax.random.key(0))
  params = jax.jit(training.perturbed)(params)
  return trained.Trained(
    cfg,
    model,
    params,
    cfg.tokenizer,
    tokenizer.init(cfg.tokenizer, jax.random.key(1)),
    {
      "hash": f"hash of {blocks}",
      "step": 3,
      "which": "ema/0.9",
      "tokenizer_hash": "hash of the tokenizer",
    },
  )


@pytest.fixture(scope="module")
def models():
  return {kind: model_of(kind) for kind in ("spatiotemporal", "spatial")}


@pytest.fixture(autouse=True)
def checkpoints(models, monkeypatch):
  """Stands in for files: the path names the model."""
  asked = []

  def load(path, which, step):
    asked.append((path, which, step))
    return models[path]

  monkeypatch.setattr(trained, "load", load)
  return asked


@pytest.fixture(scope="module")
def judge_file(tmp_path_factory):
  cfg = base.build(None, {}, judge__width=8, judge__features=16).judge
  params = judge.init(cfg, QUESTIONS, SHAPE, jax.random.key(0))
  about = {"num_frames": 5, "height": 16, "width": 16, "scores": SCORES}
  path = tmp_path_factory.mktemp("judge") / judge.FILE_NAME
  judge.save(path, cfg, params, about)
  return path


@pytest.fixture
def config(judge_file):
  def make(**fields):
    return base.override(
      generation_config.get_config("debug"),
      {
        "checkpoint": "spatiotemporal",
        "generation.judge": str(judge_file),
        "generation.num": 6,
        "generation.batch_size": 4,
        "data.sources.main.num_frames": SHAPE[0],
        "data.sources.main.height": SHAPE[1],
        "data.sources.main.width": SHAPE[2],
      }
      | {name.replace("__", "."): value for name, value in fields.items()},
    )

  return make


def test_a_video_model_is_measured_on_clips_and_on_frames(
  config, checkpoints, tmp_path, capsys
):
  quality.run(config(generation__step=3), tmp_path)
  result = quality.read(tmp_path)
  assert checkpoints == [("spatiotemporal", "ema", 3)]
  assert result["model"] == {
    "kind": "video",
    "hash": "hash of spatiotemporal",
    "step": 3,
  }
  assert (result["n"], result["seed"]) == (6, 0)
  assert result["sampler"]["num_steps"] == 2
  for name in ("frechet", "kernel"):
    assert set(result[name]) == {"frames", "clips"}
  assert (
    "action 0.75 where chance has 0.12" in (result["networks"]["clips"]["note"])
  )
  assert "no FID" in result["networks"]["frames"]["note"]
  assert [p["file"] for p in result["pictures"]] == [
    "samples.png",
    "samples.gif",
  ]
  with Image.open(tmp_path / "samples.gif") as image:
    assert image.n_frames == SHAPE[0]
  assert "floor" in capsys.readouterr().out
  quality.run(config(generation__step=3), tmp_path)
  assert "are measured" in capsys.readouterr().out


def test_an_image_model_has_no_scores_of_clips(config, tmp_path):
  quality.run(config(checkpoint="spatial"), tmp_path)
  result = quality.read(tmp_path)
  assert result["model"]["kind"] == "image"
  assert result["frechet"]["clips"] is None
  assert result["kernel"]["clips"] is None
  assert set(result["networks"]) == {"frames"}
  assert [p["file"] for p in result["pictures"]] == ["samples.png"]
  assert not (tmp_path / "samples.gif").exists()


def scores(path):
  result = quality.read(path)
  return np.array(
    [
      result[name][kind][which]
      for name in ("frechet", "kernel")
      for kind in ("frames", "clips")
      for which in ("value", "floor")
    ]
  )


def test_results_depend_on_the_seed_and_not_on_batches(
  config, tmp_path, monkeypatch
):
  quality.run(config(), tmp_path / "one")
  quality.run(config(generation__batch_size=3), tmp_path / "other")
  quality.run(config(seed=1), tmp_path / "seed")
  one, other, seed = (scores(tmp_path / n) for n in ("one", "other", "seed"))
  np.testing.assert_allclose(
    one, other, rtol=0.02
  )  # a grey level here or there
  assert (np.abs(one - seed) > 1e-3).all()

  def die(*unused):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(quality, "distances", die)
    with pytest.raises(KeyboardInterrupt):
      quality.run(config(), tmp_path / "killed")
  quality.run(config(), tmp_path / "killed")
  np.testing.assert_array_equal(scores(tmp_path / "killed"), one)


def made_of(clips):
  """In place of a model's samples."""
  return lambda config, model, shape: iter(np.array_split(clips, 3))


def test_real_clips_come_close_to_the_floor_and_noise_does_not(
  config, tmp_path, monkeypatch
):
  cfg = config(
    generation__num=128,
    generation__batch_size=16,
    data__sources__main__path="many",
  )
  waves = Waves(cfg.data.sources.main)
  real = np.stack([waves.read(i, None)["video"] for i in range(300, 428)])
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, real.shape, dtype=np.uint8)
  found = {}
  for name, clips in {"real": real, "noise": noise}.items():
    monkeypatch.setattr(quality, "_samples", made_of(clips))
    quality.run(cfg, tmp_path / name)
    found[name] = scores(tmp_path / name).reshape(2, 2, 2)  # …, value and floor
  frechet, kernel = found["real"]
  noise = found["noise"][0, :, 0]
  assert (noise > 3 * frechet[:, 1]).all()
  # The toy judge of clips has learned too little to place real ones.
  assert frechet[0, 0] < noise[0] / 3
  assert (found["noise"][1, :, 0] > kernel[:, 1] + 0.1).all()


def test_a_set_is_no_distance_from_itself():
  rng = np.random.default_rng(0)
  real, more = ({"frames": rng.normal(size=(40, 8))} for _ in range(2))
  found = quality.distances(real, more, real, seed=0)
  assert found["frechet"]["frames"]["value"] == pytest.approx(0, abs=1e-9)
  assert found["frechet"]["frames"]["floor"] > 0.1
  assert found["frechet"]["clips"] is None


def test_frame_i_of_sample_i():
  clips = np.arange(7 * 3, dtype=np.uint8).reshape(7, 3, 1, 1, 1)
  clips = np.broadcast_to(clips, (7, 3, 1, 1, 3))
  found = np.concatenate(
    [quality._frames(clips[:4], 0), quality._frames(clips[4:], 4)]
  )
  assert found[:, 0, 0, 0, 0].tolist() == [3 * i + i % 3 for i in range(7)]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(generation__num=49), "has 96 clips and twice as many"),
    (dict(generation__num_drawn=7), "num_drawn=7"),
    (dict(generation__judge=""), "train one.*configs/judge.py"),
    (dict(generation__judge="none.npz"), "none.npz is no judge"),
    (dict(generation__inception="none.pth"), "no weights of Inception"),
    (dict(data__sources__main__height=32), "height=32.*trained on 16"),
    (dict(sampler__method="euler"), "is for schedule rectified_flow"),
    (
      dict(
        generation__num=30,
        data__sources__main__path="holes",
        data__max_bad_share=1.0,
      ),
      "fewer than 60 clips",
    ),
  ],
)
def test_what_can_not_be_measured_is_refused(config, fields, message, tmp_path):
  with pytest.raises(errors.UserError, match=message):
    quality.run(config(**fields), tmp_path / "no")


def test_a_judge_of_another_length_is_refused(config, tmp_path):
  cfg = config(checkpoint="spatial", data__sources__main__num_frames=9)
  with pytest.raises(errors.UserError, match="num_frames 5.*num_frames=9"):
    quality.run(cfg, tmp_path / "no")


def test_another_checkpoint_is_measured_anew(
  config, models, tmp_path, monkeypatch, capsys
):
  quality.run(config(), tmp_path)
  model = models["spatiotemporal"]
  later = model._replace(meta=model.meta | {"hash": "x" * 16, "step": 9})
  monkeypatch.setitem(models, "spatiotemporal", later)
  quality.run(config(), tmp_path)
  assert re.search(r"step 3, .* than now \(step 9", capsys.readouterr().out)
  assert quality.read(tmp_path)["model"]["step"] == 9
  assert quality.read(tmp_path / "earlier" / "1")["model"]["step"] == 3


def test_another_network_measures_anew(config, tmp_path, monkeypatch, capsys):
  quality.run(config(), tmp_path)
  opened = judges.open_networks

  def changed(*args):
    found = opened(*args)
    return {k: x._replace(hash="another") for k, x in found.items()}

  monkeypatch.setattr(judges, "open_networks", changed)
  quality.run(config(), tmp_path)
  assert "of another network for" in capsys.readouterr().out
  networks = quality.read(tmp_path)["networks"]
  assert {x["hash"] for x in networks.values()} == {"another"}


def test_a_result_of_another_form_is_told(tmp_path):
  with pytest.raises(errors.UserError, match="run the verb generation"):
    quality.read(tmp_path)
  (tmp_path / quality.NAME).write_text(json.dumps({"schema_version": 2}))
  with pytest.raises(errors.UserError, match="no result of this version"):
    quality.read(tmp_path)
