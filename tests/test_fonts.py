"""Characters come from a font that has them, whichever fonts are installed."""

import io
import logging
import string

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from fontTools import fontBuilder, ttLib
from fontTools.pens import ttGlyphPen
from fontTools.ttLib.tables import sbixGlyph, sbixStrike
from PIL import Image, ImageDraw

from vdr import fonts

INK, PAGE = (0, 0, 0), (255, 255, 255)


def _square(side):
  pen = ttGlyphPen.TTGlyphPen(None)
  pen.moveTo((0, 0))
  for place in ((0, side), (side, side), (side, 0)):
    pen.lineTo(place)
  pen.closePath()
  return pen.glyph()


def _make(path, characters):
  """A font whose characters are squares as high as its capitals would be."""
  names = {ord(c): f"glyph{k}" for k, c in enumerate(characters)}
  order = [".notdef", *names.values()]
  builder = fontBuilder.FontBuilder(1000, isTTF=True)
  builder.setupGlyphOrder(order)
  builder.setupCharacterMap(names)
  builder.setupGlyf({name: _square(900) for name in order})
  builder.setupHorizontalMetrics(dict.fromkeys(order, (1000, 0)))
  builder.setupHorizontalHeader(ascent=900, descent=-100)
  builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
  builder.setupOS2()
  builder.setupPost()
  builder.save(path)
  return str(path)


@pytest.fixture
def install(monkeypatch, tmp_path):
  """Makes these the only fonts of the machine, beside what vdr brings."""
  caches = (fonts._of, fonts._characters, fonts._strike)
  monkeypatch.setattr(fonts, "_told", [])

  def these(**characters):
    paths = [
      _make(tmp_path / f"{name}.ttf", found)
      for name, found in characters.items()
    ]
    monkeypatch.setattr(fonts, "installed", lambda: tuple(paths))
    for cache in caches:
      cache.cache_clear()
    return paths

  these()
  yield these
  for cache in caches:
    cache.cache_clear()


def _drawn(text, size=40.0, anchor="la", colour=INK):
  picture = Image.new("RGB", (300, 100), PAGE)
  y = 30 if anchor == "la" else 50
  canvas = ImageDraw.Draw(picture)
  fonts.font(text, size).draw(canvas, (20, y), text, colour, anchor)
  return np.array(picture)


def test_a_character_comes_from_the_font_that_has_it(install):
  path = install(han="猫", other="犬")[0]
  assert fonts.covers("猫 und Gänse") and not fonts.covers("猫鵝")
  assert fonts._split("猫 und Ä") == [("猫", path), (" und ", None)] + [
    ("Ä", fonts._dejavu())
  ]
  dark = (_drawn("猫") < 128).all(-1)
  rows, columns = dark.any(1).nonzero()[0], dark.any(0).nonzero()[0]
  # A full square of .9 of the font's size, which is .9 of the text's.
  assert dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
  assert len(rows) == len(columns) == pytest.approx(40 * 0.9 * 0.9, abs=1.5)
  assert columns[0] == 20


def test_parts_follow_one_another_on_one_line(install):
  install(han="猫")
  for text in ("猫", "猫猫", "ä猫ä", "a猫", "猫 猫a"):
    width = fonts.font(text, 40.0).getlength(text)
    dark = (_drawn(text) < 128).all(-1)
    ends = dark.any(0).nonzero()[0][[0, -1]] - 20
    assert 0 <= ends[0] < 4 and width - 9 < ends[1] <= width


def test_parts_stand_on_one_line(install):
  install(han="猫")
  dark = (_drawn("ä猫") < 128).all(-1)
  end = 20 + round(fonts.font("ä猫", 40.0).getlength("ä"))
  letter, square = (
    part.any(1).nonzero()[0][-1] for part in (dark[:, :end], dark[:, end:])
  )
  assert abs(letter - square) <= 1


@pytest.mark.parametrize("text", ["猫", "g猫", "plain"])
def test_text_may_be_placed_by_its_middle(text, install):
  install(han="猫")
  rows = (_drawn(text, anchor="lm") < 128).any((1, 2)).nonzero()[0]
  assert 25 < rows[0] < 50 < rows[-1] < 75


def test_what_vdr_brings_is_drawn_as_by_pillow(install):
  for text in ("word", "Gänse, Ελλάδα"):
    picture = Image.new("RGB", (300, 100), PAGE)
    face = fonts.font(text, 30.0)
    ImageDraw.Draw(picture).text(
      (20, 30), text, fill=INK, font=face._main, anchor="la"
    )
    np.testing.assert_array_equal(_drawn(text, 30.0), np.array(picture))
    assert face.getlength(text) == face._main.getlength(text)


def test_a_name_that_no_font_has_is_a_number_and_one_warning(install, caplog):
  install(han="猫")
  with caplog.at_level(logging.WARNING):
    assert fonts.label("猫", 3) == "猫"
    assert not caplog.records
    for _ in range(3):
      assert fonts.label("鵝鳥", 3) == "class 3"
  assert len(caplog.records) == 1
  assert "no font here has 鵝鳥" in caplog.text
  assert fonts.label("Gänse", 3) == "Gänse"
  assert fonts.missing("猫鵝鵝鳥") == ["鵝", "鳥"]


