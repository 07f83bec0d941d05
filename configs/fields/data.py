"""The fields of config.data and config.images."""

from typing import Any

from vdr.runtime.bounds import (
  count,
  each,
  fraction,
  fractions,
  one_of,
  positive,
  real,
  reals,
  section,
  text,
  texts,
  whole,
)


@section
def data() -> dict[str, Any]:
  """The clips that a verb reads."""
  return dict(
    **loader.fields,
    # Studies only: simulated | folder:DIR | simulated+folder:DIR (half of each)
    pretrain=text("simulated"),  # what tokenizer and models are trained on
  )


@section
def loader() -> dict[str, Any]:
  """A stream of batches from one source or a weighted mixture."""
  return dict(
    sources=each(main=source),  # by name; mixed by their weights
    batch_size=whole(8),  # clips of a batch, over all hosts
    shuffle=True,  # a new order every epoch, from config.seed
    num_epochs=count(-1, also=-1),  # passes over the data; -1: without end
    prefetch=count(2),  # batches kept ready on the device
    max_bad_share=fraction(0.01),  # unreadable clips before an error
  )


@section
def source() -> dict[str, Any]:
  """One source of clips; an image is a clip of one frame."""
  return dict(
    kind=one_of(
      "physics", "video_folder", "image_folder", "tfds", "latents"
    ),  # of source
    path=text(""),  # its directory
    split=text("train"),  # to read; pretrain: also train; all: all of a folder
    weight=real(1.0, least=0),  # in a mixture, relative to the others
    fields=texts(("video",)),  # of vdr/data/schema.py: what to read
    # One text for each item (vdr/data/text.py); {split} becomes the split.
    text=text(""),  # .npz of embedded texts
    # Folders of videos or images.
    index=text(""),  # lines `path label`, or .csv; "": class sub-folders
    # {split} in path or index becomes the split: a folder or list for each.
    split_by=one_of("hash", "none"),  # without {split}; hash: of files' names
    split_fractions=dict(  # hash: of the files, or of the groups
      train=fraction(0.8),  # also what pretrain stands for
      select=fraction(0.1),  # to choose on
      test=fraction(0.1),  # to score on
    ),
    # Files that no split may divide: column of a .csv index, or regular
    # expression whose match in the path names the group.
    group=text(""),  # "": each file is a group
    decode_timeout_s=positive(30.0),  # seconds that a decode may take
    tfds_name=text(""),  # tfds: name of the data set, e.g. imagenet2012
    # Which frames of a video.
    num_frames=whole(17, most=4097),  # frames of a clip
    sampling=one_of("random", "middle", "uniform"),  # of a video
    clips_per_video=count(1),  # uniform: clips spread evenly over each video
    stride=count(1),  # video frames from a clip frame to the next, if fps is 0
    fps=real(0.0, least=0),  # frames per second of the clip; 0: use stride
    short_videos=one_of("loop", "pad"),  # pad: repeat the last frame
    # Which pixels of a frame.
    height=whole(64, most=8192),  # pixels
    width=whole(64, most=8192),  # pixels
    crop=one_of("center", "none", "random", "three"),  # of each frame
    # random: fraction of the frame's area, and width over height; least, most.
    crop_area=fractions((0.3, 1.0), above=0, length=2, rising=True),  # of 1
    crop_aspect=reals((0.75, 4 / 3), above=0, length=2, rising=True),  # ratio
    flip=False,  # random: mirror half the clips; only where labels allow
  )


@section
def image_source() -> dict[str, Any]:
  """One source of images."""
  return source.fields | dict(
    num_frames=whole(1),  # of a video: single ones
  )


@section
def images() -> dict[str, Any]:
  """Images beside the clips of a training step; off unless given a size."""
  return loader.fields | dict(
    sources=each(main=image_source),  # as above
    batch_size=whole(0),  # images of a batch, over all hosts; 0: none
  )
