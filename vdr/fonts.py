"""Text in fonts that have its characters, one after the other.

Pillow's own font is the prettiest, but knows little beyond ASCII; DejaVu Sans,
which matplotlib brings, has most alphabets. A character that neither has comes
from the first installed font that has it: so Chinese, Japanese, Korean and
emoji are drawn where such a font is installed, for instance `fonts-noto-cjk`
and `fonts-noto-color-emoji` of Debian.
"""

import dataclasses
import functools
import logging
import math
import pathlib
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageDraw, ImageFont

# Parts of file names, best first. Other fonts come after these, by name.
_PREFERRED = (
  *("notosanscjk", "sourcehansans", "notosans", "pingfang", "hiragino"),
  *("msyh", "yugoth", "malgun", "applesdgothic", "wqy", "droidsansfallback"),
  *("notoemoji", "symbola", "coloremoji", "seguiemj"),
)
# "LastResort" and "AdobeBlank" claim to have everything.
_USABLE = re.compile(r"(?i)(?!.*(lastresort|adobeblank)).*\.(ttf|otf|ttc|otc)")
_SMALLER = 0.9  # these fonts look larger than Pillow's at the same size
# No glyph of their own: they change the character before them, or the order.
_JOINED = ("Mn", "Me", "Mc", "Cf", "Sk")
_CONTROLS = ("Cc", "Zl", "Zp")
_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")
Colour = tuple[int, ...]
_told: list[str] = []  # what was warned of


@dataclasses.dataclass(frozen=True)
class Font:
  """Fonts of one height.

  Attributes:
    size: height in pixels.
    is_ascii: whether ASCII is drawn in Pillow's font.
  """

  size: float
  is_ascii: bool

  def getlength(self, text: str) -> float:
    """The width of a line, in pixels."""
    return math.fsum(
      _bitmap(part, path, self._px)[1]
      if _strike(path)
      else face.getlength(part)
      for part, path, face in self._parts(text)
    )

  def draw(
    self,
    canvas: ImageDraw.ImageDraw,
    place: tuple[float | int, float | int],
    text: str,
    colour: Colour,
    anchor: str = "la",
  ) -> None:
    """Draws a line.

    Args:
      canvas: what it is drawn on.
      place: x and y of its left end, pixels.
      text: the line.
      colour: of what is not an emoji in colours.
      anchor: "la" if y is that of the top, "lm" of the middle, as in Pillow.
    """
    parts = list(self._parts(text))
    if all(path is None for _, path, _ in parts):
      line = "".join(part for part, _, _ in parts)
      canvas.text(place, line, fill=colour, font=self._main, anchor=anchor)
      return
    ascent, descent = self._main.getmetrics()
    x, y = place
    baseline = y + (ascent if anchor == "la" else (ascent - descent) / 2)
    for part, path, face in parts:
      if _strike(path):
        picture, width = _bitmap(part, path, self._px)
        top = round(baseline - 0.85 * self._px)
        box = (round(x), top, round(x) + picture.width, top + picture.height)
        opaque = picture.convert("RGB").convert(canvas.mode)
        canvas.im.paste(opaque.im, box, picture.getchannel("A").im)
        x += width
      else:
        canvas.text((x, baseline), part, fill=colour, font=face, anchor="ls")
        x += face.getlength(part)

  @property
  def _px(self) -> float:
    return _SMALLER * self.size

  @property
  def _main(self) -> Any:
    return _load(None if self.is_ascii else _dejavu(), self.size)

  def _parts(self, text: str) -> Iterator[tuple[str, str | None, Any]]:
    """Parts of one font: text, file (None: the main one), and the font."""
    for part, path in _split(text):
      main = path is None or (path == _dejavu() and not self.is_ascii)
      path = None if main else path
      strike = None if path is None else _strike(path)
      size = self.size if strike is None else strike / _SMALLER
      yield part, path, self._main if main else _load(path, size)


def font(text: str, size: float) -> Font:
  """The font for a text, all lines of it, by its height in pixels."""
  return Font(size, text.isascii())


def covers(text: str) -> bool:
  """Whether every character has a glyph in some font here."""
  return not missing(text)


def missing(text: str) -> list[str]:
  """The characters that no font here has, each once."""
  return list(dict.fromkeys(c for c in text if _seen(c) and _of(c) == ""))


def label(name: str, number: int) -> str:
  """A class's name, or its number where no font here can draw the name."""
  if covers(name):
    return name
  _warn("".join(missing(name)))
  return f"class {number}"


def fallbacks(text: str) -> list[str]:
  """Names of fonts that have what DejaVu Sans lacks, for matplotlib.

  Fonts of bitmaps are left out, which matplotlib can't draw.
  """
  from matplotlib import font_manager

  if absent := missing(text):
    _warn("".join(absent))
  found = []
  for path in dict.fromkeys(_of(c) for c in text if _seen(c)):
    if path and path != _dejavu() and not _strike(path):
      font_manager.fontManager.addfont(path)
      found.append(font_manager.FontProperties(fname=path).get_name())
  return list(dict.fromkeys(found))


