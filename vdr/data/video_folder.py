"""A folder of videos, labelled by an index or by sub-folders.

Items are ordered video by video, clip by clip, crop by crop: with k clips of
each video and c crops of each clip (`sampling` "uniform", `crop` "three"), item
i shows crop i mod c of clip (i // c) mod k of video i // (c k). All items of a
video follow each other and have the same label; their ids are
`path#clip.crop`, or just `path` where each video has a single item.
"""

import os
from typing import Any

import numpy as np

from vdr.data import clips, decoder, folders, schema, source, transforms

SUFFIXES = (
  *(".mp4", ".webm", ".avi", ".mkv", ".mov", ".m4v", ".3gp", ".mpg", ".mpeg"),
  *(".ts", ".mts", ".m2ts", ".flv", ".wmv", ".ogv"),
)


class VideoFolder:
  """Videos of a folder as clips (a `vdr.data.source.Source`).

  Attributes:
    items_per_video: clips times crops of each video.
  """

  def __init__(self, cfg: Any):
    """Lists the folder.

    Args:
      cfg: a source config of `configs/base.py`.

    Raises:
      UserError: a field of the config, the folder or its index is wrong.
    """
    clips.check(cfg)
    transforms.check(cfg)
    self._cfg = cfg
    self._listing = folders.list_files(cfg, SUFFIXES)
    self._fields = schema.resolve_fields(cfg.fields)
    self._crops = transforms.num_crops(cfg)
    self.items_per_video = cfg.clips_per_video * self._crops

  def __len__(self) -> int:
    return len(self._listing.paths) * self.items_per_video

  @property
  def class_names(self) -> dict[str, tuple[str, ...]]:
    names = self._listing.class_names
    return {"label": names} if names else {}

  def clip_id(self, index: int) -> str:
    path, (clip, crop) = self.video_of(index), self._view(index)
    return f"{path}#{clip}.{crop}" if self.items_per_video > 1 else path

  def video_of(self, index: int) -> str:
    return self._listing.paths[index // self.items_per_video]

  def group_of(self, index: int) -> str:
    return self._listing.groups[index // self.items_per_video]

  @property
  def rows(self) -> source.Rows:
    """The place of each item among those of all splits."""
    return self._listing.rows(self.items_per_video)

  def contents(self, most: int | None = None) -> source.Contents:
    return self._listing.contents(self.items_per_video, most)

  def read(self, index: int, rng: np.random.Generator) -> schema.Example:
    """See `vdr.data.source.Source.read`.

    The frames are cut between pixels (between those of chroma, where it has
    fewer), and `crop_affine` is that of the pixels delivered.
    """
    cfg = self._cfg
    clip, crop = self._view(index)
    affine = np.zeros((2, 2))

    def plan(video: decoder.Video) -> decoder.Request:
      indices = clips.choose_frames(cfg, rng, video.times_s, clip)
      affine[:], box = video.cut(
        transforms.sample_affine(cfg, rng, video.height, video.width, crop)
      )
      return decoder.Request(
        indices=indices,
        box=box,
        height=cfg.height,
        width=cfg.width,
        mirrored=bool(affine[1, 0] < 0),
      )

    number = index // self.items_per_video
    path = os.path.join(self._listing.root, self._listing.paths[number])
    frames, times_s = decoder.decode(path, plan, cfg.decode_timeout_s)
    example = {
      "video": frames,
      "label": self._listing.labels[number],
      "frame_times_s": times_s.astype(np.float32),
      "crop_affine": affine.astype(np.float32),
    }
    return {k: np.asarray(v) for k, v in example.items() if k in self._fields}

  def _view(self, index: int) -> tuple[int, int]:
    """Which clip of its video, and which crop of that, item `index` is."""
    return divmod(index % self.items_per_video, self._crops)
