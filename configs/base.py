"""Every field of every config, with its unit. Other files only override.

A config file defines `get_config(variant)` and returns `build(...)` of its
overrides. Code reads fields as attributes; there are no defaults elsewhere.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from vdr.runtime import command_line, errors


def default() -> ConfigDict:
  """The config that every other one starts from, unlocked."""
  return ConfigDict(
    dict(
      job="",  # the verb; `python -m vdr.main --help` lists them
      seed=0,  # every random draw comes from this number
      physics=physics(),
      data=loader(),
      tokenizer=tokenizer(),
      preview=dict(
        num_clips=8,  # clips drawn
        columns=4,  # clips beside each other in the animation
        scale=0,  # integer enlargement of each pixel; 0: up to ~192 px wide
        fps=8.0,  # frames per second of the animation
        sheet_frames=4,  # frames of a clip on the contact sheet
        animation="gif",  # gif | mp4
      ),
      optimizer=optimizer(),
      mesh=mesh(),
      checkpoint=checkpoint(),
      log=log(),
      # What may differ between two starts of the same work, because it never
      # changes a result.
      runtime=dict(
        num_workers=-1,  # worker processes; -1: one for each usable core
      ),
    )
  )


def physics() -> ConfigDict:
  """The simulated world (vdr/data/physics)."""
  return ConfigDict(
    dict(
      scene="default",  # default | cluttered | brick_wall | still | factors
      num_frames=17,  # frames of a clip, 4k + 1
      height=64,  # pixels, 16 to 256
      width=64,  # pixels, 16 to 256
      fps=12.0,  # frames per second of simulated time
      num_points=64,  # tracked points of a clip
      max_distractors=3,  # objects beside the main one, at the most
      clips_per_shard=64,  # clips in one file: the unit of work and of loss
      num_clips=dict(  # clips of each split; 0 leaves a split out
        pretrain=8192,  # for the tokenizer and the generative models
        train=2048,  # for the probes
        select=512,  # for choosing the probes' hyper-parameters
        test=1024,  # for the scores
        test_ood=512,  # unseen texture kinds and one unseen shape
      ),
    )
  )


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
      kind="physics",  # physics | video_folder | image_folder | tfds
      path="",  # its directory
      split="train",  # physics, tfds: the split to read
      weight=1.0,  # share in a mixture, relative to the other sources
      fields=("video",),  # of vdr/data/schema.py: what to read
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


def tokenizer() -> ConfigDict:
  """Pixels to latents and back (vdr/models/tokenizer.py)."""
  return ConfigDict(
    dict(
      kind="patch",  # patch: PCA of pixel patches
      downsample=8,  # pixels of a latent's side
      channels=48,  # of a latent
    )
  )


def optimizer() -> ConfigDict:
  """From gradients to parameters (vdr/runtime/optimizer.py)."""
  return ConfigDict(
    dict(
      name="adamw",  # adamw | adafactor | muon
      learning_rate=1e-4,  # the highest; of the same size for all three
      schedule="cosine",  # cosine | constant, after a linear warm-up
      warmup_steps=1000,  # steps
      final_share=0.0,  # cosine: last learning rate over the highest
      weight_decay=0.0,  # times the learning rate; of matrices only
      betas=(0.9, 0.99),  # decays of the first and second moment
      epsilon=1e-8,  # adamw: added to the root of the second moment
      clip_norm=1.0,  # largest norm of the gradients; 0: do not clip
      accumulation_steps=1,  # parts of a batch, one after another
      ema_decays=(0.999,),  # a moving average of the parameters for each
      max_skips=20,  # steps in a row that are not finite before an error
    )
  )


def mesh() -> ConfigDict:
  """How devices share the work; sizes multiply to the number of devices."""
  return ConfigDict(
    dict(
      data=-1,  # devices that share the batch; -1: all that are left
      fsdp=1,  # devices that share batch and parameters
      tensor=1,  # devices that share each matrix product
    )
  )


def checkpoint() -> ConfigDict:
  """When training is saved; the last step always is."""
  return ConfigDict(
    dict(
      every_steps=1000,  # steps from one to the next; 0: budgets only
      keep_last=2,  # newest that are kept
      keep_every=0,  # steps; multiples of it are never deleted; 0: none
      # Percent of all steps; never deleted: the study of budgets reads them.
      budgets_percent=(1, 2, 5, 10, 20, 50, 100),
    )
  )


def log() -> ConfigDict:
  """What training tells, and how often."""
  return ConfigDict(
    dict(
      every_steps=50,  # steps from one line of numbers to the next
      samples_every_steps=1000,  # steps from one grid of samples; 0: none
      profile_steps=(),  # (first, last) step of a profile; (): none
      wandb=False,  # also to Weights & Biases, if it is installed
    )
  )


def build(
  variant: str | None,
  variants: Mapping[str, Mapping[str, Any]],
  **overrides: Any,
) -> ConfigDict:
  """A locked config: the defaults, then `overrides`, then the variant's.

  Args:
    variant: what follows the colon of `--config=file.py:variant`, or None.
    variants: overrides of each variant, by dotted field name.
    **overrides: overrides of every variant; `__` stands for the dot.

  Raises:
    UserError: the file has no such variant, or an override no such field.
  """
  config = default()
  _override(config, {k.replace("__", "."): v for k, v in overrides.items()})
  if variant:
    if variant not in variants:
      raise errors.UserError(
        f"no variant {variant!r} in this config; it has"
        f" {', '.join(variants) or 'none'}"
      )
    _override(config, variants[variant])
  return config.lock()


def _override(config: ConfigDict, fields: Mapping[str, Any]) -> None:
  for name in fields:  # a mistyped field is an error here too
    command_line.look_up(config, name)
  config.update_from_flattened_dict(fields)