def test_accents_stay_with_their_letters(install):
  install(han="猫\u0301")
  path = fonts.installed()[0]
  assert fonts._split("e\u0301猫\u0301x") == [
    ("e\u0301", None),
    ("猫\u0301", path),
    ("x", None),
  ]
  for text in ("\u0301", "e\u0301", "❤\ufe0f", "\u200d"):
    assert fonts.covers(text)


def test_emoji_that_are_joined_stay_in_one_font(install):
  """Although DejaVu Sans has the second one, too."""
  path = install(emoji="\U0001fabf\u2695")[0]
  assert fonts._of("\u2695") == fonts._dejavu()
  joined = "\U0001fabf\u200d\u2695\ufe0f"
  assert fonts._split(joined) == [(joined, path)]


def test_a_damaged_font_is_none(install, monkeypatch, tmp_path):
  path = tmp_path / "damaged.ttf"
  path.write_bytes(b"\0\1\0\0nothing")
  absent = str(tmp_path / "absent.ttf")
  good = install(han="猫")[0]
  monkeypatch.setattr(fonts, "installed", lambda: (str(path), absent, good))
  assert fonts._of("猫") == good and not fonts.covers("鵝")


def test_fonts_that_look_best_come_first(monkeypatch):
  from matplotlib import font_manager

  found = ["/a/zz.ttf", "/a/wqy-zenhei.ttc", "/a/NotoSansCJK-Bold.ttc"]
  found += ["/b/NotoSansCJK-Regular.ttc", "/a/LastResort.otf", "/a/x.pfb"]
  monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
  fonts.installed.cache_clear()
  assert fonts.installed() == (
    "/b/NotoSansCJK-Regular.ttc",
    "/a/NotoSansCJK-Bold.ttc",
    "/a/wqy-zenhei.ttc",
    "/a/zz.ttf",
  )
  fonts.installed.cache_clear()


def test_matplotlib_is_told_of_fonts_that_have_the_rest(install):
  install(han="猫", more="犬", unused="鵝")
  assert fonts.fallbacks("猫 and 犬, Gänse") == ["han", "more"]
  assert fonts.fallbacks("plain") == []


@hypothesis.given(
  st.text(
    st.characters(categories=["L", "M", "N", "P", "S", "C", "Z"]), max_size=12
  )
)
def test_any_text_is_drawn(text):
  """Right to left, combining, emoji, private use, halves of pairs."""
  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(fonts, "installed", tuple)
    length = fonts.font(text, 12.0).getlength(text)
    assert np.isfinite(length) and length >= 0
    _drawn(text, 12.0)
    assert fonts.label(text, 1) in (text, "class 1")


@pytest.mark.parametrize("text", ["שלום", "مرحبا", "नमस्ते", "ไทย", "a\udcffb"])
def test_other_directions_and_bytes_that_are_no_text_are_drawn(text, install):
  assert (_drawn(text) < 128).any()


def _make_bitmaps(path, character, side):
  """A font whose only character is a red picture, as of emoji."""
  font = ttLib.TTFont(_make(path, character))
  raw = io.BytesIO()
  Image.new("RGBA", (side, side), (255, 0, 0, 255)).save(raw, "png")
  strike = sbixStrike.Strike(ppem=side, resolution=72)
  for name in font.getGlyphOrder():
    strike.glyphs[name] = sbixGlyph.Glyph(
      glyphName=name, graphicType="png ", imageData=raw.getvalue()
    )
  font["sbix"] = ttLib.newTable("sbix")
  font["sbix"].version, font["sbix"].flags = 1, 1
  font["sbix"].strikes = {side: strike}
  font.save(path)
  return str(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_emoji_have_their_own_colours_and_the_height_of_text(
  install, monkeypatch, tmp_path, mode
):
  path = _make_bitmaps(tmp_path / "emoji.ttf", "\U0001fabf", 64)
  monkeypatch.setattr(fonts, "installed", lambda: (path,))
  fonts._of.cache_clear()
  assert fonts._strike(path) == 64 and fonts.covers("\U0001fabf")
  picture = Image.new(mode, (300, 100), PAGE)
  text = "é\U0001fabfé"
  face = fonts.font(text, 40.0)
  face.draw(ImageDraw.Draw(picture), (20, 30), text, INK)
  found = np.array(picture.convert("RGB")).astype(int)
  red = (found[..., 0] > 200) & (found[..., 1] < 60)
  rows, columns = red.any(1).nonzero()[0], red.any(0).nonzero()[0]
  assert len(rows) == len(columns) == pytest.approx(36, abs=1)
  dark = (found < 100).all(-1)
  assert dark[:, : columns[0]].any() and dark[:, columns[-1] + 1 :].any()
  baseline = dark.any(1).nonzero()[0][-1]
  assert rows[0] < baseline <= rows[-1] + 1
  assert face.getlength(text) == pytest.approx(
    2 * face.getlength("é") + face.getlength("\U0001fabf"), abs=0.1
  )
  assert fonts.fallbacks(text) == []  # matplotlib can't draw them


def test_letters_are_those_of_ascii():
  assert fonts.covers(string.printable) and fonts._split("a b") == [
    ("a b", None)
  ]
