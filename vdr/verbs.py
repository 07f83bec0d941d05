"""The verbs, all but the study of them, and the module behind each."""

import os
import types
from typing import Any

from vdr.runtime import code as code_lib

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

# The verbs, in the order of a study: what each does, in a few words.
JOBS = {
  "physics": "make a data set of the simulated world",
  "tokenizer": "train or fit what turns pixels into latents",
  "latents": "encode a data set once, so that training need not",
  "train": "train a diffusion model on clips, images or both",
  "evaluate": "fit probes on frozen features and score them",
  "judge": "train a network that samples are compared with clips by",
  "generation": "measure how far samples are from real clips",
  "look": "draw frozen features, and how they follow what moves",
  "report": "compare both models: tables, figures, one page",
  "sample": "draw clips or images from a trained diffusion model",
  "extract": "write the frozen features of every clip of a source",
  "compile": "prove that a training run fits a TPU slice, without one",
  "preview": "draw a source's clips with everything known about them",
}

# Verbs that know of several hosts, and are run on all; others on the first.
SHARED = ("latents", "train", "evaluate", "generation", "sample", "extract")


def run(job: str, config: Config, workdir: str | os.PathLike) -> None:
  """Runs a verb: on all hosts, or on the first one while the others wait.

  Raises:
    KeyError: there is no such verb.
    UserError: the config can't be carried out.
  """
  from vdr.runtime import hosts  # imports JAX, which not all verbs do

  work = module(job).run
  if job in SHARED or not hosts.are_many():
    work(config, workdir)
  else:
    hosts.first_does(lambda: work(config, workdir))


def module(job: str) -> types.ModuleType:
  """A verb's module, which is imported only now.

  It has `run(config, workdir)`, and `SECTIONS`, the sections of the config that
  decide what it makes, besides the seed.

  Raises:
    KeyError: there is no such verb.
  """
  match job:
    case "physics":
      from vdr.data.physics import generate as verb
    case "tokenizer":
      from vdr import train_tokenizer as verb
    case "latents":
      from vdr import latents as verb
    case "train":
      from vdr import train as verb
    case "evaluate":
      from vdr import evaluate as verb
    case "judge":
      from vdr import train_judge as verb
    case "generation":
      from vdr import quality as verb
    case "look":
      from vdr import look as verb
    case "report":
      from vdr import report as verb
    case "sample":
      from vdr import sample as verb
    case "extract":
      from vdr import extract as verb
    case "compile":
      from vdr import compile as verb
    case "preview":
      from vdr.data import preview as verb
    case _:
      raise KeyError(job)
  return verb


def code(job: str) -> code_lib.Code:
  """The code that decides what a verb makes.

  Raises:
    KeyError: there is no such verb.
  """
  return code_lib.of(module(job).__name__)
