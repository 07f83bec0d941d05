"""Which files a folder holds, and what people are told when it is wrong."""

import pytest

from vdr.data import file_lists
from vdr.runtime import errors

SUFFIXES = (".mp4", ".avi")


@pytest.fixture
def root(tmp_path):
  """A folder of empty files."""
  folder = tmp_path / "root"
  folder.mkdir()
  return folder


def touch(root, *names):
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def listing(root, index="", text=None, group=""):
  if text is not None:
    (root / index).write_text(text)
  return file_lists.read(str(root), index, SUFFIXES, group)


def test_links_inside_are_fine(root):
  touch(root, "a.mp4", "deep/b.mp4")
  (root / "link.mp4").symlink_to(root / "a.mp4")
  (root / "folder").symlink_to(root / "deep")
  got = listing(root, "i.txt", "link.mp4 0\nfolder/b.mp4 0\n")
  assert len(got) == 2


@pytest.mark.parametrize(
  "name", ["../x.mp4", "a/../a.mp4", "/etc/x.mp4", "out.mp4", "outs/x.mp4"]
)
def test_paths_can_not_leave_the_folder(root, name):
  touch(root, "a.mp4", "../x.mp4")
  (root / "out.mp4").symlink_to(root.parent / "x.mp4")
  (root / "outs").symlink_to(root.parent)
  with pytest.raises(errors.UserError) as caught:
    listing(root, "i.txt", f"a.mp4 0\n{name} 0\n")
  assert "line 2" in str(caught.value) and name in str(caught.value)


def test_a_sibling_with_the_same_beginning_is_outside(root):
  touch(root, "a.mp4", "../root2/x.mp4")
  (root / "link.mp4").symlink_to(root.parent / "root2" / "x.mp4")
  with pytest.raises(errors.UserError, match="leaves the folder"):
    listing(root, "i.txt", "link.mp4 0\n")


def test_loose_files_beside_classes_are_refused(root):
  touch(root, "a.mp4", "run/b.mp4")
  with pytest.raises(errors.UserError, match="a.mp4"):
    listing(root)


def test_empty_and_missing_folders_are_refused(root):
  touch(root, "readme.txt")
  with pytest.raises(errors.UserError, match=".mp4"):
    listing(root)
  for path in (str(root / "none"), ""):
    with pytest.raises(errors.UserError, match="no directory"):
      listing(path)
  with pytest.raises(errors.UserError, match="'no.txt'"):
    listing(root, "no.txt")


def test_an_index_that_is_no_text_is_refused(root):
  (root / "i.txt").write_bytes(b"\xff\xfe\x00")
  with pytest.raises(errors.UserError, match="UTF-8"):
    listing(root, "i.txt")


def test_an_absolute_path_inside_the_folder_is_that_file(root):
  touch(root, "deep/a.mp4")
  (root.parent / "alias").symlink_to(root)
  for folder in (root, root.parent / "alias"):
    text = f"{folder}/deep/a.mp4 0\n"
    assert [x.path for x in listing(folder, "i.txt", text)] == ["deep/a.mp4"]
    assert listing(root.parent / "alias", "i.txt")[0].path == "deep/a.mp4"


def test_a_group_that_is_no_column_and_no_pattern_is_told(root):
  touch(root, "a.mp4")
  for group, words in (("subjct", "path, label, subject"), ("(", "regular")):
    with pytest.raises(errors.UserError, match=words):
      listing(root, "i.csv", "path,label,subject\na.mp4,0,9\n", group)
