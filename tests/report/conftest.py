"""A made-up study and its report, made once."""

import json
import pathlib
from typing import NamedTuple

import pytest

from tests.report import fake_study
from vdr import report, results
from vdr.report import plots


class Made(NamedTuple):
  study: pathlib.Path
  out: pathlib.Path

  @property
  def numbers(self):
    return json.loads((self.out / "report.json").read_text())

  @property
  def page(self):
    return (self.out / "index.html").read_text()


NUM_DRAWS = 400  # fewer than results have, for time


def make(path, render=None, **fields):
  """A study and its report, figures drawn coarsely, or by another function."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(results, "NUM_DRAWS", NUM_DRAWS)
    if render:
      patch.setattr(plots, "render", render)
    study = fake_study.make(path / "study", **fields)
    report.write(study, path / "report", png_dpi=30)
  return Made(study, path / "report")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
  """What is computed again has as many."""
  monkeypatch.setattr(results, "NUM_DRAWS", NUM_DRAWS)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
  """Everything is there; in boxes both models score the same."""
  return make(tmp_path_factory.mktemp("whole"), tie=("boxes",))


@pytest.fixture(scope="session")
def half(tmp_path_factory):
  """Only the video model is trained and, but for two tasks, evaluated."""
  waiting = ("train-image-tiny-0", "main-image-tiny-0", "every_frame")
  waiting += ("budget", "generation", "look")
  waiting += ("video-tiny-0/pose", "video-tiny-0/boxes")
  path = tmp_path_factory.mktemp("half")
  return make(path, lambda spec, png_dpi: ("<svg/>", b""), waiting=waiting)
