"""Starts vdr on one machine, as one host or several, and explains its end.

python -m vdr.runtime.launcher [--processes=N] -- --config=FILE --workdir=DIR …

With N processes each is a host, and they meet over loopback. Without, it is one
process that joins whatever hosts its options name: SLURM, Cloud TPU and
Kubernetes start one launcher for each (launch/).

A host that is lost ends all others. What XLA says then is pages long and the
same on every survivor: here it is one line, and the pages are in a file. The
exit status says what to do: 0 all is done; 75 a host was lost, start all again;
143 SIGTERM came, start again when there is time; 2 mend the input; any other,
see the traceback.
"""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence

from vdr.runtime import errors

USAGE = (
  "python -m vdr.runtime.launcher [--processes=N] -- --config=FILE"
  " --workdir=DIR …"
)

# Survivors end by themselves after hosts.heartbeat_s; one that does not is
# killed.
GRACE_S = 30.0

# What shells report of a program that SIGTERM ended. vdr itself ends with 0
# then, but is not done.
STOPPED = 128 + signal.SIGTERM

PROGRAM = ("-m", "vdr.main")

# From such a line on, a process only tells how it died.
_LAST_WORDS = re.compile(
  r"F\d{4} |Traceback \(most recent|Fatal Python error"
  rf"|E\d{{4}} .*coordination_service|vdr: {errors.LOST_A_HOST}"
)
_NOISE = re.compile(r"\[Gloo\] Rank \d+ is connected")


class _Host:
  """One process, and what it says."""

  def __init__(self, command: Sequence[str], said: set[str]):
    self.process = subprocess.Popen(
      command,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      errors="replace",
    )
    self.last_words: list[str] = []
    self._said = said  # lines for people, of all hosts
    self._threads = [
      threading.Thread(target=target, daemon=True)
      for target in (self._pass_stdout, self._pass_stderr)
    ]
    for thread in self._threads:
      thread.start()

  def end(self) -> int:
    """The exit status, once it has ended and all was read."""
    status = self.process.wait()
    for thread in self._threads:
      thread.join(timeout=5.0)  # its own children may hold the pipes
    return status

  def is_survivor(self) -> bool:
    """Whether it ended because another host did."""
    text = "".join(self.last_words)
    status = self.process.returncode
    return status == errors.TRY_AGAIN or (
      status not in (0, 2) and errors.tells_of_a_lost_host(text)
    )

  def _pass_stdout(self) -> None:
    assert self.process.stdout is not None
    with self.process.stdout as stream:
      for line in stream:
        if not _NOISE.match(line):
          print(line, end="", flush=True)

  def _pass_stderr(self) -> None:
    assert self.process.stderr is not None
    with self.process.stderr as stream:
      for line in stream:
        if self.last_words or _LAST_WORDS.match(line):
          self.last_words.append(line)
        elif line not in self._said:
          if line.startswith("vdr: "):
            self._said.add(line)
          print(line, end="", file=sys.stderr, flush=True)


def launch(arguments: Sequence[str], num_processes: int) -> int:
  """Runs vdr, and tells in one line if a host was lost.

  Args:
    arguments: of `vdr.main`.
    num_processes: hosts on this machine; 1 adds no options.

  Returns:
    The exit status; see the module's docstring.
  """
  said: set[str] = set()
  hosts = [
    _Host([sys.executable, *PROGRAM, *arguments, *options], said)
    for options in _meeting(num_processes)
  ]
  with _passed_on(hosts) as heard:
    _wait(hosts)
  statuses = [host.end() for host in hosts]
  if any(statuses):
    status = _explain(hosts, statuses)
  else:
    status = 0
    for host in hosts:
      sys.stderr.writelines(host.last_words)
  is_stopped = signal.SIGTERM in heard and status in (0, errors.TRY_AGAIN)
  return STOPPED if is_stopped else status


def _meeting(num_processes: int) -> list[list[str]]:
  """The options that make hosts of processes, for each."""
  if num_processes == 1:
    return [[]]
  with socket.socket() as found:
    found.bind(("localhost", 0))
    address = f"localhost:{found.getsockname()[1]}"
  return [
    [
      f"--config.hosts.coordinator={address}",
      f"--config.hosts.count={num_processes}",
      f"--config.hosts.index={index}",
    ]
    for index in range(num_processes)
  ]


@contextlib.contextmanager
def _passed_on(hosts: Sequence[_Host]) -> Iterator[list[int]]:
  """Gives SIGTERM and SIGINT to all hosts; yields those that came."""
  heard: list[int] = []

  def hear(number, frame):
    heard.append(number)
    for host in hosts:
      with contextlib.suppress(ProcessLookupError):
        host.process.send_signal(number)

  before = {
    number: signal.signal(number, hear)
    for number in (signal.SIGTERM, signal.SIGINT)
  }
  try:
    yield heard
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _wait(hosts: Sequence[_Host]) -> None:
  """Until all have ended; what outlives a failed one for long is killed."""
  deadline = None
  while any(host.process.poll() is None for host in hosts):
    if deadline is None and any(host.process.poll() for host in hosts):
      deadline = time.monotonic() + GRACE_S
    if deadline is not None and time.monotonic() > deadline:
      for host in hosts:
        if host.process.poll() is None:
          host.process.kill()
    time.sleep(0.05)


def _explain(hosts: Sequence[_Host], statuses: Sequence[int]) -> int:
  """Says why it ended, and returns the status that fits."""
  failed = [i for i, status in enumerate(statuses) if status]
  culprits = [i for i in failed if not hosts[i].is_survivor()]
  for i in culprits:
    sys.stderr.writelines(hosts[i].last_words)
  survivors = [i for i in failed if i not in culprits]
  killed = [i for i in culprits if statuses[i] < 0]
  if len(killed) == len(culprits):
    line = f"vdr: {errors.LOST_A_HOST}"
    if killed:
      i = killed[0]
      name = signal.Signals(-statuses[i]).name
      who = f"host {i} of {len(hosts)}" if len(hosts) > 1 else "this host"
      line = f"vdr: {who} was ended by {name}; the same command goes on"
    said = "".join("".join(hosts[i].last_words) for i in survivors)
    if said:
      with tempfile.NamedTemporaryFile(
        "w", prefix="vdr-last-words-", suffix=".log", delete=False
      ) as file:
        file.write(said)
      line += f" (last words of the others: {file.name})"
    print(line, file=sys.stderr)
    return errors.TRY_AGAIN
  return next(statuses[i] for i in culprits if statuses[i] > 0)


def main(argv: Sequence[str]) -> int:
  """Reads the command line, and launches."""
  options, separator, arguments = _split(argv[1:])
  match = re.fullmatch(r"--processes=([1-9]\d*)", options[0] if options else "")
  if not separator or len(options) > 1 or (options and not match):
    print(f"launcher: use it as {USAGE}", file=sys.stderr)
    return 2
  return launch(arguments, int(match[1]) if match else 1)


def _split(words: Sequence[str]) -> tuple[list[str], bool, list[str]]:
  """What stands before and after `--`, and whether there is one."""
  words = list(words)
  if "--" not in words:
    return words, False, []
  place = words.index("--")
  return words[:place], True, words[place + 1 :]


if __name__ == "__main__":
  sys.exit(main(sys.argv))
