"""The page as a file: whole, well formed, small, and true to its numbers."""

import html.parser
import json
import re

import pytest

from vdr.report import compose, parts
from vdr.runtime import errors

VOID = {"meta", "link", "img", "br", "source", "input", "path", "circle"}


class Checker(html.parser.HTMLParser):
  """Every element that begins ends, in order; names are there once."""

  def __init__(self):
    super().__init__()
    self.open, self.ids, self.links, self.sources = [], [], [], []

  def handle_starttag(self, tag, attrs):
    fields = dict(attrs)
    if tag not in VOID:
      self.open.append(tag)
    if "id" in fields:
      self.ids.append(fields["id"])
    self.links += [fields["href"]] if "href" in fields else []
    self.sources += [fields[k] for k in ("src", "srcset") if k in fields]

  def handle_endtag(self, tag):
    if tag not in VOID:
      assert self.open.pop() == tag


@pytest.fixture(scope="module")
def checked(whole):
  checker = Checker()
  checker.feed(whole.page)
  checker.close()
  return checker


def test_the_page_is_well_formed(checked):
  assert checked.open == []
  assert len(checked.ids) == len(set(checked.ids))


def test_a_half_finished_study_gives_a_well_formed_page(half):
  checker = Checker()
  checker.feed(half.page)
  checker.close()
  assert checker.open == []
  assert "cells are finished. The page shows what there is" in " ".join(
    half.page.split()
  )


def test_links_lead_to_what_there_is(checked, whole):
  for link in checked.links:
    if link.startswith("#"):
      assert link[1:] in checked.ids
    elif link != "data:,":
      assert (whole.out / link).is_file(), link


def test_nothing_is_loaded_from_elsewhere(checked):
  assert checked.sources
  assert all(source.startswith("data:") for source in checked.sources)


def test_the_page_has_the_numbers_of_the_report(whole):
  text = re.findall(
    r'<script type="application/json" id="figures">(.+?)</script>',
    whole.page,
    re.DOTALL,
  )
  figures = json.loads(text[0])
  assert {n: f["specs"] for n, f in figures.items()} == whole.numbers["figures"]


def test_every_part_of_the_study_is_a_section(checked):
  names = {"headline", "origins", "places", "budget", "sizes", "looking"}
  assert names | {"samples", "account"} <= set(checked.ids)


def test_files_lie_beside_the_page(whole):
  numbers = whole.numbers
  for name in numbers["tables"]:
    for suffix in (".csv", ".json", ".md"):
      assert (whole.out / "tables" / f"{name}{suffix}").is_file()
  drawn = {path.stem for path in (whole.out / "figures").glob("*.svg")}
  assert drawn == {path.stem for path in (whole.out / "figures").glob("*.png")}
  assert {"gain", "radar", "maps-depth", "curves-pose-log_snr-best"} <= drawn


def test_the_page_is_small(whole):
  assert (whole.out / "index.html").stat().st_size < 15e6


def test_pictures_make_way_for_a_small_page(whole):
  report = compose.make(whole.study)
  bare = compose._page(report, whole.out, {}, 0)
  assert '<img src="data:image/png' not in bare
  assert "/preview.png" in bare
  room = len(bare.encode()) + 5000
  some = compose._page(report, whole.out, {}, room)
  assert '<img src="data:image/png' in some
  assert len(some.encode()) < room


def test_a_report_takes_the_place_of_an_earlier_one_and_of_nothing_else(
  tmp_path,
):
  compose.refuse_strangers(tmp_path / "new")
  compose.refuse_strangers(tmp_path)
  (tmp_path / "thesis.tex").write_text("")
  with pytest.raises(errors.UserError, match="thesis.tex .* holds no report"):
    compose.refuse_strangers(tmp_path)
  (tmp_path / compose.NUMBERS_NAME).write_text("{}")
  compose.refuse_strangers(tmp_path)


def test_nothing_at_all_is_finished(tmp_path):
  study = {
    "schema_version": 1,
    "title": "empty",
    "seed": 0,
    "command": "python",
    "started": "2026-11-24T23:00:00Z",
    "seconds": 0.0,
    "machine": {"cpu": "x", "cores": 1},
    "versions": {},
    "models": [],
    "cells": [],
  }
  (tmp_path / "study.json").write_text(json.dumps(study))
  compose.write(tmp_path, tmp_path / "report", 30, 15.0)
  page = (tmp_path / "report" / "index.html").read_text()
  assert "Nothing has been measured of both models yet" in page
  report = compose.make(tmp_path)
  for section in report.sections:
    if section.name not in ("sizes",):
      assert any(
        isinstance(part, parts.Missing | parts.Table) for part in section.parts
      )
