"""Pictures are in the page until it is full, then linked."""

import base64
import re

from tests.report import fake_study
from vdr.report import embed, parts


def test_a_picture_is_the_file_itself(tmp_path):
  fake_study.write_pictures(tmp_path, "a.png", width=100)
  found = embed.Embedder(tmp_path, 10**6).markup(
    parts.Picture(tmp_path / "a.png", "video model", kind="video")
  )
  assert 'width="100" height="64"' in found
  assert 'class="shot video"' in found
  (data,) = re.findall('src="data:image/png;base64,([^"]+)"', found)
  assert base64.b64decode(data) == (tmp_path / "a.png").read_bytes()


def test_who_wants_no_motion_gets_the_still(tmp_path):
  fake_study.write_pictures(tmp_path, "a.gif", "a.png")
  picture = parts.Picture(tmp_path / "a.gif", still=tmp_path / "a.png")
  found = embed.Embedder(tmp_path, 10**6).markup(picture)
  assert "prefers-reduced-motion: reduce" in found
  assert found.index("image/png") < found.index("image/gif")


def test_what_does_not_fit_is_linked(tmp_path):
  (tmp_path / "page").mkdir()
  fake_study.write_pictures(tmp_path, "a.png", "b.png")
  room = 4 * (tmp_path / "a.png").stat().st_size // 3 + 64
  embedder = embed.Embedder(tmp_path / "page", room)
  first = embedder.markup(parts.Picture(tmp_path / "a.png"))
  second = embedder.markup(parts.Picture(tmp_path / "b.png"))
  assert "data:image/png" in first
  assert '<a href="../b.png">b.png</a>' in second
  assert embedder.room == 0


def test_what_is_gone_or_damaged_is_said(tmp_path):
  (tmp_path / "a.png").write_bytes(b"no")
  embedder = embed.Embedder(tmp_path, 10**6)
  assert "b.png is gone" in embedder.markup(parts.Picture(tmp_path / "b.png"))
  assert "can't be read" in embedder.markup(parts.Picture(tmp_path / "a.png"))
