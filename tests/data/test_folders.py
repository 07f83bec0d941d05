"""Which files a folder holds, and what people are told when it is wrong."""

import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import base
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


def listing(root, index="", text=None, **fields):
  if text is not None:
    (root / index).write_text(text)
  cfg = base.source()
  cfg.update(path=str(root), index=index, split="all")
  cfg.update(fields)
  return folders.list_files(cfg, SUFFIXES)


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


def test_sub_folders_that_are_numbers_are_those_classes(root):
  touch(root, *(f"{n}/a.mp4" for n in range(12)))
  got = listing(root)
  assert got.class_names == tuple(map(str, range(12)))
  assert got.paths[2:11:8] == ("2/a.mp4", "10/a.mp4")
  assert got.labels.tolist() == list(range(12))


def names(number, folder="c"):
  return [f"{folder}/{i:04}.mp4" for i in range(number)]


def splits_of(root, **fields):
  """The files of each split of a hashed folder."""
  return {
    name: set(listing(root, split=name, **fields).paths)
    for name in folders.HASHED
  }


def test_a_hash_divides_files_by_fractions(root):
  touch(root, *names(1000))
  got = splits_of(root)
  assert set.union(*got.values()) == set(names(1000))
  assert sum(map(len, got.values())) == 1000
  # Within three standard deviations of a binomial distribution.
  assert abs(len(got["train"]) - 800) < 3 * np.sqrt(1000 * 0.8 * 0.2)
  assert abs(len(got["test"]) - 100) < 3 * np.sqrt(1000 * 0.1 * 0.9)
  assert set(listing(root, split="pretrain").paths) == got["train"]
  half = {"train": 0.5, "select": 0.0, "test": 0.5}
  assert len(listing(root, split="test", split_fractions=half).paths) > 400
  with pytest.raises(errors.UserError, match="select 0, test"):
    listing(root, split="select", split_fractions=half)


def test_files_that_are_added_move_no_other(root):
  touch(root, *names(60))
  before = splits_of(root)
  touch(root, *names(60, "b"), *names(90))
  after = splits_of(root)
  assert all(before[name] <= after[name] for name in before)


def test_hashes_are_the_same_everywhere():
  # Not Python's own: that one differs between processes.
  code = "from vdr.data import folders; print(folders.hash_fraction('a/b.mp4'))"
  found = [
    subprocess.run(
      [sys.executable, "-c", code],
      env=os.environ | {"PYTHONHASHSEED": seed},
      capture_output=True,
      text=True,
      check=True,
    ).stdout
    for seed in ("1", "2")
  ]
  # sha256 of the name begins with b0a066fc (sha256sum).
  assert found[0] == found[1] == f"{folders.hash_fraction('a/b.mp4')}\n"
  assert folders.hash_fraction("a/b.mp4") == pytest.approx(
    0xB0A066FC / 2**32, abs=2**-32
  )
  name = "\u00e9.mp4"  # macOS writes it as two characters
  assert folders.hash_fraction(name) == folders.hash_fraction(
    unicodedata.normalize("NFD", name)
  )


@given(st.text(), st.text())
def test_hashes_are_fractions_that_differ(one, two):
  found = folders.hash_fraction(one), folders.hash_fraction(two)
  assert all(0 <= x < 1 for x in found)
  same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", two)
  assert (found[0] == found[1]) == same


@pytest.mark.parametrize("group", [r"([^/]*)-\d+\.mp4$", "subject"])
def test_groups_stay_together(root, group):
  files = [f"c/{who:02}-{take}.mp4" for who in range(40) for take in range(5)]
  touch(root, *files)
  lines = [f"{name},x,{name[2:4]}" for name in files]
  index = {"index": "i.csv"} if group == "subject" else {}
  if index:
    (root / "i.csv").write_text("\n".join(["path,label,subject", *lines]))
  got = splits_of(root, group=group, **index)
  people = {name: {x[2:4] for x in files} for name, files in got.items()}
  assert sum(map(len, people.values())) == 40
  assert all(len(got[name]) == 5 * len(people[name]) for name in got)
  found = listing(root, group=group, **index)
  assert found.groups == tuple(name[2:4] for name in found.paths)


def test_links_to_one_file_are_in_one_split(root):
  files = names(40)
  touch(root, *files)
  (root / "d").mkdir()
  for i, name in enumerate(files):
    (root / "d" / f"link{i}.mp4").symlink_to(root / name)
  got = splits_of(root)
  for files in got.values():
    real = [os.path.realpath(root / name) for name in files]
    assert len(set(real)) * 2 == len(real)
  columns = ["path,label,who", "c/0000.mp4,0,a", "d/link0.mp4,0,b"]
  with pytest.raises(errors.UserError, match="the same file as 'c/0000.mp4'"):
    for who in map(str, range(20)):  # until the two groups are in two splits
      columns[2] = f"d/link0.mp4,0,{who}"
      listing(root, "i.csv", "\n".join(columns), group="who")


