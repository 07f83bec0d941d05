"""Identical architecture: the image model and the video model, leaf by leaf."""

import jax
import numpy as np
import pytest

from configs import image_dit, video_dit
from vdr.models import dit
from vdr.runtime import command_line

NAMES = [None, *video_dit.VARIANTS]


def flat(config):
  return command_line.flatten(config)


@pytest.mark.parametrize("variant", NAMES)
def test_configs_differ_in_the_named_fields_only(variant):
  video = flat(video_dit.get_config(variant))
  image = flat(image_dit.get_config(variant))
  assert video.keys() == image.keys()
  differing = {name for name in video if video[name] != image[name]}
  assert differing == set(image_dit.DIFFERENCES)


def test_parameters_have_the_same_names_shapes_and_first_values():
  trees = [
    dit.init(config.get_config("debug").model, jax.random.key(5))
    for config in (video_dit, image_dit)
  ]
  video, image = (jax.tree_util.tree_leaves_with_path(t) for t in trees)
  assert [path for path, _ in video] == [path for path, _ in image]
  for (path, first), (_, second) in zip(video, image, strict=True):
    np.testing.assert_array_equal(first, second, err_msg=str(path))


@pytest.mark.parametrize("variant", NAMES)
def test_both_have_as_many_parameters_and_tokens(variant):
  video = video_dit.get_config(variant)
  image = image_dit.get_config(variant)
  assert dit.num_params(video.model) == dit.num_params(image.model)
  frames = 1 + (video.data.sources.main.num_frames - 1) // 4
  tokens = video.data.batch_size * frames + video.images.batch_size
  assert image.images.batch_size == tokens
