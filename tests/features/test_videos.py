"""Features of videos of any length: windows, files, and the three lines."""

import itertools
import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import vdr
from tests.data import numbered
from tests.features import models
from vdr import features, media
from vdr.features import videos
from vdr.runtime import errors


def video_model(kind="checkpoint", **fields):
  """Of a model that was trained on clips of five frames."""
  model = models.trained_model(data__sources__main__num_frames=5, **fields)
  return videos.VideoModel(features.build(kind, model), model.config)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
  """A smooth film of 12 frames of 48 × 64 pixels, and its pixels."""
  places = np.linspace(0, 4, 64)
  pixels = np.stack(
    [np.sin(places[:48, None] + places[None] + t / 4) for t in range(12)]
  )
  pixels = np.repeat(np.uint8(127 + 120 * pixels)[..., None], 3, -1)
  path = tmp_path_factory.mktemp("films") / "film.mp4"
  media.write_mp4(path, pixels, 8.0)
  return path, pixels


def test_three_lines_on_a_file(film, tmp_path):
  models.save(
    tmp_path / "run", models.trained_model(data__sources__main__num_frames=5)
  )
  path, pixels = film
  model = vdr.load(tmp_path / "run")
  found = model.features(path, layers=[0, 1, 2], noise_level=0.2, batch_size=1)
  assert found.axes == ("t", "h", "w", "d")
  assert found.values[2, 0.2].shape == (4, 4, 4, 64)
  np.testing.assert_array_equal(found.frames, [[0, 0], [1, 4], [5, 8], [9, 11]])
  np.testing.assert_allclose(found.times_s, found.frames / 8, atol=1e-6)
  assert found.about["step"] == 1 and len(found.about["hash"]) == 16
  expected = model.backbone.schedule.log_snr(np.float32(0.2))
  assert found.log_snrs[0.2] == pytest.approx(float(expected))
  same = model.features(pixels, [0, 1, 2], 0.2, fps=8.0, batch_size=1)
  np.testing.assert_allclose(same.times_s, found.times_s, atol=1e-6)
  # The file was compressed, and resized by another program.
  difference = np.abs(same.values[2, 0.2] - found.values[2, 0.2])
  assert difference.mean() < 0.1 * same.values[2, 0.2].std()