@functools.cache
def installed() -> tuple[str, ...]:
  """The files of all fonts on this machine, those that look best first."""
  from matplotlib import font_manager

  def rank(path: str) -> tuple:
    name = pathlib.Path(path).stem.lower().replace("-", "").replace("_", "")
    places = [k for k, part in enumerate(_PREFERRED) if part in name]
    return min(places, default=len(_PREFERRED)), "regular" not in name, path

  found = {str(path) for path in font_manager.findSystemFonts()}
  return tuple(
    sorted((path for path in found if _USABLE.fullmatch(path)), key=rank)
  )


def _split(text: str) -> list[tuple[str, str | None]]:
  """Parts of one font, and its file; None: Pillow's own, or no font."""
  parts: list[tuple[str, str | None]] = []
  # A file's name may hold bytes that are no text. Of some texts with control
  # characters Pillow's layout can't be made.
  for c in text.encode(errors="replace").decode():
    c = " " if unicodedata.category(c) in _CONTROLS else c
    path = None
    if parts and unicodedata.category(c) in _JOINED:
      path = parts[-1][1]  # an accent belongs to its letter
    elif parts and parts[-1][0].endswith("\u200d") and _has(parts[-1][1], c):
      path = parts[-1][1]  # several emoji that are one
    elif _seen(c):
      path = _of(c) or None
    if parts and parts[-1][1] == path:
      parts[-1] = (parts[-1][0] + c, path)
    else:
      parts.append((c, path))
  return parts


def _has(path: str | None, character: str) -> bool:
  return path is not None and ord(character) in _characters(path)


def _seen(character: str) -> bool:
  return unicodedata.category(character) not in _UNSEEN


@functools.cache
def _of(character: str) -> str | None:
  """The file of the font that has it; None: Pillow's own; "": none has."""
  if character.isascii():
    return None
  # An accent alone, or what picks an emoji's look, is drawn with its letter.
  if unicodedata.category(character) in _JOINED:
    return None
  for path in (_dejavu(), *installed()):
    if ord(character) in _characters(path):
      return path
  return ""


@functools.cache
def _characters(path: str) -> frozenset[int]:
  """The characters that a font has glyphs of; none if it can't be read."""
  from fontTools import ttLib

  try:
    ImageFont.truetype(path, _strike(path) or 16)
    with open(path, "rb") as raw, ttLib.TTFont(raw, fontNumber=0) as file:
      return frozenset(file.getBestCmap() or ())
  except Exception:  # fontTools raises nearly anything on damaged files
    return frozenset()


@functools.cache
def _strike(path: str | None) -> int | None:
  """The height of a font of bitmaps, pixels; None: it has any height."""
  if path is None:
    return None
  try:
    ImageFont.truetype(path, 17)
  except OSError:  # FreeType's "invalid pixel size", or it is no font
    return _largest_strike(path)
  return None


def _largest_strike(path: str) -> int | None:
  from fontTools import ttLib

  try:
    with open(path, "rb") as raw, ttLib.TTFont(raw, fontNumber=0) as file:
      if "CBLC" in file:
        strikes: Any = file["CBLC"]
        return max(s.bitmapSizeTable.ppemY for s in strikes.strikes)
      bitmaps: Any = file["sbix"]
      return max(bitmaps.strikes)
  except Exception:  # see _characters
    return None


@functools.lru_cache(256)
def _bitmap(
  text: str, path: str | None, px: float
) -> tuple[Image.Image, float]:
  """Emoji in their colours as an RGBA picture `px` high, and their width."""
  strike = _strike(path)
  assert strike is not None
  face = _load(path, strike / _SMALLER)
  left, top, right, bottom = map(round, face.getbbox(text))
  size = max(right - min(left, 0), 1), max(bottom - top, 1)
  picture = Image.new("RGBA", size)
  ImageDraw.Draw(picture).text(
    (-min(left, 0), -top), text, font=face, embedded_color=True
  )
  scale = px / size[1]
  width = max(1, round(scale * size[0]))
  small = picture.resize((width, max(1, round(px))), Image.Resampling.BOX)
  return small, width + 0.1 * px


@functools.lru_cache(256)
def _load(path: str | None, size: float) -> Any:
  if path is None:
    return ImageFont.load_default(size)
  return ImageFont.truetype(path, _SMALLER * size)


@functools.cache
def _dejavu() -> str:
  import matplotlib

  return f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"


def _warn(characters: str) -> None:
  """Says it once, whatever else is missing."""
  if not _told:
    _told.append(characters)
    logging.warning(
      "no font here has %s: install one that has, such as Debian's"
      " fonts-noto-cjk or fonts-noto-color-emoji; until then pictures show"
      " class numbers, and other text has boxes",
      characters,
    )
