"""The fields of config.study, and of config.runner."""

from ml_collections import ConfigDict


def study() -> ConfigDict:
  """The grid of models and evaluations (vdr/study/plan.py).

  Everything else about its cells is in the other sections: physics, train,
  evaluate, … . Where verbs share a section, `data` for instance, overrides tell
  them apart: options as on the command line, without "--config.".
  """
  return ConfigDict(
    dict(
      title="study",  # of the report
      sizes=("tiny",),  # of the models, see model.size
      seeds=(0,),  # of pretraining: initial values, order, noise
      budgets_percent=(),  # earlier checkpoints to evaluate; saved ones
      batch_size=32,  # clips that are read at a time, but for training
      latents=False,  # encode the clips of pretraining once; for large networks
      every_frame=True,  # also give the image model all pixel frames
      generation=True,  # also measure samples (vdr/quality.py)
      look=True,  # also draw features (vdr/look.py)
      overrides=dict(
        tokenizer=(),  # of the tokenizer, such as "optimizer.warmup_steps=10"
        judge=(),  # of the network that samples are measured with
        video=(),  # of training the video model
        image=(),  # of training the image model
        main=(),  # of the evaluation of final checkpoints
        budget=(),  # of the evaluation of earlier ones
        every_frame=(),  # of the image model's with all pixel frames
        generation=(),  # of measuring samples
        look=(),  # of drawing features
      ),
    )
  )


def runner() -> ConfigDict:
  """Who runs the cells of a study; never changes a result beyond rounding."""
  return ConfigDict(
    dict(
      # Here one after another in this process; processes: several at a time on
      # this machine; kubernetes writes jobs.yaml, commands prints them; work is
      # what the others start.
      kind="here",  # here | processes | submitit | kubernetes | commands | work
      processes=2,  # processes, submitit: how many run cells at the same time
      only=(),  # names of cells: run no others
      progress_s=15.0,  # seconds between two reports of what is running
      submitit=dict(
        cluster="slurm",  # slurm | local (processes of this machine)
        partition="",  # SLURM's; "": its default
        gpus=1,  # of a job
        cores=8,  # of a job
        memory_gb=64,  # of a job
        hours=24.0,  # of a job, before it is started again
      ),
      kubernetes=dict(
        image="",  # of the container; vdr is in its Python
        claim="",  # PersistentVolumeClaim that holds the study
        mount="/study",  # where containers see it
        gpus=1,  # of a job
      ),
    )
  )
