"""Features against the network itself, and what they do not depend on."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.features import models
from vdr import features
from vdr.diffusion import schedule as schedules
from vdr.features import backbone as backbones
from vdr.models import dit, tokenizer
from vdr.runtime import errors

SPEC = features.FeatureSpec(layers=(0, 1, 2), noise_levels=(0.1, 0.6))


def build(kind="checkpoint", **fields):
  return features.build(kind, models.trained_model(**fields))


@pytest.fixture(scope="module")
def found():
  """The features of two clips at both ends and two noise levels."""
  return build().features(models.clips(), SPEC)


def noised(model, video, level, indices):
  """What the network is given, clip by clip, as the documents say."""
  latents = tokenizer.normalise(
    model.tokenizer_params,
    tokenizer.encode(model.tokenizer, model.tokenizer_params, video).mean,
  )
  eps = []
  for index in indices:
    key = jax.random.fold_in(jax.random.key(0), index)
    key = jax.random.split(jax.random.fold_in(key, 0))[0]
    eps.append(jax.random.normal(key, latents.shape[1:]))
  alpha, sigma = build().schedule.coefficients(jnp.float32(level))
  return alpha * latents + sigma * jnp.stack(eps)


def test_layers_are_taps_of_the_network_at_both_ends(found):
  model, video = models.trained_model(), models.clips()
  assert found.keys() == {(k, s) for k in (0, 1, 2) for s in (0.1, 0.6)}
  forward = jax.jit(
    functools.partial(dit.apply, build().network.model, layers=(0, 1, 2))
  )
  for level in SPEC.noise_levels:
    z = noised(model, video, level, (0, 1))
    _, expected = forward(model.params, z, jnp.full(2, level))
    for layer in SPEC.layers:
      values = found[layer, level]
      assert values.dtype == jnp.float32
      np.testing.assert_allclose(values, expected[layer], atol=2e-5)


def test_a_clip_does_not_depend_on_its_batch(found):
  video = models.clips()
  swapped = build().features(video[::-1], SPEC, np.array([1, 0], np.int32))
  for key, values in found.items():
    np.testing.assert_allclose(swapped[key][::-1], values, atol=1e-5)


@pytest.mark.parametrize("level", SPEC.noise_levels)
def test_clips_and_levels_together_are_each_of_them_alone(found, level):
  spec = dataclasses.replace(SPEC, noise_levels=(level,))
  index = np.array([1], np.int32)
  alone = build().features(models.clips()[1:], spec, index)
  for key, values in alone.items():
    np.testing.assert_allclose(values, found[key][1:], atol=1e-5)


def test_a_log_snr_is_its_noise_level(found):
  log_snrs = SPEC.levels(build().schedule).log_snrs
  spec = dataclasses.replace(SPEC, noise_levels=(), log_snrs=log_snrs)
  again = build().features(models.clips(), spec)
  for (layer, level), values in again.items():
    near = min(SPEC.noise_levels, key=lambda s: abs(s - level))
    np.testing.assert_allclose(values, found[layer, near], atol=1e-4)


@dataclasses.dataclass(frozen=True)
class Vague:
  """A tokenizer that knows nothing but a mean of 1 and a spread of 2."""

  schedule: schedules.Schedule = schedules.get_schedule("rectified_flow")
  time: int = 4
  is_image: bool = False
  default_level: float | None = None
  layers: int = 0
  width: int = 3

  def encode(self, params, video):
    ones = jnp.ones(video.shape, jnp.float32)
    return ones, 2 * ones

  def read(self, params, latents, noise_level, layers, alone):
    return {0: latents}


@pytest.mark.parametrize(
  ("latent", "draws", "std"),
  [
    ("mean", 1, 0.6),
    ("mean", 16, 0.6 / 4),
    ("sample", 1, np.hypot(0.4 * 2, 0.6)),
    ("sample", 16, np.hypot(0.4 * 2, 0.6) / 4),
  ],
)
def test_draws_of_noise_and_of_latents_are_averaged(latent, draws, std):
  backbone = features.Backbone(Vague(), {}, {"kind": "vague"})
  spec = features.FeatureSpec(
    layers=(0,), noise_levels=(0.6,), draws=draws, latent=latent
  )
  values = np.asarray(backbone.features(models.clips(), spec)[0, 0.6])
  assert values.mean() == pytest.approx(0.4, abs=0.03)
  assert values.std() == pytest.approx(std, rel=0.03)


def test_an_average_is_that_of_its_draws():
  backbone = features.Backbone(Vague(), {}, {"kind": "vague"})
  spec = features.FeatureSpec(layers=(0,), noise_levels=(0.6,), draws=3)
  video = models.clips()
  found = backbone.features(video, spec)[0, 0.6]
  eps = [
    backbones._normals(
      jax.random.key(0), jnp.arange(2), jnp.asarray(i), video.shape[1:]
    )[0]
    for i in range(3)
  ]
  expected = 0.4 + 0.6 * np.mean(eps, axis=0)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_seed_decides(found):
  spec = dataclasses.replace(SPEC, seed=1)
  other = build().features(models.clips(), spec)
  assert not np.allclose(other[2, 0.6], found[2, 0.6], atol=1e-2)


def test_checkpoints_and_random_share_one_program(found):
  del found  # compiled
  before = backbones._extract_jit._cache_size()
  checkpoint, other = build(), build(seed=5)
  control = features.build("random", models.trained_model(), seed=3)
  results = [
    backbone.features(models.clips(), dataclasses.replace(SPEC, seed=9))
    for backbone in (checkpoint, other, control)
  ]
  assert backbones._extract_jit._cache_size() == before
  assert not np.allclose(results[0][2, 0.1], results[1][2, 0.1], atol=1e-2)
  assert not np.allclose(results[0][2, 0.1], results[2][2, 0.1], atol=1e-2)
  # Its blocks do something, though nothing was trained.
  change = np.std(results[2][2, 0.1] - results[2][0, 0.1])
  assert change > 0.1 * np.std(results[2][0, 0.1])


def test_apply_is_features_for_any_parameters():
  backbone, other = build("latents"), build("latents")
  other.params["tokenizer"] = jax.tree.map(
    lambda x: x + 1, other.params["tokenizer"]
  )
  spec, index = features.FeatureSpec(), np.arange(2, dtype=np.int32)

  @jax.jit
  def largest(params, video):
    found = backbone.apply(params, video, index, spec)
    return {key: x.max() for key, x in found.items()}

  expected = other.features(models.clips(), spec)[0, 0.0].max()
  pooled = largest(other.params, models.clips())
  np.testing.assert_allclose(pooled[0, 0.0], expected, rtol=1e-5)


def test_the_pass_stops_at_the_deepest_layer():
  backbone = build()  # its blocks are unrolled, so that costs can be counted

  def flops(*layers):
    program = features.FeatureSpec(layers=layers).program()
    lowered = backbones._extract_jit.lower(
      backbone.network,
      program,
      backbone.params,
      models.clips(),
      np.arange(2, dtype=np.int32),
      jax.random.key(0),
      np.array([0.1], np.float32),
    )
    return lowered.cost_analysis()["flops"]

  none, one, two = flops(0), flops(1), flops(2)
  block = two - one
  assert block > 0.5 * none
  assert 0.7 * block < one - none < 2 * block  # with what blocks share
  assert flops(0, 1, 2) == pytest.approx(two, rel=1e-3)


def test_isolated_frames_do_not_see_one_another(found):
  spec = dataclasses.replace(SPEC, noise_levels=(0.0, 0.6))
  video = models.clips()
  changed = video.copy()
  changed[:, 1:] = 255 - changed[:, 1:]

  def first_frame(backbone, video):
    return np.asarray(backbone.features(video, spec)[2, 0.0][:, 0])

  together = [first_frame(build(), v) for v in (video, changed)]
  assert not np.allclose(*together, atol=1e-3)
  isolated = [first_frame(build("isolated"), v) for v in (video, changed)]
  np.testing.assert_allclose(*isolated, atol=1e-5)


class TestImageModel:
  backbone = property(lambda self: build(image=True))

  def read(self, video, frames="auto"):
    spec = features.FeatureSpec(layers=(2,), noise_levels=(0.0,), frames=frames)
    return np.asarray(self.backbone.features(video, spec)[2, 0.0])

  def test_every_frame_is_passed_alone_and_like_any_other(self):
    video = models.clips()
    found = self.read(video)
    assert found.shape == (2, 5, 4, 4, 64)
    backwards = self.read(video[:, ::-1])
    np.testing.assert_allclose(backwards[:, ::-1], found, atol=1e-5)
    changed = video.copy()
    changed[:, 2] = 0
    same = np.isclose(self.read(changed), found, atol=1e-5).all((0, 2, 3, 4))
    np.testing.assert_array_equal(same, [True, True, False, True, True])

  def test_or_as_many_as_there_are_latent_frames(self):
    video = models.clips()
    found = self.read(video, "latent")
    np.testing.assert_allclose(found, self.read(video)[:, ::4], atol=1e-5)

  def test_it_is_known_by_its_config(self):
    assert self.backbone.network.is_image
    assert not build().network.is_image
    assert self.backbone.resolve(SPEC).frames == "every"
    assert build().resolve(SPEC).frames == "clip"


class TestFrameTimes:
  def test_latent_frames_end_with_every_fourth_frame(self):
    spans = build().frame_times(9)
    np.testing.assert_array_equal(spans, [[0, 0], [1, 4], [5, 8]])
    seconds = build().frame_times(9, fps=4.0)
    np.testing.assert_allclose(seconds, [[0, 0], [0.25, 1], [1.25, 2]])

  def test_frames_alone_are_themselves(self):
    image = build(image=True)
    np.testing.assert_array_equal(
      image.frame_times(3), [[0, 0], [1, 1], [2, 2]]
    )
    latent = features.FeatureSpec(frames="latent")
    np.testing.assert_array_equal(
      image.frame_times(9, spec=latent), [[0, 0], [4, 4], [8, 8]]
    )

  def test_they_are_those_of_the_features(self):
    backbone = build("latents")
    still = features.FeatureSpec(still_frames=9)
    for t, spec in ((5, None), (1, None), (1, still)):
      given = features.FeatureSpec() if spec is None else spec
      index = np.arange(2, dtype=np.int32)
      found = jax.eval_shape(
        functools.partial(backbone.apply, spec=given),
        backbone.params,
        models.clips(t=t),
        index,
      )
      spans = backbone.frame_times(t, spec=spec)
      assert found[0, 0.0].shape[1] == len(spans)


def test_an_image_may_be_repeated_to_a_still_clip():
  image, spec = models.clips(t=1), features.FeatureSpec(still_frames=5)
  backbone = build("pixels")
  still = backbone.features(np.repeat(image, 5, 1), features.FeatureSpec())
  found = backbone.features(image, spec)
  np.testing.assert_allclose(found[0, 0.0], still[0, 0.0], atol=1e-5)


@pytest.mark.parametrize(
  ("kind", "fields", "message"),
  [
    ("checkpoint", dict(noise_levels=(0.1,)), "no layers are named"),
    ("checkpoint", dict(layers=(1,)), "neither noise_levels nor"),
    ("checkpoint", dict(layers=(3,), noise_levels=(0.1,)), "has layers 0 to 2"),
    ("latents", dict(layers=(1,)), "layer 1 does not exist; .*latents"),
    ("latents", dict(still_frames=4), "use 4k"),
  ],
)
def test_what_it_can_not_give_is_refused(kind, fields, message):
  with pytest.raises(errors.UserError, match=message):
    build(kind).resolve(features.FeatureSpec(**fields))


def test_an_unknown_kind_names_the_known_ones():
  with pytest.raises(errors.UserError, match="checkpoint, random, isolated"):
    build("dino")


def test_every_kind_says_what_it_is():
  for kind in features.KINDS:
    about = build(kind).about
    assert about["kind"] == kind and "hash" in about


@pytest.mark.parametrize(
  ("shape", "kind", "index", "message"),
  [
    ((2, 5, 32, 32, 4), "u1", None, r"shape \[2, 5, 32, 32, 4\] are none"),
    ((5, 32, 32, 3), "u1", None, r"give \[b t h w 3\]"),
    ((0, 5, 32, 32, 3), "u1", None, "1 or more"),
    ((2, 5, 32, 32, 3), "i4", None, "int32 are none; give uint8, or floats"),
    ((2, 5, 32, 32, 3), "u1", [0, 1, 2], r"shape \[3\] does not number 2"),
    ((2, 5, 32, 32, 3), "u1", [0.0, 1.0], "float64 .* does not number 2"),
  ],
)
def test_what_is_no_batch_of_clips_is_refused(shape, kind, index, message):
  """Past the checks of shapes in tests, which are not there elsewhere."""
  index = None if index is None else np.array(index)
  with pytest.raises(errors.UserError, match=message):
    backbones._check_clips(np.zeros(shape, kind), index)


@pytest.mark.parametrize("kind", ["latents", "pixels", "checkpoint"])
@pytest.mark.parametrize(
  ("shape", "message"),
  [
    ((2, 4, 32, 32, 3), r"4k \+ 1"),
    ((2, 5, 30, 32, 3), "height 30 does not fit|sides that 8 divides"),
    ((2, 0, 32, 32, 3), "1 or more"),
  ],
)
def test_clips_that_do_not_fit_are_refused(kind, shape, message):
  spec = features.FeatureSpec(layers=(0,), noise_levels=(0.2,))
  with pytest.raises(errors.UserError, match=message):
    build(kind).features(np.zeros(shape, np.uint8), spec)
