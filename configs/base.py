"""Every field of every config: default, bounds, choices and unit.

    batch_size=count(8),  # a whole number of 1 or more, 8 by default

The constructors are those of vdr/runtime/bounds.py; a bare True or False is a
field, too. A config is checked when it is built, and after the command line.

Other files only override. Each defines `get_config(variant)` and returns
`build(...)` of its overrides. Code reads fields as attributes; there are no
defaults elsewhere.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs.fields.compile import compile_
from configs.fields.data import data, images
from configs.fields.data import loader as loader
from configs.fields.data import source as source
from configs.fields.evaluate import evaluate
from configs.fields.extract import extract
from configs.fields.generation import generation
from configs.fields.judge import judge
from configs.fields.look import look
from configs.fields.probe import probe
from configs.fields.report import report
from configs.fields.study import runner, study
from vdr.runtime import bounds, command_line, errors
from vdr.runtime.bounds import (
  channels,
  count,
  counts,
  fraction,
  fractions,
  one_of,
  positive,
  real,
  section,
  text,
  texts,
  whole,
)


@section
def default() -> dict[str, Any]:
  """The config that every other one starts from, unlocked."""
  return dict(
    job=text(""),  # the verb; `python -m vdr.main --help` lists them
    seed=whole(0, most=2**32 - 1),  # every random draw comes from this number
    physics=physics,
    data=data,
    tokenizer=tokenizer,
    model=model,
    diffusion=diffusion,
    sampler=sampler,
    preview=dict(
      num_clips=count(8),  # clips drawn
      columns=count(4),  # clips beside each other in the animation
      scale=whole(0, most=64),  # enlargement of pixels; 0: ~192 px wide
      fps=positive(8.0, most=50),  # frames per second of the animation
      sheet_frames=count(4),  # frames of a clip on the contact sheet
      animation=one_of("gif", "mp4"),  # its format
    ),
    images=images,
    latents=latents,
    train=train,
    sample=sample,
    evaluate=evaluate,
    extract=extract,
    judge=judge,
    generation=generation,
    look=look,
    probe=probe,
    report=report,
    optimizer=optimizer,
    mesh=mesh,
    checkpoint=text(""),  # path of a run, or of one of its checkpoints
    saving=saving,
    topology=text(""),  # of the verb compile: a TPU slice, as in v5e:4x4
    compile=compile_,
    log=log,
    study=study,
    runner=runner,
    dry_run=False,  # study: print the plan, with times and sizes, and end
    # What may differ between two starts of the same work, because it never
    # changes a result.
    runtime=dict(
      num_workers=whole(-1, least=-1, most=1024),  # processes; -1: all cores
    ),
    # Several hosts that do one piece of work; launch/ sets it.
    hosts=dict(
      coordinator=text(""),  # ADDRESS:PORT of the first, or auto (TPU, SLURM)
      count=count(1),  # hosts in all; auto knows it
      index=whole(0),  # which one this is, from 0; auto knows it
      heartbeat_s=count(10),  # silence after which a host is lost, and ends all
    ),
  )


@section
def physics() -> dict[str, Any]:
  """The simulated world (vdr/data/physics)."""
  return dict(
    scene=one_of(
      "default", "cluttered", "brick_wall", "still", "factors"
    ),  # of vdr/data/physics/scenes.py
    num_frames=count(17, most=4097),  # frames of a clip, 4k + 1
    height=whole(64, least=16, most=256),  # pixels
    width=whole(64, least=16, most=256),  # pixels
    fps=real(12.0, least=1, most=120),  # frames per second of simulated time
    num_points=count(64, most=4096),  # tracked points of a clip
    max_distractors=whole(3, most=16),  # most objects beside the main one
    clips_per_shard=count(64),  # clips in a file: the unit of work and of loss
    num_clips=dict(  # clips of each split; 0 leaves a split out
      pretrain=whole(8192),  # for the tokenizer and the generative models
      train=whole(2048),  # for the probes
      select=whole(512),  # for choosing the probes' hyper-parameters
      test=whole(1024),  # for the scores
      test_ood=whole(512),  # unseen texture kinds and one unseen shape
    ),
  )


@section
def tokenizer() -> dict[str, Any]:
  """Pixels to latents and back (vdr/models/tokenizer.py)."""
  return dict(
    # A file decides all other fields; without one, a patch tokenizer is
    # fitted to the clips of config.data.
    path=text(""),  # of a file of the verb `tokenizer`
    # A PCA of patches, which needs no training, or a network.
    kind=one_of("patch", "conv"),  # of tokenizer
    downsample=count(8),  # pixels of a latent's side
    channels=channels(48),  # of a latent
    conv=dict(
      stem=count(1),  # pixels of a side that are folded into channels first
      width=channels(128),  # channels of the first level
      multipliers=counts((1, 2, 2, 4), repeats=True),  # of width
      num_blocks=count(4, most=1024),  # residual blocks of each level
      dtype=one_of("float32", "bfloat16"),  # of the computation
      remat=False,  # compute blocks again for gradients: less memory
    ),
    fit_clips=count(1024),  # clips that PCA and the latents' statistics see
    # conv: weights of the terms, each a mean (vdr/models/reconstruction.py).
    loss=dict(
      l1=real(0.0, least=0),  # absolute errors of pixels in [-1, 1]
      l2=real(5.0, least=0),  # squared errors; the paper's weight
      gradient=real(0.0, least=0),  # absolute, of neighbours' differences
      multiscale=real(0.0, least=0),  # squared, at 1/2 and 1/4 of the size
      kl=real(1e-4, least=0),  # nats of a latent's number, to the normal
      perceptual=real(0.0, least=0),  # of VGG-16's features; MAGVIT-v2: 0.1
      perceptual_path=text(""),  # its weights (vdr/models/perceptual.py)
      adversarial=real(0.0, least=0),  # of a critic trained along; 0.1
      r1=real(10.0, least=0),  # critic's slope at real clips; MAGVIT-v2's
      critic_width=channels(32),  # channels of the critic's first level
      critic_path=text(""),  # .npz of a critic to start from; "": a new one
    ),
    training=dict(
      num_steps=count(100000),  # steps; the rest is config.optimizer
      save_every_steps=count(1000),  # steps
    ),
    evaluation=dict(
      split=text("select"),  # of the sources that have splits: held-out clips
      num_clips=count(128),  # clips measured, at the most
      drawn_clips=count(3),  # clips in the picture
    ),
  )


@section
def model() -> dict[str, Any]:
  """The diffusion transformer (vdr/models/dit.py)."""
  return dict(
    size=text("tiny"),  # a name in vdr/models/sizes.py
    latent_channels=channels(48),  # of a latent; that of the tokenizer
    patch=one_of(1, 2, 4),  # latents of a token's side
    # Who attends whom; isolated: every frame is an image. Windows end with the
    # grid where it is shorter.
    layout=one_of("window", "full", "isolated"),  # of attention
    window_spatial=counts((16, 16), length=2),  # tokens, rows and columns
    window_spatiotemporal=counts((5, 8, 8), length=3),  # frames, rows, columns
    # The one difference: spatiotemporal in the video model, spatial in the
    # image model. There, values pass through these blocks (identity).
    spatiotemporal_blocks=one_of("spatiotemporal", "spatial"),  # attention
    image_in_spatiotemporal=one_of("identity", "spatial"),  # as above
    # rope goes with fixed sines; learned ones are W.A.L.T's tables.
    positions=one_of("rope", "learned"),  # of tokens
    positions_grid=counts((5, 16, 16), length=3),  # learned: size of the tables
    # What it is conditioned on, besides the noise level.
    adaln_rank=channels(2, least=0),  # of a block's modulation; 0: one for all
    num_classes=whole(0),  # classes of the labels; 0: none
    text_dim=channels(0, least=0),  # of the text embeddings; 0: no text
    condition_dropout=fraction(0.1),  # of clips: trained without class and text
    self_conditioning=False,  # also takes its estimate of the clean latents
    # How it is computed; results are equal within float error.
    scan=True,  # blocks in a loop: compiles as fast at any depth
    remat=one_of("none", "block", "dots"),  # recomputed; dots: all but them
    dtype=one_of("float32", "bfloat16"),  # of all but norms
    attention=one_of(
      "auto", "plain", "mapped", "xla", "cudnn"
    ),  # program of it (vdr/models/attention.py)
  )


@section
def diffusion() -> dict[str, Any]:
  """What a diffusion model learns (vdr/diffusion/objective.py)."""
  return dict(
    schedule=one_of("linear_zsnr", "cosine", "rectified_flow"),  # of noise
    target=one_of("v", "eps", "x0", "flow"),  # eps: only with cosine
    # The density of training's noise levels, and the weight of each.
    noise_levels=one_of("uniform", "log_normal"),  # the latter in sigma / alpha
    log_normal_mean=real(0.0),  # log_normal: of log(sigma / alpha)
    log_normal_std=positive(1.0),  # log_normal: of log(sigma / alpha)
    stratified=True,  # spread each batch evenly over the density
    weighting=one_of("none", "min_snr"),  # of noise levels in the loss
    min_snr_gamma=positive(5.0),  # min_snr: largest SNR that counts in full
  )


@section
def sampler() -> dict[str, Any]:
  """How a diffusion model is drawn from (vdr/diffusion/sampler.py)."""
  return dict(
    method=one_of("ddim", "dpmpp_2m", "euler"),  # euler: rectified_flow
    num_steps=count(50),  # steps; two calls of the model each with guidance
    eta=fraction(0.0),  # ddim: fresh noise, 0 (none) to 1 (ancestral)
    guidance=real(1.0, least=0),  # scale of the condition's effect; 1: none
    # Noise levels where guidance acts.
    guidance_interval=fractions((0.0, 1.0), length=2, rising=True),  # of 1
    clip=real(0.0, least=0),  # largest |x0| while sampling; 0: any
    clip_quantile=fraction(0.0),  # rescale x0 above this quantile; 0: cut
  )


@section
def latents() -> dict[str, Any]:
  """The clips of config.data, encoded once (vdr/latents.py)."""
  return dict(
    splits=texts(("pretrain", "select")),  # of the sources that have splits
    clips_per_shard=count(256),  # clips in one file; a multiple of the batch
    max_clips=whole(0),  # of each split, the first ones; 0: all
    frames=True,  # also every frame by itself, for training on images
  )


@section
def sample() -> dict[str, Any]:
  """What is drawn from config.checkpoint (vdr/sample.py)."""
  return dict(
    kind=one_of("clips", "images"),  # what is drawn
    num=count(16),  # clips or images
    batch_size=count(8),  # at a time
    which=text("ema"),  # parameters: ema | params | ema/DECAY
    num_frames=whole(0, most=4097),  # of a clip; 0: as trained
    height=whole(0, most=8192),  # pixels; 0: as trained
    width=whole(0, most=8192),  # pixels; 0: as trained
    label=whole(-1, least=-1),  # class of all; -1: class i for sample i
    text=text(""),  # .npz of embedded texts, one a sample, in turn
    fps=positive(8.0, most=50),  # frames per second of the animations
    scale=whole(0, most=64),  # enlargement of pixels; 0: ~128 px wide
    files=one_of("png", "npy", "none"),  # png: mp4 for clips
  )


@section
def train() -> dict[str, Any]:
  """How long a diffusion model is trained, and on what (vdr/train.py)."""
  return dict(
    label=text("label"),  # field of the classes, for model.num_classes > 0
    budget=one_of("steps", "tokens", "flops"),  # what amount counts
    amount=positive(100_000.0),  # steps, latent tokens, or FLOPs of the model
    validate_every_steps=whole(1000),  # steps between validations; 0: none
    validation_split=text("select"),  # of the same sources
    validation_batches=count(8),  # batches, the same ones every time
  )


@section
def optimizer() -> dict[str, Any]:
  """From gradients to parameters (vdr/runtime/optimizer.py)."""
  return dict(
    name=one_of("adamw", "adafactor", "muon"),  # which one
    learning_rate=positive(1e-4),  # the highest; of the same size for all three
    schedule=one_of("cosine", "constant"),  # after a linear warm-up
    warmup_steps=whole(1000),  # steps
    final_share=fraction(0.0),  # cosine: last learning rate over the highest
    weight_decay=real(0.0, least=0),  # times the rate; of matrices only
    betas=fractions((0.9, 0.99), below=1, length=2),  # decays of moments
    epsilon=positive(1e-8),  # adamw: added to the root of the second moment
    clip_norm=real(1.0, least=0),  # largest norm of the gradients; 0: any
    accumulation_steps=count(1),  # parts of a batch, one after another
    # A moving average of the parameters for each decay.
    ema_decays=fractions((0.999,), above=0, below=1, empty=True),  # a step
    max_skips=count(20),  # steps in a row that are not finite before going back
    max_rollbacks=whole(1),  # times that training goes back before an error
  )


@section
def mesh() -> dict[str, Any]:
  """How devices share the work; sizes multiply to the number of devices."""
  return dict(
    data=count(-1, also=-1),  # devices that share the batch; -1: the rest
    fsdp=count(1, also=-1),  # devices that share batch and parameters
    tensor=count(1, also=-1),  # devices that share each matrix product
  )


@section
def saving() -> dict[str, Any]:
  """When training is saved; the last step always is."""
  return dict(
    every_steps=whole(1000),  # steps from one to the next; 0: budgets only
    keep_last=count(2),  # newest that are kept
    keep_every=whole(0),  # steps; multiples of it are never deleted; 0: none
    # Never deleted: the study of training budgets reads them.
    budgets_percent=counts(
      (1, 2, 5, 10, 20, 50, 100), most=100, empty=True
    ),  # of all steps
  )


@section
def log() -> dict[str, Any]:
  """What training tells, and how often."""
  return dict(
    every_steps=count(50),  # steps from one line of numbers to the next
    samples_every_steps=whole(1000),  # steps from one grid of samples; 0: none
    num_samples=count(8, most=256),  # clips, and images, in a grid
    profile_steps=counts((), length=2, rising=True),  # (first, last); (): none
    wandb=False,  # also to Weights & Biases, if it is installed
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
  config = override(
    default(), {k.replace("__", "."): v for k, v in overrides.items()}
  )
  if variant:
    if variant not in variants:
      raise errors.UserError(
        f"no variant {variant!r} in this config; it has"
        f" {', '.join(variants) or 'none'}"
      )
    config = override(config, variants[variant])
  return config


def override(config: ConfigDict, fields: Mapping[str, Any]) -> ConfigDict:
  """The config, locked, with other values in the fields named with dots.

  Raises:
    UserError: there is no such field, or its value is out of bounds.
  """
  for name in fields:  # a mistyped field is an error here too
    command_line.look_up(config, name)
  with config.unlocked():
    config.update_from_flattened_dict(fields)
  bounds.check(config, default.fields)
  return config.lock()
