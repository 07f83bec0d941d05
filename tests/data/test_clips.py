"""Which frames make a clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import base
from vdr.data import clips
from vdr.runtime import errors


def config(**fields):
  cfg = base.source()
  cfg.update(fields)
  return cfg


def choose(times_s, clip=0, seed=0, **fields):
  cfg = config(**fields)
  clips.check(cfg)
  rng = np.random.default_rng(seed)
  return clips.choose_frames(cfg, rng, np.asarray(times_s), clip).tolist()


def steady(n: int, fps: float = 30.0) -> np.ndarray:
  return np.arange(n) / fps


def test_middle_leaves_the_same_on_both_sides():
  got = choose(steady(21), sampling="middle", num_frames=5, stride=3)
  assert got == [4, 7, 10, 13, 16]


def test_uniform_runs_from_the_start_to_the_end():
  fields = dict(sampling="uniform", clips_per_video=3, num_frames=4, stride=2)
  got = [choose(steady(27), clip=k, **fields) for k in range(3)]
  assert got == [[0, 2, 4, 6], [10, 12, 14, 16], [20, 22, 24, 26]]


@pytest.mark.parametrize("fields", [{}, {"fps": 25.0}])
@given(n=st.integers(2, 400))
def test_as_many_uniform_clips_as_frames_show_each_once(fields, n):
  """In floats 49 * (1 / 49) is less than 1: a frame is shown twice."""
  fields = fields | dict(sampling="uniform", clips_per_video=n, num_frames=1)
  got = [choose(steady(n, 25.0), clip=k, **fields)[0] for k in range(n)]
  assert got == list(range(n))


def test_one_uniform_clip_is_the_middle_one():
  fields = dict(num_frames=5, stride=2)
  uniform = choose(steady(30), sampling="uniform", **fields)
  assert uniform == choose(steady(30), sampling="middle", **fields)


def test_random_reaches_every_start_and_no_other():
  starts = {
    choose(steady(12), seed=seed, num_frames=4, stride=3)[0]
    for seed in range(60)
  }
  assert starts == {0, 1, 2}


@pytest.mark.parametrize("fields", [{"stride": 1}, {"fps": 30.0}])
def test_short_videos_loop_or_repeat_their_last_frame(fields):
  loop = choose(steady(3), num_frames=7, short_videos="loop", **fields)
  assert loop == [0, 1, 2, 0, 1, 2, 0]
  pad = choose(steady(3), num_frames=7, short_videos="pad", **fields)
  assert pad == [0, 1, 2, 2, 2, 2, 2]


def test_a_single_frame_fills_a_clip():
  for short_videos in ("loop", "pad"):
    for fps in (0.0, 10.0):
      got = choose([0.0], num_frames=3, fps=fps, short_videos=short_videos)
      assert got == [0, 0, 0]


@pytest.mark.parametrize("start_s", [0.0, 1.4])
def test_fps_picks_the_frame_that_shows(start_s):
  times_s = start_s + np.array([0.0, 0.1, 0.5, 0.55, 0.6, 1.0])
  got = choose(times_s, sampling="middle", num_frames=5, fps=4.0)
  assert got == [0, 1, 2, 4, 5]  # at 0, 0.25, 0.5, 0.75 and 1 s


@given(
  n=st.integers(1, 90),
  num_frames=st.integers(1, 9),
  stride=st.integers(1, 6),
  rate=st.sampled_from([24.0, 25.0, 30.0, 30000 / 1001]),
  sampling=st.sampled_from(["middle", "uniform"]),
  clip=st.integers(0, 2),
)
def test_fps_and_stride_agree_on_steady_videos(
  n, num_frames, stride, rate, sampling, clip
):
  fields = dict(
    sampling=sampling,
    clips_per_video=3 if sampling == "uniform" else 1,
    num_frames=num_frames,
    short_videos="pad",
  )
  times_s = steady(n, rate)
  by_stride = choose(times_s, clip=clip, stride=stride, **fields)
  by_time = choose(times_s, clip=clip, fps=rate / stride, **fields)
  assert by_time == by_stride


@given(
  gaps=st.lists(st.floats(0.001, 0.5), min_size=1, max_size=40),
  fps=st.floats(0.5, 60),
  seed=st.integers(0, 99),
  short_videos=st.sampled_from(clips.SHORT_VIDEOS),
)
def test_uneven_times_stay_in_range(gaps, fps, seed, short_videos):
  times_s = np.cumsum(gaps)
  got = choose(times_s, seed=seed, fps=fps, short_videos=short_videos)
  assert min(got) >= 0 and max(got) < len(times_s)
  if short_videos == "pad":
    assert got == sorted(got)


@pytest.mark.parametrize(
  "fields, word",
  [
    ({"sampling": "first"}, "first"),
    ({"short_videos": "skip"}, "skip"),
    ({"stride": 0}, "stride"),
    ({"num_frames": 0}, "num_frames"),
    ({"fps": -1.0}, "fps"),
    ({"clips_per_video": 2, "sampling": "middle"}, "clips_per_video"),
  ],
)
def test_senseless_configs_are_refused(fields, word):
  with pytest.raises(errors.UserError, match=word):
    clips.check(config(**fields))
