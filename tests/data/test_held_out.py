"""What is said to be held out is."""

import numpy as np
import pytest
from PIL import Image

from configs import base
from tests.data import fakes
from vdr.data import held_out
from vdr.runtime import errors


def touch(root, *names):
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def data(path, **fields):
  cfg = base.data()
  cfg.sources.main.update(
    kind="image_folder", path=str(path), height=4, width=4, num_frames=1
  )
  cfg.sources.main.update(fields)
  return cfg


def many(number, folder="c"):
  return [f"{folder}/{i:02}.png" for i in range(number)]


def check(one, two, **more):
  held_out.check({"train.split=x": [one], "look.split=y": [two]}, **more)


def test_parts_of_a_hashed_folder_share_nothing(tmp_path, capsys):
  touch(tmp_path, *many(40))
  cfg = data(tmp_path)
  check(cfg, held_out.of_split(cfg, "select"))
  out = capsys.readouterr().out
  assert str(tmp_path) in out and "train 3" in out and "select " in out


@pytest.mark.parametrize(
  "two",
  [
    {"split": "train"},
    {"split": "pretrain"},
    {"split": "all"},
    {"split": "select", "split_fractions": {"train": 0.1, "select": 0.8}},
  ],
)
def test_equal_splits_are_one_clear_line(tmp_path, two):
  touch(tmp_path, *many(40))
  with pytest.raises(errors.UserError) as caught:
    check(data(tmp_path), data(tmp_path, **two))
  message = str(caught.value)
  assert message.startswith("train.split=x and look.split=y have ")
  assert ".png" in message and "\n" not in message


def test_one_list_named_twice_and_links_are_the_same_clips(tmp_path):
  touch(tmp_path, *many(3, "a"))
  (tmp_path / "b").symlink_to(tmp_path / "a")
  for name in ("train", "test"):
    (tmp_path / f"{name}.txt").write_text("a/00.png 0\na/01.png 1\n")
  (tmp_path / "linked.txt").write_text("b/01.png 0\n")
  for index, split in (("{split}.txt", "train"), ("{split}.txt", "linked")):
    with pytest.raises(errors.UserError, match="a/0[01].png"):
      check(
        data(tmp_path, index=index, split="test"),
        data(tmp_path, index=index, split=split),
      )


def test_a_group_in_two_splits_is_told(tmp_path):
  touch(tmp_path, "train/ann-1.png", "test/ann-2.png", "test/bob-1.png")
  cfg = data(tmp_path / "{split}", group=r"(\w+)-\d")
  with pytest.raises(errors.UserError, match="1 clips or groups .* 'ann'"):
    check(cfg, held_out.of_split(cfg, "test"))


def test_other_sources_are_compared_by_their_numbers():
  cfg = base.data()
  cfg.sources.main.split = "pretrain"
  check(cfg, held_out.of_split(cfg, "select"))
  with pytest.raises(errors.UserError, match="number 0 of simulated/pretrain"):
    check(cfg, held_out.of_split(cfg, "all"))


def test_a_split_that_is_not_there_is_told_with_its_field(tmp_path):
  touch(tmp_path, "a.png")
  for fields, words in (
    ({"split": "val"}, "look.split=y: .*no split 'val'"),
    ({"split_by": "none"}, "look.split=y: .*set split_by=hash"),
  ):
    with pytest.raises(errors.UserError, match=words):
      check(data(tmp_path, split="all"), data(tmp_path, **fields))


def test_a_class_that_is_only_scored_is_told(tmp_path, capsys):
  touch(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png")
  cfg = data(tmp_path / "{split}")
  test = held_out.of_split(cfg, "test")
  check(cfg, test, labels=["label"])
  assert capsys.readouterr().out == (
    "1 of 2 classes are absent from look.split=y: 'dog' (train.split=x: 1,"
    " look.split=y: 0)\n"
  )
  touch(tmp_path, "test/bird/d.png")
  with pytest.raises(errors.UserError, match="'bird' is absent from train.spl"):
    check(cfg, test, labels=["label"])


def test_only_the_clips_that_are_read_count(tmp_path):
  touch(tmp_path, *many(5, "train/a"), "train/b/x.png", "test/b/y.png")
  cfg = data(tmp_path / "{split}")
  test = held_out.of_split(cfg, "test")
  check(cfg, test, labels=["label"])
  # Folders list class by class: the first three are all of one.
  with pytest.raises(errors.UserError, match="'b' is absent"):
    check(cfg, test, labels=["label"], most={"train.split=x": 3})


def test_what_training_saw_is_refused(tmp_path, capsys):
  touch(tmp_path, *many(40))
  trained = base.default()
  trained.data = data(tmp_path, split="pretrain")
  test = held_out.of_split(trained.data, "test")
  held_out.check_unseen(trained, "look.split=test", test)
  with pytest.raises(errors.UserError, match="training of the checkpoint and"):
    held_out.check_unseen(
      trained, "look.split=train", held_out.of_split(trained.data, "train")
    )
  capsys.readouterr()
  trained.data.sources.main.path = "gone"
  held_out.check_unseen(trained, "look.split=test", test)
  assert "can't be told" in capsys.readouterr().out


def test_a_source_that_is_gone_hides_no_other_one(tmp_path, capsys):
  touch(tmp_path, *many(40))
  trained = base.default()
  trained.data = data(tmp_path)
  gone = trained.data.sources.main.copy_and_resolve_references()
  gone.path = "gone"
  trained.data.sources.another = gone
  with pytest.raises(errors.UserError, match="training of the checkpoint and"):
    held_out.check_unseen(
      trained, "look.split=train", held_out.of_split(data(tmp_path), "train")
    )
  assert "can't be told" in capsys.readouterr().out


class Views(fakes.Fake):
  """Four views of each video, one after another or video by video in turn."""

  def __init__(self, num_clips, in_turn=False):
    super().__init__(num_clips)
    self._num_videos = num_clips // 4 if in_turn else 0

  def video_of(self, index):
    number = index % self._num_videos if self._num_videos else index // 4
    return f"video{number}"


@pytest.mark.parametrize("in_turn", [False, True])
def test_two_sets_divide_no_video(in_turn):
  source = Views(48, in_turn)
  batches = fakes.make(source, num_epochs=1)
  one, two = held_out.two_sets(batches, 12)
  assert len(one) == len(two) == 12
  videos = [
    {source.video_of(int(clip[0, 0, 0, 0])) for clip in each}
    for each in (one, two)
  ]
  assert not videos[0] & videos[1]
