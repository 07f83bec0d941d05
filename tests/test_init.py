"""Importing vdr costs nothing."""

import re
import subprocess
import sys

import pytest

import vdr


def test_import_loads_nothing_heavy():
  script = "import sys, vdr; print(*sys.modules)"
  loaded = subprocess.run(
    [sys.executable, "-c", script], capture_output=True, text=True, check=True
  ).stdout.split()
  heavy = {"jax", "numpy", "tensorflow", "flax", "ml_collections", "absl"}
  assert "vdr" in loaded
  assert not heavy & set(loaded)


def test_load_is_there_when_it_is_used():
  from vdr.features import videos

  assert vdr.load is videos.load and vdr.VideoModel is videos.VideoModel
  assert set(vdr.__all__) <= set(dir(vdr))
  with pytest.raises(AttributeError, match="no attribute 'lode'"):
    _ = vdr.lode


def test_the_version_has_three_numbers():
  assert re.fullmatch(r"\d+\.\d+\.\d+", vdr.__version__)
