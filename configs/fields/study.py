"""The fields of config.study, and of config.runner."""

from typing import Any

from vdr.runtime.bounds import (
  count,
  counts,
  one_of,
  options,
  positive,
  section,
  text,
  texts,
  whole,
  wholes,
)


@section
def study() -> dict[str, Any]:
  """The grid of models and evaluations (vdr/study/plan.py).

  Everything else about its cells is in the other sections: physics, train,
  evaluate, … . Where verbs share a section, `data` for instance, overrides tell
  them apart: options as on the command line, without "--config.".
  """
  return dict(
    title=text("study"),  # of the report
    sizes=texts(("tiny",)),  # of the models, see model.size
    seeds=wholes((0,), most=2**32 - 1),  # of pretraining: first values, order
    budgets_percent=counts((), most=100),  # earlier checkpoints to evaluate
    batch_size=count(32),  # clips that are read at a time, but for training
    latents=False,  # encode clips of pretraining once; for large networks
    every_frame=True,  # also give the image model all pixel frames
    generation=True,  # also measure samples (vdr/quality.py)
    look=True,  # also draw features (vdr/look.py)
    overrides=dict(
      tokenizer=options(),  # of the tokenizer: ("optimizer.warmup_steps=10",)
      judge=options(),  # of the network that samples are measured with
      video=options(),  # of training the video model
      image=options(),  # of training the image model
      main=options(),  # of the evaluation of final checkpoints
      budget=options(),  # of the evaluation of earlier ones
      every_frame=options(),  # of the image model's with all pixel frames
      generation=options(),  # of measuring samples
      look=options(),  # of drawing features
    ),
  )


@section
def runner() -> dict[str, Any]:
  """Who runs the cells of a study; never changes a result beyond rounding."""
  return dict(
    # Here one after another in this process; processes: several at a time on
    # this machine; kubernetes writes jobs.yaml, commands prints them; work is
    # what the others start.
    kind=one_of(
      "here", "processes", "submitit", "kubernetes", "commands", "work"
    ),  # of runner
    processes=count(2, most=1024),  # that run cells at the same time
    only=texts(()),  # names of cells: run no others
    progress_s=positive(15.0),  # seconds between two reports of what is running
    submitit=dict(
      cluster=one_of("slurm", "local"),  # local: processes of this machine
      partition=text(""),  # SLURM's; "": its default
      gpus=whole(1),  # of a job
      cores=count(8),  # of a job
      memory_gb=count(64),  # of a job
      hours=positive(24.0),  # of a job, before it is started again
    ),
    kubernetes=dict(
      image=text(""),  # of the container; vdr is in its Python
      claim=text(""),  # PersistentVolumeClaim that holds the study
      mount=text("/study"),  # where containers see it
      gpus=whole(1),  # of a job
    ),
  )
