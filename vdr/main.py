"""The command line: flags → config → one verb.

python -m vdr.main --config=configs/NAME.py[:variant] --workdir=DIR
                   [--config.key=value …]
"""

import re
import sys
from collections.abc import Callable

import ml_collections
from absl import flags
from ml_collections import config_flags

from vdr.runtime import errors

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
  "preview": "draw a source's clips with everything known about them",
}

FLAGS = flags.FlagValues()
config_flags.DEFINE_config_file("config", None, flag_values=FLAGS)
flags.DEFINE_string("workdir", None, "Work directory.", flag_values=FLAGS)


def _verb(job: str) -> Callable:
  """The function behind a verb; its module is imported only now."""
  match job:
    case "physics":
      from vdr.data.physics import generate as verb
    case "preview":
      from vdr.data import preview as verb
    case _:
      raise errors.UserError(
        f"config.job={job!r} is no verb; choose from {', '.join(JOBS)}"
      )
  return verb.run


def _parse(argv: list[str]) -> tuple[ml_collections.ConfigDict, str]:
  """The config and the work directory that the command line names."""
  try:
    rest = FLAGS(argv)[1:]
    config, workdir = FLAGS.config, FLAGS.workdir
    if config is not None:
      _ = config.job  # a file that was not found is only reported on access
  except (
    flags.Error,
    AttributeError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
  ) as error:
    raise errors.UserError(_one_line(error)) from error
  if rest:
    raise errors.UserError(
      f"unexpected argument {rest[0]!r}; options look like --name=value"
    )
  for name, value in (("config", config), ("workdir", workdir)):
    if value is None:
      raise errors.UserError(f"--{name} is missing; --help shows how to start")
  return config, workdir


def _one_line(error: Exception) -> str:
  """What a failed parse has to say to a person, without its traceback."""
  text = str(error.args[0] if error.args else error)
  if "Traceback (most recent call last)" in text:  # a config file raised
    text = text.strip().splitlines()[-1].partition(": ")[2]
  missing = re.search(r"No such file or directory: '(.+)'", text)
  if missing:
    text = f"there is no config file {missing.group(1)}; see configs/"
  unknown = re.search(r"(\w+)\W+?n?Did you mean \W(\w+)", text)
  if unknown:
    text = f"no config field {unknown[1]!r}; did you mean {unknown[2]!r}?"
  elif isinstance(error, KeyError):
    text = f"no config field {text}; configs/base.py lists them"
  return " ".join(text.split())


def main(argv: list[str]) -> int:
  """Runs one verb; returns the exit status (0 done, 2 for bad input)."""
  if any(arg in ("--help", "-h", "-help", "--helpfull") for arg in argv[1:]):
    jobs = "".join(f"  {job:<12} {text}\n" for job, text in JOBS.items())
    print(USAGE + jobs, end="")
    return 0
  try:
    config, workdir = _parse(argv)
    _verb(config.job)(config, workdir)
  except errors.UserError as error:
    print(f"vdr: {error}", file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))
