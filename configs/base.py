"""Every field of every config, with its unit. Other files only override.

A config file defines `get_config(variant)` and returns `build(...)` of its
overrides. Code reads fields as attributes; there are no defaults elsewhere.
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
from vdr.runtime import command_line, errors

# Fields and groups of fields that had another name in earlier versions, which
# checkpoints and work directories still have: old name → new name. A source of
# any name is `sources.main` here.
RENAMED: dict[str, str] = {}


def default() -> ConfigDict:
  """The config that every other one starts from, unlocked."""
  return ConfigDict(
    dict(
      job="",  # the verb; `python -m vdr.main --help` lists them
      seed=0,  # every random draw comes from this number
      physics=physics(),
      data=data(),
      tokenizer=tokenizer(),
      model=model(),
      diffusion=diffusion(),
      sampler=sampler(),
      preview=dict(
        num_clips=8,  # clips drawn
        columns=4,  # clips beside each other in the animation
        scale=0,  # integer enlargement of each pixel; 0: up to ~192 px wide
        fps=8.0,  # frames per second of the animation
        sheet_frames=4,  # frames of a clip on the contact sheet
        animation="gif",  # gif | mp4
      ),
      images=images(),
      latents=latents(),
      train=train(),
      sample=sample(),
      evaluate=evaluate(),
      extract=extract(),
      judge=judge(),
      generation=generation(),
      look=look(),
      probe=probe(),
      report=report(),
      optimizer=optimizer(),
      mesh=mesh(),
      checkpoint="",  # path of a run or one of its checkpoints, to read from
      saving=saving(),
      topology="",  # of the verb compile: a TPU slice, as in v5e:4x4
      compile=compile_(),
      log=log(),
      study=study(),
      runner=runner(),
      dry_run=False,  # study: print the plan, with times and sizes, and end
      # What may differ between two starts of the same work, because it never
      # changes a result.
      runtime=dict(
        num_workers=-1,  # worker processes; -1: one for each usable core
      ),
      # Several hosts that do one piece of work; launch/ sets it.
      hosts=dict(
        coordinator="",  # ADDRESS:PORT of the first | auto (TPU pods, SLURM)
        count=1,  # hosts in all; auto knows it
        index=0,  # which one this is, from 0; auto knows it
        heartbeat_s=10,  # silence after which a host is lost, and ends all
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


def tokenizer() -> ConfigDict:
  """Pixels to latents and back (vdr/models/tokenizer.py)."""
  return ConfigDict(
    dict(
      # A file decides all other fields; without one, a patch tokenizer is
      # fitted to the clips of config.data.
      path="",  # of a file of the verb `tokenizer`
      kind="patch",  # patch: PCA of patches, no training | conv: a network
      downsample=8,  # pixels of a latent's side
      channels=48,  # of a latent
      conv=dict(
        stem=1,  # pixels of a side that are folded into channels first
        width=128,  # channels of the first level
        multipliers=(1, 2, 2, 4),  # channels of each level over width
        num_blocks=4,  # residual blocks of each level
        dtype="float32",  # of the computation: float32 | bfloat16
        remat=False,  # compute blocks again for gradients: less memory
      ),
      fit_clips=1024,  # clips that PCA and the latents' statistics see
      # conv: weights of the terms, each a mean (vdr/models/reconstruction.py).
      loss=dict(
        l1=0.0,  # absolute errors of pixels in [-1, 1]
        l2=5.0,  # squared errors; the paper's weight of reconstruction
        gradient=0.0,  # absolute errors of differences of neighbours
        multiscale=0.0,  # squared errors at half and a quarter of the size
        kl=1e-4,  # nats of a latent's number against the standard normal
        perceptual=0.0,  # distance of VGG-16's features; MAGVIT-v2: 0.1
        perceptual_path="",  # its weights (vdr/models/perceptual.py)
        adversarial=0.0,  # what a critic that is trained along finds; 0.1
        r1=10.0,  # weight of the critic's slope at real clips; MAGVIT-v2's
        critic_width=32,  # channels of the critic's first level
        critic_path="",  # .npz of a critic to start from; "": a new one
      ),
      training=dict(
        num_steps=100000,  # steps; the rest is config.optimizer
        save_every_steps=1000,  # steps
      ),
      evaluation=dict(
        split="select",  # of the sources that have splits: held-out clips
        num_clips=128,  # clips measured, at the most
        drawn_clips=3,  # clips in the picture
      ),
    )
  )


def model() -> ConfigDict:
  """The diffusion transformer (vdr/models/dit.py)."""
  return ConfigDict(
    dict(
      size="tiny",  # micro | mini | tiny | small | base | walt_284m | walt_1p9b
      latent_channels=48,  # of a latent; that of the tokenizer
      patch=1,  # latents of a token's side: 1 | 2 | 4
      # Who attends whom. Windows end with the grid where it is shorter.
      layout="window",  # window | full | isolated (every frame an image)
      window_spatial=(16, 16),  # tokens, rows and columns
      window_spatiotemporal=(5, 8, 8),  # tokens, frames, rows and columns
      # The video model's | the image model's: its one difference.
      spatiotemporal_blocks="spatiotemporal",  # spatiotemporal | spatial
      image_in_spatiotemporal="identity",  # identity (values pass) | spatial
      positions="rope",  # rope (and fixed sines) | learned (W.A.L.T's tables)
      positions_grid=(5, 16, 16),  # learned: tokens with rows of their own
      # What it is conditioned on, besides the noise level.
      adaln_rank=2,  # of each block's own modulation; 0: all share one
      num_classes=0,  # classes of the labels; 0: none
      text_dim=0,  # channels of the text embeddings; 0: no text
      condition_dropout=0.1,  # share of clips trained without class and text
      self_conditioning=False,  # also takes its estimate of the clean latents
      # How it is computed; results are equal within float error.
      scan=True,  # blocks in a loop: compiles as fast at any depth
      remat="none",  # recomputed backwards: none | block | dots (all but dots)
      dtype="float32",  # of activations, float32 | bfloat16; norms: float32
      attention="auto",  # auto | plain | mapped | xla | cudnn
    )
  )


def diffusion() -> ConfigDict:
  """What a diffusion model learns (vdr/diffusion/objective.py)."""
  return ConfigDict(
    dict(
      schedule="linear_zsnr",  # linear_zsnr | cosine | rectified_flow
      target="v",  # v | eps (cosine only) | x0 | flow
      # The density of training's noise levels, and the weight of each.
      noise_levels="uniform",  # uniform | log_normal, in sigma / alpha
      log_normal_mean=0.0,  # log_normal: of log(sigma / alpha)
      log_normal_std=1.0,  # log_normal: of log(sigma / alpha)
      stratified=True,  # spread each batch evenly over the density
      weighting="none",  # none | min_snr
      min_snr_gamma=5.0,  # min_snr: largest signal-to-noise that counts in full
    )
  )


def sampler() -> ConfigDict:
  """How a diffusion model is drawn from (vdr/diffusion/sampler.py)."""
  return ConfigDict(
    dict(
      method="ddim",  # ddim | dpmpp_2m | euler (rectified_flow only)
      num_steps=50,  # steps; two calls of the model each with guidance
      eta=0.0,  # ddim: fresh noise, 0 (none) to 1 (ancestral)
      guidance=1.0,  # scale of the condition's effect; 1: no guidance
      guidance_interval=(0.0, 1.0),  # noise levels where guidance acts
      clip=0.0,  # largest |x0| of an estimate while sampling; 0: any
      clip_quantile=0.0,  # rescale x0 if more than this share is below; 0: cut
    )
  )


def latents() -> ConfigDict:
  """The clips of config.data, encoded once (vdr/latents.py)."""
  return ConfigDict(
    dict(
      splits=("pretrain", "select"),  # of the sources that have splits
      clips_per_shard=256,  # clips in one file; a multiple of the batch
      max_clips=0,  # of each split, the first ones; 0: all
      frames=True,  # also every frame by itself, for training on images
    )
  )


def sample() -> ConfigDict:
  """What is drawn from config.checkpoint (vdr/sample.py)."""
  return ConfigDict(
    dict(
      kind="clips",  # clips | images
      num=16,  # clips or images
      batch_size=8,  # at a time
      which="ema",  # parameters: ema | params | ema/DECAY
      num_frames=0,  # of a clip; 0: as trained
      height=0,  # pixels; 0: as trained
      width=0,  # pixels; 0: as trained
      label=-1,  # class of all; -1: class i for sample i, if there are classes
      text="",  # .npz of embedded texts for samples 0, 1, …, then from 0 again
      fps=8.0,  # frames per second of the animations
      scale=0,  # integer enlargement of each pixel; 0: up to ~128 px wide
      files="png",  # each sample's own: png (clips: mp4) | npy | none
    )
  )


def train() -> ConfigDict:
  """How long a diffusion model is trained, and on what (vdr/train.py)."""
  return ConfigDict(
    dict(
      label="label",  # field of the classes, for model.num_classes > 0
      budget="steps",  # steps | tokens | flops: what amount counts
      amount=100_000.0,  # steps, latent tokens, or FLOPs of the model
      validate_every_steps=1000,  # steps from one validation to the next; 0: no
      validation_split="select",  # of the same sources
      validation_batches=8,  # batches, the same ones every time
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
      max_skips=20,  # steps in a row that are not finite before going back
      max_rollbacks=1,  # times that training goes back before it is an error
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


def saving() -> ConfigDict:
  """When training is saved; the last step always is."""
  return ConfigDict(
    dict(
      every_steps=1000,  # steps from one to the next; 0: budgets only
      keep_last=2,  # newest that are kept
      keep_every=0,  # steps; multiples of it are never deleted; 0: none
      # Never deleted: the study of training budgets reads them.
      budgets_percent=(1, 2, 5, 10, 20, 50, 100),  # of all steps
    )
  )


def log() -> ConfigDict:
  """What training tells, and how often."""
  return ConfigDict(
    dict(
      every_steps=50,  # steps from one line of numbers to the next
      samples_every_steps=1000,  # steps from one grid of samples; 0: none
      num_samples=8,  # clips, and images, in a grid
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
    UserError: there is no such field.
  """
  for name in fields:  # a mistyped field is an error here too
    command_line.look_up(config, name)
  with config.unlocked():
    config.update_from_flattened_dict(fields)
  return config.lock()
