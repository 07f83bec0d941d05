"""Which files a folder holds, and what people are told when it is wrong."""

import os

import pytest

from vdr.data import folders
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


def listing(root, index="", text=None):
  if text is not None:
    (root / index).write_text(text)
  return folders.list_files(str(root), index, SUFFIXES)


def test_the_label_is_the_last_word(root):
  touch(root, "a.mp4", "a film.mp4")
  got = listing(root, "i.txt", "a.mp4 1\n\n  a film.mp4   0\nhole.mp4 -1\n")
  assert got.paths == ("a.mp4", "a film.mp4", "hole.mp4")
  assert got.labels.tolist() == [1, 0, -1]
  assert got.class_names == ("0", "1")


def test_csv_columns_go_by_their_header(root):
  touch(root, "a, b.mp4")
  text = 'label,start,path\nrun,3,"a, b.mp4"\njump,4,c.mp4\n'
  got = listing(root, "i.csv", text)
  assert got.paths == ("a, b.mp4", "c.mp4")
  assert got.class_names == ("jump", "run")
  assert got.labels.tolist() == [1, 0]


def test_spreadsheets_write_byte_order_marks(root):
  touch(root, "a.mp4")
  got = listing(root, "i.csv", "\ufeffpath,label\na.mp4,0\n")
  assert got.paths == ("a.mp4",)


def test_sub_folders_are_classes(root):
  touch(root, "run/2.mp4", "run/deep/1.AVI", "jump/3.mp4", "run/no.txt")
  touch(root, ".git/4.mp4", "run/.5.mp4")
  (root / "empty").mkdir()
  got = listing(root)
  assert got.class_names == ("jump", "run")
  assert got.paths == ("jump/3.mp4", "run/2.mp4", "run/deep/1.AVI")
  assert got.labels.tolist() == [0, 1, 1]


def test_loose_files_have_no_label(root):
  touch(root, "b.mp4", "a.mp4")
  got = listing(root)
  assert got.paths == ("a.mp4", "b.mp4")
  assert got.labels.tolist() == [-1, -1]
  assert got.class_names == ()


def test_a_list_of_classes_fixes_their_numbers(root):
  touch(root, "a.mp4", "walk/a.mp4")
  (root / "classes.txt").write_text("walk\nrun\njump\n")
  got = listing(root, "i.txt", "a.mp4 jump\n")
  assert got.labels.tolist() == [2]
  assert got.class_names == ("walk", "run", "jump")
  assert listing(root, "i.txt", "a.mp4 1\n").class_names[1] == "run"
  os.remove(root / "a.mp4")
  assert listing(root).labels.tolist() == [0]


def test_links_inside_are_fine(root):
  touch(root, "a.mp4", "deep/b.mp4")
  (root / "link.mp4").symlink_to(root / "a.mp4")
  (root / "folder").symlink_to(root / "deep")
  got = listing(root, "i.txt", "link.mp4 0\nfolder/b.mp4 0\n")
  assert len(got.paths) == 2


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


@pytest.mark.parametrize(
  "index, text, words",
  [
    ("i.txt", "a.mp4 0\na.mp4\n", ["line 2", "'a.mp4'"]),
    ("i.txt", "", ["lists no file"]),
    ("i.txt", "a.mp4 0\na.mp4 run\n", ["line 2", "run"]),
    ("i.txt", "a.mp4 0\na.mp4 -2\n", ["line 2", "-2"]),
    ("i.txt", "b.mp4 0\n", ["none of the 1 files", "b.mp4"]),
    ("i.csv", "a.mp4,0\n", ["line 1", "'path'"]),
    ("i.csv", "path,class\na.mp4,0\n", ["line 1", "'label'"]),
    ("i.csv", "path,label\na.mp4,\n", ["line 2", "empty"]),
    ("i.csv", "path,label\na.mp4\n", ["line 2", "empty"]),
  ],
)
def test_malformed_indices_name_their_line(root, index, text, words):
  touch(root, "a.mp4")
  with pytest.raises(errors.UserError) as caught:
    listing(root, index, text)
  message = str(caught.value)
  assert all(word in message for word in [index, *words])
  assert "\n" not in message


@pytest.mark.parametrize("label", ["fly", "3"])
def test_unknown_classes_name_their_line(root, label):
  touch(root, "a.mp4")
  (root / "classes.txt").write_text("run\njump\n")
  with pytest.raises(errors.UserError, match=f"line 1.*{label}"):
    listing(root, "i.txt", f"a.mp4 {label}\n")


def test_unknown_sub_folders_are_refused(root):
  touch(root, "fly/a.mp4")
  (root / "classes.txt").write_text("run\n")
  with pytest.raises(errors.UserError, match="fly"):
    listing(root)


def test_doubled_classes_are_refused(root):
  touch(root, "run/a.mp4")
  (root / "classes.txt").write_text("run\njump\nrun\n")
  with pytest.raises(errors.UserError, match="'run' twice"):
    listing(root)


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
      folders.list_files(path, "", SUFFIXES)
  with pytest.raises(errors.UserError, match="'no.txt'"):
    listing(root, "no.txt")


def test_an_index_that_is_no_text_is_refused(root):
  (root / "i.txt").write_bytes(b"\xff\xfe\x00")
  with pytest.raises(errors.UserError, match="UTF-8"):
    listing(root, "i.txt")
