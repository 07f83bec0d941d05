"""Made-up sources, and loaders of them, for the tests of the pipeline."""

import os
import signal

import ml_collections
import numpy as np

from vdr.data import loader, schema
from vdr.data import source as source_lib


class Alone:
  """Items that are videos of their own."""

  def video_of(self, index):
    return self.clip_id(index)

  def group_of(self, index):
    return self.video_of(index)

  def contents(self, most=None):
    count = len(self) if most is None else min(most, len(self))
    names = frozenset(self.group_of(i) for i in range(count))
    return source_lib.Contents({type(self).__name__: names}, {})


class Fake(Alone):
  """Clips that show their index and a random number; some are bad."""

  class_names: dict[str, tuple[str, ...]] = {}

  def __init__(self, n, bad=(), frames=2, size=4, label=False, odd=()):
    self.n, self.bad, self.frames, self.size = n, frozenset(bad), frames, size
    self.label, self.odd = label, odd

  def __len__(self):
    return self.n

  def clip_id(self, index):
    return f"clip{index}"

  def read(self, index, rng):
    if index in self.bad:
      raise source_lib.BadClipError(f"broken {index}")
    size = self.size + (index in self.odd)
    video = np.zeros((self.frames, size, size, 3), np.uint8)
    video[0] = index % 256
    video[-1] = rng.integers(256)
    example = {"video": video, "caption": schema.text(f"a clip, {index}")}
    if self.label:
      example["label"] = np.array(7, np.int32)
    return example


class Killed(Fake):
  """A source whose reader is killed at clip 5."""

  def read(self, index, rng):
    if index == 5:
      os.kill(os.getpid(), signal.SIGKILL)
    return super().read(index, rng)


class Buggy(Fake):
  def read(self, index, rng):
    if index == 5:
      raise KeyError("a bug")
    return super().read(index, rng)


class Stored(Fake):
  """Clips without pixels, as stored latents are."""

  def read(self, index, rng):
    del rng
    return {"latents": np.full((2, 3, 3, 4), index, np.float32)}


class Pid(Fake):
  def read(self, index, rng):
    example = super().read(index, rng)
    return example | {"caption": schema.text(str(os.getpid()))}


def config(weights=None, **overrides):
  weights = weights or {"main": 1.0}
  return ml_collections.ConfigDict(
    dict(
      sources={
        name: dict(weight=w, num_frames=2, height=4, width=4)
        for name, w in weights.items()
      },
      batch_size=4,
      shuffle=True,
      num_epochs=-1,
      prefetch=2,
      max_bad_share=1.0,
    )
    | overrides
  )


def make(
  sources,
  weights=None,
  seed=3,
  workers=0,
  host=(0, 1),
  path=None,
  max_clips=None,
  **kw,
):
  if not isinstance(sources, dict):
    sources = {"main": sources}
  weights = weights or dict.fromkeys(sources, 1.0)
  return loader.Loader(
    config(weights, **kw),
    seed=seed,
    num_workers=workers,
    process_index=host[0],
    process_count=host[1],
    max_clips=max_clips,
    sources=sources,
    failures_path=path,
  )


def take(batches, n):
  out = [next(batches) for _ in range(n)]
  batches.close()
  return out


def indices(batches):
  return np.concatenate([b["clip_index"] for b in batches])


def assert_same(first, second):
  assert len(first) == len(second)
  for a, b in zip(first, second, strict=True):
    assert a.keys() == b.keys()
    for name in a:
      assert a[name].dtype == b[name].dtype
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def mixture():
  return {"a": Fake(7, bad=(2,)), "b": Fake(13)}
