"""launch/pack.sh takes the working tree as it is."""

import pathlib
import shutil
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def git(root, *words):
  name = ("-c", "user.name=a", "-c", "user.email=a@b")
  done = subprocess.run(
    ["git", *name, *words], cwd=root, capture_output=True, text=True, check=True
  )
  return done.stdout


def pack(root, *words):
  return subprocess.run(
    [root / "launch" / "pack.sh", *words],
    cwd=root.parent,
    capture_output=True,
    text=True,
  )


@pytest.fixture
def checkout(tmp_path):
  root = tmp_path / "a checkout"
  (root / "launch").mkdir(parents=True)
  shutil.copy(ROOT / "launch" / "pack.sh", root / "launch")
  for name in ("kept", "changed", "removed"):
    (root / name).write_text("old")
  (root / ".gitignore").write_text("runs/\n")
  git(root, "init", "--quiet")
  git(root, "add", ".")
  git(root, "commit", "--quiet", "--message=first")
  return root


def test_changes_and_new_files_are_in_and_ignored_ones_are_not(checkout):
  (checkout / "changed").write_text("new")
  (checkout / "removed").unlink()
  (checkout / "added").write_text("new")
  (checkout / "runs").mkdir()
  (checkout / "runs" / "big").write_text("ignored")
  before = (
    git(checkout, "status", "--porcelain"),
    git(checkout, "count-objects"),
  )
  done = pack(checkout, "tree.tar.gz")
  assert done.returncode == 0, done.stderr
  with tarfile.open(checkout.parent / "tree.tar.gz") as tar:
    names = {m.name for m in tar.getmembers() if m.isfile()}
    changed = tar.extractfile("changed")
    assert changed is not None and changed.read() == b"new"
  assert names == {".gitignore", "kept", "changed", "added", "launch/pack.sh"}
  after = git(checkout, "status", "--porcelain"), git(checkout, "count-objects")
  assert after == before


def test_what_is_no_checkout_is_one_line(checkout):
  shutil.rmtree(checkout / ".git")
  done = pack(checkout, "tree.tar.gz")
  assert done.returncode == 2
  assert "is not a git checkout" in done.stderr
  assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("tree",), ("a.tar.gz", "b.tar.gz")])
def test_a_mistake_is_one_line(checkout, words):
  done = pack(checkout, *words)
  assert done.returncode == 2
  assert done.stderr.startswith("launch/pack.sh: use it as")
