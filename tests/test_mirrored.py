"""Pairs of clips that differ in the order of frames alone."""

import numpy as np
import pytest

from configs import base
from vdr import mirrored
from vdr.runtime import errors

TIME = 4


def numbered(n=3, t=21):
  """Clips whose pixels are the frame's number, plus one of the clip."""
  video = np.arange(t)[None, :, None, None, None] + 50 * np.arange(n).reshape(
    -1, 1, 1, 1, 1
  )
  return np.broadcast_to(video, (n, t, 2, 2, 3)).astype(np.uint8)


@pytest.mark.parametrize("num_frames", [5, 9, 13, 17, 21, 33])
def test_the_middle_is_the_same_frames_in_reverse(num_frames):
  middle, frames = mirrored.middle_frames(num_frames, TIME)
  np.testing.assert_array_equal(frames, 4 * middle - 3 + np.arange(4))
  assert 1 <= middle <= num_frames // TIME
  forward, backward = mirrored.mirrored(
    numbered(t=num_frames + TIME), num_frames, TIME
  )
  assert forward.shape == backward.shape == (3, num_frames, 2, 2, 3)
  np.testing.assert_array_equal(forward[:, frames], backward[:, frames[::-1]])
  steps = [np.diff(x[0, :, 0, 0, 0].astype(int)) for x in (forward, backward)]
  assert (steps[0] == 1).all() and (steps[1] == -1).all()


def _noise(numbers):
  return np.stack(
    [np.random.default_rng(i).normal(size=(2, 2, 1)) for i in numbers.tolist()]
  )[:, None]


def _images(video, numbers):
  """A network of single frames: brightness, and noise of the clip's own."""
  return video[..., :1] + _noise(numbers)


def _latents(weights):
  """A network that weighs the four frames of a latent frame."""

  def read(video, numbers):
    rest = video[:, 1:, ..., :1].astype(np.float64)
    rest = rest.reshape(len(video), -1, TIME, *rest.shape[2:])
    rest = np.einsum("ntk...,k->nt...", rest, np.asarray(weights, float))
    return np.concatenate([video[:, :1, ..., :1], rest], 1) + _noise(numbers)

  return read


@pytest.mark.parametrize(
  ("read", "frame_by_frame", "least", "most"),
  [
    (_images, True, 0.0, 1e-12),
    (_latents([1, 1, 1, 1]), False, 0.0, 1e-12),
    (_latents([-2, -1, 1, 2]), False, 1.0, np.inf),
    (_latents([0.25, 0.25, 0.2, 0.3]), False, 1e-6, 0.1),
  ],
)
def test_only_who_knows_the_order_is_sensitive(
  read, frame_by_frame, least, most
):
  pair = mirrored.mirrored(numbered(), 17, TIME)
  found = mirrored.sensitivity(read, frame_by_frame, *pair, TIME)
  assert least <= found <= most
  still = mirrored.mirrored(numbered()[:, :1].repeat(21, axis=1), 17, TIME)
  assert mirrored.sensitivity(read, frame_by_frame, *still, TIME) == 0


def test_features_that_never_change_are_not_sensitive():
  def read(video, numbers):
    return np.ones((*video.shape[:4], 2))

  pair = mirrored.mirrored(numbered(), 17, TIME)
  assert mirrored.sensitivity(read, False, *pair, TIME) == 0


@pytest.mark.parametrize("scene", ["brick_wall", "still"])
def test_scenes_have_the_size_of_the_clips_and_move_or_not(scene):
  settings = mirrored.settings(base.default().physics, scene, 5, 16, 24, TIME)
  video = mirrored.simulate(settings, 0, 2)
  assert video.shape == (2, 9, 16, 24, 3)
  moves = (video[:, 0] != video[:, -1]).any(axis=(1, 2, 3))
  assert moves.tolist() == [scene == "brick_wall"] * 2
  assert (video[0] != video[1]).any()
  again = mirrored.simulate(settings, 0, 1)
  np.testing.assert_array_equal(again[0], video[0])


def test_sizes_that_can_not_be_simulated_are_refused():
  with pytest.raises(errors.UserError, match="physics.height=512 is out of"):
    mirrored.settings(base.default().physics, "still", 5, 512, 16, TIME)
