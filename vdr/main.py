"""The command line: flags → config → one verb.

python -m vdr.main --config=configs/NAME.py[:variant] --workdir=DIR
                   [--config.key=value …]
"""

import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any

from vdr import verbs
from vdr.runtime import command_line, compilation, errors, huge_pages

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

JOBS = verbs.JOBS | {"study": "do all of that for two models, and report"}


def _verb(job: str, together: bool = False) -> Callable:
  """What runs a verb, here or together with other hosts.

  Its module is imported only now.
  """
  if job not in JOBS:
    raise errors.UserError(
      f"config.job={job!r} is no verb; choose from {', '.join(JOBS)}"
    )
  if job == "study":
    from vdr import study

    return study.run
  if together:
    return functools.partial(verbs.run, job)
  return verbs.module(job).run


def main(argv: list[str]) -> int:
  """Runs one verb.

  Args:
    argv: the command line, the program's name first.

  Returns:
    The exit status: 0 done, 2 for bad input, 130 for an interruption, and 75
    where another host was lost or a study was stopped.
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
  except errors.Stopped as stopped:
    return _end_early(config, stopped)
  except errors.UserError as error:
    print(f"vdr: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("vdr: interrupted; the same command goes on", file=sys.stderr)
    return 130
  except Exception as error:
    if not errors.tells_of_no_memory(error):
      raise
    print(f"vdr: {errors.OUT_OF_MEMORY}", file=sys.stderr)
    return 2
  return 0


def _run_with_others(config: Any, workdir: str) -> int:
  """Runs one verb as one of several hosts, and ends as they do."""
  from vdr.runtime import hosts  # imports JAX, which a mistake never needs

  try:
    hosts.connect(config.hosts)
    _verb(str(config.job), together=True)(config, workdir)
    status = 0
  except errors.Stopped as stopped:
    status = _end_early(config, stopped)
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
    elif errors.tells_of_no_memory(error):
      print(f"vdr: {errors.OUT_OF_MEMORY}", file=sys.stderr)
      status = 2
    else:
      traceback.print_exc()
      status = 1
  return hosts.leave(status, config.hosts.heartbeat_s)


def _end_early(config: Any, stopped: errors.Stopped) -> int:
  """The exit status of work that is saved but not done."""
  print(stopped, flush=True)
  return errors.TRY_AGAIN if config.job == "study" else 0


if __name__ == "__main__":
  huge_pages.use("vdr.main")
  sys.exit(main(sys.argv))
