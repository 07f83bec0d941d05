"""The command line: flags → config → one verb.

python -m vdr.main --config=configs/NAME.py[:variant] --workdir=DIR
                   [--config.key=value …]
"""

import sys
import traceback
from collections.abc import Callable
from typing import Any

from vdr.runtime import command_line, compilation, errors

USAGE = """\
vdr: what does a diffusion model learn when it is trained on video?

  python -m vdr.main --config=configs/NAME.py[:variant] --workdir=DIR
                     [--config.key=value ...]

  --config       a config file, with an optional variant behind a colon;
                 every config has :debug, which runs in under a minute
  --workdir      where everything is written; start again with the same
                 config to go on where the work stopped
  --config.key   sets one field; configs/base.py lists them with their units
  --help         this text

Verbs (config.job):
"""

# The verbs, in the order of a study: what each does, in a few words.
JOBS = {
  "physics": "make a data set of the simulated world",
  "tokenizer": "train or fit what turns pixels into latents",
  "latents": "encode a data set once, so that training need not",
  "train": "train a diffusion model on clips, images or both",
  "evaluate": "fit probes on frozen features and score them",
  "sample": "draw clips or images from a trained diffusion model",
  "extract": "write the frozen features of every clip of a source",
  "preview": "draw a source's clips with everything known about them",
}


def _verb(job: str) -> Callable:
  """The function behind a verb; its module is imported only now."""
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
    case "sample":
      from vdr import sample as verb
    case "extract":
      from vdr import extract as verb
    case "preview":
      from vdr.data import preview as verb
    case _:
      raise errors.UserError(
        f"config.job={job!r} is no verb; choose from {', '.join(JOBS)}"
      )
  return verb.run


def main(argv: list[str]) -> int:
  """Runs one verb.

  Args:
    argv: the command line, the program's name first.

  Returns:
    The exit status: 0 done, 2 for bad input, 130 for an interruption, and 75
    where another host was lost.
  """
  if any(arg in ("--help", "-h", "-help", "--helpfull") for arg in argv[1:]):
    jobs = "".join(f"  {job:<12} {text}\n" for job, text in JOBS.items())
    print(USAGE + jobs, end="")
    return 0
  try:
    config, workdir = command_line.parse(argv)
    compilation.use_cache()
    if config.hosts.coordinator:
      return _run_with_others(config, workdir)
    _verb(str(config.job))(config, workdir)
  except errors.UserError as error:
    print(f"vdr: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("vdr: interrupted; the same command goes on", file=sys.stderr)
    return 130
  return 0


def _run_with_others(config: Any, workdir: str) -> int:
  """Runs one verb as one of several hosts, and ends as they do."""
  from vdr.runtime import hosts  # imports JAX, which a mistake never needs

  try:
    hosts.connect(config.hosts)
    _verb(str(config.job))(config, workdir)
    status = 0
  except errors.UserError as error:
    print(f"vdr: {error}", file=sys.stderr)
    status = 2
  except KeyboardInterrupt:
    print("vdr: interrupted; the same command goes on", file=sys.stderr)
    status = 130
  except Exception as error:
    if errors.tells_of_a_lost_host(str(error)):
      print(f"vdr: {errors.LOST_A_HOST}", file=sys.stderr)
      status = errors.TRY_AGAIN
    else:
      traceback.print_exc()
      status = 1
  return hosts.leave(status, config.hosts.heartbeat_s)


if __name__ == "__main__":
  sys.exit(main(sys.argv))
