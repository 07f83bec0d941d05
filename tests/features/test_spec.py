"""What is asked for is checked at once, and has names in both coordinates."""

import dataclasses

import numpy as np
import pytest

from vdr.diffusion import schedule as schedules
from vdr.features.spec import FeatureSpec
from vdr.runtime import errors

SCHEDULE = schedules.get_schedule("linear_zsnr")


def test_sequences_become_tuples_so_that_it_can_be_hashed():
  one = FeatureSpec(layers=[1, 2], noise_levels=[0.5, 0.5])
  other = FeatureSpec(layers=(1, 2), noise_levels=(0.5,))
  assert one == other and hash(one) == hash(other)


@pytest.mark.parametrize("name", schedules.NAMES)
def test_both_coordinates_are_there_whichever_was_given(name):
  schedule = schedules.get_schedule(name)
  given = FeatureSpec(noise_levels=(0.1, 0.3, 0.9)).levels(schedule)
  assert given.noise_levels == (0.1, 0.3, 0.9)
  back = FeatureSpec(log_snrs=given.log_snrs).levels(schedule)
  np.testing.assert_allclose(back.noise_levels, given.noise_levels, rtol=1e-5)
  np.testing.assert_allclose(back.log_snrs, given.log_snrs, atol=1e-4)


def test_infinite_log_snrs_are_clean_and_pure_noise():
  found = FeatureSpec(log_snrs=(np.inf, -np.inf)).levels(SCHEDULE)
  assert found.noise_levels == (0.0, 1.0)


def test_seed_and_levels_are_no_part_of_the_program():
  spec = FeatureSpec(layers=(1,), noise_levels=(0.1,), seed=3)
  other = dataclasses.replace(spec, noise_levels=(0.7,), seed=4)
  assert spec.program() == other.program()
  assert spec.program() != FeatureSpec(layers=(2,)).program()


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(noise_levels=(0.5, 1.5)), "1.5 is not within 0"),
    (dict(noise_levels=(0.5,), log_snrs=(0.0,)), "are both given"),
    (dict(layers=("deep",)), "no whole number"),
    (dict(latent="median"), "choose from mean, sample"),
    (dict(condition="class"), "choose from null"),
    (dict(frames="odd"), "choose from auto, clip"),
    (dict(draws=0), "use 1 or more"),
    (dict(still_frames=-1), "use 0 or 4k"),
    (dict(still_frames=5, frames="every"), "leave one of them out"),
  ],
)
def test_what_means_nothing_is_refused(fields, message):
  fields = {k: list(v) if k == "layers" else v for k, v in fields.items()}
  with pytest.raises(errors.UserError, match=message):
    _make(fields)


def _make(fields):
  if "layers" in fields:  # wrong types, past the checks of types in tests
    spec = FeatureSpec()
    object.__setattr__(spec, "layers", fields["layers"])
    return spec.__post_init__()
  return FeatureSpec(**fields)


def test_levels_need_one_of_both_coordinates_within_reach():
  with pytest.raises(errors.UserError, match="neither noise_levels nor"):
    FeatureSpec().levels(SCHEDULE)
  cosine = schedules.get_schedule("cosine")
  with pytest.raises(errors.UserError, match=r"does not reach -30.*-19\.8"):
    FeatureSpec(log_snrs=(-30.0,)).levels(cosine)
