"""The fields of config.data and config.images."""

from ml_collections import ConfigDict


def data() -> ConfigDict:
  """The clips that a verb reads."""
  cfg = loader()
  # Studies only: simulated | folder:DIR | simulated+folder:DIR (half of each)
  cfg.pretrain = "simulated"  # what tokenizer and models are trained on
  return cfg


def loader() -> ConfigDict:
  """A stream of batches from one source or a weighted mixture."""
  return ConfigDict(
    dict(
      sources=dict(main=source()),  # by name; mixed by their weights
      batch_size=8,  # clips of a batch, over all hosts
      shuffle=True,  # a new order every epoch, from config.seed
      num_epochs=-1,  # passes over the data; -1: without end
      prefetch=2,  # batches kept ready on the device
      max_bad_share=0.01,  # of clips that may be undecodable before an error
    )
  )


def source() -> ConfigDict:
  """One source of clips; an image is a clip of one frame."""
  return ConfigDict(
    dict(
      kind="physics",  # physics | video_folder | image_folder | tfds | latents
      path="",  # its directory
      split="train",  # physics, tfds: the split to read
      weight=1.0,  # share in a mixture, relative to the other sources
      fields=("video",),  # of vdr/data/schema.py: what to read
      # One text for each item (vdr/data/text.py); {split} becomes the split.
      text="",  # .npz of embedded texts
      # Folders of videos or images.
      index="",  # file of lines `path label`, or .csv; "": class sub-folders
      decode_timeout_s=30.0,  # seconds a decode may take before it is killed
      tfds_name="",  # tfds: name of the data set, e.g. imagenet2012
      # Which frames of a video.
      num_frames=17,  # frames of a clip
      sampling="random",  # random | middle | uniform
      clips_per_video=1,  # uniform: clips spread evenly over each video
      stride=1,  # video frames from one clip frame to the next, when fps is 0
      fps=0.0,  # frames per second of the clip; 0: use stride
      short_videos="loop",  # loop | pad (repeat the last frame)
      # Which pixels of a frame.
      height=64,  # pixels
      width=64,  # pixels
      crop="center",  # none | random | center | three
      crop_area=(0.3, 1.0),  # random: share of the frame's area, least and most
      crop_aspect=(0.75, 4 / 3),  # random: width over height, least and most
      flip=False,  # random: mirror half the clips; only where labels allow
    )
  )


def images() -> ConfigDict:
  """Images beside the clips of a training step; off unless given a size."""
  cfg = loader()
  cfg.batch_size = 0
  cfg.sources.main.num_frames = 1
  return cfg
