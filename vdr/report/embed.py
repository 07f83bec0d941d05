"""Pictures inside the page, as long as the page stays small."""

import base64
import os
import pathlib

from PIL import Image

from vdr.report import parts, words

TYPES = {".png": "image/png", ".gif": "image/gif"}


class Embedder:
  """Puts pictures into the page until its room is used up.

  Attributes:
    room: bytes that are left.
  """

  def __init__(self, page_folder: pathlib.Path, room: int):
    """Makes one.

    Args:
      page_folder: of the page: what links are relative to.
      room: bytes that pictures may take in the page.
    """
    self._folder, self.room = page_folder, room

  def markup(self, picture: parts.Picture) -> str:
    """A picture as HTML: itself, or a link where there is no room for it."""
    title = words.escape(picture.title)
    caption = f"<figcaption>{title}</figcaption>" if title else ""
    if not picture.path.is_file():
      inner = (
        f'<p class="missing">{words.escape(picture.path.name)} is gone</p>'
      )
    else:
      inner = self._image(picture)
    return f'<figure class="shot {picture.kind}">{caption}{inner}</figure>'

  def _image(self, picture: parts.Picture) -> str:
    try:
      with Image.open(picture.path) as opened:
        width, height = opened.size
    except OSError:
      return (
        f'<p class="missing">{words.escape(picture.path.name)} can\'t be'
        " read</p>"
      )
    source = self._take(picture.path)
    if source is None and picture.still is not None:
      return self._image(picture._replace(path=picture.still, still=None))
    if source is None:
      link = words.escape(os.path.relpath(picture.path, self._folder))
      return f'<p><a href="{link}">{words.escape(picture.path.name)}</a></p>'
    alt = words.escape(
      ", ".join(filter(None, (picture.title, picture.caption)))
      or picture.path.stem.replace("_", " ")
    )
    image = (
      f'<img src="{source}" alt="{alt}" width="{width}" height="{height}"'
      ' decoding="async" loading="lazy">'
    )
    still = picture.still
    if still is None or not still.is_file():
      return image
    if (quiet := self._take(still)) is None:
      return image
    return (
      '<picture><source media="(prefers-reduced-motion: reduce)"'
      f' srcset="{quiet}">{image}</picture>'
    )

  def _take(self, path: pathlib.Path) -> str | None:
    """A data URI, or None if it does not fit any more."""
    size = 4 * path.stat().st_size // 3 + 64
    if size > self.room or path.suffix not in TYPES:
      return None
    self.room -= size
    data = base64.b64encode(path.read_bytes()).decode()
    return f"data:{TYPES[path.suffix]};base64,{data}"