def test_windows_are_features_of_their_own_clips():
  """The last of each, where its neighbour begins anew."""
  model, video = video_model(), models.clips(b=2, t=9)
  spec = features.FeatureSpec(layers=(0, 1, 2), noise_levels=(0.1, 0.6))
  asked = dict(layers=spec.layers, noise_levels=spec.noise_levels)
  found = model.features(video, **asked, batch_size=2)
  assert found.axes == ("b", "t", "h", "w", "d")
  for start in (0, 4):
    index = np.full(2, start, np.int32)
    of_clip = model.backbone.features(video[:, start : start + 5], spec, index)
    np.testing.assert_allclose(
      found.values[2, 0.1][:, 1 + start // 4], of_clip[2, 0.1][:, 1], atol=1e-5
    )
  # Its place in a batch of videos does not matter.
  alone = model.features(video[1], **asked, batch_size=2)
  np.testing.assert_allclose(
    alone.values[2, 0.1], found.values[2, 0.1][1], atol=1e-5
  )


def choose(num_frames, stride=None, frames="clip", length=17):
  """How a video is cut into windows: see `VideoModel._choose`."""
  model = video_model("latents")
  spec = features.FeatureSpec(frames=frames)
  starts = model._starts(num_frames, length, stride, spec)
  return starts, *model._choose(num_frames, length, starts, spec)


@pytest.mark.parametrize("frames", ["clip", "every", "latent"])
@pytest.mark.parametrize("num_frames", [2, 5, 16, 17, 18, 33, 100])
@pytest.mark.parametrize("stride", [None, 4, 16])
def test_every_frame_is_covered_once(frames, num_frames, stride):
  starts, chosen, spans = choose(num_frames, stride, frames)
  taken = sorted(there for pairs in chosen.values() for _, there in pairs)
  assert taken == list(range(len(spans)))
  assert all(b - a <= 16 and not a % 4 for a, b in itertools.pairwise(starts))
  if frames == "latent":
    np.testing.assert_array_equal(spans[:, 0], np.arange(0, num_frames, 4))
  else:
    covered = np.concatenate([np.arange(a, b + 1) for a, b in spans])
    np.testing.assert_array_equal(covered, np.arange(num_frames))


def test_the_window_with_most_around_a_frame_is_taken():
  starts, chosen, _ = choose(33)
  assert starts == [0, 8, 16]
  # Five latent frames each; global ones 0 … 8, window starts are 0, 2 and 4.
  assert chosen == {
    0: [(0, 0), (1, 1), (2, 2), (3, 3)],
    8: [(2, 4), (3, 5)],
    16: [(2, 6), (3, 7), (4, 8)],
  }


def test_a_file_is_read_at_a_rate(film):
  path, pixels = film
  model = video_model("pixels")
  found = model.features(path, fps=4.0)
  np.testing.assert_allclose(found.times_s, [[0, 0], [0.25, 1], [1.25, 1.25]])
  with pytest.raises(errors.UserError, match="more than 0 frames"):
    model.features(path, fps=-1.0)
  with pytest.raises(errors.UserError, match="up to 1000 frames"):
    model.features(path, fps=1e12)


def test_pictures_are_cut_about_their_centre():
  model, video = video_model("pixels"), models.clips(b=1)[0]
  wide = np.pad(video, [(0, 0), (0, 0), (8, 8), (0, 0)])
  found, expected = (model.features(v).values[0, 0.0] for v in (wide, video))
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_image_is_a_clip_of_one_frame():
  found = video_model("pixels").features(models.clips(b=1, t=1)[0])
  np.testing.assert_array_equal(found.frames, [[0, 0]])
  assert found.times_s is None
  still = video_model("pixels").features(
    models.clips(b=1, t=1)[0], still_frames=9
  )
  assert still.values[0, 0.0].shape[0] == len(still.frames) == 3


def test_image_models_have_the_size_of_their_images():
  model = video_model(
    data__batch_size=0, images__sources__main__height=64, image=True
  )
  assert (model.num_frames, model.height, model.width) == (17, 64, 32)


def test_without_more_words_it_is_two_thirds_and_a_fifth():
  spec = video_model()._spec(None, None, None, None, {})
  assert spec.layers == (1,) and spec.noise_levels == (0.2,)


@pytest.mark.parametrize(
  ("args", "message"),
  [
    (dict(video="/nowhere.mp4"), "/nowhere.mp4 can't be read: No such file"),
    (dict(video="/dev/null/a.mp4"), "/dev/null/a.mp4 can't be read"),
    (dict(video=np.full((5, 32, 32, 3), 2.0)), r"floats are in \[0, 1\]"),
    (dict(video=np.zeros((0, 32, 32, 3), np.uint8)), "is empty"),
    (dict(layers=-1), "layer -1 does not exist; .* has layers 0 to 0"),
    (dict(fps=0.0), "more than 0 frames"),
    (dict(fps=float("inf")), "more than 0 frames"),
    (dict(layers=[9]), "layer 9 does not exist"),
    (dict(noise_level=0.1, log_snrs=[0.0]), "give one of them"),
    (dict(stride=3), "use 4 to 4"),
    (dict(batch_size=0), "batch_size=0: use 1"),
    (dict(colour="red"), "no such option; there are condition, draws, frames"),
  ],
)
def test_what_can_not_be_done_is_refused(args, message):
  with pytest.raises(errors.UserError, match=message):
    video_model("latents").features(**({"video": models.clips(t=9)} | args))


def test_levels_and_layers_are_one_or_several():
  model, video = video_model(), models.clips(b=1)[0]
  one = model.features(video, layers=2, noise_level=0.2)
  assert list(one.values) == [(2, 0.2)]
  several = model.features(
    video, layers=np.array([2, 0]), noise_level=jnp.array([0.5, 0.25])
  )
  assert set(several.values) == {(2, 0.5), (2, 0.25), (0, 0.5), (0, 0.25)}
  log_snr = one.log_snrs[0.2]
  (found,) = model.features(video, layers=2, log_snrs=log_snr).values.values()
  np.testing.assert_allclose(found, one.values[2, 0.2], atol=1e-4)


def test_floats_give_what_their_pixels_give():
  model, video = video_model(), models.clips(b=2)
  expected = model.features(video).values[1, 0.2]
  for form in (video / 255, jnp.asarray(video), list(video)):
    found = model.features(form)
    np.testing.assert_array_equal(found.values[1, 0.2], expected)
    assert found.axes == ("b", "t", "h", "w", "d")


_SCRIPT = """
import json, os, sys
import numpy as np
import vdr
from vdr.runtime import errors

here = os.getcwd()
model = vdr.load("take:1/run", kind="pixels")
told = []
for folder, name in (
  (".", "film.mp4"), ("take:1", "film.mp4"), (".", "data:film.mp4"),
  (here, "take:1/film.mp4"),
):  # the decoding process was started in the first of these folders
  os.chdir(folder)
  found = model.features(name, layers=0)
  told.append(float(np.abs(found.values[0, 0.0]).mean()))
pixels = np.zeros((5, 32, 32, 3), np.uint8)
for wrong in json.loads(sys.argv[1]):
  try:
    model.features(**({"video": pixels} | wrong))
    told.append("taken")
  except errors.UserError as error:
    told.append(str(error))
for path in (None, 5, b"run"):
  try:
    vdr.load(path)
  except errors.UserError as error:
    told.append(str(error))
try:
  vdr.load("take:1/run", step=1.5)
except errors.UserError as error:
  told.append(str(error))
print(json.dumps(told))
"""
# As a program outside of the tests is told: there no types are checked.
_WRONG = {
  "video": [None, 5, {}, ["film.mp4"]],
  "layers": ["2", 0.5, [None]],
  "noise_level": ["0.2", [[0.1]]],
  "log_snrs": ["clean"],
  "fps": ["8", [8]],
  "stride": ["4", 4.5],
  "batch_size": ["4", None, 2.5],
  "draws": ["1", None],
  "seed": ["x", 2**70],
  "still_frames": ["5"],
  "latent": [None, []],
  "frames": [3],
}


def test_a_program_may_change_its_directory_and_err(film, tmp_path):
  run = tmp_path / "take:1" / "run"
  models.save(run, models.trained_model(data__sources__main__num_frames=5))
  _, pixels = film
  for place, scale in (
    ("film", 1),
    ("take:1/film", 2),
    ("take:1/data:film", 3),
  ):
    media.write_mp4(tmp_path / f"{place}.mp4", pixels // scale, 8.0)
  wrong = [{k: v} for k, values in _WRONG.items() for v in values]
  output = subprocess.run(
    [sys.executable, "-c", _SCRIPT, json.dumps(wrong)],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=True,
  ).stdout
  told = json.loads(output.splitlines()[-1])
  model = video_model("pixels")
  expected = [
    np.abs(model.features(pixels // scale).values[0, 0.0]).mean()
    for scale in (1, 2, 3, 2)
  ]
  np.testing.assert_allclose(told[:4], expected, rtol=0.05)
  assert len(told) == 4 + len(wrong) + 4
  for given, line in zip(wrong, told[4:], strict=False):
    assert line != "taken" and "\n" not in line and len(line) < 200, given


def test_an_image_file_is_a_clip_of_one_frame(tmp_path):
  model, picture = video_model("pixels"), models.clips(b=1, t=1)[0]
  media.write_png(tmp_path / "a.png", picture[0])
  found, expected = (model.features(v) for v in (tmp_path / "a.png", picture))
  np.testing.assert_array_equal(found.values[0, 0.0], expected.values[0, 0.0])


def test_frames_of_a_file_are_the_right_ones(tmp_path):
  path = numbered.write(tmp_path / "numbers.mp4", 20)
  opened = video_model("pixels")._of_file(path, None)
  frames = opened.read(np.zeros(3, int), np.array([7, 0, 19]))
  assert frames.shape == (3, 32, 32, 3) and opened.num_frames == 20
  dark = [(frame < 128).mean() for frame in frames]
  assert dark[1] > 0.9 > dark[0]