def test_a_split_in_the_path_is_a_folder(root):
  touch(root, "train/cat/a.mp4", "train/dog/b.mp4", "val/bird/c.mp4", "no.txt")
  path = f"{root}/{{split}}"
  got = {k: listing(root, path=path, split=k) for k in ("train", "val", "all")}
  assert got["train"].paths == ("train/cat/a.mp4", "train/dog/b.mp4")
  assert got["train"].files() == [f"{root}/{p}" for p in got["train"].paths]
  # One numbering by name, although each split lacks some class.
  assert {x.class_names for x in got.values()} == {("bird", "cat", "dog")}
  assert got["train"].labels.tolist() == [1, 2]
  assert got["val"].labels.tolist() == [0]
  assert got["all"].paths == got["train"].paths + got["val"].paths
  assert got["val"].numbers.tolist() == [2]
  assert listing(root, path=path, split="pretrain").paths == got["train"].paths
  with pytest.raises(errors.UserError, match="no split 'select'.* train, val"):
    listing(root, path=path, split="select")
  with pytest.raises(errors.UserError, match="look like splits"):
    listing(root)


def test_a_template_may_have_doubled_slashes(root):
  touch(root, "train/a.mp4", "test/b.mp4")
  assert listing(root, path=f"{root}//{{split}}", split="test").num_files == 2


def test_hidden_folders_are_not_listed(root):
  """Notebooks keep copies there; a copy may fall into another split."""
  touch(root, "cat/a.mp4", "cat/.checkpoints/a.mp4", "dog/deep/b.mp4")
  assert listing(root).paths == ("cat/a.mp4", "dog/deep/b.mp4")


def test_groups_of_a_folder_are_the_same_through_a_link(root, tmp_path):
  touch(root, "ann-1.mp4", "bob-1.mp4")
  link = tmp_path / "link"
  link.symlink_to(root)
  found = [
    listing(path, group=r"^(\w+)-").contents(1).names for path in (root, link)
  ]
  assert found[0] == found[1]


def test_a_split_in_the_index_is_a_list(root):
  touch(root, "a.mp4", "b.mp4", "c.mp4")
  (root / "k_train.txt").write_text("a.mp4 run\nb.mp4 jump\n")
  (root / "k_test.txt").write_text("c.mp4 run\n")
  (root / "k_readme.txt").write_text("Nothing to list.\n")
  index = "k_{split}.txt"
  test = listing(root, index, split="test")
  assert (test.paths, test.labels.tolist()) == (("c.mp4",), [1])
  assert test.class_names == ("jump", "run")
  with pytest.raises(errors.UserError, match="'select'; it has test, train"):
    listing(root, index, split="select")
  with pytest.raises(errors.UserError, match="no file is found"):
    listing(root, "other_{split}.txt", split="test")


def test_groups_of_split_folders_are_comparable(root):
  touch(root, "train/ann-1.mp4", "test/ann-2.mp4")
  path, group = f"{root}/{{split}}", r"^(\w+)-"
  one, two = (
    listing(root, path=path, group=group, split=name).contents(1)
    for name in ("train", "test")
  )
  assert one.names["files"].isdisjoint(two.names["files"])
  (scope,) = one.names.keys() - {"files"}
  assert one.names[scope] == two.names[scope] == {"ann"}


def test_what_a_folder_without_splits_is_asked_for_is_told(root):
  touch(root, "a.mp4")
  for fields, words in (
    (dict(split_by="none", split="train"), "split_by=hash"),
    (dict(split="val"), "no split 'val'; it has train, select, test, and all"),
    (
      dict(split="train", split_fractions={"train": 0.9}),
      "add up to 1",
    ),
  ):
    with pytest.raises(errors.UserError, match=words) as caught:
      listing(root, **fields)
    assert "\n" not in str(caught.value)
  assert listing(root, split_by="none").paths == ("a.mp4",)


def test_contents_are_the_first_items_and_their_classes(root):
  touch(root, "cat/a.mp4", "cat/b.mp4", "dog/c.mp4")
  got = listing(root)
  assert got.contents(1).counts["label"].tolist() == [2, 1]
  few = got.contents(3, most=4)  # three views of each file
  assert few.names["files"] == {f"{root}/cat/a.mp4", f"{root}/cat/b.mp4"}
  assert few.counts["label"].tolist() == [2, 0]
  rows = listing(root, split="all").rows(2)
  assert (rows.numbers.tolist(), rows.total) == ([0, 1, 2, 3, 4, 5], 6)
