"""Versions are plain JSON, and never stand in the way."""

import json
import subprocess

import jax
import pytest

import vdr
from vdr.runtime import versions


@pytest.fixture
def repository(tmp_path):
  """A git repository with one commit, apart from every config of the user."""

  def git(*args):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    done = subprocess.run(
      ["git", "-C", tmp_path, *identity, *args],
      check=True,
      capture_output=True,
      text=True,
    )
    return done.stdout.strip()

  git("init", "-q")
  (tmp_path / "file").write_text("1")
  git("add", "file")
  git("commit", "-q", "-m", "one")
  return tmp_path, git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def fresh():
  versions.git_hash.cache_clear()
  yield
  versions.git_hash.cache_clear()


def test_what_it_collects():
  found = versions.collect("cpu", 8, 2)
  assert json.loads(json.dumps(found)) == found
  assert found["vdr"] == vdr.__version__
  assert found["jax"] == jax.__version__
  assert found["orbax-checkpoint"] and found["python"]
  assert found["device_kind"] == "cpu"
  assert (found["device_count"], found["process_count"]) == (8, 2)
  assert "device_kind" not in versions.collect()


def test_a_package_that_is_not_installed_has_an_empty_version(monkeypatch):
  monkeypatch.setattr(versions, "PACKAGES", ("no-such-package-of-vdr",))
  assert versions.collect()["no-such-package-of-vdr"] == ""


def test_the_commit_and_whether_files_differ(repository):
  path, commit = repository
  (path / "new").write_text("")  # not under version control: no difference
  assert versions.git_hash(path) == commit
  versions.git_hash.cache_clear()
  (path / "file").write_text("2")
  assert versions.git_hash(path) == f"{commit}-dirty"


def test_outside_git_and_without_git_it_is_empty(
  repository, tmp_path, monkeypatch
):
  inner = repository[0] / "installed"  # inside someone else's repository
  inner.mkdir()
  assert versions.git_hash(inner) == ""
  versions.git_hash.cache_clear()
  monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
  assert versions.git_hash(repository[0]) == ""
