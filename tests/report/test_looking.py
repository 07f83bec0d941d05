"""Sections 6 and 7: pictures of both models in one order."""

from tests.report import fake_study
from vdr.report import looking, parts
from vdr.report import study as study_lib


def galleries(section):
  return {p.title: p for p in section.parts if isinstance(p, parts.Gallery)}


def test_features_and_predictions_stand_video_beside_image(whole):
  section = looking.section(study_lib.Study(whole.study), "tiny")
  found = galleries(section)
  pca = found["Features in colour"]
  assert [p.kind for p in pca.pictures] == ["video", "image"]
  assert pca.pictures[0].path.parent.name == "look-video-tiny-0-0123abcd"
  assert pca.pictures[0].still == pca.pictures[0].path.with_name("pca.png")
  assert pca.caption == "Three of them as colours."
  for task, (title, *_) in fake_study.TASKS.items():
    pictures = found[title].pictures
    assert [p.kind for p in pictures] == ["video", "image"]
    assert pictures[1].path.parts[-3:] == (task, "pictures", f"{task}.png")


def test_numbers_of_looking(whole):
  rows = whole.numbers["tables"]["looking"]
  assert [(r["model"], r["brick_wall"], r["error_px"]) for r in rows] == [
    ("video", 0.61, 21.3),
    ("image", 0.02, None),
  ]


def test_samples_are_those_of_the_last_checkpoint(whole):
  section = looking.samples(study_lib.Study(whole.study), "tiny")
  found = galleries(section)
  pictures = found["Frames"].pictures
  assert [p.path.parent.name for p in pictures] == [
    "generation-video-tiny-0-100-0123abcd",
    "generation-image-tiny-0-100-0123abcd",
  ]
  assert found["What the tokenizer keeps"].pictures
  assert found["Data"].pictures[0].path.name == "preview.png"


def test_training_s_own_samples_stand_in_for_what_is_missing(half):
  section = looking.samples(study_lib.Study(half.study), "tiny")
  (picture,) = galleries(section)["Samples: clips"].pictures
  assert picture.path.name == "clips-00000500.gif"
  assert picture.still is not None
  assert picture.still.name == "clips-00000500.png"


def test_losses_are_the_lines_of_training(whole):
  figure = looking.losses(study_lib.Study(whole.study), "tiny")
  assert figure is not None
  video, image = figure.specs["loss"]["series"]
  assert video["x"] == image["x"] == list(range(20, 501, 20))
  assert video["value"][0] == 0.6 + 2 / 24
  assert figure.specs["validation_clips"]["series"][0]["x"][-1] == 500


def test_what_is_missing_is_said(half):
  assert "look-video-tiny-0 (waiting)" in half.page
  figure = looking.losses(study_lib.Study(half.study), "tiny")
  assert figure is not None
  assert [s["name"] for s in figure.specs["loss"]["series"]] == ["video model"]
  assert looking.losses(study_lib.Study(half.study), "large") is None


def test_stills_belong_to_their_animations(tmp_path):
  fake_study.write_pictures(tmp_path, "a.gif", "a.png", "b.png")
  (tmp_path / "c.txt").write_text("")
  first, second = looking.pictures_in(tmp_path)
  assert (first.path.name, second.path.name) == ("a.gif", "b.png")
  assert first.still == tmp_path / "a.png"
  assert looking.pictures_in(tmp_path / "none") == []
