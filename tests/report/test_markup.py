"""HTML that says what it is given, and nothing that it is given runs."""

import json
import pathlib

import pytest

from vdr.report import embed, markup, parts

NASTY = "<script>alert(1)</script>"
PARTS = [
  parts.Text(NASTY),
  parts.Missing(NASTY),
  parts.Details(NASTY, NASTY, [parts.Fold(NASTY, NASTY)]),
  parts.Gallery(NASTY, NASTY, [parts.Picture(pathlib.Path(NASTY), NASTY)]),
  parts.Table(
    "t",
    NASTY,
    NASTY,
    [parts.Column(NASTY, lambda r: NASTY, lambda r: NASTY)],
    [{"a": 1}],
  ),
  parts.Figure("f", NASTY, NASTY, {"": {"kind": "bars"}}),
]


@pytest.fixture
def pictures(tmp_path):
  return embed.Embedder(tmp_path, 0)


@pytest.mark.parametrize("part", PARTS, ids=lambda p: type(p).__name__)
def test_text_is_escaped(part, pictures):
  found = markup.part(part, {}, pictures)
  assert "<script" not in found
  assert "&lt;script&gt;alert(1)" in found


def test_figures_can_not_end_their_script(pictures):
  spec = {"kind": "bars", "axis": NASTY}
  figure = parts.Figure("f", "", "", {"": spec}, (parts.Choice("a", []),))
  found = markup.figures([parts.Section("s", "", "", [figure])])
  assert "<" not in found
  assert json.loads(found)["f"]["specs"][""] == spec
  assert json.loads(found)["f"]["choices"] == [{"label": "a", "options": []}]


def test_a_figure_has_its_drawings_for_who_has_no_script(pictures):
  figure = parts.Figure("f", "T", "", {"a": {}, "b": {}})
  found = markup.part(figure, {"f-a": "<svg/>", "f-b": "<svg/>"}, pictures)
  inside = found[found.index("<noscript>") : found.index("</noscript>")]
  assert inside.count("data:image/svg+xml;base64,") == 2
  assert 'href="figures/f-a.svg"' in found


def test_long_tables_open_on_a_click(pictures):
  column = parts.Column("a", lambda r: str(r["a"]))
  for count, is_folded in ((markup.MANY_ROWS, False), (30, True)):
    rows = [{"a": i} for i in range(count)]
    table = parts.Table("t", "T", "", [column], rows)
    found = markup.part(table, {}, pictures)
    assert ("<details>" in found) == is_folded
    assert found.count("<tr>") == count + 1


def test_two_halves_make_a_pair(pictures):
  half = parts.Figure("f", "", "", {"": {}}, half=True)
  whole = parts.Figure("g", "", "", {"": {}})
  for several, pairs in (([half, half], 1), ([half, whole], 0), ([half], 0)):
    section = parts.Section("s", "S", "", several)
    found = markup.section(section, 1, {}, pictures)
    assert found.count('class="pair"') == pairs
    assert found.count("<div") == found.count("</div>")


def test_tiles_and_links():
  tile = parts.Tile("depth", "+3 %", "+1 % to +5 %", "video above", "", "above")
  assert '<li class="tile above"><h3>depth</h3>' in markup.tiles([tile])
  assert markup.tiles([]) == ""
  section = parts.Section("s", "A & B", "", [])
  assert markup.links([section]) == '<a href="#s">A &amp; B</a>'
