"""Configs that earlier versions wrote, and how they are read today."""

from typing import Any, NamedTuple

# Fields and groups of fields that had another name in earlier versions, which
# checkpoints and work directories still have: old name → new name. A source of
# any name is `sources.main` here.
RENAMED: dict[str, str] = {}


class Earlier(NamedTuple):
  """What earlier versions did without a field, where its default differs.

  Attributes:
    field: the field that says so today.
    value: its value.
    kinds: the kinds of source that it holds for; (): it is of no source.
  """

  field: str
  value: Any
  kinds: tuple[str, ...] = ()


# By the field that earlier versions lacked; sources as in `RENAMED`.
EARLIER: dict[str, Earlier] = {
  "evaluate.controls_place": Earlier("evaluate.controls_place", "same"),
  # Folders had no splits: whichever was named, all files were read.
  **{
    f"{section}.sources.main.split_by": Earlier(
      f"{section}.sources.main.split", "all", ("video_folder", "image_folder")
    )
    for section in ("data", "images")
  },
}
